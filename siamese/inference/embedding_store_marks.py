"""What tells whether the file of an embedded image is still the one it was."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from siamese.errors import ImageError
from siamese.images.decode import read_file
from siamese.images.fingerprint import SIZE, digest_of, stamp_of

_NONE = bytes(SIZE)


@dataclass(frozen=True)
class FileMark:
    """A file as it was when it was read.

    Attributes:
        stamp: of `stamp_of`; zeros for a file that could yet change unseen.
        digest: of the content; zeros for a file that cannot be read.
    """

    stamp: bytes
    digest: bytes

    @classmethod
    def of(cls, path: Path) -> "FileMark":
        """The mark of a file now."""
        stamp = stamp_of(path) or _NONE
        return cls(stamp, _digest(path))

    def confirmed(self, path: Path) -> "FileMark":
        """The mark after the file was read once more: without its stamp if it changed meanwhile."""
        return self if self.stamp == (stamp_of(path) or _NONE) else FileMark(_NONE, self.digest)


def holds(path: Path, record: np.void) -> bool | FileMark:
    """Whether a file is still what its record says; by its stamp, else by its content, which gives its new mark."""
    stamp = stamp_of(path)
    if stamp is not None and stamp == record["stamp"].tobytes():
        return True
    digest = _digest(path)
    if digest == _NONE or digest != record["digest"].tobytes():
        return False
    return FileMark(stamp or _NONE, digest)


def _digest(path: Path) -> bytes:
    try:
        return digest_of(read_file(path))
    except ImageError:
        return _NONE
