"""The files of an embedding store, read and written: what is missing or damaged in them counts as not there."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import parquet

from siamese.images.loader import Outcome

# Of each image: the mark of its file, what happened, and a checksum of these and of its vector.
RECORD = np.dtype([("stamp", "V16"), ("digest", "V16"), ("status", "u1"), ("checksum", "<u4")])


def write_all(file: int, data: bytes, offset: int) -> None:
    """Write all of `data` at `offset`.

    Raises:
        OSError: it cannot be written.
    """
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, offset)
        view, offset = view[written:], offset + written


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """A file open for writing in place, made if need be."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield file
    finally:
        os.close(file)


def read_names(path: Path) -> pa.Array:
    """The names of images, none where the file is missing or damaged."""
    try:
        with parquet.ParquetFile(path) as file:  # `read_table` imports what reads whole data sets
            column = file.read(["image"]).column("image")
        return pa.concat_arrays([pa.array([], pa.large_string()), *column.cast(pa.large_string()).chunks])
    except (FileNotFoundError, pa.ArrowException, KeyError):
        return pa.array([], pa.large_string())


def read_records(path: Path, rows: int) -> NDArray[np.void]:
    """The records of so many rows; zero where the file has none."""
    records = np.zeros(rows, RECORD)
    with suppress(FileNotFoundError):
        data = path.read_bytes()
        found = np.frombuffer(data, RECORD, min(len(data) // RECORD.itemsize, rows))
        records[: len(found)] = found
    return records


def read_failures(path: Path) -> dict[int, Outcome]:
    """What happened to images that failed, by their rows."""
    found: dict[int, Outcome] = {}
    with suppress(FileNotFoundError):
        for line in path.read_bytes().splitlines():
            with suppress(ValueError, KeyError, TypeError):  # the last line of a killed run
                item = json.loads(line)
                found[int(item["row"])] = Outcome(item["status"], item["detail"], faces=item["faces"])
    return found


def append_failures(path: Path, failed: dict[int, Outcome]) -> None:
    """Add what happened to images that failed.

    Raises:
        OSError: it cannot be written.
    """
    lines = [
        json.dumps({"row": row, "status": what.status, "detail": what.detail, "faces": what.faces})
        for row, what in failed.items()
    ]
    # A line of its own first: that of a killed run may have no end.
    with path.open("ab") as file:
        file.write(("\n" + "\n".join(lines) + "\n").encode())
