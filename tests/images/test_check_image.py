"""`check_image`: what cannot be an image is refused by its header, mostly without waking Pillow's formats."""

import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from siamese.errors import ImageError
from siamese.images.decode import check_image, open_image

PROJECT = Path(__file__).parents[2]
Write = Callable[[Path, NDArray[np.uint8]], Path]


def noise(height: int = 24, width: int = 30) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".gif", ".tif", ".ppm"])
def test_images_of_every_format_pass(tmp_path: Path, write_image: Write, suffix: str) -> None:
    check_image(write_image(tmp_path / f"image{suffix}", noise()))


def broken(folder: Path) -> dict[str, Path]:
    paths = {name: folder / name for name in ("missing.jpg", "folder.jpg", "empty.jpg", "text.jpg", "header.png")}
    paths["folder.jpg"].mkdir()
    paths["empty.jpg"].touch()
    paths["text.jpg"].write_text("no image")
    paths["header.png"].write_bytes(b"\x89PNG\r\n\x1a\n")
    return paths


@pytest.mark.parametrize("name", ["missing.jpg", "folder.jpg", "empty.jpg", "text.jpg", "header.png"])
def test_what_is_no_image_is_refused_in_the_same_words_as_when_it_is_opened(tmp_path: Path, name: str) -> None:
    path = broken(tmp_path)[name]
    with pytest.raises(ImageError) as opened:
        open_image(path)
    with pytest.raises(ImageError) as checked:
        check_image(path)
    assert str(checked.value) == str(opened.value)
    assert str(checked.value).startswith(f"{path}: ")


def test_an_image_that_claims_too_many_pixels_is_refused(tmp_path: Path, write_image: Write) -> None:
    path = write_image(tmp_path / "bomb.png", noise(4, 4))
    data = bytearray(path.read_bytes())
    data[16:24] = (12_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    path.write_bytes(data)
    with pytest.raises(ImageError) as refused:
        check_image(path)
    assert str(refused.value) == f"{path}: 12000 x 12000 pixels, more than 100,000,000; reduce the image first"


def test_a_plain_photograph_is_checked_without_the_format_drivers(tmp_path: Path, write_image: Write) -> None:
    plain, other = write_image(tmp_path / "plain.jpg", noise()), write_image(tmp_path / "other.gif", noise())
    script = """
import sys
from pathlib import Path
from siamese.images.decode import check_image
check_image(Path(sys.argv[1]))
print("PIL.JpegImagePlugin" in sys.modules)
"""
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    answers = [
        subprocess.run(
            [sys.executable, "-c", script, path], env=environment, capture_output=True, text=True, check=True
        ).stdout
        for path in (plain, other)
    ]
    assert answers == ["False\n", "True\n"]
