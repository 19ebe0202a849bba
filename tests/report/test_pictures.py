import base64
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from siamese.errors import DataError
from siamese.images.decode import decode
from siamese.inference.pair_source import open_pairs
from siamese.pairing.face_bin import write_bin
from siamese.report.pictures import SIDE, jpeg_uri, pictures_of


def opened(uri: str) -> Image.Image:
    head, _, body = uri.partition(",")
    assert head == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(body, validate=True)))


@pytest.mark.parametrize(
    ("shape", "size"),
    [((100, 60), (60, 100)), ((2 * SIDE, SIDE), (SIDE // 2, SIDE)), ((1, 4000), (SIDE, 1)), ((1, 1), (1, 1))],
)
def test_large_pictures_are_reduced_and_small_ones_left(shape: tuple[int, int], size: tuple[int, int]) -> None:
    assert opened(jpeg_uri(np.zeros((*shape, 3), np.uint8))).size == size


def test_colours_keep_their_order() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[..., 0] = 200
    red, green, blue = np.asarray(opened(jpeg_uri(image)).convert("RGB")).mean(axis=(0, 1))
    assert (abs(red - 200) < 5, green < 5, blue < 5) == (True, True, True)


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8), np.zeros((0, 4, 3), np.uint8)],
)
def test_what_is_no_picture_is_refused(image: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"picture of \w+ \(.*\): expected uint8 \(height, width, 3\)"):
        jpeg_uri(image)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    root = tmp_path / "ünïcode images"
    root.mkdir()
    random = np.random.default_rng(0)
    for name in ("a.png", "b.jpg", "c.webp"):
        Image.fromarray(random.integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(root / name)
    return root


def test_pictures_of_a_pair_file_are_read_below_its_root(images: Path, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("left,right,same\na.png,b.jpg,1\n")
    (images / "broken.png").write_bytes(b"\x89PNG no more")
    with pictures_of(pairs, images) as pictures:
        np.testing.assert_array_equal(pictures("a.png"), decode(images / "a.png"))
        np.testing.assert_array_equal(pictures(str(images / "b.jpg")), decode(images / "b.jpg"))
        assert pictures("broken.png") is None
        assert pictures("missing.png") is None


def test_pictures_of_a_bin_file_come_from_the_file_when_what_it_was_unpacked_into_is_gone(
    images: Path, tmp_path: Path
) -> None:
    rows = [("a.png", "b.jpg", True), ("c.webp", "a.png", False), ("b.jpg", "c.webp", False)]
    packed = tmp_path / "pairs.bin"
    write_bin(pd.DataFrame(rows, columns=["left", "right", "same"]), images, packed)
    with open_pairs(packed, None) as (frame, base):
        names = dict(zip(frame["left"], (row[0] for row in rows), strict=True))
    assert not base.exists()
    with pictures_of(packed, base) as pictures:
        for name, source in names.items():
            np.testing.assert_array_equal(pictures(name), decode(images / source))
        assert pictures("00099.jpg") is None
    packed.write_bytes(packed.read_bytes()[:40])
    with pictures_of(packed, base) as pictures:
        assert pictures(frame["left"][0]) is None
