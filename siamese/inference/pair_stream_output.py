"""Tables that are written block by block, as CSV or Parquet."""

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from siamese.inference.csv_text import csv_lines, header_line, holds, is_plain
from siamese.pairing.file_rows import as_frame

_LABELS = ("same", "same_predicted")


class TableWriter(Protocol):
    """Takes the blocks of a table, in order."""

    def write(self, table: pa.Table) -> None:
        """Write a block; all have the same columns, of the same types.

        Raises:
            OSError: it cannot be written.
        """


@contextmanager
def table_writer(path: Path, suffix: str) -> Iterator[TableWriter]:
    """A writer of a new file, closed at the end.

    Args:
        path: the file that is written.
        suffix: `.parquet`; anything else is CSV: UTF-8, newline `\\n`, truth values of our columns as 1 and 0.
    """
    if suffix.lower() == ".parquet":
        writer = _ParquetWriter(path)
        try:
            yield writer
        finally:
            writer.close()
        return
    with path.open("wb") as file:
        yield _CsvWriter(file)


class _CsvWriter:
    def __init__(self, file: BinaryIO) -> None:
        self._file, self._begun = file, False

    def write(self, table: pa.Table) -> None:
        for name in _LABELS:
            if name in table.column_names:
                place = table.column_names.index(name)
                table = table.set_column(place, name, pc.cast(table.column(name), pa.int64()))
        # Where a text holds a carriage return, all texts are quoted.
        if is_plain(table) and not holds(table, "\r"):
            if not self._begun:
                self._file.write(header_line(table.column_names))
            self._file.write(csv_lines(table))
        else:
            self._file.write(_by_pandas(table, header=not self._begun))
        self._begun = True


def _by_pandas(table: pa.Table, *, header: bool) -> bytes:
    """CSV of times, lists and other things of which pandas has a form; or of texts that all need quotes."""
    frame: Any = as_frame(table)
    text = io.StringIO()
    frame.to_csv(
        text,
        header=header,
        index=False,
        lineterminator="\n",
        quoting=csv.QUOTE_NONNUMERIC if holds(table, "\r") else csv.QUOTE_MINIMAL,
    )
    return text.getvalue().encode()


class _ParquetWriter:
    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: parquet.ParquetWriter = None

    def write(self, table: pa.Table) -> None:
        if self._writer is None:
            # Least and greatest value of each column: comparing paths takes longer than all the rest.
            self._writer = parquet.ParquetWriter(self._path, table.schema, write_statistics=False)
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
