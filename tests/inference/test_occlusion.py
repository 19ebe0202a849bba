"""Patches, what covers them, and the map that their drops make, against loops over pixels."""

import numpy as np
import pytest

from siamese.errors import OptionError
from siamese.inference.occlusion import (
    average_by_pixel,
    cover,
    fill_of,
    patch_windows,
    window_masks,
)

RNG = np.random.default_rng(0)
SIZES = [(14, 12), (9, 9), (7, 16), (16, 7), (1, 1)]
SHARES = [(0.25, 2 / 3), (0.5, 2 / 3), (0.25, 0.0), (1.0, 0.5), (0.01, 0.9), (0.4, 0.25)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("patch", "overlap"), SHARES)
def test_square_patches_inside_the_image_cover_every_pixel(
    size: tuple[int, int], patch: float, overlap: float
) -> None:
    windows = patch_windows(size, patch, overlap)
    top, left, bottom, right = windows.T
    side = max(1, round(patch * min(size)))
    assert set(bottom - top) == set(right - left) == {side}
    assert (top.min(), left.min(), bottom.max(), right.max()) == (0, 0, *size)
    assert window_masks(windows, size).any(axis=0).all()
    assert len(np.unique(windows, axis=0)) == len(windows)


def test_neighbouring_patches_overlap_by_at_least_the_share_asked_for() -> None:
    for overlap in (0.0, 0.25, 0.5, 2 / 3):
        tops = np.unique(patch_windows((112, 96), 0.25, overlap)[:, 0])
        assert np.diff(tops).max() <= 24 * (1 - overlap) + 1e-9
        assert np.diff(tops).max() - np.diff(tops).min() <= 1


@pytest.mark.parametrize(
    ("patch", "overlap", "message"),
    [
        (0.0, 0.5, "patch 0: expected a share of the image's shorter side, above 0 and at most 1"),
        (1.5, 0.5, "patch 1.5: expected a share of the image's shorter side, above 0 and at most 1"),
        (float("nan"), 0.5, "patch nan: expected a share of the image's shorter side, above 0 and at most 1"),
        (0.5, 1.0, "overlap 1: expected a share of the patch's side, from 0 to below 1"),
        (0.5, -0.1, "overlap -0.1: expected a share of the patch's side, from 0 to below 1"),
    ],
)
def test_shares_out_of_range_are_refused(patch: float, overlap: float, message: str) -> None:
    with pytest.raises(OptionError, match=f"^{message}$"):
        patch_windows((32, 32), patch, overlap)


def test_an_unknown_fill_is_refused() -> None:
    with pytest.raises(OptionError, match=r"^unknown fill 'mena': did you mean 'mean'\? known: blur, mean$"):
        fill_of(np.zeros((4, 4, 3), np.uint8), "mena")  # type: ignore[arg-type]


def test_the_mean_fill_is_the_mean_colour_and_the_blur_keeps_light_and_loses_detail() -> None:
    image = RNG.integers(0, 256, (40, 30, 3)).astype(np.uint8)
    image[:, :15] //= 4
    mean, blur = fill_of(image), fill_of(image, "blur")
    np.testing.assert_array_equal(np.unique(mean.reshape(-1, 3), axis=0), np.rint(image.mean((0, 1)))[None])
    assert blur.shape == image.shape
    assert blur[:, 24:].mean() - blur[:, :6].mean() > 70, "the darker half stays darker"
    assert blur[:, 24:].std() < image[:, 24:].std() / 4


def test_only_what_a_mask_names_is_covered() -> None:
    image = RNG.integers(0, 256, (12, 10, 3)).astype(np.uint8)
    windows = patch_windows((12, 10), 0.3, 0.5)
    masks, filling = window_masks(windows, (12, 10)), fill_of(image)
    copies = cover(image, masks, filling)
    assert copies.dtype == np.uint8
    for (top, left, bottom, right), copy in zip(windows, copies, strict=True):
        expected = image.copy()
        expected[top:bottom, left:right] = filling[top:bottom, left:right]
        np.testing.assert_array_equal(copy, expected)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("patch", "overlap"), SHARES)
def test_a_pixel_gets_the_mean_over_the_patches_that_hold_it(
    size: tuple[int, int], patch: float, overlap: float
) -> None:
    windows = patch_windows(size, patch, overlap)
    values = RNG.normal(size=len(windows))
    expected = np.zeros(size)
    for row in range(size[0]):
        for column in range(size[1]):
            holds = [t <= row < b and left <= column < r for t, left, b, r in windows.tolist()]
            expected[row, column] = values[holds].mean()
    found = average_by_pixel(values, windows, size)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_equal_drops_make_an_even_map_also_at_the_edges() -> None:
    windows = patch_windows((30, 50), 0.3, 0.6)
    np.testing.assert_allclose(average_by_pixel(np.full(len(windows), 0.25), windows, (30, 50)), 0.25, atol=1e-7)
