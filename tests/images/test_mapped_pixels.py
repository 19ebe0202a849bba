import pickle
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from siamese.images.mapped_pixels import MappedPixels

STORED = np.random.default_rng(0).integers(1, 256, (9, 4, 5, 3), dtype=np.uint8)
ROWS = np.array([3, 8, 0, -1, 3])


@pytest.fixture
def mapped(tmp_path: Path) -> MappedPixels:
    (tmp_path / "pixels").write_bytes(STORED.tobytes() + b"what is being added")
    return MappedPixels(tmp_path / "pixels", ROWS, (4, 5))


@pytest.fixture
def expected() -> NDArray[np.uint8]:
    pixels = STORED[ROWS]
    pixels[3] = 0
    return pixels


@pytest.mark.parametrize(
    "index",
    [0, 3, -1, slice(1, 4), slice(None, None, -2), slice(9, 12), np.array([4, 0, 0]), np.array([], int), ROWS > 2],
)
def test_it_is_indexed_as_an_array_is(mapped: MappedPixels, expected: NDArray[np.uint8], index: object) -> None:
    found = mapped[index]  # type: ignore[index]
    np.testing.assert_array_equal(found, expected[index])  # type: ignore[index]
    assert found.shape == expected[index].shape  # type: ignore[index]
    assert found.dtype == np.uint8


def test_length_shape_and_conversion_are_an_arrays(mapped: MappedPixels, expected: NDArray[np.uint8]) -> None:
    assert (len(mapped), mapped.shape, mapped.dtype) == (5, (5, 4, 5, 3), np.uint8)
    np.testing.assert_array_equal(np.asarray(mapped), expected)
    np.testing.assert_array_equal(np.asarray(mapped, dtype=float), expected)
    with pytest.raises(ValueError, match="by a copy"):
        np.array(mapped, copy=False)


def test_what_is_taken_may_be_changed_without_harm(mapped: MappedPixels, expected: NDArray[np.uint8]) -> None:
    mapped[np.array([0])][:] = 0
    np.testing.assert_array_equal(mapped[:], expected)


@pytest.mark.parametrize("index", [5, -6, np.array([5])])
def test_what_is_not_there_is_an_index_error(mapped: MappedPixels, index: object) -> None:
    with pytest.raises(IndexError):
        mapped[index]  # type: ignore[index]


def test_a_copy_for_another_process_maps_the_file_anew(mapped: MappedPixels, expected: NDArray[np.uint8]) -> None:
    carried = pickle.dumps(mapped)
    assert len(carried) < 1000
    np.testing.assert_array_equal(pickle.loads(carried)[:], expected)  # noqa: S301


def test_rows_of_nothing_need_no_file(tmp_path: Path) -> None:
    black = MappedPixels(tmp_path / "gone", np.array([-1, -1]), (4, 5))
    assert not black[:].any()
    assert MappedPixels(tmp_path / "gone", np.array([], np.int64), (4, 5))[:].shape == (0, 4, 5, 3)
