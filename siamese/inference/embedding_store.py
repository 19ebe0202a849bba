"""Embeddings that lie in a folder, a row to an image: written as they come, mapped for reading, kept if a run ends.

`images.parquet` holds the names in the order of rows; `vectors` rows of float32; `records` of each row what happened
to its image, what tells whether the file is still the same, and a checksum; `failures` the reasons of those that
failed, a line of JSON each. A row counts only if its checksum is right: nothing that a killed run left half written,
or that a disk lost, is ever taken for an embedding.
"""

import errno
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from siamese.atomic import atomic_path
from siamese.errors import DataError
from siamese.images.cache import reserve
from siamese.images.loader import Outcome, Status
from siamese.inference.embedding_store_files import (
    RECORD,
    append_failures,
    opened,
    read_failures,
    read_names,
    read_records,
    write_all,
)
from siamese.inference.embedding_store_marks import FileMark

STATUSES: tuple[Status, ...] = ("ok", "no_face", "unreadable")
# What a record's `status` holds: nothing yet, or the number of the status counted from 1.
NOTHING, OK = 0, 1
# What of a record is in its checksum, beside the vector.
_ABOUT = RECORD.fields["checksum"][1] if RECORD.fields else 0
NAMES, VECTORS, RECORDS, FAILURES = "images.parquet", "vectors", "records", "failures"
FILES = (NAMES, VECTORS, RECORDS, FAILURES)
# No room: on the disk, for this user, for one file.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class EmbeddingStore:
    """Embeddings of images by name; what is in the folder already is taken up.

    One process at a time may write. Memory holds the names and a record of 37 bytes an image; vectors stay on the
    disk, and what of them is in memory is the system's cache.

    Args:
        folder: where it is; made by the caller, and of the same model and preparation of images as before.
        dimensions: width of an embedding.

    Attributes:
        names: the images, an Arrow array of text; the order is that of rows.
        records: of each row, an array of `RECORD`.
        failures: of each row whose status is not `ok`, what happened.

    Raises:
        OSError: a file cannot be read.
    """

    def __init__(self, folder: Path, dimensions: int) -> None:
        self.folder, self.dimensions = folder, dimensions
        self.names: pa.Array = read_names(folder / NAMES)
        self.records = read_records(folder / RECORDS, len(self.names))
        self.failures = read_failures(folder / FAILURES)
        self._forget_damaged()

    def __len__(self) -> int:
        """How many images have a row."""
        return len(self.names)

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Which rows hold an embedding, shape (M,)."""
        return np.asarray(self.records["status"] == OK)

    @property
    def vectors(self) -> NDArray[np.float32]:
        """All rows, shape (M, D), mapped for reading; those that are not `usable` hold anything."""
        if not len(self):
            return np.zeros((0, self.dimensions), np.float32)
        return np.memmap(self.folder / VECTORS, np.float32, "r", shape=(len(self), self.dimensions))

    def extend(self, names: pa.Array) -> None:
        """Give more images a row, and take room for all rows on the disk.

        Args:
            names: all of them, those that have a row already first.

        Raises:
            DataError: the disk has no room; the store stays what it was.
            OSError: it cannot be written.
        """
        size = len(names) * self.dimensions * np.dtype(np.float32).itemsize
        with opened(self.folder / VECTORS) as file:
            before = os.fstat(file).st_size
            if before < size:
                try:
                    reserve(file, size)
                except OSError as error:
                    os.ftruncate(file, before)  # a full disk needs the room more than anyone needs a part of it
                    raise _no_room(self.folder, size, len(names), error) from error
        if len(names) > len(self.names) or not (self.folder / NAMES).exists():
            with atomic_path(self.folder / NAMES) as temporary:
                parquet.write_table(pa.table({"image": names}), temporary, write_statistics=False)
            more = len(names) - len(self.names)
            self.names, self.records = names, np.concatenate([self.records, np.zeros(more, RECORD)])

    def put(
        self,
        rows: NDArray[np.int64],
        vectors: NDArray[np.float32],
        outcomes: Sequence[Outcome],
        marks: Sequence[FileMark],
    ) -> None:
        """Write rows, their records last.

        Args:
            rows: ascending, shape (N,).
            vectors: shape (N, D); zero where the outcome is not `ok`.
            outcomes: of each.
            marks: of each image's file, as it was when it was read.

        Raises:
            OSError: it cannot be written; the rows then count as not there.
        """
        records = np.zeros(len(rows), RECORD)
        records["stamp"] = np.array([np.void(mark.stamp) for mark in marks], "V16")
        records["digest"] = np.array([np.void(mark.digest) for mark in marks], "V16")
        records["status"] = [1 + STATUSES.index(outcome.status) for outcome in outcomes]
        vectors = np.ascontiguousarray(vectors, np.float32)
        records["checksum"] = checksums(vectors, records)
        self._write(VECTORS, rows, vectors)
        failed = {int(row): outcome for row, outcome in zip(rows, outcomes, strict=True) if outcome.status != "ok"}
        if failed:
            append_failures(self.folder / FAILURES, failed)
        self._write(RECORDS, rows, records)
        self.records[rows] = records
        self.failures |= failed

    def forget(self, rows: NDArray[np.int64]) -> None:
        """Take no notice of rows any more: their files have changed."""
        self.records[rows] = np.zeros(1, RECORD)
        if self.failures:
            status = self.records["status"]
            self.failures = {row: what for row, what in self.failures.items() if status[row] > OK}

    def renew(self, row: int, mark: FileMark) -> None:
        """Note that the content of a row's file is what it was, though its stamp is not."""
        record = self.records[row : row + 1]
        record["stamp"] = np.void(mark.stamp)
        record["checksum"] = checksums(self.vectors[row : row + 1], record)
        self._write(RECORDS, np.array([row], np.int64), record)

    def _forget_damaged(self) -> None:
        self.failures = {row: what for row, what in self.failures.items() if row < len(self)}
        vectors, status = self._vectors_there(), self.records["status"]
        sound = np.zeros(len(self), bool)
        sound[: len(vectors)] = self.records["checksum"][: len(vectors)] == checksums(vectors, self.records, status)
        sound &= (status == OK) | np.isin(np.arange(len(self)), list(self.failures))
        self.forget(np.flatnonzero(~sound))

    def _vectors_there(self) -> NDArray[np.float32]:
        """The rows that the file holds, of those that have a name."""
        width = self.dimensions * np.dtype(np.float32).itemsize
        try:
            rows = min((self.folder / VECTORS).stat().st_size // width, len(self))
        except FileNotFoundError:
            rows = 0
        if not rows:
            return np.zeros((0, self.dimensions), np.float32)
        return np.memmap(self.folder / VECTORS, np.float32, "r", shape=(rows, self.dimensions))

    def _write(self, name: str, rows: NDArray[np.int64], items: NDArray[np.generic]) -> None:
        width = items.nbytes // len(items)
        with opened(self.folder / name) as file:
            for run in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(rows) != 1) + 1):
                # Written, not mapped: a process that finds the disk full behind a map is ended by the system.
                write_all(file, items[run].tobytes(), int(rows[run[0]]) * width)


