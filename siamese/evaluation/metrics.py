"""Verification metrics as pure functions of scores and labels.

Everywhere `scores` has shape (N,), higher meaning more similar, and `same` has shape (N,), true for genuine pairs.
A pair is accepted when its score is at least the threshold. FAR is the share of impostor pairs accepted, TAR the
share of genuine pairs accepted, FRR = 1 - TAR (ISO/IEC 19795-1). Who needs several figures of the same pairs counts
them once, as a `Curve`, which has them all.
"""

from collections.abc import Iterable
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from siamese.errors import OptionError
from siamese.evaluation.curves import (
    Curve,
    Det,
    Roc,
    check_scores,
    check_threshold,
    enough_for_far,
    middle_of_highest,
)

__all__ = [
    "FARS",
    "Curve",
    "Decisions",
    "Det",
    "DetectionCost",
    "Roc",
    "accuracy_at",
    "auc",
    "average_precision",
    "check_scores",
    "decisions_at",
    "det",
    "eer",
    "eer_point",
    "enough_for_far",
    "f1_at",
    "far_at",
    "frr_at_far",
    "frr_at_fars",
    "matthews_at",
    "min_detection_cost",
    "min_detection_cost_of",
    "precision_at",
    "recall_at",
    "roc",
    "tar_at",
    "tar_at_far",
    "tar_at_fars",
]

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


class Decisions(NamedTuple):
    """How many pairs of each kind are accepted and rejected."""

    true_accepts: int
    false_accepts: int
    false_rejects: int
    true_rejects: int


class DetectionCost(NamedTuple):
    """The lowest detection cost there is, and where.

    Attributes:
        cost: C_miss FRR P_target + C_fa FAR (1 - P_target).
        normalised: `cost` over that of the better one of accepting everything and accepting nothing; in [0, 1].
        threshold: accept at this similarity and above; midway between two neighbouring scores.
        far: FAR there.
        frr: FRR there.
    """

    cost: float
    normalised: float
    threshold: float
    far: float
    frr: float


def roc(scores: ArrayLike, same: ArrayLike) -> Roc:
    """The operating characteristic, one point for each distinct score."""
    return Curve.of(scores, same).roc()


def det(scores: ArrayLike, same: ArrayLike) -> Det:
    """The detection error trade-off, one point for each distinct score."""
    return Curve.of(scores, same).det()


def auc(scores: ArrayLike, same: ArrayLike) -> float:
    """Area under the operating characteristic: the chance that a genuine pair outscores an impostor pair."""
    return Curve.of(scores, same).auc()


def average_precision(scores: ArrayLike, same: ArrayLike) -> float:
    """Precision averaged over recall: the sum of (R_k - R_k-1) P_k over thresholds, without interpolation."""
    return Curve.of(scores, same).average_precision()


def eer(scores: ArrayLike, same: ArrayLike) -> float:
    """Equal error rate: FAR where it equals FRR, linearly interpolated between points of the characteristic."""
    return eer_point(scores, same)[0]


def eer_point(scores: ArrayLike, same: ArrayLike) -> tuple[float, float]:
    """Equal error rate, and the threshold where FAR and FRR cross."""
    return Curve.of(scores, same).eer_point()


def decisions_at(scores: ArrayLike, same: ArrayLike, threshold: float) -> Decisions:
    """Count what a threshold decides; pairs of one kind are enough.

    Raises:
        DataError: what `check_scores` refuses, except pairs of one kind only.
        OptionError: a threshold that is no number.
    """
    # In float64: beside float32 scores NumPy would round the threshold, and decide otherwise at the border.
    values, labels = check_scores(scores, same, both=False)
    check_threshold(threshold)
    accepted = values >= threshold
    genuine, passed = int(np.count_nonzero(labels)), int(np.count_nonzero(accepted))
    accepted &= labels
    hits = int(np.count_nonzero(accepted))
    return Decisions(hits, passed - hits, genuine - hits, len(values) - genuine - passed + hits)


def accuracy_at(scores: ArrayLike, same: ArrayLike, threshold: float, *, balanced: bool = False) -> float:
    """Share of pairs decided rightly at a threshold, in [0, 1]; balanced: (TAR + 1 - FAR) / 2."""
    if balanced:
        return (tar_at(scores, same, threshold) + 1.0 - far_at(scores, same, threshold)) / 2
    decided = decisions_at(scores, same, threshold)
    return (decided.true_accepts + decided.true_rejects) / sum(decided)


def precision_at(scores: ArrayLike, same: ArrayLike, threshold: float) -> float:
    """Share of the accepted pairs that are genuine, TP / (TP + FP); 0 when nothing is accepted."""
    decided = decisions_at(scores, same, threshold)
    return _share(decided.true_accepts, decided.true_accepts + decided.false_accepts)


def recall_at(scores: ArrayLike, same: ArrayLike, threshold: float) -> float:
    """Share of the genuine pairs that are accepted (the TAR), TP / (TP + FN); 0 when nothing is genuine."""
    decided = decisions_at(scores, same, threshold)
    return _share(decided.true_accepts, decided.true_accepts + decided.false_rejects)


