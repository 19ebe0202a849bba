"""Pictures inside the page: small JPEGs as data URIs."""

import base64
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from siamese.errors import DataError

# From the path of an image to RGB (H, W, 3) uint8; None where it cannot be read.
Pictures = Callable[[str], NDArray[np.uint8] | None]

# Twice what is shown, for fine screens.
SIDE = 224
_QUALITY = 82


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
