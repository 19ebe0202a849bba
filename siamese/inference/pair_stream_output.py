"""Tables that are written block by block, as CSV or Parquet."""

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from siamese.errors import PairFileError
from siamese.pairing.table import PAIR_KNOWN


class TableWriter(Protocol):
    """Takes the blocks of a table, in order."""

    def write(self, frame: pd.DataFrame) -> None:
        """Write a block; all have the same columns.

        Raises:
            PairFileError: text that is not Unicode.
            OSError: it cannot be written.
        """


@contextmanager
def table_writer(path: Path, suffix: str, types: Mapping[str, Any], where: Path) -> Iterator[TableWriter]:
    """A writer of a new file, closed at the end.

    Args:
        path: the file that is written.
        suffix: `.parquet`; anything else is CSV: UTF-8, newline `\\n`, truth values of our columns as 1 and 0.
        types: Arrow types of columns, for Parquet: a first block may not tell them.
        where: what messages name.
    """
    if suffix.lower() == ".parquet":
        writer = _ParquetWriter(path, types)
        try:
            yield writer
        finally:
            writer.close()
        return
    with path.open("w", encoding="utf-8", newline="") as file:
        yield _CsvWriter(file, where)


class _CsvWriter:
    def __init__(self, file: TextIO, where: Path) -> None:
        self._file, self._where, self._begun = file, where, False

    def write(self, frame: pd.DataFrame) -> None:
        numbers = {name: frame[name].astype("Int64") for name in ("same", "same_predicted") if name in frame.columns}
        try:
            frame.assign(**numbers).to_csv(
                self._file, header=not self._begun, index=False, lineterminator="\n", quoting=_quoting(frame)
            )
        except UnicodeEncodeError as error:
            raise PairFileError(
                f"{self._where}: {error.object[:200]!r} cannot be written as UTF-8; rename the image"
            ) from None
        self._begun = True


def _quoting(frame: pd.DataFrame) -> Literal[0, 2]:
    """Quotes where they are needed; everywhere if a text holds a carriage return, which the writer does not see."""
    texts = [frame[name] for name in frame.columns if pd.api.types.is_string_dtype(frame[name].dtype)]
    if any(bool(text.str.contains("\r", regex=False, na=False).any()) for text in texts):
        return csv.QUOTE_NONNUMERIC
    return csv.QUOTE_MINIMAL


class _ParquetWriter:
    def __init__(self, path: Path, types: Mapping[str, Any]) -> None:
        self._path, self._types = path, types
        self._schema: pa.Schema = None
        self._writer: parquet.ParquetWriter = None

    def write(self, frame: pd.DataFrame) -> None:
        if self._writer is None:
            self._schema = self._told(pa.Schema.from_pandas(frame, preserve_index=False))
            # Least and greatest value of each column: comparing paths takes longer than all the rest.
            self._writer = parquet.ParquetWriter(self._path, self._schema, write_statistics=False)
        self._writer.write_table(pa.Table.from_pandas(frame, self._schema, preserve_index=False))

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _told(self, schema: pa.Schema) -> pa.Schema:
        fields = [
            field.with_type(self._types[field.name])
            if field.name in self._types and field.name not in PAIR_KNOWN
            else field.with_type(pa.large_string())
            if pa.types.is_null(field.type)
            else field
            for field in schema
        ]
        return pa.schema(fields, schema.metadata)
