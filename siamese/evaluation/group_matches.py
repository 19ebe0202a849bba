"""False matches between groups: which groups of identities a verifier confuses, at the decisions it takes."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamese.errors import DataError, OptionError
from siamese.evaluation.metrics import enough_for_far
from siamese.evaluation.slices import group_sides

Ints = NDArray[np.int64]
MINIMUM = 30


class GroupCell(NamedTuple):
    """False matches of one unordered pair of groups; `far` is None where the data are insufficient."""

    left: str
    right: str
    impostors: int
    false_matches: int
    far: float | None


@dataclass(frozen=True)
class GroupMatches:
    """False matches by unordered pair of groups; the matrices are symmetric.

    Attributes:
        groups: names of the G groups.
        impostors: impostor pairs between two groups, on the diagonal within one, shape (G, G).
        false_matches: how many of them were accepted, shape (G, G).
        far: share accepted, G rows of G; None where the impostor pairs are too few.
        ungrouped: impostor pairs left out since a side has no group.
    """

    groups: tuple[str, ...]
    impostors: Ints
    false_matches: Ints
    far: tuple[tuple[float | None, ...], ...]
    ungrouped: int

    def worst_first(self) -> list[GroupCell]:
        """The pairs of groups that have impostor pairs, highest FAR first, those of insufficient data last."""
        rows, columns = np.triu_indices(len(self.groups))
        there = self.impostors[rows, columns] > 0
        cells = [
            GroupCell(
                self.groups[row],
                self.groups[column],
                int(self.impostors[row, column]),
                int(self.false_matches[row, column]),
                self.far[row][column],
            )
            for row, column in zip(rows[there].tolist(), columns[there].tolist(), strict=True)
        ]
        return sorted(cells, key=lambda cell: (cell.far is None, -(cell.far or 0.0), -cell.impostors))


def false_matches(
    same: ArrayLike,
    accepted: ArrayLike,
    left: ArrayLike,
    right: ArrayLike,
    *,
    minimum: int = MINIMUM,
    far: float | None = None,
    what: str = "the columns",
) -> GroupMatches:
    """Count the false matches between groups.

    Args:
        same: labels, shape (N,); genuine pairs do not count.
        accepted: decisions, shape (N,).
        left: group of each left side, shape (N,); None, NaN and empty text are missing. Numbers of many different
            values are cut into bins, those of both sides together.
        right: group of each right side, shape (N,).
        minimum: impostor pairs that a FAR needs, 1 or more.
        far: the FAR that the decisions are meant for, in (0, 1]: a FAR is then given only where at least three false
            matches are expected at it (the rule of three), and no fewer than `minimum` pairs.
        what: the name of the columns, for messages.

    Raises:
        OptionError: an option out of its range.
        DataError: vectors of different lengths, no impostor pairs, or too many groups.
    """
    if minimum < 1 or (far is not None and not 0 < far <= 1):
        raise OptionError(f"minimum {minimum} and FAR {far}: expected 1 or more pairs and a FAR above 0, at most 1")
    labels, decided = np.asarray(same, dtype=bool), np.asarray(accepted, dtype=bool)
    sides = group_sides(left, right, what=what)
    names, (first, second) = sides[0].names, (side.codes for side in sides)
    if labels.shape != decided.shape or labels.shape != first.shape:
        found = f"labels {labels.shape}, decisions {decided.shape} and groups {first.shape}"
        raise DataError(f"{found}: expected one of each for every pair")
    if labels.all():
        raise DataError("0 impostor pairs: false matches are counted on them; add some")
    grouped = ~labels & (first >= 0) & (second >= 0)
    pairs = _counts(first[grouped], second[grouped], len(names))
    hits = grouped & decided
    matches = _counts(first[hits], second[hits], len(names))
    rates = tuple(
        tuple(
            wrong / number if number >= minimum and (far is None or enough_for_far(number, far)) else None
            for wrong, number in zip(*row, strict=True)
        )
        for row in zip(matches.tolist(), pairs.tolist(), strict=True)
    )
    ungrouped = int(np.count_nonzero(~labels) - np.count_nonzero(grouped))
    return GroupMatches(names, pairs, matches, rates, ungrouped)


def _counts(first: Ints, second: Ints, groups: int) -> Ints:
    """How many pairs each unordered pair of groups has, as a symmetric matrix (G, G)."""
    low, high = np.minimum(first, second), np.maximum(first, second)
    upper = np.bincount(low * groups + high, minlength=groups * groups).reshape(groups, groups)
    return np.asarray(upper + np.triu(upper, 1).T, dtype=np.int64)
