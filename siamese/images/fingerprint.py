"""What tells files apart: a digest of the content, and a stamp that says whether a file is still the one it was."""

import os
import struct
import time
from hashlib import blake2b
from pathlib import Path

# Bytes of both: two of 10^9 files agree by chance with a probability of 10^-21.
SIZE = 16
# Seconds after which a file is taken to have settled: within the resolution of its times it may change unseen.
SETTLED = 2.0


def digest_of(data: bytes) -> bytes:
    """The digest of a content."""
    return blake2b(data, digest_size=SIZE).digest()


def stamp_of(path: Path) -> bytes | None:
    """The stamp of a file, of its path, size, times and number; None if it is not there, or may yet change unseen."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return None
    # Negative where a clock is wrong: then nothing is certain.
    if time.time() - max(status.st_mtime, status.st_ctime) < SETTLED:
        return None
    numbers = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev)
    name = os.fsencode(os.path.abspath(path))  # noqa: PTH100 - `absolute` keeps `..`
    return digest_of(struct.pack("<5Q", *(number & (2**64 - 1) for number in numbers)) + name)
