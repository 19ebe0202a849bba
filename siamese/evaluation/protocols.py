"""Protocols: how a threshold is found without looking at the pairs it is reported on."""

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamese.errors import DataError
from siamese.evaluation import metrics
from siamese.evaluation.curves import Curve
from siamese.evaluation.operating_points import OperatingPoint
from siamese.evaluation.thresholds import best_accuracy_threshold


@dataclass(frozen=True)
class Measurement:
    """Verification measured on labelled pairs.

    Attributes:
        genuine: number of genuine pairs scored.
        impostor: number of impostor pairs scored.
        accuracy: mean over folds where there are folds, else at `threshold`; in [0, 1].
        accuracy_std: standard deviation (n - 1) of the folds' accuracies, None without folds.
        threshold: the threshold used; with folds, the mean of theirs.
        precision: share of genuine pairs among those accepted; 0 where nothing is accepted.
        recall: share of the genuine pairs that is accepted, TAR.
        far: share of the impostor pairs that is accepted.
        f1: F1 of the genuine class under the same decisions.
        mcc: Matthews correlation of decisions and labels, in [-1, 1].
        auc: area under the operating characteristic.
        eer: equal error rate.
        average_precision: of the genuine class.
        best_f1: the highest F1 that a threshold fitted on these very pairs would reach, and that threshold.
        min_detection_cost: the lowest detection cost, normalised, at a target prior of .01 and equal costs.
        tar_at_far: TAR by FAR; None is insufficient data.
        frr_at_far: FRR by FAR, 1 - TAR; None is insufficient data.
        threshold_from: in words, what the threshold was fitted on.
        accepted: the decisions, shape (N,).
        thresholds: what each was made at, shape (N,).
    """

    genuine: int
    impostor: int
    accuracy: float
    accuracy_std: float | None
    threshold: float
    precision: float
    recall: float
    far: float
    f1: float
    mcc: float
    auc: float
    eer: float
    average_precision: float
    best_f1: dict[str, float]
    min_detection_cost: float
    tar_at_far: dict[str, float | None]
    frr_at_far: dict[str, float | None]
    threshold_from: str
    accepted: NDArray[np.bool_] = field(repr=False, compare=False)
    thresholds: NDArray[np.float64] = field(repr=False, compare=False)

    def as_json(self) -> dict[str, Any]:
        """The figures by name, without the decisions."""
        figures = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: value for name, value in figures.items() if name not in ("accepted", "thresholds")}


def measure_at(scores: ArrayLike, same: ArrayLike, threshold: float, fitted_on: str) -> Measurement:
    """Measure at a threshold that was fitted elsewhere.

    Args:
        scores: similarities, shape (N,).
        same: labels, shape (N,).
        threshold: accept at this similarity and above.
        fitted_on: what the threshold was fitted on, in words.
    """
    values, labels = metrics.check_scores(scores, same)
    accuracy = metrics.accuracy_at(values, labels, threshold)
    return _measurement(values, labels, np.full(len(values), threshold), [accuracy], fitted_on)


def measure_at_point(scores: ArrayLike, same: ArrayLike, point: OperatingPoint) -> Measurement:
    """Measure at a stored operating point."""
    return measure_at(scores, same, point.threshold, f"{point.split} ({point.name})")


def measure_folds(scores: ArrayLike, same: ArrayLike, folds: ArrayLike, *, balanced: bool = False) -> Measurement:
    """Cross-validated protocol: each fold is decided at the threshold of best accuracy on the other folds.

    This is how LFW's View 2 is reported (Huang et al., "Labeled Faces in the Wild", 2007): mean and deviation of the
    accuracies over its ten folds.

    Args:
        scores: similarities, shape (N,).
        same: labels, shape (N,).
        folds: fold of each pair, shape (N,).
        balanced: let both kinds of pairs weigh the same in thresholds and accuracies, whatever their numbers.

    Raises:
        DataError: fewer than two folds, another number of folds than of scores, or a fold's complement that holds
            one kind of pair only.
    """
    values, labels = metrics.check_scores(scores, same)
    of_pair = np.asarray(folds)
    if of_pair.shape != values.shape:
        raise DataError(f"scores {values.shape} and folds {of_pair.shape}: expected a fold for each score")
    names = np.unique(of_pair)
    if len(names) < 2:
        raise DataError(f"{len(names)} fold: cross-validation needs at least two; leave the column out, or add folds")
    thresholds = np.empty(len(values))
    accuracies = []
    for name in names:
        inside = of_pair == name
        _check_complement(labels[~inside], name)
        threshold = best_accuracy_threshold(values[~inside], labels[~inside], balanced=balanced)
        thresholds[inside] = threshold
        accuracies.append(metrics.accuracy_at(values[inside], labels[inside], threshold, balanced=balanced))
    rest = "the other fold" if len(names) == 2 else f"the other {len(names) - 1} folds"
    return _measurement(values, labels, thresholds, accuracies, rest)


