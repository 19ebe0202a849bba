"""Pair files read in blocks of rows, so that memory need not hold them: CSV and TSV with a header, and Parquet.

The other forms are small by their nature (the protocols of benchmarks, lists, files that bring their images): they
are read whole and given out in blocks like the others.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from siamese.errors import PairFileError
from siamese.inference.pair_source import open_pairs
from siamese.inference.pair_stream_check import check_block, checked_table
from siamese.inference.pair_stream_labels import LabelColumn
from siamese.inference.pair_stream_raw import parquet_blocks, streamable, text_blocks
from siamese.pairing.content import Content
from siamese.pairing.face_bin import is_bin
from siamese.pairing.file_rows import FileRows
from siamese.pairing.rows import row_names
from siamese.pairing.table_columns import PAIR_COLUMNS, require_columns

if TYPE_CHECKING:
    import pandas as pd

# Rows of a block of a table that is in memory already.
ROWS = 2**18


class PairStream(Protocol):
    """The rows of a pair file, as often as they are asked for."""

    def blocks(self) -> Iterator[FileRows]:
        """Checked pair tables (see `check_block`) that make up the file, in its order, none empty.

        Rows are counted through all blocks, and messages of a block name the rows of the file.

        Raises:
            PairFileError: a row is malformed, or the file was changed since it was opened.
        """


class WholePairs:
    """A checked pair table that is in memory, in blocks."""

    def __init__(self, frame: "pd.DataFrame") -> None:
        self._table, self._names = checked_table(frame), row_names(frame)

    def blocks(self) -> Iterator[FileRows]:
        """See `PairStream`."""
        for start in range(0, len(self._table), ROWS):
            yield FileRows(self._table.slice(start, ROWS), start, self._names)


class StreamedPairs:
    """A pair file that is read block by block, each time anew.

    Args:
        content: what it holds: text with a header, or Parquet.
        same_label: the value of the label column that means same; None: 1 or true.
    """

    def __init__(self, content: Content, same_label: str | None) -> None:
        self._content, self._same_label = content, same_label
        self._stamp = _stamp(content.path)
        require_columns(content.columns, PAIR_COLUMNS[:2], str(content.path))

    def blocks(self) -> Iterator[FileRows]:
        """See `PairStream`."""
        content, where = self._content, str(self._content.path)
        if _stamp(content.path) != self._stamp:
            raise PairFileError(f"{where}: was changed while it was being read; give the command again")
        renamed, label = content.renamed, LabelColumn(where, self._same_label)
        rows = 0
        for raw in parquet_blocks(content) if content.form == "parquet" else text_blocks(content):
            names = [renamed.get(name, name) for name in raw.table.column_names]
            block = FileRows(raw.table.rename_columns(names), raw.begun, raw.names)
            rows += len(block)
            yield check_block(label.read(block), where)
        if not rows:
            below = " below its header" if content.form == "named" else ""
            raise PairFileError(f"{where}: has columns but no rows{below}")
        label.check_found()


@contextmanager
def open_pair_stream(
    path: Path, root: Path | None, *, same_label: str | None = None
) -> Iterator[tuple[PairStream, Path]]:
    """The rows of a pair file in any form, labelled or not, and what their paths are relative to.

    Args:
        path: the pair file, or a `.bin` file, whose images are unpacked into a temporary folder meanwhile.
        root: what relative paths start from; None for the file's own folder.
        same_label: the value of the label column that means same; None: 1 or true.

    Raises:
        PairFileError: the file is missing, malformed or of no known form; rows are read later.
        OptionError: a root or a label for a file that has its own.
    """
    content = None if is_bin(path) else streamable(path)
    if content is not None:
        yield StreamedPairs(content, same_label), root if root is not None else path.parent
        return
    with open_pairs(path, root, same_label=same_label, need_same=False) as (frame, base):
        yield WholePairs(frame), base


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns
