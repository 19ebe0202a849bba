"""From a file to RGB pixels, whatever the file holds."""

import io
import os
import stat
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from siamese.errors import ImageError
from siamese.images.heif import ADVICE, HEAD, add_heic_reader, kind_of_container
from siamese.images.opencv_decode import decode_by_opencv, examine

# Only formats that Pillow decodes by itself: PostScript, for one, would start another program on the user's file.
# A phone's multi-picture file (MPO) opens as JPEG. HEIC joins them once its reader is there.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
PHOTOGRAPHS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".jp2", ".avif", ".heic", ".heif")
NETPBM = (".pgm", ".ppm", ".pbm", ".pnm")
SUFFIXES = frozenset(PHOTOGRAPHS + NETPBM)
# A 100-megapixel photograph decodes to 300 MB; what claims more is refused before it is decoded.
MAX_PIXELS = 100_000_000
# Files are read whole; what is larger than any image of so many pixels is a film or a disk under a wrong name.
MAX_BYTES = 2 << 30
# How messages call an image that has no path.
GIVEN_AS_BYTES = "the image given as bytes"
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


def check_image(path: Path) -> None:
    """Refuse what cannot be an image, by its size, header and structure; no pixel is decoded.

    Raises:
        ImageError: as in `decode`.
    """
    if examine(read_file(path), MAX_PIXELS) is None:  # else Pillow, which takes longest to get ready, is not needed
        open_image(path).close()


def decode(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """Decode an image to RGB, upright.

    EXIF orientation is applied (where the EXIF block is damaged, the image is taken as stored); grey and palette
    images become RGB; transparency is laid over white; 16-bit grey is divided by 257 (a fixed scale: the result
    never depends on the range of the image), 16-bit colour keeps its upper byte; of several frames the first counts.

    The whole resolution is decoded whatever size is wanted later: a JPEG can be decoded reduced, and faster, but to
    other pixels, and a face is looked for in the photograph as it is.

    Args:
        source: a file's path, or its bytes.
        max_pixels: refuse larger images before decoding them.

    Returns:
        Shape (H, W, 3), uint8.

    Raises:
        ImageError: missing, a folder, empty, truncated, not an image, too large, or pixels without a fixed range.
    """
    where = GIVEN_AS_BYTES if isinstance(source, bytes) else str(source)
    data = source if isinstance(source, bytes) else read_file(source)
    pixels = decode_by_opencv(data, max_pixels)
    if pixels is not None:
        return pixels
    with _open(data, where, max_pixels) as image:
        return decode_image(image, where, max_pixels=max_pixels)


def decode_image(image: Image.Image, where: str, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint8]:
    """The pixels of an image that Pillow has opened or made, as `decode` gives those of a file.

    Args:
        image: of any mode; it is read if it was not yet, and stays open.
        where: how messages call it.
        max_pixels: refuse larger images.

    Returns:
        Shape (H, W, 3), uint8.

    Raises:
        ImageError: damaged, too large, of no size, or pixels without a fixed range.
    """
    _check_size(image, where, max_pixels)
    try:
        image.load()
        if image.mode == "F" or (image.mode == "I" and image.format in ("TIFF", None)):
            kind = "floating-point" if image.mode == "F" else "32-bit or signed"
            raise ImageError(f"{where}: {kind} pixels have no fixed range; expected 8 or 16 bits")
        return _to_rgb(_upright(image))
    except DAMAGE as error:
        raise _damaged(where, error) from error


def read_file(path: Path) -> bytes:
    """The bytes of an image file.

    Raises:
        ImageError: missing, not a file, empty, larger than `MAX_BYTES`, or not to be read.
    """
    size = _checked_size(path)
    try:
        # A third of the time that a file object takes, which shows beside a small JPEG.
        file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            data = os.read(file, size)
        finally:
            os.close(file)
        return data if len(data) == size else path.read_bytes()
    except OSError as error:
        raise _unread(str(path), error) from error


def open_image(source: Path | bytes, *, max_pixels: int = MAX_PIXELS) -> Image.Image:
    """Open `source` lazily, with every check that needs no pixels.

    Raises:
        ImageError: as in `decode`.
    """
    if isinstance(source, bytes):
        return _open(source, GIVEN_AS_BYTES, max_pixels)
    _checked_size(source)
    return _open(source, str(source), max_pixels)


def _open(source: Path | bytes, where: str, max_pixels: int) -> Image.Image:
    if source == b"":
        raise _empty(where)
    try:
        image = _recognise(source, where)
    except Image.DecompressionBombError as error:
        raise ImageError(f"{where}: more than {max_pixels:,} pixels; reduce the image first") from error
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's word, not Pillow's on the content
            raise _unread(where, error) from error
        raise _damaged(where, error) from error
    try:
        _check_size(image, where, max_pixels)
    except ImageError:
        image.close()
        raise
    return image


def _check_size(image: Image.Image, where: str, max_pixels: int) -> None:
    width, height = image.size
    if not width * height:
        raise ImageError(f"{where}: {width} x {height} pixels; expected an image of some size")
    if width * height > max_pixels:
        message = f"{where}: {width} x {height} pixels, more than {max_pixels:,}; reduce the image first"
        raise ImageError(message)


def _recognise(source: Path | bytes, where: str) -> Image.Image:
    try:
        return Image.open(_readable(source), formats=_formats())
    except UnidentifiedImageError as error:
        kind = kind_of_container(_head(source))
        if kind == "HEIC" and add_heic_reader():
            return Image.open(_readable(source), formats=["HEIF"])
        if kind is not None:
            raise ImageError(f"{where}: {ADVICE[kind]}") from error
        known = ", ".join(_formats())
        raise ImageError(f"{where}: not an image in a known format ({known}); replace or remove it") from error


def _readable(source: Path | bytes) -> Path | io.BytesIO:
    return io.BytesIO(source) if isinstance(source, bytes) else source


def _head(source: Path | bytes) -> bytes:
    if isinstance(source, bytes):
        return source[:HEAD]
    with source.open("rb") as file:
        return file.read(HEAD)


def _empty(where: object) -> ImageError:
    return ImageError(f"{where}: the file is empty (0 bytes); replace it")


def _unread(where: str, error: BaseException) -> ImageError:
    return ImageError(f"{where}: cannot be read ({_clean(error)})")


def _damaged(where: str, error: Exception) -> ImageError:
    return ImageError(f"{where}: damaged or truncated image ({_clean(error)}); replace the file")


def _formats() -> list[str]:
    """The formats that this Pillow can read; one that it lacks would stop it at a KeyError."""
    Image.init()
    return [name for name in (*FORMATS, "HEIF") if name in Image.OPEN]


def _checked_size(path: Path) -> int:
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise ImageError(f"{path}: no such file; check the path") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise _unread(str(path), error) from error
    if stat.S_ISDIR(status.st_mode):
        raise ImageError(f"{path}: is a folder, expected an image file")
    if not stat.S_ISREG(status.st_mode):
        raise ImageError(f"{path}: is a pipe or a device, expected an image file; save the image to a file first")
    if status.st_size == 0:
        raise _empty(path)
    if status.st_size > MAX_BYTES:
        found = f"{status.st_size:,} bytes, more than {MAX_BYTES:,}"
        raise ImageError(f"{path}: {found}; expected an image file, replace or remove it")
    return status.st_size


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
