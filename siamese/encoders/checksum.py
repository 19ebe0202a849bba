"""What a file of weights is told by."""

import hashlib
from pathlib import Path

from siamese.errors import WeightsError


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in lower-case hexadecimal.

    Raises:
        WeightsError: the file cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"weights {path}: cannot be read ({error.strerror}); check its permissions") from error
