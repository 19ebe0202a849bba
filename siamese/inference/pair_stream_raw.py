"""Blocks of rows of a text file with a header, or of a Parquet file, cells as the file has them."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from siamese.errors import PairFileError
from siamese.pairing.content import Content, recognise
from siamese.pairing.delimited import Separator, blank_rows, first_line, split_line
from siamese.pairing.file_rows import FileRows
from siamese.pairing.lfw import is_lfw
from siamese.pairing.rows import RowNames

# Bytes of text that Arrow reads at a time, how many of these make a block, and the rows of a block of Parquet. Arrow
# reads up to 32 of its blocks ahead.
TEXT_BLOCK, TEXT_BLOCKS, PARQUET_ROWS = 2**22, 4, 2**18
# Bytes that tell what a text file is.
_HEAD = 2**20
_SEPARATORS: tuple[Separator, ...] = ("\t", ",", ";")
_SIDES = {"left", "right"}


def streamable(path: Path) -> Content | None:
    """What a file holds if it can be read in blocks, told by its beginning; None for any other.

    Raises:
        PairFileError: a Parquet file that is damaged, or columns of which two could be the same one.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError):  # to be named by whoever reads it whole
        return None
    if head.startswith(b"PAR1"):
        content = recognise(path)
        return content if set(content.columns) >= _SIDES else None
    return _named(path, head, whole=len(head) < _HEAD)


def _named(path: Path, head: bytes, *, whole: bool) -> Content | None:
    # What is cut off may be half a character.
    data = head if whole else head[: max(head.rfind(b"\n"), 0)]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    line = first_line(text)
    if "\0" in text or is_lfw(text) or not text[len(line) :].strip():
        return None
    for separator in _SEPARATORS:
        content = Content(path, "named", "", separator, tuple(split_line(line, separator)))
        if set(content.columns) >= _SIDES:
            return content
    return None


def text_blocks(content: Content) -> Iterator[FileRows]:
    """Every cell as text, rows without any value skipped; rows are counted through all blocks.

    Raises:
        PairFileError: a row has more or fewer cells than the others, or a byte is not UTF-8.
    """
    read, begun, skipped = 0, 0, list[int]()
    names = RowNames("line", 2, skipped)  # the header is the first line
    batches = _text_batches(content, _BadRows())
    while some := list(islice(batches, TEXT_BLOCKS)):
        table = pa.Table.from_batches(some).combine_chunks()
        blank = blank_rows(table)
        skipped += (np.flatnonzero(blank) + begun + 2).tolist()
        begun += len(table)
        rows = FileRows(table.filter(pa.array(~blank)) if blank.any() else table, read, names)
        read += len(rows)
        if len(rows):
            yield rows


class _BadRows:
    """Notes the rows that have another number of cells."""

    def __init__(self) -> None:
        self.found: list[tuple[int, int]] = []

    def __call__(self, row: arrow_csv.InvalidRow) -> str:
        self.found.append((row.number, row.actual_columns))
        return "error"


def _text_batches(content: Content, bad: _BadRows) -> Iterator[pa.RecordBatch]:
    names = list(content.names)
    try:
        yield from arrow_csv.open_csv(
            content.path,
            # One thread: row numbers are known.
            read_options=arrow_csv.ReadOptions(use_threads=False, block_size=TEXT_BLOCK),
            parse_options=arrow_csv.ParseOptions(
                delimiter=content.separator,
                newlines_in_values=True,
                ignore_empty_lines=False,
                invalid_row_handler=bad,
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.large_string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        _refuse(content, bad, error)


def _refuse(content: Content, bad: _BadRows, error: pa.ArrowInvalid) -> NoReturn:
    where = str(content.path)
    if bad.found:
        number, cells = bad.found[0]
        raise PairFileError(
            f"{where} line {number}: {cells} cell{'s' if cells != 1 else ''}, but the header has "
            f"{len(content.names)}; quote paths that hold the separator"
        ) from None
    _check_utf8(content.path)
    raise PairFileError(f"{where}: cannot be read as CSV: {str(error).splitlines()[0]}") from None


def _check_utf8(path: Path) -> None:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):  # only a file that was refused is read so
            try:
                line.decode()
            except UnicodeDecodeError as failure:
                found = f"byte 0x{line[failure.start]:02x} is not UTF-8"
                raise PairFileError(f"{path} line {number}: {found}; save the file as UTF-8") from None


def parquet_blocks(content: Content) -> Iterator[FileRows]:
    """Every column that is no index of pandas; dictionary-encoded values as plain ones, what is no number as missing.

    Raises:
        PairFileError: it is no whole Parquet file.
    """
    path, read, names = content.path, 0, RowNames("row", 1)
    try:
        with parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
            for batch in file.iter_batches(PARQUET_ROWS):
                rows = FileRows(_plain_table(batch), read, names)
                read += len(rows)
                if len(rows):
                    yield rows
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from None


def _plain_table(batch: pa.RecordBatch) -> pa.Table:
    about = batch.schema.pandas_metadata or {}
    index = [name for name in about.get("index_columns", []) if isinstance(name, str)]
    columns = {
        name: _plain(column)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
        if name not in index
    }
    return pa.table(columns)


def _plain(column: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_float32(column.type) or pa.types.is_float64(column.type):
        number = pc.invert(pc.is_nan(column))
        return column if pc.all(number).as_py() else pc.if_else(number, column, pa.scalar(None, column.type))
    return column


def _broken(path: Path, error: Exception) -> PairFileError:
    reason = (str(error).splitlines() or [""])[0]
    return PairFileError(f"{path}: is no whole Parquet file ({reason}); write it again")
