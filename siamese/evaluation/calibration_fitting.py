"""Choosing and fitting a calibration on validation pairs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from siamese.errors import OptionError, unknown_name
from siamese.evaluation.calibration import Calibration, Candidate
from siamese.evaluation.calibration_folds import identity_folds
from siamese.evaluation.calibration_prior import Bools, Floats, check_prior
from siamese.evaluation.calibrator_fitting import CALIBRATORS
from siamese.evaluation.identity_codes import Codes, check_codes

# Pairs of a kind beyond which cross-validation takes an even sample: more only take longer.
_JUDGED = 200_000


def fit_calibration(
    scores: ArrayLike,
    same: ArrayLike,
    left: ArrayLike,
    right: ArrayLike,
    split: str,
    *,
    prior: float = 0.5,
    method: str | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Calibration:
    """Fit a calibration, in the form that does best on identities that it was not fitted on.

    Platt scaling, beta calibration and isotonic regression are compared by their log loss in cross-validation with
    folds over identities: no identity is on both sides, and pairs between folds are left out. A more flexible form
    is preferred only when it is better by more than one standard error of the difference, taken over folds (the
    one-standard-error rule of L. Breiman, J. Friedman, R. Olshen, C. Stone, "Classification and Regression Trees",
    1984). Where the pairs allow no two folds, Platt scaling is taken. The chosen form is then fitted to all pairs.
    Of more than 200,000 pairs of a kind, as many at even ranks of score are enough to choose.

    Genuine pairs weigh `prior` together and impostor pairs the rest, in fits and losses alike, so the ratio of kinds
    in the validation pairs does not matter.

    Args:
        scores: similarities, of any range, shape (N,).
        same: labels, shape (N,).
        left: codes of the identity on one side, whole numbers, shape (N,).
        right: the same for the other side; equal to `left` for genuine pairs and for no other.
        split: name of the pairs, recorded.
        prior: share of genuine pairs that the fit is for, in (0, 1).
        method: `platt`, `beta` or `isotonic` fixes the form; None chooses.
        folds: the most folds, at least 2; fewer where the pairs are few.
        seed: of the folds.

    Raises:
        DataError: only one kind of pair, scores that are not finite, or codes that contradict the labels.
        OptionError: a prior outside (0, 1), fewer than two folds, or an unknown method.
    """
    from siamese.evaluation.metrics import check_scores

    prior = check_prior(prior)
    if folds < 2:
        raise OptionError(f"folds {folds}: expected at least 2")
    if method is not None and method not in CALIBRATORS:
        raise unknown_name("calibration method", method, CALIBRATORS)
    values, labels = check_scores(scores, same)
    sides = check_codes(left, right, labels)
    order = np.argsort(values)  # once, since isotonic regression sorts in every fold
    values, labels = values[order], labels[order]
    few = _thinned(labels)
    in_folds = identity_folds(sides[0][order[few]], sides[1][order[few]], folds, seed)
    losses = None if in_folds is None else _cross_validate(values[few], labels[few], *in_folds, prior)
    chosen = method or _choose(losses)
    genuine = int(np.count_nonzero(labels))
    return Calibration(
        calibrator=CALIBRATORS[chosen](values, labels, prior),
        prior=prior,
        split=split,
        genuine=genuine,
        impostor=len(labels) - genuine,
        candidates=tuple(
            Candidate(method=name, log_loss=None if losses is None else float(losses[name].sum()))
            for name in CALIBRATORS
        ),
    )


def _thinned(same: Bools) -> Codes:
    """Rows of at most `_JUDGED` pairs of each kind, evenly among those of the kind, in order."""
    rows = [np.flatnonzero(kind) for kind in (same, ~same)]
    kept = [kind[:: max(1, -(-len(kind) // _JUDGED))] for kind in rows]
    return np.asarray(np.sort(np.concatenate(kept)), dtype=np.int64)


class _Tested(NamedTuple):
    """Pairs tested in a fold, with what each weighs among all that are tested."""

    scores: Floats
    same: Bools
    weights: Floats


def _cross_validate(scores: Floats, same: Bools, left: Codes, right: Codes, prior: float) -> dict[str, Floats]:
    """What each fold adds to the log loss of each method, shape (K,); the sum is the loss."""
    inside = left == right
    genuine, impostor = np.count_nonzero(inside & same), np.count_nonzero(inside & ~same)
    weights = np.where(same, prior / genuine, (1.0 - prior) / impostor)
    losses: dict[str, list[float]] = {name: [] for name in CALIBRATORS}
    for fold in range(int(left.max()) + 1):
        fitted, tested = (left != fold) & (right != fold), inside & (left == fold)
        held_out = _Tested(scores[tested], same[tested], weights[tested])
        for name, fit in CALIBRATORS.items():
            log_odds = fit(scores[fitted], same[fitted], prior).log_odds(held_out.scores)
            each = np.logaddexp(0.0, np.where(held_out.same, -log_odds, log_odds))
            losses[name].append(float(held_out.weights @ each))
    return {name: np.array(each) for name, each in losses.items()}


def _choose(losses: dict[str, Floats] | None) -> str:
    """The simplest method whose loss is within one standard error of the best one's."""
    if losses is None:
        return next(iter(CALIBRATORS))
    best = min(losses.values(), key=lambda each: float(each.sum()))
    return next(name for name, each in losses.items() if _as_good(each - best))


def _as_good(excess: Floats) -> bool:
    # The sum of K contributions varies by sqrt(K) times what one does.
    error = np.sqrt(len(excess)) * excess.std(ddof=1)
    return bool(excess.sum() <= error)
