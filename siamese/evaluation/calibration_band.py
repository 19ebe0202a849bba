"""Same, different or unsure: answering only where the probability of a wrong answer allows it.

C. K. Chow, "On optimum recognition error and reject tradeoff", IEEE Transactions on Information Theory 16 (1970): of
all rules that leave equally many pairs without an answer, the one that answers exactly where the more probable of the
two kinds is wrong with a probability of at most some bound makes the fewest errors.
"""

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from siamese.errors import OptionError
from siamese.evaluation.calibration_prior import Bools, check_prior, check_probabilities, pair_weights


class Answers(NamedTuple):
    """What is said of pairs.

    Attributes:
        same: shape (N,); means nothing where there is no answer.
        answered: shape (N,); False is *unsure*.
    """

    same: Bools
    answered: Bools


@dataclass(frozen=True)
class Abstaining:
    """What leaving pairs without an answer does on labelled pairs; shares are of kinds weighted to `prior`.

    Attributes:
        allowed: the probability of a wrong answer that was allowed.
        prior: share of genuine pairs that shares are stated for.
        pairs: how many there are.
        unsure: how many of them have no answer.
        false_accepts: how many impostor pairs are called same.
        false_rejects: how many genuine pairs are called different.
        answered: share of pairs with an answer.
        error: share of wrong answers among the answers; None where there is none.
        error_of_all: share of wrong answers if every pair were given the more probable one.
    """

    allowed: float
    prior: float
    pairs: int
    unsure: int
    false_accepts: int
    false_rejects: int
    answered: float
    error: float | None
    error_of_all: float

    def as_json(self) -> dict[str, Any]:
        """Every attribute by its name."""
        return asdict(self)


def check_error(error: float) -> float:
    """The probability of a wrong answer that is allowed, as a float.

    Raises:
        OptionError: not above 0 and below .5; at .5 the more probable answer is always allowed.
    """
    if not 0.0 < error < 0.5:
        raise OptionError(
            f"--abstain {error:g}: expected the probability of a wrong answer that is allowed, above 0 and below 0.5"
        )
    return float(error)


def decide(probabilities: ArrayLike, error: float) -> Answers:
    """Chow's rule: the more probable answer where it is wrong with a probability of at most `error`, else none.

    Args:
        probabilities: P(same) at the prior where the answers are given, shape (N,), in [0, 1].
        error: probability of a wrong answer that is allowed, in (0, .5).

    Returns:
        `same` at 1 - error and above, different at `error` and below, no answer in between.

    Raises:
        DataError: probabilities that are not finite or lie outside [0, 1].
        OptionError: an error outside (0, .5).

    Example:
        >>> answers = decide([0.05, 0.4, 0.9], 0.1)
        >>> answers.same.tolist(), answers.answered.tolist()
        ([False, False, True], [True, False, True])
    """
    values, allowed = check_probabilities(probabilities), check_error(error)
    # From .5 upwards 1 - p has no rounding error, so the bound is met exactly.
    return Answers(values >= 0.5, np.minimum(values, 1.0 - values) <= allowed)


def measure_abstaining(probabilities: ArrayLike, same: ArrayLike, error: float, prior: float) -> Abstaining:
    """How much Chow's rule leaves unanswered, and how often its answers are wrong.

    Where the probabilities are calibrated, the share of wrong answers is below `error`: that bounds each of them, and
    most lie below.

    Args:
        probabilities: P(same) at `prior`, shape (N,), of pairs that neither model nor calibration was fitted on.
        same: labels, shape (N,), of both kinds.
        error: probability of a wrong answer that is allowed, in (0, .5).
        prior: share of genuine pairs where the answers are given, in (0, 1).

    Raises:
        DataError: only one kind of pair, or probabilities that are not finite or lie outside [0, 1].
        OptionError: an error outside (0, .5), or a prior outside (0, 1).
    """
    from siamese.evaluation.metrics import check_scores

    prior = check_prior(prior)
    answers = decide(probabilities, error)
    _, labels = check_scores(probabilities, same)
    weights = pair_weights(labels, prior)
    wrong = answers.same != labels
    told = wrong & answers.answered
    answered = float(weights[answers.answered].sum())
    return Abstaining(
        allowed=float(error),
        prior=prior,
        pairs=len(labels),
        unsure=int(np.count_nonzero(~answers.answered)),
        false_accepts=int(np.count_nonzero(told & ~labels)),
        false_rejects=int(np.count_nonzero(told & labels)),
        answered=min(answered, 1.0),  # weights sum to 1 but for rounding
        error=float(weights[told].sum() / answered) if answers.answered.any() else None,
        error_of_all=float(weights[wrong].sum()),
    )
