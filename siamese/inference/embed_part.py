"""A part of a corpus: some thousand images, embedded in one go and kept as a Parquet file that says what it is of."""

import json
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from siamese.atomic import atomic_path
from siamese.images.loader import Outcome

# Embeds files, and says after each batch how many they were: vectors (N, D) and outcomes.
EmbedFiles = Callable[[Sequence[Path], Callable[[int], object]], tuple[NDArray[np.float32], list[Outcome]]]

TEXT_COLUMNS = ("path", "identity", "status", "detail")
# Why there is no vector of an image that could be read.
NO_NUMBERS = "the model makes no numbers of it"
# Beside the table itself: what it is a part of, and which files it was made from.
METADATA_KEY = b"siamese.part"
# Vectors hardly repeat: looking for values that do costs time and finds none.
WRITING: dict[str, Any] = {"use_dictionary": ["identity", "status", "detail"], "write_page_checksum": True}


@dataclass(frozen=True)
class PartDone:
    """One part of a corpus, as it lies on the disk.

    Attributes:
        number: from 0.
        images: rows.
        failed: rows without an embedding.
    """

    number: int
    images: int
    failed: int


def schema_of(dimensions: int) -> pa.Schema:
    """Columns of embeddings of that width."""
    texts = [(name, pa.string()) for name in TEXT_COLUMNS]
    return pa.schema([*texts, ("embedding", pa.list_(pa.float32(), dimensions))])


def part_name(number: int) -> str:
    """Name of the file of a part."""
    return f"part-{number:05d}.parquet"


def embed_part(
    embed: EmbedFiles, images: pa.Table, folder: Path, number: int, run: str, advance: Callable[[int], object] = int
) -> PartDone:
    """Embed the images of a part and write them, whole or not at all.

    Args:
        embed: the model.
        images: columns `path`, `file` and `identity`.
        folder: to write into.
        number: of the part, from 0.
        run: what tells this run from others; kept in the file.
        advance: called with the number of images after each batch.

    Raises:
        OSError: the file cannot be written.
    """
    files = images.column("file").to_pylist()
    stamps = stamps_of(files)  # before they are read: a file that changes meanwhile counts as changed
    vectors, outcomes = embed([Path(file) for file in files], advance)
    table = to_table(images, vectors, outcomes)
    about = json.dumps({"run": run, "part": number, "files": stamps})
    table = table.replace_schema_metadata({METADATA_KEY: about.encode()})
    with atomic_path(folder / part_name(number)) as temporary:
        pq.write_table(table, temporary, row_group_size=max(1, table.num_rows), **WRITING)
        force_to_disk(temporary)
    return PartDone(number, table.num_rows, table.column("embedding").null_count)


def to_table(images: pa.Table, vectors: NDArray[np.float32], outcomes: Sequence[Outcome]) -> pa.Table:
    """Names, outcomes and vectors (N, D) as one table; no vector where none was made, or it holds no numbers."""
    count, dimensions = vectors.shape
    embedded = np.array([outcome.status == "ok" for outcome in outcomes], dtype=bool)
    finite = np.isfinite(vectors).all(axis=1)
    status = np.array([outcome.status for outcome in outcomes], dtype=object)
    detail = np.array([outcome.detail for outcome in outcomes], dtype=object)
    status[~finite], detail[~finite] = "unreadable", NO_NUMBERS
    values = pa.array(np.ascontiguousarray(vectors).reshape(-1))
    mask = pa.array(~(embedded & finite)) if count else None
    columns = [
        images.column("path").combine_chunks(),
        images.column("identity").combine_chunks(),
        pa.array(status, pa.string()),
        pa.array(detail, pa.string()),
        pa.FixedSizeListArray.from_arrays(values, dimensions, mask=mask),
    ]
    return pa.Table.from_arrays(columns, schema=schema_of(dimensions))


def check_part(folder: Path, number: int, run: str, images: pa.Table) -> PartDone | str:
    """Whether a part is there, whole, of this run, and of the files as they are now.

    Returns:
        What is in it, or in words why it does not count.
    """
    try:
        file = pq.ParquetFile(folder / part_name(number), page_checksum_verification=True)
        about = json.loads((file.schema_arrow.metadata or {}).get(METADATA_KEY, b"{}"))
        table = file.read()  # every column: their checksums are what is looked at
    except FileNotFoundError:
        return "is not there"
    except (pa.ArrowException, OSError, ValueError):
        return "is damaged"
    if about.get("run") != run or about.get("part") != number or table.num_rows != images.num_rows:
        return "is of another run"
    if not _has_schema(table):  # the footer of a Parquet file has no checksum
        return "is damaged"
    if not table.column("path").equals(images.column("path")):
        return "is of other images"
    if about.get("files") != stamps_of(images.column("file").to_pylist()):
        return "is of images that have changed since"
    return PartDone(number, table.num_rows, table.column("embedding").null_count)


def _has_schema(table: pa.Table) -> bool:
    width = getattr(table.schema.types[-1], "list_size", 0)
    return bool(table.schema.remove_metadata().equals(schema_of(width)))


def stamps_of(files: Sequence[str]) -> str:
    """One digest of size and times of all files; one that is not there has a stamp too, until it appears."""
    digest = blake2b(digest_size=16)
    for file in files:
        try:
            status = os.stat(file)  # noqa: PTH116 - a Path takes as long again
            digest.update(struct.pack("<3q", status.st_size, status.st_mtime_ns, status.st_ctime_ns))
        except (OSError, ValueError):  # ValueError: a NUL in the name
            digest.update(b"missing")
    return digest.hexdigest()


def force_to_disk(path: Path) -> None:
    """Wait until what was written is on the disk: after a power cut a file is then whole, or not there."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
