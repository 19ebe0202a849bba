import io
import os
import re
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features

from siamese.errors import ImageError
from siamese.images.decode import FORMATS, MAX_PIXELS, SUFFIXES, decode, open_image, probe

# pytest undoes the filter that the module sets; a test below runs outside of it.
pytestmark = pytest.mark.filterwarnings("ignore:::PIL")

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (12, 20, 3), dtype=np.uint8)
# Large flat patches: what a lossy format keeps almost exactly.
PATCHES = np.kron(np.array([[[250, 10, 10], [10, 250, 10]], [[10, 10, 250], [128, 128, 128]]]), np.ones((32, 32, 1)))
PATCHES = PATCHES.astype(np.uint8)
ORIENTED = {
    1: lambda pixels: pixels,
    2: lambda pixels: pixels[:, ::-1],
    3: lambda pixels: pixels[::-1, ::-1],
    4: lambda pixels: pixels[::-1],
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: lambda pixels: np.rot90(pixels),
}


def encode(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    checksum = struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + checksum + struct.pack(">I", 0) + b"IDAT"


def grey(values: NDArray[Any]) -> NDArray[Any]:
    return np.repeat(values[..., None], 3, axis=2)


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".tiff", ".ppm", ".pnm", ".PNG"])
def test_lossless_formats_come_back_exactly(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    Image.fromarray(NOISE).save(path)
    pixels = decode(path)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, NOISE)


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_opens_from_bytes(form: str) -> None:
    feature = {"WEBP": "webp", "AVIF": "avif", "JPEG2000": "jpg_2000"}.get(form)
    if feature and not features.check(feature):
        pytest.skip(f"this Pillow has no {form}")
    pixels = decode(encode(Image.fromarray(PATCHES), form)).astype(int)
    assert np.abs(pixels - PATCHES).mean() < 6


def test_a_phones_multi_picture_file_gives_its_first_picture() -> None:
    data = encode(
        Image.fromarray(PATCHES), "MPO", save_all=True, append_images=[Image.fromarray(PATCHES[::-1, ::-1].copy())]
    )
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert np.abs(decode(data).astype(int) - PATCHES).mean() < 6


@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
def test_the_first_image_of_a_process_may_be_of_any_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"first{suffix}"
    Image.fromarray(NOISE).save(path)
    script = "import sys; from pathlib import Path; from siamese.images.decode import decode; "
    script += "print(decode(Path(sys.argv[1])).shape)"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("(12, 20, 3)", "")


@pytest.mark.parametrize("name", ["with space.png", "Zoë Ångström.png", "写真.png", "a'b\"c.png", "%20#?.png"])
def test_names_may_hold_spaces_and_any_unicode(tmp_path: Path, name: str) -> None:
    Image.fromarray(NOISE).save(tmp_path / name)
    np.testing.assert_array_equal(decode(tmp_path / name), NOISE)


