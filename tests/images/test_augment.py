import os
import re
import subprocess
import sys

import numpy as np
import pytest

from siamese.errors import OptionError
from siamese.images.augment import PRESETS, augmenter, view_seeds

RNG = np.random.default_rng(0)
IMAGES = np.kron(RNG.integers(0, 256, (12, 4, 4, 3)), np.ones((1, 12, 10, 1))).astype(np.uint8)
# What would go over the network is refused and named.
OFFLINE = """
import socket
def refuse(*arguments, **options):
    raise SystemExit(f"network: {arguments}")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import numpy as np
from siamese.images.augment import augmenter
print(augmenter("PRESET")(np.zeros((2, 16, 16, 3), np.uint8), np.arange(2, dtype=np.uint64)).shape)
"""
CHANGING = [preset for preset in PRESETS if preset != "none"]


def seeds(count: int, seed: int = 0, view: int = 0) -> np.ndarray:
    return view_seeds(seed, np.arange(count), np.full(count, view))


def test_none_returns_its_input() -> None:
    assert augmenter("none")(IMAGES, seeds(12)) is IMAGES


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("shape", [(3, 48, 40, 3), (1, 112, 112, 3), (2, 17, 5, 3), (0, 32, 32, 3)])
def test_shape_and_type_are_kept(preset: str, shape: tuple[int, ...]) -> None:
    images = RNG.integers(0, 256, shape, dtype=np.uint8)
    before = images.copy()
    augment = augmenter(preset)
    for seed in range(10):
        result = augment(images, seeds(len(images), seed))
        assert result.shape == shape
        assert result.dtype == np.uint8
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("preset", CHANGING)
def test_an_image_and_its_seed_decide_its_view_whatever_else_is_in_the_batch(preset: str) -> None:
    first, second, chosen = augmenter(preset), augmenter(preset), seeds(12)
    once = first(IMAGES, chosen)
    other = first(IMAGES, seeds(12, 8))
    order = np.array([7, 0, 11, 3])
    np.random.seed(1)  # noqa: NPY002
    np.testing.assert_array_equal(first(IMAGES[order], chosen[order]), once[order])
    np.testing.assert_array_equal(second(IMAGES, chosen), once)
    assert (other != once).any()


@pytest.mark.parametrize("preset", CHANGING)
def test_images_of_a_batch_are_changed_differently(preset: str) -> None:
    same = np.repeat(IMAGES[:1], 12, axis=0)
    assert len({image.tobytes() for image in augmenter(preset)(same, seeds(12))}) > 3


@pytest.mark.parametrize("preset", CHANGING)
def test_a_grey_image_stays_grey(preset: str) -> None:
    grey = np.repeat(IMAGES[..., :1], 3, axis=3)
    views = np.concatenate([augmenter(preset)(grey, seeds(12, seed)) for seed in range(5)])
    assert (views == views[..., :1]).all()


@pytest.mark.parametrize("preset", CHANGING)
def test_one_augmenter_serves_images_of_several_sizes(preset: str) -> None:
    augment, wide = augmenter(preset), RNG.integers(0, 256, (12, 64, 90, 3), dtype=np.uint8)
    augment(IMAGES, seeds(12))
    np.testing.assert_array_equal(augment(wide, seeds(12)), augmenter(preset)(wide, seeds(12)))


def test_light_is_a_mirror_and_independently_of_it_a_little_light() -> None:
    augment = augmenter("light")
    kinds = []
    for seed in range(30):
        for image, result in zip(IMAGES, augment(IMAGES, seeds(12, seed)), strict=True):
            # Brightness and contrast are a line a x + b with a and b / 255 within 0.1, then a cut to bytes.
            for candidate in (image, image[:, ::-1]):
                inner = (result > 0) & (result < 255)
                slope, offset = np.polyfit(candidate[inner].astype(float), result[inner].astype(float), 1)
                if np.abs(slope * candidate[inner] + offset - result[inner]).max() < 2:
                    assert 0.88 < slope < 1.12
                    assert abs(offset) < 30
                    kinds.append((candidate is not image, np.array_equal(candidate, result)))
                    break
            else:
                pytest.fail("neither the image nor its mirror, in another light")
    for mirrored in (False, True):
        for untouched in (False, True):
            assert 0.17 < kinds.count((mirrored, untouched)) / 360 < 0.33


