import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from siamese.images.openvino_detector_areas import AreaSums

RNG = np.random.default_rng(0)


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def by_torch(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.float32]:
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
    return ((interpolate(pixels, (height, width), mode="area") - 127.5) * 0.0078125).numpy()


@pytest.mark.parametrize("shape", [(20, 20), (21, 33), (250, 250), (97, 301), (1, 50), (640, 480)])
@pytest.mark.parametrize("size", [(12, 12), (13, 17), (24, 24), (151, 151), (2, 3), (300, 200)])
def test_the_whole_image_is_what_torch_makes_of_it_to_the_last_bit(
    shape: tuple[int, int], size: tuple[int, int]
) -> None:
    image = noise(*shape)
    np.testing.assert_array_equal(AreaSums(image).resize(*size), by_torch(image, *size))


@pytest.mark.parametrize("size", [24, 48])
def test_crops_are_what_torch_makes_of_them_to_the_last_bit(size: int) -> None:
    image = noise(120, 170)
    corners = np.sort(RNG.integers(0, (170, 120), (60, 2, 2)), axis=1)
    boxes = np.column_stack([corners[:, 0], corners[:, 1] + 1])
    boxes[:3] = [(0, 0, 170, 120), (169, 119, 170, 120), (0, 0, 1, 120)]
    crops = AreaSums(image).crops(boxes, size)
    assert crops.shape == (60, 3, size, size)
    assert crops.dtype == np.float32
    assert crops.flags.c_contiguous
    for crop, (left, top, right, bottom) in zip(crops, boxes, strict=True):
        np.testing.assert_array_equal(crop[None], by_torch(image[top:bottom, left:right], size, size))


def test_no_boxes_are_no_crops() -> None:
    assert AreaSums(noise(30, 30)).crops(np.zeros((0, 4), np.int64), 24).shape == (0, 3, 24, 24)


def test_sums_beyond_32_bits_still_give_the_means() -> None:
    white = np.full((3000, 3000, 3), 255, np.uint8)  # 2.3e9 a channel
    sums = AreaSums(white)
    assert (sums.resize(40, 40) == 127.5 / 128).all()
    assert (sums.crops(np.array([(2500, 2500, 3000, 3000), (0, 0, 1500, 3000)]), 24) == 127.5 / 128).all()


def test_an_image_that_is_a_view_of_another_counts_as_it_looks() -> None:
    image = noise(60, 80)
    view = image[10:50:2, ::-1]
    np.testing.assert_array_equal(AreaSums(view).resize(15, 15), AreaSums(view.copy()).resize(15, 15))
