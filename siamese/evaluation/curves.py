"""Everything that depends on where the threshold is put, counted once: one sort serves all metrics.

Everywhere `scores` has shape (N,), higher meaning more similar, and `same` has shape (N,), true for genuine pairs.
A pair is accepted when its score is at least the threshold. FAR is the share of impostor pairs accepted, TAR the
share of genuine pairs accepted, FRR = 1 - TAR (ISO/IEC 19795-1).
"""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from operator import neg
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamese.errors import DataError, OptionError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Counts = NDArray[np.int64]


class Roc(NamedTuple):
    """Operating characteristic: FAR and TAR at falling thresholds, each of shape (K,); the first threshold is inf."""

    far: Floats
    tar: Floats
    thresholds: Floats


class Det(NamedTuple):
    """Detection error trade-off: FAR and FRR at falling thresholds, each of shape (K,); the first one is inf."""

    far: Floats
    frr: Floats
    thresholds: Floats


def check_scores(scores: ArrayLike, same: ArrayLike, *, both: bool = True) -> tuple[Floats, Bools]:
    """Scores as float64 and labels as bool, both (N,).

    Args:
        scores: similarities.
        same: true or 1 for genuine pairs, false or 0 for impostor pairs.
        both: refuse pairs of one kind only.

    Raises:
        DataError: different lengths, scores that are not finite, labels that are neither true nor false, no pairs,
            or only one kind of pair.
    """
    values, given = np.asarray(scores, dtype=np.float64), np.asarray(same)
    if values.shape != given.shape or values.ndim != 1:
        raise DataError(f"scores {values.shape} and labels {given.shape}: expected two vectors of one length")
    if not np.isfinite(values).all():
        raise DataError(f"{np.count_nonzero(~np.isfinite(values))} of {len(values)} scores are not finite numbers")
    labels = _as_bool(given)
    genuine = int(np.count_nonzero(labels))
    if both and genuine in (0, len(labels)):
        found = f"{genuine} genuine and {len(labels) - genuine} impostor pairs"
        raise DataError(f"{found}: verification is measured on both kinds; add the missing one")
    if not len(labels):
        raise DataError("0 pairs: there is nothing to measure; add pairs")
    return values, labels


def _as_bool(labels: NDArray[np.generic]) -> Bools:
    if labels.dtype.kind == "b":
        return labels.astype(bool, copy=False)
    # As bools, -1 for an impostor pair and a missing label would pass for genuine ones.
    other = np.flatnonzero(~np.asarray((labels == 0) | (labels == 1), dtype=bool))
    if len(other):
        raise DataError(f"label {labels[other[0]]!s} of pair {other[0]}: expected true or 1 (genuine), false or 0")
    return labels.astype(bool)


def check_threshold(threshold: float) -> None:
    """Refuse a threshold that is no number (infinity is one: it accepts nothing).

    Raises:
        OptionError: a threshold that is no number.
    """
    if np.isnan(threshold):
        raise OptionError("threshold nan: expected a number on the scale of the scores")


def enough_for_far(impostors: int, far: float) -> bool:
    """Whether `impostors` pairs support a FAR: at least three false accepts are expected (the rule of three)."""
    return impostors * far >= 3.0 * (1 - 1e-9)


