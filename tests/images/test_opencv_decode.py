"""OpenCV decodes what is plain, and its pixels are Pillow's."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin

from siamese.images.decode import MAX_PIXELS, decode
from siamese.images.opencv_decode import TURNS, decode_by_opencv

RNG = np.random.default_rng(0)
# Smooth, with noise: what a photograph is to a codec. The odd size has a part of a block on both sides.
SMOOTH = np.kron(RNG.integers(0, 256, (5, 7, 3)), np.ones((9, 9, 1))) + RNG.normal(0, 8, (45, 63, 3))
PICTURE = Image.fromarray(np.clip(SMOOTH, 0, 255).astype(np.uint8))


def encode(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def by_pillow(data: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def exif(orientation: object) -> Image.Exif:
    block = Image.Exif()
    block[274] = orientation
    return block


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("JPEG", {"quality": 90}),
        ("JPEG", {"quality": 30, "subsampling": 0}),
        ("JPEG", {"quality": 75, "subsampling": 2, "progressive": True}),
        ("JPEG", {"quality": 75, "restart_marker_blocks": 1}),
        ("JPEG", {"quality": 90, "keep_rgb": True}),
        ("JPEG", {"quality": 90, "comment": b"\xff\xd9 an end that is none \xff\xda"}),
        ("PNG", {}),
        ("PNG", {"icc_profile": b"no profile"}),
        ("WEBP", {"quality": 80}),
        ("WEBP", {"lossless": True}),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_plain_images_have_the_pixels_that_pillow_finds(form: str, options: dict[str, Any], mode: str) -> None:
    if mode == "L":
        options = {key: value for key, value in options.items() if key != "keep_rgb"}
    data = encode(PICTURE.convert(mode), form, **options)
    pixels = decode_by_opencv(data, MAX_PIXELS)
    assert pixels is not None
    assert np.abs(pixels.astype(int) - by_pillow(data)).max() <= 1
    np.testing.assert_array_equal(decode(data), pixels)


@pytest.mark.parametrize("orientation", [1, *TURNS, 9])
def test_a_jpeg_is_turned_as_pillow_turns_it(orientation: int) -> None:
    data = encode(PICTURE, "JPEG", quality=95, exif=exif(orientation))
    pixels = decode_by_opencv(data, MAX_PIXELS)
    assert pixels is not None
    assert pixels.flags.c_contiguous
    assert np.abs(pixels.astype(int) - by_pillow(data)).max() <= 1


def png_text(keyword: str) -> dict[str, Any]:
    text = PngImagePlugin.PngInfo()
    text.add_itxt(keyword, '<x:xmpmeta xmlns:tiff="t"><r tiff:Orientation="6"/></x:xmpmeta>')
    return {"pnginfo": text}


@pytest.mark.parametrize(
    "make",
    [
        lambda: encode(PICTURE.convert("CMYK"), "JPEG"),
        lambda: encode(PICTURE, "PNG", exif=exif(6)),
        lambda: encode(PICTURE, "PNG", **png_text("XML:com.adobe.xmp")),
        lambda: encode(PICTURE, "JPEG", xmp=b'<r tiff:Orientation="6"/>'),
        lambda: encode(PICTURE, "WEBP", exif=exif(6)),
        lambda: encode(PICTURE.convert("P"), "PNG"),
        lambda: encode(PICTURE.convert("1"), "PNG"),
        lambda: encode(PICTURE.convert("RGBA"), "PNG"),
        lambda: encode(PICTURE.convert("L"), "PNG", transparency=3),
        lambda: encode(Image.fromarray(np.full((4, 4), 300, np.uint16)), "PNG"),
        lambda: encode(PICTURE, "PNG", save_all=True, append_images=[PICTURE.rotate(90)]),
        lambda: encode(PICTURE, "WEBP", save_all=True, append_images=[PICTURE.rotate(90)]),
        lambda: encode(PICTURE, "GIF"),
        lambda: encode(PICTURE, "TIFF"),
        lambda: b"",
    ],
)
def test_what_is_not_plain_is_left_to_pillow(make: Callable[[], bytes]) -> None:
    assert decode_by_opencv(make(), MAX_PIXELS) is None


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_no_truncated_file_is_decoded(form: str) -> None:
    data = encode(PICTURE, form)
    assert decode_by_opencv(data, MAX_PIXELS) is not None
    ends = [*range(1, 60), *range(60, len(data), 37), len(data) - 2, len(data) - 1]
    assert [end for end in ends if decode_by_opencv(data[:end], MAX_PIXELS) is not None] == []


def test_a_truncated_jpeg_is_known_by_its_missing_end_though_its_thumbnail_has_one() -> None:
    thumbnail = encode(PICTURE.resize((8, 8)), "JPEG")
    assert thumbnail.endswith(b"\xff\xd9")
    segment = b"\xff\xec" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail
    data = encode(PICTURE, "JPEG")
    whole = data[:2] + segment + data[2:]
    assert decode_by_opencv(whole, MAX_PIXELS) is not None
    assert decode_by_opencv(whole[: len(segment) + len(data) // 2], MAX_PIXELS) is None


def test_what_follows_the_end_of_a_jpeg_does_not_matter() -> None:
    data = encode(PICTURE, "JPEG")
    np.testing.assert_array_equal(decode_by_opencv(data + b"\xff\xd8 and more", MAX_PIXELS), decode(data))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_the_limit_of_pixels_holds(form: str) -> None:
    data = encode(PICTURE, form)
    assert decode_by_opencv(data, 45 * 63) is not None
    assert decode_by_opencv(data, 45 * 63 - 1) is None


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP"])
def test_whatever_the_bytes_are_it_answers_with_pixels_or_none(form: str) -> None:
    good = np.frombuffer(encode(PICTURE, form), np.uint8)
    none = 0
    for _ in range(200):
        data = good.copy()
        places = RNG.integers(0, RNG.choice([len(good), min(100, len(good))]), RNG.integers(1, 4))
        data[places] = RNG.integers(0, 256, len(places))
        pixels = decode_by_opencv(data.tobytes(), MAX_PIXELS)
        assert pixels is None or (pixels.dtype == np.uint8 and pixels.shape[2] == 3)
        none += pixels is None
    assert none > 0


@pytest.mark.real_data
def test_lfw_photographs_have_the_pixels_that_pillow_finds(real_data: Path) -> None:
    for path in sorted((real_data / "data" / "lfw").glob("A*/*.jpg"))[::50]:
        pixels = decode_by_opencv(path.read_bytes(), MAX_PIXELS)
        assert pixels is not None
        assert np.abs(pixels.astype(int) - by_pillow(path.read_bytes())).max() <= 1
