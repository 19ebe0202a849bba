"""A corpus of files that are no usable image, or an unusual one: each gets one line that says so, or its pixels."""

import io
import os
import struct
import sys
import threading
import types
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile, features

from siamese.errors import ImageError
from siamese.images import decode as decode_module
from siamese.images.decode import FORMATS, SUFFIXES, decode, probe
from siamese.images.heif import HEAD, kind_of_container
from siamese.images.input_spec import InputSpec
from siamese.images.loader import ImageLoader

pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (24, 40, 3), dtype=np.uint8)
FLAT = Image.new("RGB", (32, 32), (200, 40, 90))
KNOWN = ", ".join(name for name in FORMATS if name != "AVIF" or features.check("avif"))
NO_IMAGE = rf"not an image in a known format \({KNOWN}\); replace or remove it"
DAMAGED = r"damaged or truncated image \(.+\); replace the file"
HEIC = "a HEIC photograph: pip install pillow-heif, or convert it to JPEG"


def encode(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def noise(form: str, **options: Any) -> bytes:
    return encode(Image.fromarray(NOISE), form, **options)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, rows: bytes, *extra: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def jpeg_of_size(width: int, height: int) -> bytes:
    """A JPEG whose frame header claims another size than its data have."""
    data = bytearray(noise("JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def gif_of_size(width: int, height: int) -> bytes:
    """A GIF whose small screen holds a frame of another size."""
    data = bytearray(encode(FLAT.convert("P"), "GIF"))
    frame = data.index(b"\x2c")
    data[frame + 5 : frame + 9] = struct.pack("<HH", width, height)
    return bytes(data)


def webp_of_size(width: int, height: int) -> bytes:
    body = encode(FLAT, "WEBP")[12:]
    header = b"VP8X" + struct.pack("<I", 10) + b"\0" * 4
    header += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", 4 + len(header) + len(body)) + b"WEBP" + header + body


def ftyp(*brands: bytes) -> bytes:
    body = b"ftyp" + brands[0] + b"\0\0\0\0" + b"".join(brands[1:])
    return struct.pack(">I", len(body) + 4) + body + struct.pack(">I", 12) + b"meta" + b"\0\0\0\0"


def as_file(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


TOO_LARGE = r"(\d+ x \d+ pixels, )?more than 100,000,000( pixels)?; reduce the image first"
# name -> how to make it, and the reason given.
BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "empty.jpg": (as_file(b""), r"the file is empty \(0 bytes\); replace it"),
    "text.jpg": (as_file(b"To whom it may concern: I am no image.\n" * 20), NO_IMAGE),
    "page.png": (as_file(b"<!DOCTYPE html><html><body>404 Not Found</body></html>"), NO_IMAGE),
    "drawing.jpg": (as_file(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), NO_IMAGE),
    "film.jpg": (as_file(ftyp(b"isom", b"mp42")), NO_IMAGE),
    "zeros.png": (as_file(bytes(5000)), NO_IMAGE),
    "cut.jpg": (as_file(noise("JPEG", quality=95)[:-300]), DAMAGED),
    "cut.png": (as_file(noise("PNG")[:-300]), DAMAGED),
    "cut.webp": (as_file(noise("WEBP", lossless=True)[:-300]), DAMAGED),
    "cut.gif": (as_file(noise("GIF")[:-300]), DAMAGED),
    "cut.tif": (as_file(noise("TIFF")[:-300]), DAMAGED),
    "cut.bmp": (as_file(noise("BMP")[:-300]), DAMAGED),
    "cut.ppm": (as_file(noise("PPM")[:-300]), DAMAGED),
    "cut header.jpg": (as_file(noise("JPEG")[:40]), rf"({DAMAGED}|{NO_IMAGE})"),
    "flipped.png": (as_file(noise("PNG").replace(noise("PNG")[200:204], b"\0\1\2\3")), DAMAGED),
    "bomb.png": (as_file(png(60_000, 60_000, b"")), TOO_LARGE),
    "bomb.jpg": (as_file(jpeg_of_size(65_000, 65_000)), TOO_LARGE),
    "bomb.gif": (as_file(gif_of_size(65_000, 65_000)), TOO_LARGE),
    "small bomb.gif": (as_file(gif_of_size(12_000, 12_000)), TOO_LARGE),
    "bomb.webp": (as_file(webp_of_size(16_000, 16_000)), rf"({TOO_LARGE}|{DAMAGED})"),
    "bomb.bmp": (as_file(noise("BMP")[:18] + struct.pack("<ii", 40_000, 40_000) + noise("BMP")[26:]), TOO_LARGE),
    "bomb.ppm": (as_file(b"P6\n40000 40000\n255\n"), TOO_LARGE),
    "bomb.tif": (
        as_file(noise("TIFF").replace(struct.pack("<HHII", 256, 4, 1, 40), struct.pack("<HHII", 256, 4, 1, 10**7))),
        TOO_LARGE,
    ),
    "text bomb.png": (
        as_file(png(4, 4, bytes(13 * 4), chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(50_000_000), 9)))),
        DAMAGED,
    ),
    "float.tif": (
        lambda path: Image.fromarray(np.ones((4, 4), np.float32)).save(path),
        "floating-point pixels have no fixed range; expected 8 or 16 bits",
    ),
    "phone.heic": (as_file(ftyp(b"heic", b"mif1", b"heic")), HEIC),
    "renamed.jpg": (as_file(ftyp(b"mif1", b"mif1", b"heix")), HEIC),
    "unknown coding.heif": (as_file(ftyp(b"mif1", b"miaf")), HEIC),
    "folder.jpg": (lambda path: path.mkdir(), "is a folder, expected an image file"),
    "gone.jpg": (lambda path: path.symlink_to("nowhere.jpg"), "no such file; check the path"),
    "loop.jpg": (lambda path: path.symlink_to(path.name), r"cannot be read \(Too many levels of symbolic links\)"),
    "pipe.jpg": (
        os.mkfifo,
        "is a pipe or a device, expected an image file; save the image to a file first",
    ),
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every bad file, and a good one."""
    folder = tmp_path_factory.mktemp("corpus of bad files")
    for name, (make, _) in BAD.items():
        make(folder / name)
    FLAT.save(folder / "good.png")
    return folder


@pytest.fixture(autouse=True)
def without_heic_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_its_reason(corpus: Path, name: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(corpus / name)
    prefix, reason = f"{corpus / name}: ", str(caught.value)
    assert reason.startswith(prefix)
    assert pytest.RaisesExc(ImageError, match=f"^{BAD[name][1]}$").matches(ImageError(reason.removeprefix(prefix)))


# Their headers are in order: only decoding finds the damage, or pixels of no use.
HEADER_IS_GOOD = {name for name in BAD if name.startswith(("cut.", "flipped", "float"))}


@pytest.mark.parametrize("name", sorted(set(BAD) - HEADER_IS_GOOD))
def test_what_the_header_tells_is_found_without_decoding(corpus: Path, name: str) -> None:
    with pytest.raises(ImageError) as caught:
        decode(corpus / name)
    assert probe(corpus / name) == str(caught.value)


def test_one_bad_file_does_not_harm_the_others(corpus: Path) -> None:
    paths = sorted(corpus.iterdir())
    pixels, outcomes = ImageLoader(InputSpec(size=(8, 8))).load(paths)
    usable = [path.name for path, outcome in zip(paths, outcomes, strict=True) if outcome.status == "ok"]
    assert usable == ["good.png"]
    assert (pixels[[path.name == "good.png" for path in paths]] == (200, 40, 90)).all()
    assert all(
        outcome.detail.startswith(str(path)) for path, outcome in zip(paths, outcomes, strict=True) if outcome.detail
    )


def test_a_pipe_does_not_keep_anyone_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    answers: list[str | None] = []
    thread = threading.Thread(target=lambda: answers.append(probe(tmp_path / "pipe.png")), daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    assert answers[0] is not None


def test_a_file_larger_than_any_image_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode_module, "MAX_BYTES", 1000)
    path = tmp_path / "disk.jpg"
    path.write_bytes(bytes(1001))
    expected = f"{path}: 1,001 bytes, more than 1,000; expected an image file, replace or remove it"
    with pytest.raises(ImageError) as caught:
        decode(path)
    assert str(caught.value) == expected


def many_frames() -> bytes:
    frames = [
        Image.new("RGB", (32, 32), (200, 40, 90)),
        *(Image.new("RGB", (32, 32), (0, n % 256, 0)) for n in range(300)),
    ]
    return encode(frames[0], "GIF", save_all=True, append_images=frames[1:])


RED_INK = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
# What is unusual, but an image: name -> the file, and the colour that it shows.
ODD: dict[str, tuple[bytes, tuple[int, int, int]]] = {
    "wrong extension.png": (encode(FLAT, "JPEG", quality=95), (200, 40, 90)),
    "no extension": (encode(FLAT, "PNG"), (200, 40, 90)),
    "wrong extension.heic": (encode(FLAT, "PNG"), (200, 40, 90)),
    "cmyk by adobe.jpg": (encode(RED_INK, "JPEG", quality=100), (255, 0, 0)),
    "cmyk.tif": (encode(RED_INK, "TIFF"), (255, 0, 0)),
    "one bit.png": (encode(Image.new("1", (32, 32), 1), "PNG"), (255, 255, 255)),
    "sixteen bits.png": (encode(Image.fromarray(np.full((32, 32), 257 * 90, np.uint16)), "PNG"), (90, 90, 90)),
    "grey and alpha.png": (encode(Image.new("LA", (32, 32), (90, 255)), "PNG"), (90, 90, 90)),
    "clear.png": (encode(Image.new("LA", (32, 32), (90, 0)), "PNG"), (255, 255, 255)),
    "palette and alpha.png": (encode(FLAT.quantize(4), "PNG", transparency=bytes([255] * 4)), (200, 40, 90)),
    "animated.gif": (many_frames(), (200, 40, 90)),
    "animated.webp": (
        encode(FLAT, "WEBP", lossless=True, save_all=True, append_images=[Image.new("RGB", (32, 32))]),
        (200, 40, 90),
    ),
    "animated.png": (encode(FLAT, "PNG", save_all=True, append_images=[Image.new("RGB", (32, 32))]), (200, 40, 90)),
    "trailing.jpg": (encode(FLAT, "JPEG", quality=95) + bytes(1000), (200, 40, 90)),
}


@pytest.mark.parametrize("name", ODD)
def test_an_unusual_image_shows_its_colour(tmp_path: Path, name: str) -> None:
    data, colour = ODD[name]
    (tmp_path / name).write_bytes(data)
    assert np.abs(decode(tmp_path / name).astype(int) - colour).max() <= 4


def test_ycck_shows_the_colours_of_its_inks() -> None:
    # Adobe's YCCK is CMYK whose inverted C, M and Y went through the transform of YCbCr; the fourth stays.
    data = bytearray(encode(RED_INK, "JPEG", quality=100))
    adobe = data.index(b"\xff\xee")
    assert data[adobe + 4 : adobe + 9] == b"Adobe"
    assert data[adobe + 15] == 0
    data[adobe + 15] = 2
    # Its planes, inverted (255, 0, 0, 255), are now Y, Cb, Cr and K: a colour whose red, green and blue (ITU-R
    # BT.601) are the inks, and no black.
    y, cb, cr = 255, 0 - 128, 0 - 128
    inks = np.clip([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], 0, 255)
    assert np.abs(decode(bytes(data))[16, 16].astype(int) - (255 - inks)).max() <= 2


@pytest.mark.parametrize("stem", ["n" * 251, "é" * 125, "写" * 83, "a b\tc\nd", "-rf", "%s %d {x}"])
def test_long_and_strange_names_are_only_names(tmp_path: Path, stem: str) -> None:
    path = tmp_path / f"{stem}.png"
    assert len(os.fsencode(path.name)) <= 255
    FLAT.save(path, "PNG")
    assert (decode(path) == (200, 40, 90)).all()


def test_a_very_long_path_is_read(tmp_path: Path) -> None:
    folder = tmp_path
    while len(str(folder)) < 3500:
        folder = folder / ("d" * 200)
    folder.mkdir(parents=True)
    FLAT.save(folder / "deep.png")
    assert (decode(folder / "deep.png") == (200, 40, 90)).all()


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "TIFF"])
def test_threads_that_decode_one_file_find_the_same(tmp_path: Path, form: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(noise(form))
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(decode, [path] * 64))
    assert all(np.array_equal(result, results[0]) for result in results)


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (ftyp(b"heic", b"mif1", b"heic"), "HEIC"),
        (ftyp(b"hevc", b"msf1"), "HEIC"),
        (ftyp(b"msf1", b"hevc"), "HEIC"),
        (ftyp(b"avif", b"mif1", b"miaf"), "AVIF"),
        (ftyp(b"mif1", b"avif", b"heic"), "AVIF"),
        (ftyp(b"isom", b"mp42"), None),
        (ftyp(b"qt  "), None),
        (struct.pack(">I", 2**31) + b"ftypisom\0\0\0\0" + bytes(20) + b"heic", "HEIC"),
        (b"\0\0\0\x18ftyp", None),
        (b"ftypheic", None),
        (b"", None),
    ],
)
def test_containers_are_known_by_their_brands(head: bytes, kind: str | None) -> None:
    assert kind_of_container(head[:HEAD]) == kind


def test_avif_is_named_where_pillow_cannot_read_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Image.init()
    monkeypatch.delitem(Image.OPEN, "AVIF", raising=False)
    with pytest.raises(ImageError) as caught:
        decode(ftyp(b"avif", b"mif1", b"miaf"))
    advice = "an AVIF image, which this Pillow does not read: update Pillow, or convert the image to JPEG or PNG"
    assert str(caught.value) == f"the image given as bytes: {advice}"


class FakeHeic(ImageFile.ImageFile):
    """Stands for the plugin of pillow-heif: any HEIC is three rows of two red pixels."""

    format = "HEIF"

    def _open(self) -> None:
        self._size, self._mode = (2, 3), "RGB"

    def load(self) -> Any:
        self.im = Image.new("RGB", (2, 3), (250, 0, 0)).im
        return None


@pytest.fixture
def heic_reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The package pillow-heif, as far as it is used; it yields the calls made."""
    package, calls = types.ModuleType("pillow_heif"), []

    def register_heif_opener() -> None:
        calls.append("register_heif_opener")
        Image.register_open("HEIF", FakeHeic, lambda head: head[4:12] == b"ftypheic")

    package.register_heif_opener = register_heif_opener  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pillow_heif", package)
    yield calls
    Image.OPEN.pop("HEIF", None)
    Image.ID[:] = [name for name in Image.ID if name != "HEIF"]


def test_heic_is_read_through_pillow_heif_where_it_is_installed(tmp_path: Path, heic_reader: list[str]) -> None:
    path = tmp_path / "phone.heic"
    path.write_bytes(ftyp(b"heic", b"mif1", b"heic"))
    decode(noise("PNG"))
    assert heic_reader == []  # nobody pays for it who does not need it
    assert probe(path) is None
    assert decode(path).tolist() == [[[250, 0, 0]] * 2] * 3
    assert decode(path.read_bytes()).shape == (3, 2, 3)
    assert heic_reader == ["register_heif_opener"]


def test_the_catalogue_of_suffixes_holds_what_phones_write() -> None:
    assert {".heic", ".heif", ".avif"} <= SUFFIXES


def test_the_corpus_is_generated(corpus: Path) -> None:
    assert len(list(corpus.iterdir())) == len(BAD) + 1
