"""Verification statistics of weighted pairs, for many sets of weights at once.

A weight of k counts a pair as if it stood k times in the table, so whole weights give what scikit-learn and
`siamese.evaluation.metrics` give for the repeated table. Pairs are ranked once (`Ranked`); after that a statistic of
R sets of weights is a few cumulative sums over an array (R, N).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamese.errors import DataError, OptionError, unknown_name
from siamese.evaluation.metrics import check_scores

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Integers = NDArray[np.int64]


class Statistic(NamedTuple):
    """What is measured: a name of `CURVE_STATISTICS` or `DECISION_STATISTICS`, and a FAR for `tar_at_far` alone."""

    name: str
    far: float | None = None

    def __str__(self) -> str:
        return self.name if self.far is None else f"{self.name}={self.far:g}"


class Confusion(NamedTuple):
    """Weights of pairs by kind and decision, arrays of one shape: hits are accepted genuine pairs."""

    hits: Any
    misses: Any
    false_accepts: Any
    rejects: Any


@dataclass(frozen=True)
class Ranked:
    """Pairs by falling score; every array is in that order.

    Attributes:
        order: rows of the table, (N,).
        same: true for genuine pairs, (N,).
        ends: index of the last pair of each distinct score, (K,).
        accepted: a fixed decision on each pair, (N,), or None where none was given.
    """

    order: Integers
    same: Bools
    ends: Integers
    accepted: Bools | None

    @classmethod
    def of(cls, scores: ArrayLike, same: ArrayLike, accepted: ArrayLike | None = None) -> "Ranked":
        """Rank pairs once.

        Args:
            scores: similarities, (N,).
            same: labels, (N,).
            accepted: decisions to be measured, (N,) bool: a threshold of its own for each fold works as one does.

        Raises:
            DataError: what `check_scores` raises, or decisions of another length.
        """
        values, labels = check_scores(scores, same)
        decisions = None if accepted is None else np.asarray(accepted, dtype=bool)
        if decisions is not None and decisions.shape != values.shape:
            raise DataError(f"decisions {decisions.shape} and scores {values.shape}: expected one decision per pair")
        order = np.argsort(-values, kind="stable")
        ends = np.flatnonzero(np.append(np.diff(values[order]) != 0, True))
        return cls(order, labels[order], ends, None if decisions is None else decisions[order])

    @cached_property
    def curve(self) -> "WeightedCurve":
        """The operating characteristic where every pair weighs 1: (1, K + 1)."""
        return weighted_curve(self, np.ones((1, len(self.order))))


class WeightedCurve(NamedTuple):
    """Weight accepted at falling thresholds, from nothing to everything: (R, K + 1), one column a distinct score."""

    genuine: Floats
    impostor: Floats

    @property
    def tar(self) -> Floats:
        """Share of the genuine weight accepted; NaN where there is none."""
        return np.asarray(_ratio(self.genuine, self.genuine[:, -1:]))

    @property
    def far(self) -> Floats:
        """Share of the impostor weight accepted; NaN where there is none."""
        return np.asarray(_ratio(self.impostor, self.impostor[:, -1:]))


def weighted_curve(ranked: Ranked, weights: Floats) -> WeightedCurve:
    """The operating characteristic of weighted pairs.

    Args:
        ranked: the pairs.
        weights: (R, N), not negative, in the order of `ranked`: `weights[:, ranked.order]` of a table's weights.
    """
    genuine, impostor = (_accumulated(weights * kind, ranked.ends) for kind in (ranked.same, ~ranked.same))
    return WeightedCurve(genuine, impostor)


def _accumulated(weights: Floats, ends: Integers) -> Floats:
    sums = np.cumsum(weights, axis=1)
    if len(ends) < weights.shape[1]:
        sums = sums[:, ends]
    return np.concatenate((np.zeros((len(weights), 1)), sums), axis=1)


def decisions(ranked: Ranked) -> Bools:
    """The fixed decision on each pair, by falling score.

    Raises:
        DataError: none were given.
    """
    if ranked.accepted is None:
        raise DataError("statistics of decisions need `accepted`, a decision on each pair: none were given")
    return ranked.accepted


def weighted_confusion(ranked: Ranked, weights: Floats) -> Confusion:
    """Weights (R,) of hits, misses, false accepts and rejects of the fixed decisions; `weights` as above."""
    accepted = decisions(ranked)
    cells = (kind & side for kind in (ranked.same, ~ranked.same) for side in (accepted, ~accepted))
    return Confusion(*(weights @ cell.astype(np.float64) for cell in cells))


def _ratio(part: Any, whole: Any) -> Any:
    """Part / whole, NaN where the whole is 0: a number that does not exist is no number."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole == 0, np.nan, part / np.where(whole == 0, 1, whole))


def _auc(curve: WeightedCurve, far: float | None) -> Floats:
    steps = np.diff(curve.impostor, axis=1)
    area = np.einsum("rk,rk->r", steps, curve.genuine[:, 1:] + curve.genuine[:, :-1]) / 2
    return np.asarray(_ratio(area, curve.genuine[:, -1] * curve.impostor[:, -1]))


