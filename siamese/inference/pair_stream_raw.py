"""Blocks of rows of a text file with a header, or of a Parquet file, cells as the file has them."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from siamese.errors import PairFileError
from siamese.pairing.content import Content, recognise
from siamese.pairing.delimited import Separator, first_line, split_line
from siamese.pairing.lfw import is_lfw
from siamese.pairing.rows import remember_rows

# Bytes of text that Arrow reads at a time, how many of these make a block, and the rows of a block of Parquet. Arrow
# reads up to 32 of its blocks ahead.
TEXT_BLOCK, TEXT_BLOCKS, PARQUET_ROWS = 2**22, 4, 2**18
# Bytes that tell what a text file is.
_HEAD = 2**20
_SEPARATORS: tuple[Separator, ...] = ("\t", ",", ";")
_SIDES = {"left", "right"}
# In a block without gaps a column of whole numbers would have another type than in one with them.
_NULLABLE = {
    pa.bool_(): pd.BooleanDtype(),
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
}


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


def text_blocks(content: Content) -> Iterator[pd.DataFrame]:
    """Every cell as text, rows without any value skipped; the index counts through all blocks.

    Raises:
        PairFileError: a row has more or fewer cells than the others, or a byte is not UTF-8.
    """
    read, begun, skipped = 0, 0, list[int]()
    batches = _text_batches(content, _BadRows())
    while some := list(islice(batches, TEXT_BLOCKS)):
        frame: pd.DataFrame = pa.Table.from_batches(some).to_pandas()
        blank = _blank_rows(frame)
        # The header is the first line.
        skipped += (np.flatnonzero(blank) + begun + 2).tolist()
        begun += len(frame)
        frame = frame[~blank].reset_index(drop=True) if blank.any() else frame
        frame.index = pd.RangeIndex(read, read + len(frame))
        remember_rows(frame, "line", 2, skipped)
        read += len(frame)
        if len(frame):
            yield frame


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
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
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


def _blank_rows(frame: pd.DataFrame) -> Any:
    blank = (frame.iloc[:, 0] == "").to_numpy(dtype=bool)
    return (frame == "").all(axis=1).to_numpy(dtype=bool) if blank.any() else blank


def parquet_types(path: Path) -> Mapping[str, Any]:
    """The Arrow types of the columns, of dictionaries those of their values.

    Raises:
        PairFileError: it is no whole Parquet file.
    """
    try:
        schema = parquet.read_schema(path)
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from None
    return {field.name: _plain(field.type) for field in schema}


def parquet_blocks(content: Content) -> Iterator[pd.DataFrame]:
    """Every column, dictionary-encoded text as plain text; whole numbers and truth values as nullable types.

    Raises:
        PairFileError: it is no whole Parquet file.
    """
    path, read = content.path, 0
    try:
        with parquet.ParquetFile(path, buffer_size=2**20, pre_buffer=False) as file:
            for batch in file.iter_batches(PARQUET_ROWS):
                table = pa.Table.from_batches([batch])
                table = table.cast(
                    pa.schema([field.with_type(_plain(field.type)) for field in table.schema], table.schema.metadata)
                )
                frame: pd.DataFrame = table.to_pandas(types_mapper=_NULLABLE.get).reset_index(drop=True)
                frame.index = pd.RangeIndex(read, read + len(frame))
                remember_rows(frame, "row", 1)
                read += len(frame)
                if len(frame):
                    yield frame
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from None


def _plain(kind: Any) -> Any:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _broken(path: Path, error: Exception) -> PairFileError:
    reason = (str(error).splitlines() or [""])[0]
    return PairFileError(f"{path}: is no whole Parquet file ({reason}); write it again")
