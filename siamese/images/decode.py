"""From a file to RGB pixels, whatever the file holds."""

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from siamese.errors import ImageError

# Only formats that Pillow decodes by itself: PostScript, for one, would start another program on the user's file.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
PHOTOGRAPHS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".jp2", ".avif")
NETPBM = (".pgm", ".ppm", ".pbm", ".pnm")
SUFFIXES = frozenset(PHOTOGRAPHS + NETPBM)
# A 100-megapixel photograph decodes to 300 MB; what claims more is refused before it is decoded.
MAX_PIXELS = 100_000_000


def probe(path: Path) -> str | None:
    """Say why `path` cannot be an image, from its size and header alone; None when nothing speaks against it."""
    try:
        with open_image(path):
            return None
    except ImageError as error:
        return str(error)


def decode(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode an image to RGB, upright.

    EXIF orientation is applied; grey and palette images become RGB; transparency is laid over white; 16-bit values
    are divided by 257 (a fixed scale: the result never depends on the range of the image).

    Args:
        source: a file's path, or its bytes.
        max_pixels: refuse larger images before decoding them.

    Returns:
        Shape (H, W, 3), uint8.

    Raises:
        ImageError: missing, a folder, empty, truncated, not an image, too large, or floating-point pixels.
    """
    where = "the image given as bytes" if isinstance(source, bytes) else str(source)
    with open_image(source, max_pixels=max_pixels) as image:
        try:
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image), where)
        except (OSError, SyntaxError, ValueError, EOFError) as error:
            raise ImageError(f"{where}: damaged or truncated image ({_clean(error)}); replace the file") from error


def open_image(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open `source` lazily, with every check that needs no pixels.

    Raises:
        ImageError: as in `decode`.
    """
    where = "the image given as bytes" if isinstance(source, bytes) else str(source)
    data = io.BytesIO(source) if isinstance(source, bytes) else _checked_path(source)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own size warning: the limit below is ours
            image = Image.open(data, formats=FORMATS)
    except UnidentifiedImageError as error:
        raise ImageError(f"{where}: not an image in a known format ({', '.join(FORMATS)})") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{where}: more than {max_pixels:,} pixels; reduce the image first") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ImageError(f"{where}: cannot be read ({_clean(error)})") from error
    width, height = image.size
    if width * height > max_pixels:
        image.close()
        message = f"{where}: {width} x {height} pixels, more than {max_pixels:,}; reduce the image first"
        raise ImageError(message)
    return image


def _checked_path(path: Path) -> Path:
    if path.is_dir():
        raise ImageError(f"{path}: is a folder, expected an image file")
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file; check the path") from error
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({_clean(error)})") from error
    if size == 0:
        raise ImageError(f"{path}: the file is empty (0 bytes); replace it")
    return path


def _to_rgb(image: Image.Image, where: str) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):  # 16 bits a pixel; Pillow's plain "I" is how it opens 16-bit PGM
        values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return np.repeat(((values + 128) // 257).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode == "F":
        raise ImageError(f"{where}: floating-point pixels have no fixed range; expected 8 or 16 bits")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _clean(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