def _eer(curve: WeightedCurve, far: float | None) -> Floats:
    rates = curve.far
    gap = rates - (1.0 - curve.tar)
    after = np.argmax(gap >= 0, axis=1)
    rows, before = np.arange(len(gap)), np.maximum(after - 1, 0)
    share = _ratio(-gap[rows, before], gap[rows, after] - gap[rows, before])
    return np.asarray(rates[rows, before] + share * (rates[rows, after] - rates[rows, before]))


def cut_at_far(impostor: Floats, far: float) -> Integers:
    """Last column of a curve's `impostor` (R, K + 1) whose share of the impostor weight is at most `far`."""
    return np.asarray(np.count_nonzero(impostor <= far * impostor[:, -1:] * (1 + 1e-12), axis=1) - 1)


def _tar_at_far(curve: WeightedCurve, far: float | None) -> Floats:
    if far is None:
        raise OptionError("tar_at_far without a FAR: expected Statistic('tar_at_far', far) with far in (0, 1]")
    cut = cut_at_far(curve.impostor, far)
    tar = np.asarray(_ratio(curve.genuine[np.arange(len(cut)), cut], curve.genuine[:, -1]))
    return np.where(curve.impostor[:, -1] == 0, np.nan, tar)


def _best_accuracy(curve: WeightedCurve, far: float | None) -> Floats:
    right = (curve.genuine - curve.impostor).max(axis=1) + curve.impostor[:, -1]
    return np.asarray(_ratio(right, curve.genuine[:, -1] + curve.impostor[:, -1]))


def _balanced_accuracy(cells: Confusion) -> Any:
    hits, misses, false_accepts, rejects = cells
    return (_ratio(hits, hits + misses) + _ratio(rejects, false_accepts + rejects)) / 2


def _mcc(cells: Confusion) -> Any:
    hits, misses, false_accepts, rejects = cells
    whole = (hits + misses) * (false_accepts + rejects) * (hits + false_accepts) * (misses + rejects)
    # scikit-learn's convention: 0 when every pair is decided alike.
    return (hits * rejects - misses * false_accepts) / np.where(whole == 0, 1, whole) ** 0.5


CURVE_STATISTICS: dict[str, Callable[[WeightedCurve, float | None], Floats]] = {
    "auc": _auc,
    "eer": _eer,
    "best_accuracy": _best_accuracy,
    "tar_at_far": _tar_at_far,
}
# Written with arithmetic alone, so that `influence` differentiates them.
DECISION_STATISTICS: dict[str, Callable[[Confusion], Any]] = {
    "accuracy": lambda c: _ratio(c.hits + c.rejects, c.hits + c.misses + c.false_accepts + c.rejects),
    "balanced_accuracy": _balanced_accuracy,
    "f1": lambda c: _ratio(2 * c.hits, 2 * c.hits + c.misses + c.false_accepts),
    "precision": lambda c: _ratio(c.hits, c.hits + c.false_accepts),
    "recall": lambda c: _ratio(c.hits, c.hits + c.misses),
    "tar": lambda c: _ratio(c.hits, c.hits + c.misses),
    "far": lambda c: _ratio(c.false_accepts, c.false_accepts + c.rejects),
    "mcc": _mcc,
}


def check_statistics(statistics: Sequence[Statistic | str]) -> list[Statistic]:
    """Statistics by name or value, checked.

    Raises:
        OptionError: a name that is not known, or a FAR that is missing, not in (0, 1], or of no use.
    """
    asked = [Statistic(each) if isinstance(each, str) else each for each in statistics]
    for each in asked:
        if each.name not in CURVE_STATISTICS and each.name not in DECISION_STATISTICS:
            raise unknown_name("statistic", each.name, [*CURVE_STATISTICS, *DECISION_STATISTICS])
        if (each.far is not None) != (each.name == "tar_at_far"):
            raise OptionError(f"statistic {each.name} with FAR {each.far}: tar_at_far needs a FAR, others take none")
        if each.far is not None and not 0 < each.far <= 1:
            raise OptionError(f"statistic {each.name} at FAR {each.far}: expected a FAR above 0 and at most 1")
    return asked


def weighted_statistics(ranked: Ranked, weights: Floats, statistics: Sequence[Statistic]) -> Floats:
    """Statistics of weighted pairs; NaN where the weights leave one undefined (one kind of pair alone, say).

    Args:
        ranked: the pairs.
        weights: (R, N), not negative, in the order of `ranked`.
        statistics: S of them, as `check_statistics` returns.

    Returns:
        (R, S): AUC counts ties half (Mann and Whitney, 1947), EER is interpolated as `metrics.eer_point` does,
        `tar_at_far` and `best_accuracy` choose their threshold anew for each set of weights; the others are of the
        fixed decisions. Memory is a handful of arrays of the size of `weights`.
    """
    columns: list[Floats] = []
    on_curve = any(each.name in CURVE_STATISTICS for each in statistics)
    curve = weighted_curve(ranked, weights) if on_curve else None
    on_decisions = any(each.name in DECISION_STATISTICS for each in statistics)
    cells = weighted_confusion(ranked, weights) if on_decisions else None
    for each in statistics:
        if curve is not None and each.name in CURVE_STATISTICS:
            columns.append(CURVE_STATISTICS[each.name](curve, each.far))
        elif cells is not None:
            columns.append(np.asarray(DECISION_STATISTICS[each.name](cells), dtype=np.float64))
    return np.stack(columns, axis=1)