@dataclass(frozen=True, eq=False)
class Curve:
    """How many pairs of each kind are accepted, at each threshold that decides differently.

    Its K entries are the distinct scores from high to low, preceded by infinity, where nothing is accepted. Memory
    is 24 bytes a distinct score.

    Attributes:
        thresholds: falling, shape (K,).
        accepted_genuine: genuine pairs accepted at each threshold, shape (K,), from 0 to all.
        accepted_impostor: impostor pairs accepted at each threshold, shape (K,), from 0 to all.

    Example:
        >>> curve = Curve.of([0.9, 0.7, 0.7, 0.2], [True, True, False, False])
        >>> curve.accepted_genuine, curve.accepted_impostor
        (array([0, 1, 2, 2]), array([0, 0, 1, 2]))
        >>> curve.auc()
        0.875
    """

    thresholds: Floats
    accepted_genuine: Counts
    accepted_impostor: Counts

    @classmethod
    def of(cls, scores: ArrayLike, same: ArrayLike) -> "Curve":
        """Count labelled scores.

        Raises:
            DataError: what `check_scores` refuses.
        """
        values, labels = check_scores(scores, same)
        ordered = np.sort(values)
        begins = np.flatnonzero(np.concatenate(([True], ordered[1:] > ordered[:-1])))
        distinct = ordered[begins]
        accepted = np.concatenate(([0], len(ordered) - begins[::-1]))
        del ordered, begins
        # Sorting one kind again and looking its scores up in order takes half as long as sorting labels along.
        genuine = np.sort(values[labels])
        accepted_genuine = np.concatenate(([0], len(genuine) - np.searchsorted(genuine, distinct)[::-1]))
        accepted -= accepted_genuine
        curve = cls(np.concatenate(([np.inf], distinct[::-1])), accepted_genuine, accepted)
        for column in (curve.thresholds, curve.accepted_genuine, curve.accepted_impostor):
            column.setflags(write=False)
        return curve

    @property
    def genuine(self) -> int:
        """Number of genuine pairs."""
        return int(self.accepted_genuine[-1])

    @property
    def impostor(self) -> int:
        """Number of impostor pairs."""
        return int(self.accepted_impostor[-1])

    @property
    def far(self) -> Floats:
        """FAR at each threshold, shape (K,), rising from 0 to 1."""
        return self.accepted_impostor / self.impostor

    @property
    def tar(self) -> Floats:
        """TAR at each threshold, shape (K,), rising from 0 to 1."""
        return self.accepted_genuine / self.genuine

    @property
    def frr(self) -> Floats:
        """FRR at each threshold, shape (K,), falling from 1 to 0."""
        return (self.genuine - self.accepted_genuine) / self.genuine

    def roc(self) -> Roc:
        """The operating characteristic."""
        return Roc(self.far, self.tar, self.thresholds)

    def det(self) -> Det:
        """The detection error trade-off (Martin et al., "The DET curve in assessment of detection task performance",
        1997), as rates; charts draw both axes in normal deviates."""
        return Det(self.far, self.frr, self.thresholds)

    def auc(self) -> float:
        """Area under the operating characteristic: the chance that a genuine pair outscores an impostor pair."""
        # In whole numbers, so that no rounding accumulates: each impostor below a genuine pair counts 2, a tie 1.
        doubled = np.diff(self.accepted_impostor) @ (self.accepted_genuine[1:] + self.accepted_genuine[:-1])
        return int(doubled) / (2 * self.genuine * self.impostor)

    def average_precision(self) -> float:
        """Precision averaged over recall: the sum of (R_k - R_k-1) P_k over thresholds, without interpolation."""
        gained, hits = np.diff(self.accepted_genuine), self.accepted_genuine[1:]
        precision = hits / (hits + self.accepted_impostor[1:])
        return float(np.dot(gained, precision) / self.genuine)

    def eer_point(self) -> tuple[float, float]:
        """Equal error rate, linearly interpolated, and the threshold where FAR and FRR cross."""
        after = bisect_left(range(len(self.thresholds)), 0, key=self._excess)
        before = after - 1
        share = -self._excess(before) / (self._excess(after) - self._excess(before))
        low, high = (int(self.accepted_impostor[index]) / self.impostor for index in (before, after))
        rate = low + share * (high - low)
        above, below = float(self.thresholds[before]), float(self.thresholds[after])
        return rate, (below if np.isinf(above) else above + share * (below - above))

    def _excess(self, index: int) -> int:
        """FAR - FRR in units of 1 / (genuine impostor), exactly; rises along the curve."""
        missed = self.genuine - int(self.accepted_genuine[index])
        return int(self.accepted_impostor[index]) * self.genuine - missed * self.impostor

    def accuracy(self, *, balanced: bool = False) -> Floats:
        """Share of pairs decided rightly at each threshold, shape (K,); balanced: (TAR + 1 - FAR) / 2."""
        each = (self.impostor, self.genuine) if balanced else (1, 1)
        right = self.accepted_genuine * each[0]
        right += (self.impostor - self.accepted_impostor) * each[1]
        return right / (self.genuine * each[0] + self.impostor * each[1])

    def f1(self) -> Floats:
        """F1 of the genuine class at each threshold, shape (K,); 0 where nothing is accepted."""
        return 2 * self.accepted_genuine / (self.accepted_genuine + self.accepted_impostor + self.genuine)

    def threshold_of_highest(self, merit: Floats) -> float:
        """The threshold where a figure is highest.

        It lies midway between two neighbouring scores, so that it decides scores it has not seen without favour;
        among equally good ones the middle one is taken.

        Args:
            merit: the figure at each threshold of the curve, shape (K,).
        """
        return self.midway(middle_of_highest(merit))

    def midway(self, index: int) -> float:
        """A threshold that decides like `thresholds[index]`, midway to the next lower score."""
        if index == len(self.thresholds) - 1:
            return float(self.thresholds[index])
        if index == 0:
            return float(np.nextafter(self.thresholds[1], np.inf))
        high, low = self.thresholds[index : index + 2].tolist()
        middle = (low + high) / 2
        return float(middle if low < middle <= high else high)  # of neighbouring numbers it rounds to either

    def threshold_at_far(self, far: float) -> float | None:
        """The lowest threshold whose FAR does not exceed `far`, in (0, 1]; None where the data does not support it.

        Raises:
            OptionError: a FAR outside (0, 1].
        """
        index = self._index_at_far(far)
        if index is None:
            return None
        if index == len(self.thresholds) - 1:
            return float(self.thresholds[index])
        # The next lower score is one of an impostor that must be rejected: accept only what scores above it.
        return float(np.nextafter(self.thresholds[index + 1], np.inf))

    def tar_at_far(self, far: float) -> float | None:
        """TAR at `threshold_at_far`, None (*insufficient data*) and errors as there."""
        index = self._index_at_far(far)
        return None if index is None else int(self.accepted_genuine[index]) / self.genuine

    def frr_at_far(self, far: float) -> float | None:
        """FRR at `threshold_at_far`, None (*insufficient data*) and errors as there."""
        index = self._index_at_far(far)
        return None if index is None else (self.genuine - int(self.accepted_genuine[index])) / self.genuine

    def _index_at_far(self, far: float) -> int | None:
        if not 0 < far <= 1:
            raise OptionError(f"FAR {far:g}: expected a share of the impostor pairs, above 0 and at most 1")
        if not enough_for_far(self.impostor, far):
            return None
        allowed = int(np.floor(far * self.impostor * (1 + 1e-12)))
        return int(np.searchsorted(self.accepted_impostor, allowed, side="right")) - 1

    def rates_at(self, threshold: float) -> tuple[float, float]:
        """FAR and TAR at a threshold.

        Raises:
            OptionError: a threshold that is no number.
        """
        check_threshold(threshold)
        index = bisect_right(self.thresholds, -threshold, key=neg) - 1
        return int(self.accepted_impostor[index]) / self.impostor, int(self.accepted_genuine[index]) / self.genuine


def middle_of_highest(values: Floats) -> int:
    """Where `values` (K,), given from high to low thresholds, are highest: the middle place, the upper of two."""
    best = np.flatnonzero(values == values.max())
    return int(best[(len(best) - 1) // 2])