def f1_at(scores: ArrayLike, same: ArrayLike, threshold: float) -> float:
    """F1 of the genuine class at a threshold: 2 TP / (2 TP + FP + FN); 0 when nothing is genuine or accepted."""
    hits, false_accepts, false_rejects, _ = decisions_at(scores, same, threshold)
    return _share(2 * hits, 2 * hits + false_accepts + false_rejects)


def matthews_at(scores: ArrayLike, same: ArrayLike, threshold: float) -> float:
    """Matthews correlation of decisions and labels at a threshold, in [-1, 1].

    (TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN)) (Matthews, 1975); 0 when all pairs are of one
    kind, all accepted or all rejected.
    """
    hits, false_accepts, false_rejects, passes = decisions_at(scores, same, threshold)
    accepted, genuine = hits + false_accepts, hits + false_rejects
    rejected, impostor = passes + false_rejects, passes + false_accepts
    # Python's whole numbers: the product of four counts of millions does not fit in 64 bits.
    scale = accepted * genuine * rejected * impostor
    return (hits * passes - false_accepts * false_rejects) / sqrt(scale) if scale else 0.0


def far_at(scores: ArrayLike, same: ArrayLike, threshold: float) -> float:
    """FAR at a threshold."""
    decided = decisions_at(*check_scores(scores, same), threshold)
    return decided.false_accepts / (decided.false_accepts + decided.true_rejects)


def tar_at(scores: ArrayLike, same: ArrayLike, threshold: float) -> float:
    """TAR at a threshold."""
    decided = decisions_at(*check_scores(scores, same), threshold)
    return decided.true_accepts / (decided.true_accepts + decided.false_rejects)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def tar_at_far(scores: ArrayLike, same: ArrayLike, far: float) -> float | None:
    """TAR at the lowest threshold whose FAR does not exceed `far`, in (0, 1]; None is *insufficient data*."""
    return Curve.of(scores, same).tar_at_far(far)


def frr_at_far(scores: ArrayLike, same: ArrayLike, far: float) -> float | None:
    """FRR at the lowest threshold whose FAR does not exceed `far`, in (0, 1]; None is *insufficient data*."""
    return Curve.of(scores, same).frr_at_far(far)


def tar_at_fars(scores: ArrayLike, same: ArrayLike, fars: Iterable[float] = FARS) -> dict[str, float | None]:
    """TAR at each FAR, by the FAR's shortest form (`0.001`, `1e-05`); None is *insufficient data*."""
    curve = Curve.of(scores, same)
    return {f"{far:g}": curve.tar_at_far(far) for far in fars}


def frr_at_fars(scores: ArrayLike, same: ArrayLike, fars: Iterable[float] = FARS) -> dict[str, float | None]:
    """FRR at each FAR, by the FAR's shortest form (`0.001`, `1e-05`); None is *insufficient data*."""
    curve = Curve.of(scores, same)
    return {f"{far:g}": curve.frr_at_far(far) for far in fars}


def min_detection_cost(
    scores: ArrayLike, same: ArrayLike, p_target: float = 0.01, c_miss: float = 1.0, c_fa: float = 1.0
) -> DetectionCost:
    """The lowest detection cost over thresholds, as `min_detection_cost_of` gives it."""
    return min_detection_cost_of(Curve.of(scores, same), p_target, c_miss, c_fa)


def min_detection_cost_of(
    curve: Curve, p_target: float = 0.01, c_miss: float = 1.0, c_fa: float = 1.0
) -> DetectionCost:
    """The lowest of C_miss FRR P_target + C_fa FAR (1 - P_target) over thresholds.

    This is the minimum of NIST's detection cost function (NIST 2016 Speaker Recognition Evaluation Plan, section
    3: its two costs have C_miss = C_fa = 1 with P_target = 0.01 and 0.005).

    Args:
        curve: the counts of the pairs.
        p_target: prior probability of a genuine pair, in (0, 1).
        c_miss: cost of a false reject, above 0.
        c_fa: cost of a false accept, above 0.

    Raises:
        OptionError: a prior or a cost outside its range.
    """
    if not 0 < p_target < 1:
        raise OptionError(f"prior of a genuine pair {p_target:g}: expected a number above 0 and below 1")
    for name, price in (("miss", c_miss), ("false accept", c_fa)):
        if not 0 < price < np.inf:
            raise OptionError(f"cost of a {name} {price:g}: expected a finite number above 0")
    miss, false_accept = c_miss * p_target, c_fa * (1 - p_target)
    costs = false_accept * curve.far
    costs += miss * curve.frr
    index = middle_of_highest(-costs)
    cost = float(costs[index])
    far, frr = int(curve.accepted_impostor[index]) / curve.impostor, float(curve.frr[index])
    return DetectionCost(cost, cost / min(miss, false_accept), curve.midway(index), far, frr)
