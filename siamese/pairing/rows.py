"""Rows named as the user sees them in the file they came from."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

# Plain values only: pandas copies attrs with every operation and writes them to Parquet as JSON.
_KEY = "file_rows"


@dataclass(frozen=True, eq=False)
class RowNames:
    """What the rows of a table, counted from 0, are called in its file.

    Attributes:
        word: what a row is called in that kind of file.
        first: the number of the first row of data.
        skipped: numbers of the rows of the file that hold no data, ascending; those of later rows may follow.
        each: rows of the file that make one row of the table, which is named by the first of them.
    """

    word: Literal["line", "row"]
    first: int
    skipped: Sequence[int] = ()
    each: int = 1

    def name(self, row: int) -> str:
        """Name a row ("line 7", "row 3")."""
        number = self.first + self.each * row
        skipped = np.asarray(self.skipped, dtype=np.int64)
        # A skipped row precedes this one when the data rows before it are no more than those before this one.
        before = np.searchsorted(skipped - np.arange(len(skipped)), number, side="right")
        return f"{self.word} {number + int(before)}"


def remember_rows(
    frame: "pd.DataFrame",
    word: Literal["line", "row"],
    first: int,
    skipped: Sequence[int] = (),
    each: int = 1,
) -> None:
    """Note in `frame.attrs` how its index (0, 1, ...) maps to rows of its file.

    A table that is filtered or reordered keeps naming the right rows as long as its index is not reset.

    Args:
        frame: the table; changed in place.
        word: what a row is called in that kind of file.
        first: the number of the first row of data.
        skipped: numbers of the rows of the file that hold no data, ascending.
        each: rows of the file that make one row of the table, which is named by the first of them.
    """
    frame.attrs = {_KEY: {"word": word, "first": first, "skipped": list(skipped), "each": each}}


def row_names(frame: "pd.DataFrame") -> RowNames | None:
    """What `remember_rows` noted; None for a table that came from no file."""
    noted = frame.attrs.get(_KEY)
    return None if noted is None else RowNames(**noted)


def row_name(frame: "pd.DataFrame", position: int) -> str:
    """Name the row at `position` ("line 7", "row 3"); for a table that came from no file, counted from 1."""
    names = row_names(frame)
    label = frame.index[position]
    if names is None or not isinstance(label, (int, np.integer)):
        return f"row {position + 1}"
    return names.name(int(label))


def skipped_rows(frame: "pd.DataFrame") -> list[int]:
    """The numbers of the rows of its file that hold no data, for a table that was read from one."""
    return list(frame.attrs[_KEY]["skipped"])
