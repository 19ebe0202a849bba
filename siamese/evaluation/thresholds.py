"""Where to put the threshold, and how figures depend on where it is put."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter1d  # type: ignore[import-untyped]

from siamese.errors import OptionError
from siamese.evaluation.curves import Counts, Curve, Floats, check_scores, middle_of_highest

# Of the grid on which distributions of scores are smoothed.
_CELLS = 4096
# Of a figure over threshold: more than a chart has columns of pixels to show.
POINTS = 1000


class OverThreshold(NamedTuple):
    """A figure over rising, finite thresholds, both of shape (M,).

    Each value holds at its threshold. At the first threshold everything is accepted, at the last nothing.
    """

    thresholds: Floats
    values: Floats


def best_accuracy_threshold(scores: ArrayLike, same: ArrayLike, *, balanced: bool = False) -> float:
    """The threshold of highest accuracy.

    It lies midway between two neighbouring scores, so that it decides scores it has not seen without favour; among
    equally good ones the middle one is taken.

    Args:
        scores: similarities, shape (N,).
        same: labels, shape (N,).
        balanced: let both kinds of pairs weigh the same, however many there are of each.
    """
    curve = Curve.of(scores, same)
    return curve.threshold_of_highest(curve.accuracy(balanced=balanced))


def best_f1_threshold(scores: ArrayLike, same: ArrayLike) -> float:
    """The threshold of highest F1 of the genuine class, chosen like that of highest accuracy.

    F1 depends on the ratio of genuine to impostor pairs: the threshold is best for data of the same ratio.

    Args:
        scores: similarities, shape (N,).
        same: labels, shape (N,).
    """
    curve = Curve.of(scores, same)
    return curve.threshold_of_highest(curve.f1())


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


def threshold_at_far(scores: ArrayLike, same: ArrayLike, far: float) -> float | None:
    """The lowest threshold whose FAR does not exceed `far`; None where the data does not support that FAR.

    Args:
        scores: similarities, shape (N,).
        same: labels, shape (N,).
        far: false accept rate, in (0, 1].

    Raises:
        OptionError: a FAR outside (0, 1].
    """
    return Curve.of(scores, same).threshold_at_far(far)


def accuracy_over_threshold(
    scores: ArrayLike, same: ArrayLike, points: int = POINTS, *, balanced: bool = False
) -> OverThreshold:
    """Accuracy over threshold for a chart, as `over_threshold` gives it; balanced: (TAR + 1 - FAR) / 2."""
    curve = Curve.of(scores, same)
    return over_threshold(curve, curve.accuracy(balanced=balanced), points)


def f1_over_threshold(scores: ArrayLike, same: ArrayLike, points: int = POINTS) -> OverThreshold:
    """F1 of the genuine class over threshold for a chart, as `over_threshold` gives it."""
    curve = Curve.of(scores, same)
    return over_threshold(curve, curve.f1(), points)


def over_threshold(curve: Curve, values: Floats, points: int = POINTS) -> OverThreshold:
    """A figure over threshold, for a chart: at most `points` points, its ends and its maximum among them.

    Args:
        curve: the counts it was computed from.
        values: the figure at each threshold of the curve, shape (K,).
        points: at least 3.

    Raises:
        OptionError: fewer than 3 points.
    """
    thresholds, rising = curve.thresholds[::-1].copy(), values[::-1]
    thresholds[-1] = np.nextafter(thresholds[-2], np.inf)  # accepts nothing, like infinity, and can be drawn
    kept = reduced(thresholds, rising, points)
    return OverThreshold(thresholds[kept], rising[kept])


def reduced(x: Floats, y: Floats, points: int) -> Counts:
    """Which points of a curve to draw: at most `points`, evenly spaced along it, with its ends and its maximum.

    Args:
        x: finite, rising or falling, shape (K,).
        y: finite, shape (K,).
        points: at least 3.

    Returns:
        Rising places in the curve, shape (M,); all of them where there are no more than `points`.

    Raises:
        OptionError: fewer than 3 points.
    """
    if points < 3:
        raise OptionError(f"{points} points of a curve: expected at least 3, for its two ends and its maximum")
    if len(x) <= points:
        return np.arange(len(x))
    along = np.zeros(len(x))
    for axis in (x, y):
        steps = np.diff(axis)
        np.abs(steps, out=steps)
        steps /= np.ptp(axis) or 1.0
        along[1:] += steps
    np.cumsum(along, out=along)
    places = np.searchsorted(along, np.linspace(0.0, along[-1], points - 1))
    return np.unique(np.concatenate((places, [len(x) - 1, middle_of_highest(y)])))