def _check_complement(labels: NDArray[np.bool_], fold: Any) -> None:
    if labels.all() or not labels.any():
        found = "genuine" if labels.all() else "impostor"
        raise DataError(
            f"fold {fold}: the other folds hold {found} pairs only, and its threshold needs both; deal both kinds "
            "to every fold"
        )


def measure_cross_fitted(scores: ArrayLike, same: ArrayLike, *, balanced: bool = False) -> Measurement:
    """Two-fold cross-fitting: each half of the pairs is decided at the threshold of the other half.

    For pairs without folds and a model without an operating point. Genuine and impostor pairs are dealt to the two
    halves alternately, in the order of the file, so the halves keep the ratio and the result needs no seed.

    Args:
        scores: similarities, shape (N,).
        same: labels, shape (N,).
        balanced: as in `measure_folds`.

    Raises:
        DataError: fewer than two genuine or two impostor pairs.
    """
    _, labels = metrics.check_scores(scores, same)
    genuine = int(np.count_nonzero(labels))
    if min(genuine, len(labels) - genuine) < 2:
        found = f"{genuine} genuine and {len(labels) - genuine} impostor pairs"
        raise DataError(f"{found}: a threshold fitted on one half and used on the other needs two of each; add pairs")
    halves = np.empty(len(labels), dtype=int)
    for kind in (True, False):
        members = np.flatnonzero(labels == kind)
        halves[members] = np.arange(len(members)) % 2
    return measure_folds(scores, labels, halves, balanced=balanced)


def _measurement(
    values: NDArray[np.float64],
    labels: NDArray[np.bool_],
    thresholds: NDArray[np.float64],
    accuracies: list[float],
    fitted_on: str,
) -> Measurement:
    curve = Curve.of(values, labels)
    f1 = curve.f1()
    best_f1 = {"f1": float(f1.max()), "threshold": curve.threshold_of_highest(f1)}
    # Shifted by each fold's own threshold, decisions are made at zero.
    shifted = values - thresholds
    far, recall = (float(np.mean(shifted[kind] >= 0)) for kind in (~labels, labels))
    return Measurement(
        genuine=curve.genuine,
        impostor=curve.impostor,
        accuracy=float(np.mean(accuracies)),
        accuracy_std=float(np.std(accuracies, ddof=1)) if len(accuracies) > 1 else None,
        # The mean of equal numbers may differ from them in the last digit.
        threshold=float(thresholds[0] if (thresholds == thresholds[0]).all() else thresholds.mean()),
        precision=metrics.precision_at(shifted, labels, 0.0),
        recall=recall,
        far=far,
        f1=metrics.f1_at(shifted, labels, 0.0),
        mcc=metrics.matthews_at(shifted, labels, 0.0),
        auc=curve.auc(),
        eer=curve.eer_point()[0],
        average_precision=curve.average_precision(),
        best_f1=best_f1,
        min_detection_cost=metrics.min_detection_cost_of(curve).normalised,
        tar_at_far={f"{far:g}": curve.tar_at_far(far) for far in metrics.FARS},
        frr_at_far={f"{far:g}": curve.frr_at_far(far) for far in metrics.FARS},
        threshold_from=fitted_on,
        accepted=shifted >= 0,
        thresholds=thresholds,
    )