def checksums(
    vectors: NDArray[np.float32], records: NDArray[np.void], wanted: NDArray[np.generic] | None = None
) -> NDArray[np.uint32]:
    """Of rows: each one's vector, its file's mark and its status, as CRC-32.

    Args:
        vectors: shape (N, D).
        records: of the same rows; more at the end are not looked at.
        wanted: where it is zero nothing is read; None reads all.

    Returns:
        Shape (N,); 0 where nothing was read.
    """
    rows = np.flatnonzero(np.ones(len(vectors)) if wanted is None else wanted[: len(vectors)])
    data, width, plain = records.tobytes(), RECORD.itemsize, np.asarray(vectors)
    found = np.zeros(len(vectors), np.uint32)
    found[rows] = [
        zlib.crc32(data[row * width : row * width + _ABOUT], zlib.crc32(plain[row].tobytes()))
        for row in rows.tolist()
    ]
    return found


def _no_room(folder: Path, size: int, images: int, error: OSError) -> Exception:
    if error.errno not in FULL:
        return error
    need = f"{size / 1e9:.3g} GB for the embeddings of {images:,} image{'s' if images != 1 else ''}"
    return DataError(
        f"{folder}: no room for {need} ({error.strerror}); free some, or give -o a file on a disk that has it"
    )
