import numpy as np
import pytest
from numpy.typing import NDArray

from siamese.errors import OptionError
from siamese.images.augment import augmenter
from siamese.images.input_spec import InputSpec
from siamese.training.sources import FeatureSource, PixelSource, Views

SPEC = InputSpec(size=(16, 16), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4))
ROWS = np.arange(30)


def source(noise: NDArray[np.uint8], augment: str, views: int | None = None, seed: int = 0) -> PixelSource:
    return PixelSource(noise, SPEC, augmenter(augment), Views(seed, views))


@pytest.mark.parametrize("augment", ["light", "standard", "distortion"])
def test_a_view_is_the_same_whatever_else_is_in_the_batch(noise: NDArray[np.uint8], augment: str) -> None:
    together = source(noise, augment).take(ROWS, 7)
    other = source(noise, augment)
    other.take(ROWS[::-1].copy(), 3)  # what was made before leaves no trace
    few = other.take(np.array([20, 4]), 7)
    np.testing.assert_array_equal(few[0], together[20])
    np.testing.assert_array_equal(few[1], together[4])


@pytest.mark.parametrize("augment", ["light", "distortion"])
def test_steps_images_and_seeds_have_views_of_their_own(noise: NDArray[np.uint8], augment: str) -> None:
    same = np.repeat(noise[:1], 30, axis=0)  # so that only the augmentation can differ
    found = source(same, augment).take(ROWS, 0).numpy()
    assert len(np.unique(found.reshape(30, -1), axis=0)) > 8
    assert not np.array_equal(found, source(same, augment).take(ROWS, 1).numpy())
    assert not np.array_equal(found, source(same, augment, seed=1).take(ROWS, 0).numpy())


def test_without_a_number_every_step_shows_a_view_of_its_own() -> None:
    np.testing.assert_array_equal(Views(0, None).numbers(ROWS, 5), np.full(30, 5))


def test_with_a_number_each_step_draws_one_of_so_many() -> None:
    views = Views(0, 4)
    drawn = np.stack([views.numbers(ROWS, step) for step in range(400)])
    assert set(drawn.ravel().tolist()) == {0, 1, 2, 3}
    # Each of 12,000 draws falls on one of four alike; four standard deviations are 190.
    assert np.abs(np.bincount(drawn.ravel()) - 3000).max() < 190
    # Images draw for themselves: neither all the same view in a step, nor in the same order.
    assert (drawn[:, 0] != drawn[:, 1]).mean() == pytest.approx(0.75, abs=0.1)
    np.testing.assert_array_equal(drawn[7], Views(0, 4).numbers(ROWS, 7))
    np.testing.assert_array_equal(drawn[7][[3, 9]], views.numbers(np.array([3, 9]), 7))
    assert not np.array_equal(drawn[7], Views(1, 4).numbers(ROWS, 7))


def test_so_many_views_are_all_that_an_image_is_ever_shown_in(noise: NDArray[np.uint8]) -> None:
    few = source(noise, "standard", views=3)
    row = np.array([5])
    seen = {few.take(row, step).numpy().tobytes() for step in range(40)}
    assert seen == {few.view(row, np.array([view])).numpy().tobytes() for view in range(3)}
    assert len(seen) == 3


def test_a_step_of_the_live_source_shows_the_view_that_the_cached_one_takes(noise: NDArray[np.uint8]) -> None:
    rows = np.array([2, 3, 11, 20, 29])
    live = source(noise, "standard", views=3, seed=5)
    pixels = np.stack([live.view(rows, np.full(5, view)).numpy() for view in range(3)])
    cached = FeatureSource(pixels.reshape(3, 5, -1), rows, Views(5, 3))
    asked = np.array([20, 2, 29])
    for step in range(10):
        found, expected = cached.take(asked, step), live.take(asked, step)
        np.testing.assert_array_equal(found.numpy(), expected.numpy().reshape(3, -1))


def test_an_empty_share_has_inputs_of_the_right_shape(noise: NDArray[np.uint8]) -> None:
    nothing = np.zeros(0, np.int64)
    assert source(noise, "light").take(nothing, 0).shape == (0, 3, 16, 16)
    assert FeatureSource(np.zeros((2, 4, 7), np.float32), np.arange(4), Views(0, 2)).take(nothing, 0).shape == (0, 7)


def test_unknown_augmentation_is_refused_before_the_first_batch(noise: NDArray[np.uint8]) -> None:
    with pytest.raises(OptionError, match=r"^unknown augmentation 'lite': did you mean 'light'\?"):
        source(noise, "lite")
