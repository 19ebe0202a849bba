"""From a file to RGB pixels, whatever the file holds."""

import io
import stat
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from siamese.errors import ImageError

# Only formats that Pillow decodes by itself: PostScript, for one, would start another program on the user's file.
# A phone's multi-picture file (MPO) opens as JPEG.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
PHOTOGRAPHS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".jp2", ".avif")
NETPBM = (".pgm", ".ppm", ".pbm", ".pnm")
SUFFIXES = frozenset(PHOTOGRAPHS + NETPBM)
# A 100-megapixel photograph decodes to 300 MB; what claims more is refused before it is decoded.
MAX_PIXELS = 100_000_000
# Pillow's remarks on size and damage: what matters becomes an ImageError. Silenced once, here, as `catch_warnings` is
# not safe in the threads that decode.
warnings.filterwarnings("ignore", module=r"PIL\.")
# What Pillow's parsers raise over damaged files (found by flipping bytes); its documents name OSError alone.
DAMAGE = (
    *(OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, ArithmeticError, RuntimeError),
    *(struct.error, zlib.error, Image.DecompressionBombError),
)


def probe(path: Path) -> str | None:
    """Say why `path` cannot be an image, from its size and header alone; None when nothing speaks against it."""
    try:
        with open_image(path):
            return None
    except ImageError as error:
        return str(error)


def decode(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode an image to RGB, upright.

    EXIF orientation is applied (where the EXIF block is damaged, the image is taken as stored); grey and palette
    images become RGB; transparency is laid over white; 16-bit grey is divided by 257 (a fixed scale: the result
    never depends on the range of the image), 16-bit colour keeps its upper byte.

    Args:
        source: a file's path, or its bytes.
        max_pixels: refuse larger images before decoding them.

    Returns:
        Shape (H, W, 3), uint8.

    Raises:
        ImageError: missing, a folder, empty, truncated, not an image, too large, or pixels without a fixed range.
    """
    where = "the image given as bytes" if isinstance(source, bytes) else str(source)
    with open_image(source, max_pixels=max_pixels) as image:
        try:
            image.load()
            if image.mode == "F" or (image.mode == "I" and image.format == "TIFF"):
                kind = "floating-point" if image.mode == "F" else "32-bit or signed"
                raise ImageError(f"{where}: {kind} pixels have no fixed range; expected 8 or 16 bits")
            return _to_rgb(_upright(image))
        except DAMAGE as error:
            raise _damaged(where, error) from error


def open_image(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open `source` lazily, with every check that needs no pixels.

    Raises:
        ImageError: as in `decode`.
    """
    where = "the image given as bytes" if isinstance(source, bytes) else str(source)
    data = io.BytesIO(source) if isinstance(source, bytes) else _checked_path(source)
    try:
        image = Image.open(data, formats=_formats())
    except UnidentifiedImageError as error:
        known = ", ".join(_formats())
        raise ImageError(f"{where}: not an image in a known format ({known}); replace or remove it") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"{where}: more than {max_pixels:,} pixels; reduce the image first") from error
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's word, not Pillow's on the content
            raise ImageError(f"{where}: cannot be read ({_clean(error)})") from error
        raise _damaged(where, error) from error
    width, height = image.size
    if width * height > max_pixels:
        image.close()
        message = f"{where}: {width} x {height} pixels, more than {max_pixels:,}; reduce the image first"
        raise ImageError(message)
    return image


def _damaged(where: str, error: Exception) -> ImageError:
    return ImageError(f"{where}: damaged or truncated image ({_clean(error)}); replace the file")


def _formats() -> list[str]:
    """The formats of `FORMATS` that this Pillow was built with; one that it lacks would stop it at a KeyError."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _checked_path(path: Path) -> Path:
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file; check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise ImageError(f"{path}: cannot be read ({_clean(error)})") from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{path}: is a folder, expected an image file")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{path}: is a pipe or a device, expected an image file; save the image to a file first")
    if status.st_size == 0:
        raise ImageError(f"{path}: the file is empty (0 bytes); replace it")
    return path


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except DAMAGE:  # of the metadata: the pixels are loaded, and good
        return image


def _to_rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode.startswith("I"):  # 16 bits a pixel; Pillow's plain "I" is how it opens 16-bit PGM
        values = np.clip(np.asarray(image).astype(np.int64), 0, 65535)
        return np.repeat(((values + 128) // 257).astype(np.uint8)[..., None], 3, axis=2)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return np.array(image.convert("RGB"), dtype=np.uint8)


def _clean(error: BaseException) -> str:
    # The system's own words only: the rest of an OSError repeats the path.
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(reason.split()) or type(error).__name__
