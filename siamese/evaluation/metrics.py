"""Verification metrics as pure functions of scores and labels.

Everywhere `scores` has shape (N,), higher meaning more similar, and `same` has shape (N,), true for genuine pairs.
A pair is accepted when its score is at least the threshold. FAR is the share of impostor pairs accepted, TAR the
share of genuine pairs accepted, FRR = 1 - TAR (ISO/IEC 19795-1).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d  # type: ignore[import-untyped]
from sklearn.metrics import roc_auc_score, roc_curve

from siamese.errors import DataError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Of the grid on which distributions of scores are smoothed.
_CELLS = 4096


class Roc(NamedTuple):
    """Operating characteristic: FAR and TAR at falling thresholds, each of shape (K,); the first threshold is inf."""

    far: Floats
    tar: Floats
    thresholds: Floats


def check_scores(scores: ArrayLike, same: ArrayLike) -> tuple[Floats, Bools]:
    """Scores as float64 and labels as bool, both (N,).

    Raises:
        DataError: different lengths, scores that are not finite, or only one kind of pair.
    """
    values, labels = np.asarray(scores, dtype=np.float64), np.asarray(same, dtype=bool)
    if values.shape != labels.shape or values.ndim != 1:
        raise DataError(f"scores {values.shape} and labels {labels.shape}: expected two vectors of one length")
    if not np.isfinite(values).all():
        raise DataError(f"{np.count_nonzero(~np.isfinite(values))} of {len(values)} scores are not finite numbers")
    genuine = int(labels.sum())
    if genuine in (0, len(labels)):
        found = f"{genuine} genuine and {len(labels) - genuine} impostor pairs"
        raise DataError(f"{found}: verification is measured on both kinds; add the missing one")
    return values, labels


def roc(scores: ArrayLike, same: ArrayLike) -> Roc:
    """The operating characteristic, one point for each distinct score."""
    values, labels = check_scores(scores, same)
    far, tar, thresholds = roc_curve(labels, values, drop_intermediate=False)
    return Roc(far, tar, thresholds)


def auc(scores: ArrayLike, same: ArrayLike) -> float:
    """Area under the operating characteristic: the chance that a genuine pair outscores an impostor pair."""
    values, labels = check_scores(scores, same)
    return float(roc_auc_score(labels, values))


def eer(scores: ArrayLike, same: ArrayLike) -> float:
    """Equal error rate: FAR where it equals FRR, linearly interpolated between points of the characteristic."""
    return eer_point(scores, same)[0]


def eer_point(scores: ArrayLike, same: ArrayLike) -> tuple[float, float]:
    """Equal error rate, and the threshold where FAR and FRR cross."""
    far, tar, thresholds = roc(scores, same)
    gap = far - (1.0 - tar)  # rises from -1 to 1 along the curve
    after = int(np.argmax(gap >= 0))
    before = after - 1
    share = -gap[before] / (gap[after] - gap[before])
    rate = far[before] + share * (far[after] - far[before])
    if not np.isfinite(thresholds[before]):
        return float(rate), float(thresholds[after])
    return float(rate), float(thresholds[before] + share * (thresholds[after] - thresholds[before]))


def accuracy_at(scores: ArrayLike, same: ArrayLike, threshold: float, *, balanced: bool = False) -> float:
    """Share of pairs decided rightly at a threshold, in [0, 1]; balanced: (TAR + 1 - FAR) / 2."""
    if balanced:
        return (tar_at(scores, same, threshold) + 1.0 - far_at(scores, same, threshold)) / 2
    accepted = np.asarray(scores, dtype=np.float64) >= threshold
    return float(np.mean(accepted == np.asarray(same, dtype=bool)))


def f1_at(scores: ArrayLike, same: ArrayLike, threshold: float) -> float:
    """F1 of the genuine class at a threshold: 2 TP / (2 TP + FP + FN); 0 when nothing is genuine or accepted."""
    # In float64: beside float32 scores NumPy would round the threshold, and decide otherwise at the border.
    accepted, labels = np.asarray(scores, dtype=np.float64) >= threshold, np.asarray(same, dtype=bool)
    hits = np.count_nonzero(accepted & labels)
    wrong = np.count_nonzero(accepted != labels)
    return float(2 * hits / (2 * hits + wrong)) if hits + wrong else 0.0


def far_at(scores: ArrayLike, same: ArrayLike, threshold: float) -> float:
    """FAR at a threshold."""
    values, labels = check_scores(scores, same)
    return float(np.mean(values[~labels] >= threshold))


def tar_at(scores: ArrayLike, same: ArrayLike, threshold: float) -> float:
    """TAR at a threshold."""
    values, labels = check_scores(scores, same)
    return float(np.mean(values[labels] >= threshold))


def best_accuracy_threshold(scores: ArrayLike, same: ArrayLike, *, balanced: bool = False) -> float:
    """The threshold of highest accuracy.

    It lies midway between two neighbouring scores, so that it decides scores it has not seen without favour; among
    equally good ones the middle one is taken.

    Args:
        scores: similarities.
        same: labels.
        balanced: let both kinds of pairs weigh the same, however many there are of each.
    """
    ordered, kinds = _sorted(scores, same)
    return _best_cut(ordered, kinds, _weights(kinds, balanced=balanced))


def smoothed_accuracy_threshold(scores: ArrayLike, same: ArrayLike) -> float:
    """The threshold of highest balanced accuracy when both distributions of scores are smoothed.

    The best threshold of one sample jumps with every pair near it: it converges with the cube root of the number of
    pairs alone (Kim and Pollard, "Cube root asymptotics", 1990). With steps smoothed by a normal kernel it converges
    nearly as fast as a mean (Horowitz, "A smoothed maximum score estimator", 1992). The kernel is as wide as
    normal scores want it, 1.06 s n^(-1/5) for n pairs of a kind whose scores spread by s, the smaller one of standard
    deviation and interquartile range / 1.349 (Silverman, "Density Estimation", 1986, equations 3.28 and 3.29).

    Scores are counted on a grid of 4,096 cells from below the lowest to above the highest: time and memory are linear
    in the number of pairs. Among equally good thresholds the middle one is taken.

    Args:
        scores: similarities.
        same: labels.
    """
    values, labels = check_scores(scores, same)
    low, high = float(values.min()), float(values.max())
    if not low < high:
        return low
    # A hundredth beyond either end: to accept everything, or nothing, is a choice too, and its threshold no score.
    low, high = low - (high - low) / 100, high + (high - low) / 100
    below_genuine, below_impostor = (_smoothed_share_below(values[kind], low, high) for kind in (labels, ~labels))
    merit = below_impostor - below_genuine
    best = np.flatnonzero(merit >= merit.max() - 1e-9)
    return low + (high - low) * float(best[len(best) // 2]) / _CELLS


def _smoothed_share_below(values: Floats, low: float, high: float) -> Floats:
    """Share of smoothed scores below the edges of the grid's cells, shape (cells + 1,)."""
    spread = min(values.std(), float(np.subtract(*np.percentile(values, (75, 25)))) / 1.349)
    width = 1.06 * spread * len(values) ** -0.2 / (high - low) * _CELLS
    counts = np.histogram(values, _CELLS, (low, high))[0] / len(values)
    # What would be smoothed across an end of the grid is reflected into it: the share below the upper end is 1.
    smoothed = gaussian_filter1d(counts, width, mode="reflect") if width > 0 else counts
    return np.concatenate(([0.0], np.cumsum(smoothed)))


