"""Against facenet-pytorch's own steps and torchvision's suppression."""

import numpy as np
import pytest
import torch
from facenet_pytorch.models.utils import detect_face as reference
from numpy.typing import NDArray
from torchvision.ops import nms

from siamese.images.openvino_detector_boxes import BLOCK, cells, pixels, shift, square, suppress

Floats = NDArray[np.float32]


def random_boxes(count: int, seed: int, spread: int = 200, whole: bool = False) -> Floats:
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-10, spread, (count, 2))
    boxes = np.column_stack([corner, corner + rng.uniform(5, 60, (count, 2))])
    return (np.floor(boxes) if whole else boxes).astype(np.float32)


def random_scores(count: int, seed: int, levels: int = 0) -> Floats:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, count) / levels if levels else rng.random(count)
    return scores.astype(np.float32)


@pytest.mark.parametrize("count", [0, 1, 2, 50, BLOCK, BLOCK + 1, 3 * BLOCK + 17])
@pytest.mark.parametrize("limit", [0.5, 0.7])
@pytest.mark.parametrize("spread", [20, 400])
@pytest.mark.parametrize("whole", [True, False])
def test_suppression_keeps_what_torchvision_keeps(count: int, limit: float, spread: int, whole: bool) -> None:
    boxes, scores = random_boxes(count, count, spread, whole), random_scores(count, count)
    expected = nms(torch.from_numpy(boxes), torch.from_numpy(scores), limit).numpy()
    np.testing.assert_array_equal(suppress(boxes, scores, limit), expected)


@pytest.mark.parametrize("seed", range(5))
def test_equal_scores_are_taken_in_order(seed: int) -> None:
    boxes, scores = random_boxes(700, seed, 60, whole=True), random_scores(700, seed, levels=4)
    expected = nms(torch.from_numpy(boxes), torch.from_numpy(scores), 0.5).numpy()
    np.testing.assert_array_equal(suppress(boxes, scores, 0.5), expected)


def test_a_long_chain_keeps_every_other_box() -> None:
    # Each box overlaps only its neighbours: whether one stays depends on all before it.
    corner = np.arange(2 * BLOCK + 10, dtype=np.float32) * 4
    boxes = np.column_stack([corner, corner * 0, corner + 10, corner * 0 + 10])
    scores = np.linspace(1, 0.5, len(boxes), dtype=np.float32)
    np.testing.assert_array_equal(suppress(boxes, scores, 0.3), np.arange(0, len(boxes), 2))


@pytest.mark.parametrize("count", [0, 1, 40, BLOCK + 40])
@pytest.mark.parametrize("spread", [20, 400])
def test_overlap_with_the_smaller_is_facenet_pytorchs(count: int, spread: int) -> None:
    boxes, scores = random_boxes(count, count, spread), random_scores(count, count)
    expected = reference.nms_numpy(boxes, scores, 0.7, "Min") if count else []
    np.testing.assert_array_equal(suppress(boxes, scores, 0.7, "smaller"), expected)


def test_boxes_without_area_overlap_nothing() -> None:
    boxes = np.array([(5, 5, 5, 9), (5, 5, 5, 9), (0, 0, 10, 10)], np.float32)
    np.testing.assert_array_equal(suppress(boxes, np.array([0.9, 0.8, 0.7], np.float32), 0.5), [0, 1, 2])


@pytest.mark.parametrize("scale", [0.6, 0.6 * 0.709, 0.6 * 0.709**7])
def test_cells_are_facenet_pytorchs(scale: float) -> None:
    scores = torch.rand(1, 40, 50, generator=torch.Generator().manual_seed(0))
    expected, _ = reference.generateBoundingBox(torch.zeros(1, 4, 40, 50), scores, scale, 0.6)
    rows, columns = np.nonzero(scores[0].numpy() >= 0.6)
    np.testing.assert_array_equal(cells(rows, columns, scale), expected[:, :4].numpy())


def test_shifted_and_squared_boxes_are_facenet_pytorchs() -> None:
    boxes = random_boxes(300, 0)
    offsets = np.random.default_rng(1).normal(0, 0.2, (300, 4)).astype(np.float32)
    expected = reference.bbreg(torch.from_numpy(boxes.copy()), torch.from_numpy(offsets))
    np.testing.assert_array_equal(shift(boxes, offsets), expected.numpy())
    np.testing.assert_array_equal(square(boxes), reference.rerec(torch.from_numpy(boxes.copy())).numpy())
    assert shift(boxes, offsets).dtype == square(boxes).dtype == np.float32


def test_pixels_are_facenet_pytorchs() -> None:
    boxes = random_boxes(300, 0)
    top, bottom, left, right = reference.pad(torch.from_numpy(boxes.copy()), 180, 150)
    expected = np.column_stack([left - 1, top - 1, right, bottom])
    np.testing.assert_array_equal(pixels(boxes, 150, 180), expected)
