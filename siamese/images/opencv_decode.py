"""Decoding by OpenCV of what is plain and whole: the same pixels as by Pillow, in less time.

Pillow keeps four bytes a pixel and copies them into three afterwards, and it runs WebP through its animation decoder.
OpenCV writes into the array itself, but is too forgiving: older versions hand out a truncated JPEG with grey where it
ends, and libpng's remarks on harmless chunks go straight to the terminal. So it is given only 8-bit grey and colour,
of a size that is allowed, in a file whose structure was followed here to its end, and of a PNG only the chunks that
make pixels. Whatever else a file may be, Pillow decodes it, or says what is wrong with it.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

# How the pixels of each EXIF orientation (TIFF 6.0, tag 274) are turned upright; 1, and what does not exist, stay.
TURNS: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}
# In coded JPEG data 0xFF is followed by 0 (a byte of data), by a restart marker, or by the marker that ends the data.
_END_OF_CODED_DATA = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# Markers of ITU T.81, table B.1: end of image, start of scan, APP1 (Exif and XMP); baseline, extended, progressive.
_EOI, _SOS, _APP1, _FRAMES = 0xD9, 0xDA, 0xE1, (0xC0, 0xC1, 0xC2)
# Tables, intervals, comments, and what other programs keep: segments of no interest here.
_PASSED_OVER = frozenset((0xC4, 0xDB, 0xDD, 0xE0, *range(0xE2, 0xF0), 0xFE))
_EXIF = b"Exif\0\0"
_PNG_PIXELS = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
# Keywords of PNG text in which programs hide an orientation.
_PNG_METADATA = (b"Raw profile type exif", b"Raw profile type APP1", b"XML:com.adobe.xmp")
# Bits of a VP8X header: animation, XMP, Exif, alpha.
_VP8X_MORE = 0x02 | 0x04 | 0x08 | 0x10


class Plain(NamedTuple):
    """A file that OpenCV may decode.

    Attributes:
        content: what to give it.
        width: as the header says.
        height: as the header says.
        orientation: how the pixels have to be turned, see `TURNS`.
    """

    content: bytes
    width: int
    height: int
    orientation: object = None


def decode_by_opencv(data: bytes, max_pixels: int) -> NDArray[np.uint8] | None:
    """Decode a plain and whole JPEG, PNG or WebP of up to `max_pixels`; anything else is None.

    Returns:
        RGB pixels (H, W, 3), upright.
    """
    plain = examine(data, max_pixels)
    if plain is None:
        return None
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(plain.content, np.uint8), flags)
    except cv2.error:
        return None
    if pixels is None or pixels.shape != (plain.height, plain.width, 3):
        return None
    turn = TURNS.get(plain.orientation) if isinstance(plain.orientation, int) else None
    return np.asarray(pixels if turn is None else np.ascontiguousarray(turn(pixels)), dtype=np.uint8)


def examine(data: bytes, max_pixels: int) -> Plain | None:
    """What a file says of itself, if it is plain, whole, and of up to `max_pixels`."""
    plain = _examine(data)
    return plain if plain is not None and 0 < plain.width * plain.height <= max_pixels else None


def _examine(data: bytes) -> Plain | None:
    if data.startswith(b"\xff\xd8\xff"):
        return examine_jpeg(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return examine_png(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return examine_webp(data)
    return None


def examine_jpeg(data: bytes) -> Plain | None:
    """Follow segments and scans (ITU T.81, annex B) to the end of the image; None unless it is plain and whole."""
    try:
        return _follow_jpeg(data)
    except IndexError:  # it ends too early
        return None


def _follow_jpeg(data: bytes) -> Plain | None:
    position, size, exif = 2, (0, 0), b""
    while data[position] == 0xFF:
        marker = data[position + 1]
        if marker == 0xFF:  # any number of them may fill
            position += 1
            continue
        if marker == _EOI:
            return Plain(data, *size, orientation=_orientation(exif))
        start, end = position + 4, position + 2 + (data[position + 2] << 8 | data[position + 3])
        position = end
        if marker in _PASSED_OVER:
            continue
        if marker == _SOS:
            coded = _END_OF_CODED_DATA.search(data, end)
            position = coded.start() if coded else len(data)
        elif marker in _FRAMES and size == (0, 0):
            # Depth 8, and one or three components: four are inks.
            if data[start] != 8 or data[start + 5] not in (1, 3):
                return None
            size = data[start + 3] << 8 | data[start + 4], data[start + 1] << 8 | data[start + 2]
        elif marker == _APP1 and not exif and data.startswith(_EXIF, start):
            exif = data[start:end]
        else:  # another kind of frame, several blocks of metadata, XMP, which may hold an orientation as well
            return None
    return None


def _orientation(exif: bytes) -> object:
    if not exif:
        return None
    block = Image.Exif()
    try:
        block.load(exif)
        return block.get(ExifTags.Base.Orientation)
    except Exception:  # whatever is wrong with the metadata, the pixels are good as stored
        return None


def examine_png(data: bytes) -> Plain | None:
    """The signature and the chunks that make pixels (W3C PNG, clause 11.2).

    None unless every chunk is there, of 8 bits, without palette, alpha or animation, and nothing in it may turn the
    image. Checksums are left to libpng: to verify them here as well would take longer than is gained.
    """
    if data[12:16] != b"IHDR" or data[24:26] not in (b"\x08\x00", b"\x08\x02"):  # depth and colour type
        return None
    width, height = int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    kept, start, position = [], 0, 8  # runs of chunks; mostly it is all one, and nothing is copied
    while position + 12 <= len(data):
        kind = data[position + 4 : position + 8]
        end = position + 12 + int.from_bytes(data[position : position + 4], "big")
        if end > len(data) or _decides_more(kind, data[position + 8 : position + 40]):
            return None
        if kind not in _PNG_PIXELS:
            kept.append(data[start:position])
            start = end
        if kind == b"IEND":
            return Plain(b"".join((*kept, data[start:])) if kept else data, width, height)
        position = end
    return None


def _decides_more(kind: bytes, start: bytes) -> bool:
    if kind in (b"eXIf", b"acTL", b"tRNS", b"zTXt"):  # compressed text may hide anything, a bomb too
        return True
    if kind in (b"tEXt", b"iTXt"):
        return start.startswith(_PNG_METADATA)
    return kind[:1].isupper() and kind not in _PNG_PIXELS  # a critical chunk that nobody knows


def examine_webp(data: bytes) -> Plain | None:
    """Read the header (RFC 9649, sections 2.5 to 2.7); None for alpha, animations, and metadata that may turn it.

    Whether the file is whole is for libwebp to find: it refuses what is not.
    """
    if len(data) < 30:
        return None
    kind = data[12:16]
    if kind == b"VP8 ":
        numbers = int.from_bytes(data[26:28], "little"), int.from_bytes(data[28:30], "little")
        return Plain(data, numbers[0] & 0x3FFF, numbers[1] & 0x3FFF)
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        alpha = bits >> 28 & 1
        return None if alpha else Plain(data, 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    if kind == b"VP8X" and not data[20] & _VP8X_MORE:
        return Plain(data, 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little"))
    return None
