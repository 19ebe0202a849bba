"""CSV with a header line: comma or tab separated, UTF-8."""

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv

from siamese.atomic import atomic_path
from siamese.errors import PairFileError
from siamese.pairing.rows import remember_rows


def header_cells(text: str) -> list[str]:
    """The cells of the first line of `text`; tabs separate them where there is one, else commas."""
    line = _first_line(text)
    try:
        return next(csv.reader([line], delimiter=_delimiter(line)), [])
    except csv.Error:  # a line longer than any cell may be: no header of ours
        return [line]


def parse_delimited(text: str, where: str) -> pd.DataFrame:
    """Read every cell below the header as text; rows without any value are skipped.

    Nothing is taken for a missing value: an image may be named `NA` and a person `None`.

    Raises:
        PairFileError: a row has more or fewer cells than the header.
    """
    names = header_cells(text)
    bad_rows: list[tuple[int, int]] = []

    def refuse(row: arrow_csv.InvalidRow) -> str:
        bad_rows.append((row.number, row.actual_columns))
        return "error"

    data = (text + "\n").encode()  # a header alone is read as a table only if its line ends
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(data),
            # One thread and one block: row numbers are known, and no value straddles two blocks.
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=min(len(data) + 1, 2**30)),
            parse_options=arrow_csv.ParseOptions(
                delimiter=_delimiter(_first_line(text)),
                newlines_in_values=True,
                ignore_empty_lines=False,
                invalid_row_handler=refuse,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        if bad_rows:
            number, cells = bad_rows[0]
            raise PairFileError(
                f"{where} line {number}: {cells} cell{'s' if cells != 1 else ''}, but the header has "
                f"{len(names)}; quote paths that hold the separator"
            ) from None
        raise PairFileError(f"{where}: cannot be read as CSV: {str(error).splitlines()[0]}") from None
    frame: pd.DataFrame = table.to_pandas()
    blank = (frame == "").all(axis=1).to_numpy(dtype=bool)
    frame = frame[~blank].reset_index(drop=True)
    remember_rows(frame, "line", 2, (np.flatnonzero(blank) + 2).tolist())
    return frame


def write_delimited(frame: pd.DataFrame, path: Path) -> None:
    """Write a checked table as CSV: UTF-8, newline `\\n`, labels as 1 and 0, what is missing left empty."""
    if "same" in frame.columns:
        frame = frame.assign(same=frame["same"].astype("Int64"))
    with atomic_path(path) as temporary:
        try:
            frame.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n")
        except UnicodeEncodeError as error:
            raise PairFileError(
                f"{path}: {error.object[:200]!r} cannot be written as UTF-8; rename the image"
            ) from None


def _first_line(text: str) -> str:
    return re.split(r"[\r\n]", text, maxsplit=1)[0]


def _delimiter(header: str) -> str:
    return "\t" if "\t" in header else ","
