"""Same, different or unsure: deciding only where the probability allows it."""

from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field

from siamese.errors import OptionError
from siamese.evaluation.calibration_prior import (
    Bools,
    Floats,
    check_prior,
    check_probabilities,
    pair_weights,
)

ANSWERS = ("different", "unsure", "same")

Rate = Annotated[float, Field(ge=0.0, le=1.0)]


class AbstainBand(BaseModel):
    """Probabilities between which no answer is given.

    Attributes:
        low: different below this probability, at most .5.
        high: same at this probability and above, at least .5.
        wanted_error: the most that was allowed to be wrong among the pairs called same, and among those called
            different.
        same_error: share of impostor pairs among the pairs called same.
        different_error: share of genuine pairs among the pairs called different.
        unsure: share of all pairs without an answer.
        prior: share of genuine pairs that all shares are stated for.
        genuine: how many genuine pairs it was fitted on.
        impostor: how many impostor pairs it was fitted on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    low: Rate
    high: Rate
    wanted_error: Rate
    same_error: Rate
    different_error: Rate
    unsure: Rate
    prior: Rate
    genuine: int
    impostor: int


def decide(probabilities: ArrayLike, low: float, high: float) -> NDArray[np.str_]:
    """Answer `same` at `high` and above, `different` below `low`, and `unsure` in between.

    Args:
        probabilities: P(same), shape (N,), in [0, 1].
        low: in [0, 1].
        high: in [low, 1]; equal to `low` every pair is decided.

    Returns:
        Shape (N,), each one of `ANSWERS`.

    Raises:
        DataError: probabilities that are not finite or lie outside [0, 1].
        OptionError: a band that is none.

    Example:
        >>> decide([0.05, 0.4, 0.9], 0.1, 0.9).tolist()
        ['different', 'unsure', 'same']
    """
    if not 0.0 <= low <= high <= 1.0:
        raise OptionError(f"unsure between {low:g} and {high:g}: expected 0 <= low <= high <= 1")
    values = check_probabilities(probabilities)
    return np.array(ANSWERS)[np.where(values >= high, 2, np.where(values < low, 0, 1))]


def fit_abstain_band(
    probabilities: ArrayLike, same: ArrayLike, error: float, *, prior: float = 0.5
) -> AbstainBand | None:
    """The narrowest band outside of which at most a share `error` of the answers is wrong.

    It holds for either answer by itself, and so for both together: among the pairs called same at most `error` are
    impostors, and among those called different at most `error` are genuine, with kinds weighted to `prior`. Same is
    only ever said at a probability of .5 and above and different only below, so a band that is not needed is empty
    (low = high = .5).

    An answer needs enough pairs behind it: so many of the other kind that three of them would be allowed among it
    (the rule of three, as for a FAR). At a prior of .5 an error of .01 takes some 300 pairs of each kind.

    Args:
        probabilities: P(same) at `prior`, shape (N,), of pairs that no model was trained on.
        same: labels, shape (N,).
        error: share of wrong answers, in (0, .5).
        prior: share of genuine pairs where the answers are given, in (0, 1).

    Returns:
        The band, or None where the data is insufficient for that error or the probabilities never reach it.

    Raises:
        DataError: only one kind of pair, or probabilities that are not finite or lie outside [0, 1].
        OptionError: an error outside (0, .5), or a prior outside (0, 1).
    """
    from siamese.evaluation.metrics import check_scores

    prior = check_prior(prior)
    if not 0.0 < error < 0.5:
        raise OptionError(f"error {error:g} among decided pairs: expected a share above 0 and below .5")
    values, labels = check_scores(check_probabilities(probabilities), same)
    weights = pair_weights(labels, prior)
    high = _bound(values, labels, weights, 0.5, error)
    # Different is said of what falls below: the same search with the order turned round.
    mirrored = _bound(-values, ~labels, weights, -float(np.nextafter(0.5, 0.0)), error)
    if high is None or mirrored is None:
        return None
    low = float(np.nextafter(-mirrored, 1.0))
    called_same, called_different = values >= high, values < low
    genuine = int(np.count_nonzero(labels))
    return AbstainBand(
        low=low,
        high=high,
        wanted_error=error,
        same_error=_share(weights, called_same & ~labels, called_same),
        different_error=_share(weights, called_different & labels, called_different),
        unsure=float(weights[~(called_same | called_different)].sum()),
        prior=prior,
        genuine=genuine,
        impostor=len(labels) - genuine,
    )


def _bound(values: Floats, right: Bools, weights: Floats, least: float, error: float) -> float | None:
    """The lowest bound from `least` at and above which the error holds, on enough pairs; None without one."""
    decided = np.flatnonzero(values >= least)
    order = decided[np.argsort(-values[decided])]
    falling, hits = values[order], right[order]
    rightly = np.cumsum(np.where(hits, weights[order], 0.0))
    wrongly = np.cumsum(np.where(hits, 0.0, weights[order]))
    # A bound lies at a value, below all pairs that share it.
    last = np.append(np.diff(falling) < 0, True)[: len(falling)]
    # Each wrong pair weighs the same; of them three must be allowed, and the slack is for rounding.
    allowed = error / (1.0 - error) * rightly
    enough = allowed >= 3.0 * weights[~right][0] * (1 - 1e-9)
    holds = np.flatnonzero(last & enough & (wrongly <= allowed * (1 + 1e-9)))
    if not len(holds):
        return None
    # The last one reaches down to `least`: no pair lies between.
    return least if holds[-1] == len(falling) - 1 else float(falling[holds[-1]])


def _share(weights: Floats, wrong: Bools, decided: Bools) -> float:
    return float(weights[wrong].sum() / weights[decided].sum())
