"""Text of one row a line: cells separated by commas, tabs, semicolons or blanks; UTF-8."""

import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv as arrow_csv

from siamese.atomic import atomic_path
from siamese.errors import PairFileError
from siamese.pairing.arrow_columns import as_numpy, equals, is_text, one_array
from siamese.pairing.file_rows import FileRows
from siamese.pairing.rows import RowNames

if TYPE_CHECKING:
    import pandas as pd

Separator = Literal["\t", ",", ";", " "]
"""What parts cells; the blank stands for any run of blanks and tabs."""


def split_line(line: str, separator: Separator) -> list[str]:
    """The cells of one line; quotes are understood unless blanks separate."""
    if separator == " ":
        return re.split(r"[ \t]+", line.strip(" \t"))
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:  # a line longer than any cell may be
        return [line]


def first_line(text: str) -> str:
    """The text up to the first line break."""
    return re.split(r"[\r\n]", text, maxsplit=1)[0]


def parse_delimited(
    text: str, where: str, separator: Separator = ",", columns: Sequence[str] | None = None
) -> "pd.DataFrame":
    """Read every cell as text; rows without any value are skipped.

    Nothing is taken for a missing value: an image may be named `NA` and a person `None`.

    Args:
        text: of the file.
        where: the file that messages name.
        separator: of the cells.
        columns: names of the columns of a text without a header; None takes them from its first line.

    Raises:
        PairFileError: a row has more or fewer cells than the others.
    """
    return read_delimited(text, where, separator, columns).frame()


def read_delimited(
    text: str, where: str, separator: Separator = ",", columns: Sequence[str] | None = None
) -> FileRows:
    """As `parse_delimited`, without pandas: an Arrow table of text.

    Raises:
        PairFileError: a row has more or fewer cells than the others.
    """
    names = split_line(first_line(text), separator) if columns is None else list(columns)
    first = 2 if columns is None else 1
    if separator == " ":
        text = _tabbed(text)
    table = _arrow_table(text, where, separator, names, header=columns is None)
    blank = blank_rows(table)
    skipped = (np.flatnonzero(blank) + first).tolist()
    return FileRows(table.filter(pa.array(~blank)), 0, RowNames("line", first, skipped))


def blank_rows(table: pa.Table) -> NDArray[np.bool_]:
    """Which rows of a table of text hold nothing, shape (N,)."""
    blank = np.ones(table.num_rows, bool)
    for column in table.columns:
        if not blank.any():
            break
        blank &= as_numpy(equals(one_array(column), "")) if is_text(column.type) else False
    return blank


def write_delimited(frame: "pd.DataFrame", path: Path, separator: Literal["\t", ","] = ",") -> None:
    """Write a checked table as text with a header.

    UTF-8, newline `\\n`, labels as 1 and 0, what is missing left empty.
    """
    if "same" in frame.columns:
        frame = frame.assign(same=frame["same"].astype("Int64"))
    with atomic_path(path) as temporary:
        try:
            frame.to_csv(
                temporary, sep=separator, index=False, encoding="utf-8", lineterminator="\n", quoting=_quoting(frame)
            )
        except UnicodeEncodeError as error:
            raise PairFileError(
                f"{path}: {error.object[:200]!r} cannot be written as UTF-8; rename the image"
            ) from None


def _quoting(frame: "pd.DataFrame") -> Literal[0, 2]:
    """Quotes where they are needed; everywhere if a name holds a carriage return, which the writer does not see."""
    import pandas as pd

    for name in frame.columns:
        cells = (
            frame[name].cat.categories.to_series()
            if isinstance(frame[name].dtype, pd.CategoricalDtype)
            else frame[name]
        )
        if pd.api.types.is_string_dtype(cells.dtype) and cells.str.contains("\r", regex=False, na=False).any():
            return csv.QUOTE_NONNUMERIC
    return csv.QUOTE_MINIMAL


def _tabbed(text: str) -> str:
    """Every run of blanks and tabs as one tab, none at either end of a line."""
    return re.sub(r"[ \t]+", "\t", re.sub(r"(?m)^[ \t]+|[ \t\r]+$", "", text))


def _arrow_table(text: str, where: str, separator: Separator, names: list[str], *, header: bool) -> pa.Table:
    bad_rows: list[tuple[int, int]] = []

    def refuse(row: arrow_csv.InvalidRow) -> str:
        bad_rows.append((row.number, row.actual_columns))
        return "error"

    data = (text + "\n").encode()  # a header alone is read as a table only if its line ends
    blanks = separator == " "
    try:
        return arrow_csv.read_csv(
            pa.BufferReader(data),
            # One thread and one block: row numbers are known, and no value straddles two blocks.
            read_options=arrow_csv.ReadOptions(
                use_threads=False, block_size=min(len(data) + 1, 2**30), column_names=None if header else names
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter="\t" if blanks else separator,
                quote_char=False if blanks else '"',
                newlines_in_values=not blanks,
                ignore_empty_lines=False,
                invalid_row_handler=refuse,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        if not bad_rows:
            raise PairFileError(f"{where}: cannot be read as CSV: {str(error).splitlines()[0]}") from None
        number, cells = bad_rows[0]
        expected = "the header has" if header else "the lines before have"
        raise PairFileError(
            f"{where} line {number}: {cells} cell{'s' if cells != 1 else ''}, but {expected} {len(names)}; "
            "quote paths that hold the separator"
        ) from None
