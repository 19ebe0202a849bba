import base64
import io

import numpy as np
import pytest
from PIL import Image

from siamese.errors import DataError
from siamese.report.pictures import SIDE, jpeg_uri


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
