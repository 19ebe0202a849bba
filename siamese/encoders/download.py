"""Download one file: with a progress bar, whole or not at all."""

import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

from siamese.atomic import atomic_path
from siamese.encoders.checksum import sha256_of
from siamese.errors import WeightsError
from siamese.progress import progress

if TYPE_CHECKING:
    from tqdm import tqdm

CHUNK = 1 << 20
# Seconds without a byte, not for the whole file: slow lines may take as long as they need.
TIMEOUT = 30.0


def download(url: str, path: Path, *, size: int, expected: str | None) -> str:
    """Download `url` to `path` and give back its SHA-256; on any failure `path` is as it was before.

    Args:
        url: http or https.
        path: where the file goes.
        size: about how many bytes to expect, for the messages.
        expected: the SHA-256 that the file must have; None accepts any.

    Raises:
        WeightsError: no connection, a broken one, or another file than expected; it names the URL, the size and
            the path where the file can be put by hand.
    """
    by_hand = f"download {url} ({size / 1e6:.0f} MB) elsewhere and put it at {path}"
    try:
        with atomic_path(path) as temporary:
            _receive(url, temporary, size)
            found = sha256_of(temporary)
            if expected is not None and found != expected:
                raise WeightsError(
                    f"{url} ({size / 1e6:.0f} MB) has SHA-256 {found}, expected {expected}: not kept; try again,"
                    f" or put the expected file at {path}"
                )
    except (OSError, HTTPException) as error:
        raise WeightsError(f"cannot download weights ({_reason(error)}): {by_hand}") from error
    return found


def _receive(url: str, path: Path, size: int) -> None:
    # The scheme is checked where the entry is made, so no local file can be read through a URL.
    with urllib.request.urlopen(url, timeout=TIMEOUT) as response, path.open("wb") as out:  # noqa: S310
        announced = response.headers.get("Content-Length", "")
        total = int(announced) if announced.isdecimal() else None
        what = f"download {url.rsplit('/', 1)[-1]}"
        bar: tqdm[bytes] = progress((), what, total=total or size, unit="B")
        bar.unit_scale = True
        received = 0
        try:
            while chunk := response.read(CHUNK):
                out.write(chunk)
                received += len(chunk)
                bar.update(len(chunk))
        finally:
            bar.close()
    # urllib takes a connection closed half-way for the end of the file.
    if total is not None and received != total:
        raise ConnectionError(f"the connection closed after {received} of {total} bytes")


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answers {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    return str(error) or type(error).__name__
