"""Pictures inside the page: small JPEGs as data URIs."""

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from siamese.errors import DataError, ImageError, PairFileError
from siamese.images.decode import decode
from siamese.pairing.face_bin import is_bin, read_bin_images

# From the path of an image to RGB (H, W, 3) uint8; None where it cannot be read.
Pictures = Callable[[str], NDArray[np.uint8] | None]

# Twice what is shown, for fine screens.
SIDE = 224
_QUALITY = 82


@contextmanager
def pictures_of(pairs: Path, root: Path) -> Iterator[Pictures]:
    """Reads the pictures of a pair file by their paths in it; None for those that cannot be read.

    The images of a `.bin` file come from the file itself, read when the first picture is asked for and held until the
    end: what they were unpacked into for embedding is gone by then.

    Args:
        pairs: the pair file.
        root: what its paths are relative to; a `.bin` file has none.
    """
    packed: Mapping[str, bytes] | None = None

    def unpacked(path: str) -> NDArray[np.uint8] | None:
        nonlocal packed
        if packed is None:
            packed = _packed(pairs)
        return _decoded(packed[path]) if path in packed else None

    try:
        yield unpacked if is_bin(pairs) else lambda path: _decoded(root / path)
    finally:
        packed = None


def _packed(pairs: Path) -> Mapping[str, bytes]:
    try:
        return read_bin_images(pairs)
    except PairFileError:  # it was read before, and is no longer what it was
        return {}


def _decoded(source: Path | bytes) -> NDArray[np.uint8] | None:
    try:
        return decode(source)
    except ImageError:
        return None


def jpeg_uri(image: NDArray[np.uint8], side: int = SIDE) -> str:
    """An RGB image (H, W, 3) uint8 as a `data:` URI, its longer side at most `side` pixels.

    Raises:
        DataError: of another shape or type, or without pixels.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
        raise DataError(f"picture of {image.dtype} {image.shape}: expected uint8 (height, width, 3)")
    scale = side / max(image.shape[:2])
    if scale < 1:
        size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return data_uri(encoded.tobytes(), "image/jpeg")


def data_uri(content: bytes, kind: str) -> str:
    """The bytes of a file of a media type as a `data:` URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
