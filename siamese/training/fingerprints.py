"""Fingerprints of the data of a run: equal where the data is the same, wherever it lies, at a bounded cost."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from siamese.errors import DataError

# Bytes and files of images that are read for their content: seconds at most, and all of LFW.
CONTENT_LIMIT, FILES_LIMIT = 256_000_000, 20_000


class ImagesFingerprint(BaseModel):
    """What tells one set of images from another.

    Attributes:
        images: how many there are, each path once.
        missing: how many of them could not be found.
        bytes: of all files together.
        names: SHA-256 over the sorted paths, relative to the root, with the sizes of the files.
        content: SHA-256 over the bytes of `read` of the files, in the order of their paths.
        read: how many files that is: all where they are few, else every k-th.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    images: int
    missing: int
    bytes: int
    names: str
    content: str
    read: int


def fingerprint_images(
    root: Path, paths: Sequence[str], limit: int = CONTENT_LIMIT, files_limit: int = FILES_LIMIT
) -> ImagesFingerprint:
    """Fingerprint images by path, size and, as far as a bounded time allows, content.

    Times and inodes are left out on purpose: a copy of the data on another machine has the same fingerprint. A file
    that is changed without changing its size may go unnoticed where only every k-th is read.

    Args:
        root: the folder that paths are relative to.
        paths: of the images, in any order; each counts once.
        limit: bytes of content to read, about; at least one file is read.
        files_limit: the most files to read, about.
    """
    names = sorted(set(paths))
    sizes = np.fromiter((_size(root, name) for name in names), np.int64, len(names))
    digest = hashlib.sha256()
    # A NUL is in no path, so no two different sets give the same bytes.
    digest.update("\0".join(names).encode("utf-8", "surrogateescape") + b"\0" + sizes.astype("<i8").tobytes())
    total = int(sizes.clip(0).sum())
    there = np.flatnonzero(sizes >= 0)
    read = there[:: max(1, -(-total // limit), -(-len(there) // files_limit))]
    return ImagesFingerprint(
        images=len(names),
        missing=len(names) - len(there),
        bytes=total,
        names=digest.hexdigest(),
        content=_content(root, [names[row] for row in read]),
        read=len(read),
    )


def fingerprint_file(path: Path) -> str:
    """SHA-256 of a file, in lower-case hexadecimal.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check that it is there and permitted") from error


def _size(root: Path, name: str) -> int:
    try:
        return os.stat(os.path.join(root, name)).st_size  # noqa: PTH116, PTH118 - a third of the time of pathlib
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return -1


def _content(root: Path, names: list[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        try:
            data = (root / name).read_bytes()
        except OSError:
            data = b""  # gone since it was measured: then the content is another one, too
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