@pytest.mark.parametrize("orientation", ORIENTED)
def test_exif_orientation_is_applied(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    stored = encode(Image.fromarray(NOISE), "PNG", exif=exif)
    np.testing.assert_array_equal(decode(stored), ORIENTED[orientation](NOISE))


def test_exif_orientation_of_a_jpeg_is_applied() -> None:
    exif = Image.Exif()
    exif[274] = 6
    pixels = decode(encode(Image.fromarray(PATCHES[:40]), "JPEG", quality=95, exif=exif))
    assert pixels.shape == (64, 40, 3)
    assert np.abs(pixels.astype(int) - ORIENTED[6](PATCHES[:40])).mean() < 6


@pytest.mark.parametrize("orientation", [0, 9, 60000])
def test_orientations_that_do_not_exist_leave_the_image_as_stored(orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    np.testing.assert_array_equal(decode(encode(Image.fromarray(NOISE), "PNG", exif=exif)), NOISE)


def test_a_damaged_exif_block_leaves_the_image_as_stored() -> None:
    image = Image.fromarray(PATCHES)
    exif = Image.Exif()
    exif[274], exif[271] = 6, "a maker"
    block = exif.tobytes()
    for end in range(7, len(block)):
        pixels = decode(encode(image, "JPEG", quality=95, exif=block[:end]))
        assert min(np.abs(pixels.astype(int) - turned).mean() for turned in (PATCHES, np.rot90(PATCHES, -1))) < 6
    # An orientation that is a fraction trips Pillow when it writes the block back.
    position = block.index(struct.pack(">HH", 274, 3))
    strange = block[: position + 2] + struct.pack(">H", 2) + block[position + 4 :]
    assert decode(encode(image, "JPEG", exif=strange)).shape == PATCHES.shape


def test_grey_becomes_three_equal_channels() -> None:
    np.testing.assert_array_equal(decode(encode(Image.fromarray(NOISE[..., 0]), "PNG")), grey(NOISE[..., 0]))


def test_one_bit_images_become_black_and_white() -> None:
    bits = NOISE[..., 0] > 127
    for form in ("PNG", "PPM", "TIFF", "BMP"):
        decoded = decode(encode(Image.fromarray(bits), form))
        np.testing.assert_array_equal(decoded, grey(bits.astype(np.uint8) * 255), err_msg=form)


def test_palette_colours_are_looked_up() -> None:
    palette = RNG.integers(0, 256, (7, 3), dtype=np.uint8)
    indices = RNG.integers(0, 7, (9, 11), dtype=np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette(palette.tobytes())
    for form in ("PNG", "GIF", "BMP", "TIFF"):
        np.testing.assert_array_equal(decode(encode(image, form)), palette[indices], err_msg=form)


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_a_transparent_palette_entry_shows_white(form: str) -> None:
    palette = RNG.integers(0, 200, (7, 3), dtype=np.uint8)
    indices = RNG.integers(0, 7, (9, 11), dtype=np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette(palette.tobytes())
    palette[3] = 255
    np.testing.assert_array_equal(decode(encode(image, form, transparency=3)), palette[indices])


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_laid_over_white(mode: str) -> None:
    channels = RNG.integers(0, 256, (16, 16, len(mode)), dtype=np.uint8)
    channels[:4, :, -1], channels[4:8, :, -1] = 0, 255
    decoded = decode(encode(Image.fromarray(channels, mode), "PNG")).astype(float)
    colour, alpha = channels[..., :-1].astype(float), channels[..., -1:] / 255
    expected = np.broadcast_to(colour * alpha + 255 * (1 - alpha), (16, 16, 3))
    assert np.abs(decoded - expected).max() <= 1
    assert (decoded[:4] == 255).all()
    np.testing.assert_array_equal(decoded[4:8], np.broadcast_to(colour[4:8], (4, 16, 3)))


def test_a_transparent_grey_level_shows_white() -> None:
    values = RNG.integers(0, 4, (8, 8), dtype=np.uint8)
    decoded = decode(encode(Image.fromarray(values), "PNG", transparency=2))
    np.testing.assert_array_equal(decoded, grey(np.where(values == 2, 255, values)))


SIXTEEN = RNG.integers(0, 65536, (10, 15), dtype=np.uint16)
SIXTEEN[0, :4] = 0, 1, 65534, 65535


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_16_bit_grey_is_divided_by_257(form: str) -> None:
    np.testing.assert_array_equal(decode(encode(Image.fromarray(SIXTEEN), form)), grey(np.rint(SIXTEEN / 257.0)))


def test_16_bit_grey_of_a_narrow_range_stays_dark() -> None:
    decoded = decode(encode(Image.fromarray(np.array([[0, 257, 514]], np.uint16)), "PNG"))
    assert decoded[0, :, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("most", [1023, 4095, 65535])
def test_16_bit_pgm_is_scaled_by_its_own_maximum(tmp_path: Path, most: int) -> None:
    values = SIXTEEN.astype(int) % (most + 1)
    path = tmp_path / "deep.pgm"
    path.write_bytes(f"P5 {values.shape[1]} {values.shape[0]} {most}\n".encode() + values.astype(">u2").tobytes())
    assert np.abs(decode(path)[..., 0] - values * (255 / most)).max() <= 0.51


def test_8_bit_pgm_comes_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "face.pgm"
    path.write_bytes(b"P5\n# a comment\n20 12\n255\n" + NOISE[..., 0].tobytes())
    np.testing.assert_array_equal(decode(path), grey(NOISE[..., 0]))


def test_16_bit_colour_keeps_its_upper_byte(tmp_path: Path) -> None:
    values = RNG.integers(0, 65536, (6, 7, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", 7, 6, 16, 2, 0, 0, 0)
    chunks = [b"IHDR" + header, b"IDAT" + zlib.compress(rows), b"IEND"]
    framed = (struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) for chunk in chunks)
    data = b"\x89PNG\r\n\x1a\n" + b"".join(framed)
    np.testing.assert_array_equal(decode(data), (values >> 8).astype(np.uint8))


def test_cmyk_jpeg_becomes_rgb() -> None:
    ink = np.zeros((32, 32, 4), np.uint8)
    ink[:16, :, 1:3] = 255  # magenta and yellow make red
    ink[16:, :, 3] = 128  # half black makes grey
    decoded = decode(encode(Image.fromarray(ink, "CMYK"), "JPEG", quality=100)).astype(int)
    assert np.abs(decoded[:12] - (255, 0, 0)).max() < 12
    assert np.abs(decoded[20:] - 127).max() < 12


@pytest.mark.parametrize("form", ["GIF", "TIFF", "WEBP", "PNG"])
def test_the_first_frame_of_several_is_taken(form: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue", "green")]
    data = encode(frames[0], form, save_all=True, append_images=frames[1:])
    assert getattr(Image.open(io.BytesIO(data)), "n_frames", 1) == 3
    assert np.abs(decode(data).astype(int) - (255, 0, 0)).max() <= 3


def test_the_smallest_image_has_one_pixel() -> None:
    assert decode(encode(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG")).tolist() == [[[1, 2, 3]]]


@pytest.mark.parametrize(
    ("values", "kind"),
    [(np.ones((4, 4), np.float32), "floating-point"), (np.ones((4, 4), np.int32), "32-bit or signed")],
)
def test_pixels_without_a_fixed_range_are_refused(tmp_path: Path, values: NDArray[Any], kind: str) -> None:
    path = tmp_path / "deep.tif"
    Image.fromarray(values).save(path)
    message = f"{path}: {kind} pixels have no fixed range; expected 8 or 16 bits"
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        decode(path)


def test_too_many_pixels_are_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(png_header(12_000, 10_000))
    message = f"{path}: 12000 x 10000 pixels, more than 100,000,000; reduce the image first"
    with pytest.raises(ImageError, match=f"^{re.escape(message)}$"):
        decode(path)
    assert probe(path) == message
    path.write_bytes(png_header(60_000, 60_000))
    with pytest.raises(ImageError, match=f"^{re.escape(str(path))}: more than {MAX_PIXELS:,} pixels; reduce"):
        decode(path)


def test_the_limit_itself_is_allowed() -> None:
    data = encode(Image.fromarray(NOISE), "PNG")
    assert decode(data, max_pixels=240).shape == NOISE.shape
    with pytest.raises(ImageError, match=r"^the image given as bytes: 20 x 12 pixels, more than 239; reduce"):
        decode(data, max_pixels=239)


@pytest.mark.parametrize(
    ("data", "answer"),
    [(png_header(9_900, 9_900), "None"), (encode(Image.fromarray(NOISE), "TIFF")[:100], "not an image")],
    ids=["large", "damaged"],
)
def test_pillows_own_warnings_do_not_reach_the_user(tmp_path: Path, data: bytes, answer: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(data)
    script = "import sys; from pathlib import Path; from siamese.images.decode import probe; "
    script += "print(probe(Path(sys.argv[1])))"
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=False)
    assert answer in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such file; check the path"),
        (lambda path: path.symlink_to(path.with_name("gone.jpg")), "no such file; check the path"),
        (lambda path: path.mkdir(), "is a folder, expected an image file"),
        (lambda path: path.touch(), "the file is empty (0 bytes); replace it"),
        (lambda path: path.symlink_to(path), "cannot be read (Too many levels of symbolic links)"),
        (
            lambda path: os.mkfifo(path),
            "is a pipe or a device, expected an image file; save the image to a file first",
        ),
        (
            lambda path: path.write_text("not an image"),
            f"not an image in a known format ({', '.join(FORMATS)}); replace or remove it",
        ),
    ],
    ids=["missing", "dangling", "folder", "empty", "loop", "pipe", "text"],
)
def test_what_is_no_image_is_named_with_the_reason(tmp_path: Path, make: Any, reason: str) -> None:
    path = tmp_path / "face.jpg"
    make(path)
    with pytest.raises(ImageError) as caught:
        decode(path)
    assert str(caught.value) == f"{path}: {reason}"
    assert probe(path) == f"{path}: {reason}"


@pytest.mark.parametrize(("name", "reason"), [("n" * 300, "File name too long"), ("a\0b", "embedded null byte")])
def test_impossible_names_are_an_image_error(tmp_path: Path, name: str, reason: str) -> None:
    with pytest.raises(ImageError, match=rf"cannot be read \({reason}\)$"):
        decode(tmp_path / name)


def test_a_file_below_a_file_is_an_image_error(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ImageError, match=r"b\.jpg: cannot be read \(Not a directory\)$"):
        decode(tmp_path / "a.jpg" / "b.jpg")


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs the users of a Unix system")
def test_a_file_that_may_not_be_read_is_an_image_error(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    Image.fromarray(NOISE).save(path)
    path.chmod(0)
    user = os.geteuid()
    try:
        if user == 0:  # root may read everything, so be nobody for a moment
            os.seteuid(65534)
        with pytest.raises(ImageError, match=r"secret\.png: cannot be read \(Permission denied\)$"):
            decode(path)
    finally:
        os.seteuid(user)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
@pytest.mark.parametrize("share", [0.5, 0.95])
def test_truncated_images_are_refused(form: str, share: float) -> None:
    data = encode(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)), form)
    with pytest.raises(ImageError, match=r"^the image given as bytes: .*(truncated|cannot be read|not an image)"):
        decode(data[: int(len(data) * share)])


def test_a_truncated_file_is_named_and_can_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(encode(Image.fromarray(NOISE), "JPEG")[:-100])
    with pytest.raises(ImageError, match=rf"^{re.escape(str(path))}: damaged or truncated image \(.+\); replace the"):
        decode(path)
    assert probe(path) is None  # the header alone speaks for it


@pytest.mark.parametrize("data", [b"", b"\0", b"\xff\xd8\xff", b"GIF89a", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_bytes_that_are_no_image_are_refused(data: bytes) -> None:
    with pytest.raises(ImageError, match=r"^the image given as bytes: "):
        decode(data)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"])
def test_whatever_the_bytes_are_the_answer_is_pixels_or_one_line(form: str) -> None:
    rng = np.random.default_rng(1)
    exif = Image.Exif()
    exif[274], exif[271] = 6, "a maker"
    options = {"exif": exif} if form in ("JPEG", "PNG", "WEBP", "TIFF") else {}
    good = np.frombuffer(encode(Image.fromarray(NOISE), form, **options), np.uint8)
    refused = 0
    for _ in range(150):
        data = good.copy()
        places = rng.integers(0, rng.choice([len(good), min(200, len(good))]), rng.integers(1, 6))
        data[places] = rng.choice([0, 255, int(rng.integers(256))], len(places))
        try:
            assert decode(data.tobytes()).shape[2] == 3
        except ImageError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 0


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux's list of open files")
def test_reading_closes_the_file(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(NOISE).save(path)
    with open_image(path) as image:
        assert image.size == (20, 12)
    for _ in range(3):
        decode(path)
        probe(path)
    assert path not in {entry.resolve() for entry in Path("/proc/self/fd").iterdir()}


def test_suffixes_are_lower_case_and_hold_the_usual_ones() -> None:
    assert {".jpg", ".jpeg", ".png", ".pgm", ".webp", ".tif"} <= SUFFIXES
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in SUFFIXES)
