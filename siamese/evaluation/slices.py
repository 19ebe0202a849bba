"""Verification measured on parts of the pairs: by pose, by distortion, by age gap, by any column of the pair file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from siamese.errors import DataError, OptionError, unknown_name
from siamese.evaluation.metrics import check_scores

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
MISSING = "(missing)"
BINS = 5
MINIMUM = 10
# Numbers with more distinct values than this are cut into bins.
_FEW = 12
# A column with more values than this names things, not groups of them.
_MOST = 1000


@dataclass(frozen=True)
class Groups:
    """What group each pair is of.

    Attributes:
        codes: place in `names`, shape (N,); -1 where the value is missing.
        names: in the order of the values.
    """

    codes: Ints
    names: tuple[str, ...]


@dataclass(frozen=True)
class SlicePairs:
    """The pairs of one slice, as they are given to be measured.

    Attributes:
        rows: of all pairs, ascending, shape (K,).
        scores: shape (K,).
        same: shape (K,).
        accepted: shape (K,).
    """

    rows: Ints
    scores: Floats
    same: Bools
    accepted: Bools


@dataclass(frozen=True)
class SliceRow:
    """One slice, measured.

    Attributes:
        value: of the column.
        pairs: in the slice.
        genuine: how many of them are genuine.
        impostor: how many are impostors.
        false_accepts: impostor pairs that were accepted.
        false_rejects: genuine pairs that were rejected.
        far: share of the impostor pairs accepted; None where there are fewer than the minimum.
        frr: share of the genuine pairs rejected; None where there are fewer than the minimum.
        insufficient: in words, what there is too little of to measure the slice; None where it was measured.
        metrics: what measuring gave, by name; empty where the data are insufficient.
    """

    value: str
    pairs: int
    genuine: int
    impostor: int
    false_accepts: int
    false_rejects: int
    far: float | None
    frr: float | None
    insufficient: str | None
    metrics: Mapping[str, Any]


def group_column(column: ArrayLike, *, bins: int = BINS, what: str = "the column") -> Groups:
    """Group pairs by the values of a column; many different numbers are cut into bins of about equal size.

    Text that spells numbers counts as numbers. A bin is named by its least and its greatest value, both inside it.

    Args:
        column: shape (N,), text, numbers, truth values or categories; None, NaN and empty text are missing.
        bins: how many for a column of more than 12 different numbers, 2 or more; ties can make them fewer.
        what: the name of the column, for messages.

    Raises:
        OptionError: fewer than two bins.
        DataError: more than a thousand different values that are not numbers.

    Example:
        >>> group_column(["frontal", "profile", "frontal"]).names
        ('frontal', 'profile')
    """
    return _grouped(pd.Series(column), bins, what)


def group_pair_columns(left: ArrayLike, right: ArrayLike, *, bins: int = BINS, what: str = "the columns") -> Groups:
    """Group pairs by what both sides have, in either order: `female | male` is `male | female`.

    Of many different numbers, such as ages, the absolute difference of both sides is cut into bins.

    Args:
        left: value of each left side, shape (N,).
        right: value of each right side, shape (N,).
        bins: as in `group_column`.
        what: the name of the columns, for messages.

    Raises:
        OptionError: fewer than two bins.
        DataError: different lengths, or more than a thousand different pairs of values.
    """
    both_sides = _joined(left, right, what)
    numbers = _many_numbers(both_sides)
    if numbers is not None:
        return group_quantiles(np.abs(np.subtract(*np.split(numbers, 2))), bins=bins)
    sides = _by_value(both_sides, what)
    first, second = np.split(sides.codes, 2)
    size = len(sides.names)
    both = np.minimum(first, second) * size + np.maximum(first, second)
    both[(first < 0) | (second < 0)] = -1
    present, codes = np.unique(both, return_inverse=True)
    there = present[present >= 0]
    _refuse_many(len(there), what)
    names = tuple(f"{sides.names[pair // size]} | {sides.names[pair % size]}" for pair in there.tolist())
    return Groups(codes.astype(np.int64) - (len(present) - len(there)), names)


def group_sides(
    left: ArrayLike, right: ArrayLike, *, bins: int = BINS, what: str = "the columns"
) -> tuple[Groups, Groups]:
    """Group left and right sides (N,) each, as `group_column` does, by the same names.

    Raises:
        OptionError: fewer than two bins.
        DataError: different lengths, or more than a thousand different values that are not numbers.
    """
    both = _grouped(_joined(left, right, what), bins, what)
    first, second = np.split(both.codes, 2)
    return Groups(first, both.names), Groups(second, both.names)


def group_quantiles(numbers: ArrayLike, *, bins: int = BINS) -> Groups:
    """Cut numbers (N,) into bins of about equal size; equal numbers are in one bin, NaN is missing.

    Raises:
        OptionError: fewer than two bins.

    Example:
        >>> group_quantiles([1, 2, 3, 40, 50, 60], bins=2).names
        ('1 to 3', '40 to 60')
    """
    if bins < 2:
        raise OptionError(f"{bins} bins: expected 2 or more")
    values = np.asarray(numbers, dtype=np.float64)
    known = ~np.isnan(values)
    codes = np.full(len(values), -1)
    if not known.any():
        return Groups(codes, ())
    inside = values[known]
    # Edges that are values themselves, each the greatest of its bin: a value that fills several bins is in one.
    edges = np.quantile(inside, np.arange(1, bins) / bins, method="inverted_cdf")
    places = np.searchsorted(np.unique(edges), inside)
    codes[known] = places
    filled = int(places.max()) + 1  # none before the last is empty: its edge is in it
    lowest, highest = np.full(filled, np.inf), np.full(filled, -np.inf)
    np.minimum.at(lowest, places, inside)
    np.maximum.at(highest, places, inside)
    return Groups(codes, _range_names(lowest, highest))


def measure_slices(
    scores: ArrayLike,
    same: ArrayLike,
    accepted: ArrayLike,
    groups: Groups,
    measure: Callable[[SlicePairs], Mapping[str, Any]],
    *,
    worst_by: str,
    higher_is_better: bool = True,
    minimum: int = MINIMUM,
) -> list[SliceRow]:
    """Measure each group of pairs, worst first.

    Args:
        scores: similarities, shape (N,).
        same: labels, shape (N,).
        accepted: decisions, shape (N,).
        groups: of the pairs; those whose value is missing are a slice of their own.
        measure: gives the metrics of a slice by name; it is called for slices with enough pairs of either kind.
        worst_by: the metric that orders the slices, one that `measure` gives; None or NaN there goes after numbers.
        higher_is_better: of that metric.
        minimum: genuine pairs, and impostor pairs, that a slice needs to be measured, 1 or more.

    Returns:
        Measured slices from the worst to the best, then those of insufficient data, the largest first.

    Raises:
        OptionError: `measure` gives no such metric, or a minimum below 1.
        DataError: vectors of different lengths, scores that are not finite, or one kind of pair in all slices.
    """
    if minimum < 1:
        raise OptionError(f"minimum of {minimum} pairs: expected 1 or more")
    values, labels = check_scores(scores, same)
    decided = np.asarray(accepted, dtype=bool)
    if decided.shape != values.shape or groups.codes.shape != values.shape:
        found = f"scores {values.shape}, decisions {decided.shape} and groups {groups.codes.shape}"
        raise DataError(f"{found}: expected one of each for every pair")
    order = np.argsort(groups.codes, kind="stable")
    counts = np.bincount(groups.codes + 1, minlength=len(groups.names) + 1)
    rows = []
    for name, part in zip((MISSING, *groups.names), np.split(order, np.cumsum(counts)[:-1]), strict=True):
        if len(part):
            pairs = SlicePairs(part, values[part], labels[part], decided[part])
            rows.append(_row(name, pairs, measure, worst_by, minimum))
    return sorted(rows, key=lambda row: _badness(row, worst_by, higher_is_better=higher_is_better))


def _row(
    name: str, pairs: SlicePairs, measure: Callable[[SlicePairs], Mapping[str, Any]], worst_by: str, minimum: int
) -> SliceRow:
    genuine = int(np.count_nonzero(pairs.same))
    impostor = len(pairs.same) - genuine
    false_accepts = int(np.count_nonzero(pairs.accepted & ~pairs.same))
    false_rejects = int(np.count_nonzero(~pairs.accepted & pairs.same))
    few = [f"{n} {kind}" for n, kind in ((genuine, "genuine"), (impostor, "impostor")) if n < minimum]
    found = {} if few else measure(pairs)
    if not few and worst_by not in found:
        raise unknown_name("metric to order slices by", worst_by, found)
    return SliceRow(
        value=name,
        pairs=len(pairs.same),
        genuine=genuine,
        impostor=impostor,
        false_accepts=false_accepts,
        false_rejects=false_rejects,
        far=false_accepts / impostor if impostor >= minimum else None,
        frr=false_rejects / genuine if genuine >= minimum else None,
        insufficient=f"{' and '.join(few)} pairs, fewer than {minimum}" if few else None,
        metrics=found,
    )


def _badness(row: SliceRow, metric: str, *, higher_is_better: bool) -> tuple[int, float, int]:
    """What orders rows: sorted ascending, the worst comes first; of equals the larger one."""
    if row.insufficient is not None:
        return 2, 0.0, -row.pairs
    value = row.metrics[metric]
    if value is None or np.isnan(value):
        return 1, 0.0, -row.pairs
    return 0, float(value) if higher_is_better else -float(value), -row.pairs


def _factorised(column: "pd.Series[Any]") -> tuple[Ints, pd.Index]:
    """Place of each cell among the distinct values, which are plain; -1 for what is missing or empty."""
    codes, distinct = pd.factorize(column)
    values = pd.Index(distinct).astype(object)
    empty = np.array([isinstance(value, str) and not value.strip() for value in values], dtype=bool)
    if empty.any():
        places = np.append(np.where(empty, -1, np.cumsum(~empty) - 1), -1)
        codes, values = places[codes], values[~empty]
    return np.asarray(codes, dtype=np.int64), values


def _joined(left: ArrayLike, right: ArrayLike, what: str) -> "pd.Series[Any]":
    """The left side with the right one below it."""
    sides = [pd.Series(side).reset_index(drop=True) for side in (left, right)]
    if len(sides[0]) != len(sides[1]):
        raise DataError(
            f"{what}: {len(sides[0])} values left and {len(sides[1])} right; expected one each for a pair"
        )
    return pd.concat(sides, ignore_index=True)


def _grouped(column: "pd.Series[Any]", bins: int, what: str) -> Groups:
    numbers = _many_numbers(column)
    return _by_value(column, what) if numbers is None else group_quantiles(numbers, bins=bins)


def _many_numbers(column: "pd.Series[Any]") -> Floats | None:
    """The cells as numbers, NaN where missing; None where they are none, or few different ones."""
    if pd.api.types.is_bool_dtype(column.dtype):
        return None
    if pd.api.types.is_numeric_dtype(column.dtype):
        numbers = column.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        codes, values = _factorised(column)
        distinct = _numbers(values)
        if distinct is None:
            return None
        numbers = np.append(distinct, np.nan)[codes]
    # Where there are many, the first cells show it: counting all of ten million takes seconds.
    many = any(pd.Series(part).nunique() > _FEW for part in (numbers[:10_000], numbers))
    return numbers if many else None


def _numbers(values: pd.Index) -> Floats | None:
    """Distinct values as numbers, None where one of them is none."""
    if pd.api.types.infer_dtype(values) == "boolean":
        return None
    numbers = np.asarray(pd.to_numeric(pd.Series(values, dtype=object), errors="coerce"), dtype=np.float64)
    return None if np.isnan(numbers).any() else numbers


def _by_value(column: "pd.Series[Any]", what: str) -> Groups:
    """Groups by value, numbers in their order and all else in that of its text."""
    codes, values = _factorised(column)
    _refuse_many(len(values), what)
    numbers = _numbers(values)
    texts = [f"{value:.15g}" if isinstance(value, float) else str(value) for value in values]
    order = np.argsort(np.array(texts) if numbers is None else numbers, kind="stable")
    places = np.append(np.argsort(order), -1)
    return Groups(places[codes], tuple(texts[place] for place in order))


def _refuse_many(distinct: int, what: str) -> None:
    if distinct > _MOST:
        raise DataError(f"{what}: {distinct} different values, expected groups, at most {_MOST}; name another column")


def _range_names(lowest: Floats, highest: Floats) -> tuple[str, ...]:
    """`LOW to HIGH` of each bin, with as many digits as keep their ends apart."""
    ends = np.unique(np.concatenate((lowest, highest)))
    digits = next(n for n in range(4, 18) if n == 17 or len({f"{end:.{n}g}" for end in ends}) == len(ends))
    named = [[_plain(end, digits) for end in side.tolist()] for side in (lowest, highest)]
    return tuple(low if low == high else f"{low} to {high}" for low, high in zip(*named, strict=True))


def _plain(number: float, digits: int) -> str:
    """A number of that many digits, 12345 and not 1.234e+04."""
    return f"{int(number)}" if number == int(number) and abs(number) < 1e15 else f"{number:.{digits}g}"