def _sorted(scores: ArrayLike, same: ArrayLike) -> tuple[Floats, Bools]:
    """Rising scores and their labels."""
    values, labels = check_scores(scores, same)
    order = np.argsort(values)
    return values[order], labels[order]


def _weights(kinds: Bools, *, balanced: bool) -> NDArray[np.int64]:
    """What each pair counts for: whole numbers, so that sums are exact and ties are seen as such."""
    genuine = int(kinds.sum())
    each = (genuine, len(kinds) - genuine) if balanced else (1, 1)
    return np.where(kinds, each[1], each[0])


def _best_cut(ordered: Floats, kinds: Bools, weights: NDArray[np.int64]) -> float:
    # right[i]: the weight of pairs decided rightly when the i lowest scores are rejected.
    signed = np.where(kinds, -weights, weights)
    right = np.concatenate(([0], np.cumsum(signed))) + weights[kinds].sum()
    possible = np.concatenate(([True], np.diff(ordered) > 0, [True]))
    best = np.flatnonzero(possible & (right == right[possible].max()))
    cut = int(best[len(best) // 2])
    if cut == 0:
        return float(ordered[0])
    if cut == len(ordered):
        return float(np.nextafter(ordered[-1], np.inf))
    low, high = ordered[cut - 1 : cut + 1]
    middle = (low + high) / 2
    return float(middle if middle > low else high)  # between neighbouring numbers the middle rounds to either


def enough_for_far(impostors: int, far: float) -> bool:
    """Whether `impostors` pairs support a FAR: at least three false accepts are expected (the rule of three)."""
    return impostors * far >= 3.0 * (1 - 1e-9)


def threshold_at_far(scores: ArrayLike, same: ArrayLike, far: float) -> float | None:
    """The lowest threshold whose FAR does not exceed `far`; None where the data does not support that FAR.

    Args:
        scores: similarities.
        same: labels.
        far: false accept rate, in (0, 1].
    """
    values, labels = check_scores(scores, same)
    impostors = np.sort(values[~labels])[::-1]
    if not enough_for_far(len(impostors), far):
        return None
    allowed = int(np.floor(far * len(impostors) * (1 + 1e-12)))
    if allowed >= len(impostors):
        return float(values.min())
    # The first impostor that must be rejected is impostors[allowed]; accept only what scores above it.
    return float(np.nextafter(impostors[allowed], np.inf))


def tar_at_far(scores: ArrayLike, same: ArrayLike, far: float) -> float | None:
    """TAR at the lowest threshold whose FAR does not exceed `far`; None is *insufficient data*."""
    threshold = threshold_at_far(scores, same, far)
    return None if threshold is None else tar_at(scores, same, threshold)
