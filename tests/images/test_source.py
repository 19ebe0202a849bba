"""An image is the same image however it is given."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from siamese.errors import DataError, ImageError
from siamese.images.decode import MAX_PIXELS, decode
from siamese.images.source import name_of, read_pixels


def noise(*shape: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def file_of(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_path_text_bytes_array_and_pillow_image_give_the_same_pixels(tmp_path: Path) -> None:
    pixels = noise(9, 7, 3)
    path = tmp_path / "größe 1.png"
    path.write_bytes(file_of(Image.fromarray(pixels)))
    data = path.read_bytes()
    for source in (path, str(path), data, bytearray(data), memoryview(data), pixels, Image.fromarray(pixels)):
        np.testing.assert_array_equal(read_pixels(source), pixels)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "I;16"])
def test_a_pillow_image_of_any_mode_gives_what_its_file_gives(mode: str) -> None:
    image = Image.fromarray(noise(12, 10, 3))
    image = Image.fromarray(noise(12, 10).astype(np.uint16) * 257) if mode == "I;16" else image.convert(mode)
    kind = "JPEG" if mode == "CMYK" else "TIFF" if mode == "YCbCr" else "PNG"
    data = file_of(image, kind)
    with Image.open(io.BytesIO(data)) as opened:
        np.testing.assert_array_equal(read_pixels(opened), decode(data))
        opened.load()  # it stays open, for whoever gave it


def test_a_pillow_image_is_turned_upright_like_its_file() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = file_of(Image.fromarray(noise(8, 16, 3)), "JPEG", exif=exif)
    with Image.open(io.BytesIO(data)) as opened:
        found = read_pixels(opened)
    assert found.shape == (16, 8, 3)
    np.testing.assert_array_equal(found, decode(data))


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1)])
def test_a_grey_array_has_three_equal_channels(shape: tuple[int, ...]) -> None:
    pixels = noise(*shape)
    found = read_pixels(pixels)
    assert found.shape == (5, 4, 3)
    for channel in range(3):
        np.testing.assert_array_equal(found[..., channel], pixels.reshape(5, 4))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((4, 4, 3)), "the image given as an array: shape (4, 4, 3), float64; expected uint8 from 0 to 255"),
        (np.zeros((4, 4, 4), np.uint8), "shape (4, 4, 4), uint8; expected uint8 from 0 to 255, (H, W, 3) in RGB"),
        (np.zeros((3, 4, 4), np.uint8), "shape (3, 4, 4), uint8; expected"),
        (np.zeros(4, np.uint8), "shape (4,), uint8; expected"),
        (np.zeros((0, 4, 3), np.uint8), "shape (0, 4, 3), uint8; it has no pixels"),
        (None, "an image given as NoneType: expected a path, the bytes of a file, a Pillow image, or a uint8 array"),
        (7, "an image given as int: expected a path"),
    ],
)
def test_what_is_no_image_is_a_mistake_of_the_program(source: object, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        read_pixels(source)  # type: ignore[arg-type]


def test_an_array_may_not_be_larger_than_a_file() -> None:
    huge = np.broadcast_to(np.zeros((1, 1, 3), np.uint8), (MAX_PIXELS // 100 + 1, 100, 3))
    with pytest.raises(DataError, match="more than 100,000,000 pixels; reduce the image first"):
        read_pixels(huge)


def test_a_pillow_image_whose_file_is_cut_off_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "cut.jpg"
    path.write_bytes(file_of(Image.fromarray(noise(64, 64, 3)), "JPEG")[:900])
    with Image.open(path) as image, pytest.raises(ImageError, match=f"{re.escape(str(path))}: damaged or truncated"):
        read_pixels(image)


@pytest.mark.parametrize("mode", ["F", "I"])
def test_a_pillow_image_without_a_fixed_range_is_refused(mode: str) -> None:
    with pytest.raises(ImageError, match=r"the Pillow image: .* pixels have no fixed range; expected 8 or 16 bits"):
        read_pixels(Image.new(mode, (4, 4)))


def test_messages_name_an_image_by_its_path_or_by_what_it_was_given_as(tmp_path: Path) -> None:
    assert name_of("a/b.png") == "a/b.png"
    assert name_of(Path("a.png")) == "a.png"
    assert name_of(b"") == "the image given as bytes"
    assert name_of(noise(2, 2)) == "the image given as an array"
    assert name_of(Image.new("L", (1, 1))) == "the Pillow image"
    path = tmp_path / "c.png"
    path.write_bytes(file_of(Image.new("L", (1, 1))))
    with Image.open(path) as opened:
        assert name_of(opened) == str(path)
