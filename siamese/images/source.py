"""What an image may be given as: a path, the bytes of a file, a Pillow image, or an array of pixels."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from siamese.errors import DataError
from siamese.images.decode import GIVEN_AS_BYTES, MAX_PIXELS, decode, decode_image

if TYPE_CHECKING:
    from PIL.Image import Image

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | NDArray[np.uint8] | Image"

GIVEN_AS_ARRAY = "the image given as an array"


def name_of(source: ImageSource) -> str:
    """How messages call an image: its path, or what it was given as."""
    if isinstance(source, (str, os.PathLike)):
        return str(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return GIVEN_AS_BYTES
    if isinstance(source, np.ndarray):
        return GIVEN_AS_ARRAY
    return str(getattr(source, "filename", "") or "the Pillow image")


def read_pixels(source: ImageSource) -> NDArray[np.uint8]:
    """The pixels of an image, whatever it is given as.

    Args:
        source: a path; the bytes of an image file; a Pillow image of any mode, turned and flattened as `decode` does
            it with a file; or pixels (H, W, 3) RGB, (H, W) or (H, W, 1) grey, uint8 (OpenCV's are BGR: turn them
            round with `[..., ::-1]`).

    Returns:
        Shape (H, W, 3), uint8, RGB; an array in that form already is not copied.

    Raises:
        ImageError: it cannot be read.
        DataError: an array of another shape or type, or nothing of these: a mistake in the program that gives it, not
            in an image, so that it ends a run that passes over bad images.
    """
    if isinstance(source, (str, os.PathLike)):
        return decode(Path(source))
    if isinstance(source, (bytes, bytearray, memoryview)):
        return decode(bytes(source))
    if isinstance(source, np.ndarray):
        return _of_array(source)
    from PIL.Image import Image

    if isinstance(source, Image):
        return decode_image(source, name_of(source))
    raise DataError(
        f"an image given as {type(source).__name__}: expected a path, the bytes of a file, a Pillow image, or a "
        "uint8 array (H, W, 3)"
    )


def _of_array(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    found = f"{GIVEN_AS_ARRAY}: shape {pixels.shape}, {pixels.dtype}"
    grey = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 1)
    if pixels.dtype != np.uint8 or not (grey or (pixels.ndim == 3 and pixels.shape[2] == 3)):
        raise DataError(f"{found}; expected uint8 from 0 to 255, (H, W, 3) in RGB or (H, W) in grey")
    if not pixels.size:
        raise DataError(f"{found}; it has no pixels")
    if pixels.shape[0] * pixels.shape[1] > MAX_PIXELS:
        raise DataError(f"{found}, more than {MAX_PIXELS:,} pixels; reduce the image first")
    return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2) if grey else pixels
