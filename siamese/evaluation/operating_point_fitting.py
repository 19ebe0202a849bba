"""Fitting the thresholds that travel with a model."""

from numpy.typing import ArrayLike

from siamese.evaluation.curves import Curve
from siamese.evaluation.metrics import FARS
from siamese.evaluation.operating_points import OperatingPoint
from siamese.evaluation.thresholds import smoothed_accuracy_threshold


def fit_operating_points(scores: ArrayLike, same: ArrayLike, split: str) -> tuple[OperatingPoint, ...]:
    """Fit the thresholds at best accuracy, at best F1, at the equal error rate, and at each FAR the data supports.

    Args:
        scores: similarities, shape (N,).
        same: labels, shape (N,).
        split: name of the pairs, recorded with each point.

    Raises:
        DataError: only one kind of pair.
    """
    curve = Curve.of(scores, same)
    thresholds = {
        "accuracy": smoothed_accuracy_threshold(scores, same),
        "f1": curve.threshold_of_highest(curve.f1()),
        "eer": curve.eer_point()[1],
        **{f"far={far:g}": curve.threshold_at_far(far) for far in FARS},
    }
    return tuple(
        _point(curve, name, threshold, split) for name, threshold in thresholds.items() if threshold is not None
    )


def _point(curve: Curve, name: str, threshold: float, split: str) -> OperatingPoint:
    far, tar = curve.rates_at(threshold)
    return OperatingPoint(
        name=name,
        threshold=threshold,
        far=far,
        tar=tar,
        split=split,
        genuine=curve.genuine,
        impostor=curve.impostor,
    )
