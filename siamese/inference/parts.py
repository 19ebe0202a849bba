"""An evaluation by the values of a column of the pair file: which part of the data a model is worst on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from siamese.errors import OptionError
from siamese.evaluation.group_matches import GroupMatches, false_matches
from siamese.evaluation.intervals import Estimate, estimates
from siamese.evaluation.slices import Groups, SlicePairs, SliceRow, group_column, group_pair_columns, measure_slices
from siamese.inference.evaluation import Evaluation

# Parts differ in how many of their pairs are genuine: balanced accuracy can be compared between them.
WORST_BY = "balanced_accuracy"
STATISTICS = (WORST_BY, "auc", "eer", "tar", "far")


@dataclass(frozen=True)
class Parts:
    """An evaluation by one column.

    Attributes:
        column: its name.
        rows: the parts, worst first; the metrics of each are its statistics by name, and `estimates`, the same with
            their intervals.
        matches: false matches between groups, where the column is one of images (`left_NAME` and `right_NAME`).
    """

    column: str
    rows: tuple[SliceRow, ...]
    matches: GroupMatches | None

    def as_json(self) -> dict[str, Any]:
        """The column, its parts and the matrix as plain values."""
        return {
            "column": self.column,
            "parts": [_part(row) for row in self.rows],
            "false_matches": None if self.matches is None else _cells(self.matches),
        }


def measure_parts(evaluation: Evaluation, columns: Sequence[str]) -> tuple[Parts, ...]:
    """Measure the parts of the pairs that share a value of a column.

    Args:
        evaluation: on a pair file with the columns.
        columns: names of columns of pairs (`age_gap`), or of images without their side (`pose` for `left_pose` and
            `right_pose`): pairs are then parted by both values, in either order.

    Raises:
        OptionError: no such column.
        DataError: a column of more than a thousand different values that are not numbers.
    """
    return tuple(_measure(evaluation, column) for column in columns)


def check_columns(frame: pd.DataFrame, columns: Sequence[str]) -> None:
    """Refuse columns that `measure_parts` would not find, before any image is embedded.

    Raises:
        OptionError: no such column.
    """
    for column in columns:
        if column not in frame.columns and not {f"left_{column}", f"right_{column}"} <= set(frame.columns):
            raise _no_column(column, frame)


def _no_column(column: str, frame: pd.DataFrame) -> OptionError:
    sides = f"left_{column} and right_{column}"
    return OptionError(f"--by {column}: no such column, nor {sides}; the pair file has {', '.join(frame.columns)}")


def _measure(evaluation: Evaluation, column: str) -> Parts:
    frame = evaluation.scores.frame[evaluation.scores.scored]
    sides = [f"{side}_{column}" for side in ("left", "right")]
    if column in frame.columns:
        groups, matches = group_column(frame[column], what=f"column {column!r}"), None
    elif set(sides) <= set(frame.columns):
        left, right = (frame[side] for side in sides)
        groups = group_pair_columns(left, right, what=f"columns {' and '.join(sides)}")
        matches = _matches(evaluation, left, right, column)
    else:
        raise _no_column(column, frame)
    return Parts(column, tuple(_rows(evaluation, groups)), matches)


def _matches(evaluation: Evaluation, left: "pd.Series[Any]", right: "pd.Series[Any]", column: str) -> GroupMatches:
    return false_matches(evaluation.same, evaluation.measurement.accepted, left, right, what=f"columns of {column!r}")


def _rows(evaluation: Evaluation, groups: Groups) -> list[SliceRow]:
    people = evaluation.people

    def measure(pairs: SlicePairs) -> Mapping[str, Any]:
        sides = people.left[pairs.rows], people.right[pairs.rows]
        found = estimates(pairs.scores, pairs.same, *sides, STATISTICS, accepted=pairs.accepted)
        return {**{name: each.value for name, each in found.items()}, "estimates": found}

    accepted = evaluation.measurement.accepted
    return measure_slices(evaluation.similarities, evaluation.same, accepted, groups, measure, worst_by=WORST_BY)


def _part(row: SliceRow) -> dict[str, Any]:
    found: Mapping[str, Estimate] = row.metrics.get("estimates", {})
    return {
        "value": row.value,
        "pairs": row.pairs,
        "genuine": row.genuine,
        "impostor": row.impostor,
        "insufficient": row.insufficient,
        **{name: each.value for name, each in found.items()},
        "intervals": {
            name: None if each.interval is None else [each.interval.low, each.interval.high]
            for name, each in found.items()
        },
    }


def _cells(matches: GroupMatches) -> list[dict[str, Any]]:
    return [cell._asdict() for cell in matches.worst_first()]