def test_standard_moves_and_recolours_too() -> None:
    augment = augmenter("standard")
    grey = np.full((12, 40, 40, 3), 128, np.uint8)
    grey[:, 10:30, 10:30] = (150, 120, 100)
    results = np.concatenate([augment(grey, seeds(12, seed)) for seed in range(10)]).astype(int)
    corners = results[:, [0, 0, -1, -1], [0, -1, 0, -1]].max(axis=2)
    assert (corners.min(axis=1) == 0).any()  # rotated: black came in
    spread = results[:, 20, 20].max(1) - results[:, 20, 20].min(1)
    assert len(set(spread.tolist())) > 5


def test_affine_moves_strokes_on_paper_and_brings_in_no_other_colour() -> None:
    page = np.full((12, 60, 60, 3), 255, np.uint8)
    page[:, 20:40, 28:32] = 0
    views = np.concatenate([augmenter("affine")(page, seeds(12, seed)) for seed in range(30)])[..., 0]
    border = np.concatenate([views[:, 0], views[:, -1], views[:, :, 0], views[:, :, -1]], axis=1)
    assert (border == 255).all()
    ink = (255.0 - views) / 255
    mass = ink.sum(axis=(1, 2))
    # Scale is drawn for height and width apart, so the ink changes by at most 1.2^2 and 0.8^2.
    assert 0.6 < mass.min() / 80 < 0.85
    assert 1.15 < mass.max() / 80 < 1.5
    rows, columns = np.mgrid[:60, :60]
    middle = np.stack([(ink * rows).sum((1, 2)), (ink * columns).sum((1, 2))]) / mass - 29.5
    assert 2 < np.abs(middle).max() < 5
    untouched = (views == page[0, ..., 0]).all(axis=(1, 2)).mean()
    assert 0.13 < untouched < 0.27  # one of five; deviation .02


def test_affine_never_mirrors() -> None:
    page = np.full((12, 60, 60, 3), 255, np.uint8)
    for channel, (row, column) in enumerate([(20, 20), (20, 36), (36, 20)]):
        page[:, row : row + 4, column : column + 4, channel] = 0
    views = np.concatenate([augmenter("affine")(page, seeds(12, seed)) for seed in range(30)])
    ink = 255.0 - views
    rows, columns = np.mgrid[:60, :60][..., None]
    mass = ink.sum(axis=(1, 2))
    down, right = (ink * rows).sum((1, 2)) / mass, (ink * columns).sum((1, 2)) / mass
    # The three dots turn the same way round in every view, and span an area that a mirror would make negative.
    area = (right[:, 1] - right[:, 0]) * (down[:, 2] - down[:, 0])
    area -= (down[:, 1] - down[:, 0]) * (right[:, 2] - right[:, 0])
    assert (area > 0.5 * 16**2).all()
    assert (area < 1.5 * 16**2).all()


def test_seeds_of_a_million_views_differ_and_fill_the_range() -> None:
    rows, views = (grid.ravel() for grid in np.meshgrid(np.arange(100_000), np.arange(10)))
    result = np.concatenate([view_seeds(seed, rows, views) for seed in (0, 1)])
    assert result.dtype == np.uint64
    assert len(np.unique(result)) == 2_000_000
    bits = (result[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    assert (np.abs(bits.mean(axis=0) - 0.5) < 0.002).all()  # deviation .00035


def test_a_changed_bit_of_row_view_or_seed_changes_half_of_the_bits() -> None:
    rows, views = np.arange(20_000), np.arange(20_000) % 7
    base = view_seeds(3, rows, views)
    for other in (view_seeds(3, rows ^ 1, views), view_seeds(3, rows, views ^ 1), view_seeds(2, rows, views)):
        flipped = np.bitwise_count(base ^ other)
        assert abs(flipped.mean() - 32) < 0.3
        assert flipped.min() > 8


def test_seeds_depend_on_nothing_but_their_own_row_and_view() -> None:
    rows, views = np.array([5, 2, 9]), np.array([0, 3, 1])
    np.testing.assert_array_equal(view_seeds(7, rows, views)[1:], view_seeds(7, rows[1:], views[1:]))
    assert view_seeds(7, rows[:0], views[:0]).shape == (0,)
    assert view_seeds(-1, rows, views).tolist() != view_seeds(1, rows, views).tolist()


def test_an_unknown_preset_offers_the_nearest() -> None:
    message = (
        "unknown augmentation 'standart': did you mean 'standard'? known: affine, distortion, light, none, standard"
    )
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        augmenter("standart")


@pytest.mark.parametrize("preset", ["standard", "distortion"])
def test_the_library_asks_no_server(preset: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "NO_ALBUMENTATIONS_UPDATE"}
    command = [sys.executable, "-W", "ignore", "-c", OFFLINE.replace("PRESET", preset)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("(2, 16, 16, 3)", "", 0)
