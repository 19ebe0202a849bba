import re

import numpy as np
import pytest

from siamese.errors import OptionError
from siamese.images.augment import augmenter, view_seeds
from siamese.images.distortion import KINDS, distort

RNG = np.random.default_rng(0)


def seeds(count: int, seed: int = 0) -> np.ndarray:
    return view_seeds(seed, np.arange(count), np.zeros(count, np.int64))


def scene(side: int, count: int = 8, width: int | None = None) -> np.ndarray:
    """Edges, a ramp of light and colour: something that every kind of damage shows on."""
    rows, columns = np.mgrid[0 : 1 : side * 1j, 0 : 1 : (width or side) * 1j]
    board = (np.floor(rows * 8) + np.floor(columns * 8)) % 2
    image = np.stack([60 + 120 * board, 40 + 120 * rows, 40 + 120 * columns], axis=-1)
    return np.repeat(image.astype(np.uint8)[None], count, axis=0)


def sharpness(images: np.ndarray) -> np.ndarray:
    values = images.astype(float)
    return np.abs(np.diff(values, axis=1)).mean((1, 2, 3)) + np.abs(np.diff(values, axis=2)).mean((1, 2, 3))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(32, 32), (33, 47), (112, 96), (512, 300), (8, 8)])
def test_every_kind_changes_every_image_and_keeps_its_shape(kind: str, shape: tuple[int, int]) -> None:
    images = scene(shape[0], 3, shape[1])
    before = images.copy()
    damaged, kinds = distort(images, seeds(3), (kind,))
    assert damaged.shape == images.shape
    assert damaged.dtype == np.uint8
    assert kinds.tolist() == [kind] * 3
    assert (damaged != images).any(axis=(1, 2, 3)).all()
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_and_its_seed_decide_the_pixels_whatever_else_is_in_the_batch(kind: str) -> None:
    images, chosen = scene(48, 6), seeds(6)
    together, _ = distort(images, chosen, (kind,))
    order = np.array([4, 1, 3])
    np.random.seed(5)  # noqa: NPY002
    apart, _ = distort(images[order], chosen[order], (kind,))
    np.testing.assert_array_equal(apart, together[order])
    other, _ = distort(images, seeds(6, 1), (kind,))
    assert (other != together).any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_grey_image_stays_grey(kind: str) -> None:
    grey = np.repeat(scene(48)[..., :1], 3, axis=3)
    damaged, _ = distort(grey, seeds(8), (kind,))
    assert (damaged == damaged[..., :1]).all()
    assert (damaged != grey).any()


@pytest.mark.parametrize("kind", ["motion-blur", "defocus", "low-resolution", "fog"])
@pytest.mark.parametrize("side", [32, 112, 400])
def test_blur_and_fog_take_contrast_from_edges_at_any_size(kind: str, side: int) -> None:
    images = scene(side, 12)
    damaged, _ = distort(images, seeds(12), (kind,))
    assert (sharpness(damaged) < 0.95 * sharpness(images)).all()


def test_motion_blurs_along_a_line_and_defocus_in_every_direction() -> None:
    dot = np.zeros((1, 101, 101, 3), np.uint8)
    dot[:, 50, 50] = 255

    def spreads(kind: str) -> np.ndarray:
        damaged, _ = distort(np.repeat(dot, 20, axis=0), seeds(20), (kind,))
        eigenvalues = []
        for image in damaged[..., 0].astype(float):
            place = np.stack(np.nonzero(image)) - np.array([[50], [50]])
            eigenvalues.append(np.linalg.eigvalsh(np.cov(place, aweights=image[image > 0])))
        return np.array(eigenvalues)

    line, disc = spreads("motion-blur"), spreads("defocus")
    assert (line[:, 1] > 8 * line[:, 0]).all()
    np.testing.assert_allclose(disc[:, 1], disc[:, 0], rtol=0.05)


def test_low_light_darkens_and_over_exposure_burns_out() -> None:
    images = scene(64, 20)
    dark, _ = distort(images, seeds(20), ("low-light",))
    bright, _ = distort(images, seeds(20), ("over-exposure",))
    mean = images.mean()
    assert (dark.mean((1, 2, 3)) < 0.7 * mean).all()
    assert (bright.mean((1, 2, 3)) > 1.2 * mean).all()
    assert ((bright == 255).mean((1, 2, 3)) > 0).mean() > 0.5
    assert (images < 255).all()


def test_noise_is_noise_around_the_image() -> None:
    flat = np.full((40, 64, 64, 3), 128, np.uint8)
    noisy = distort(flat, seeds(40), ("noise",))[0].astype(float) - 128
    deviations = noisy.std((1, 2, 3))
    assert (deviations > 8).all()
    # Few photons darken what is stored with a gamma of 2.2.
    assert (np.abs(noisy.mean((1, 2, 3))) < 0.5 * deviations).all()
    neighbours = (noisy[:, :, 1:] * noisy[:, :, :-1]).mean((1, 2, 3)) - noisy.mean((1, 2, 3)) ** 2
    assert (np.abs(neighbours) < 0.06 * deviations**2).all()


def test_fog_is_light_added_in_proportion_to_what_it_hides() -> None:
    black, white = np.zeros((10, 64, 64, 3), np.uint8), np.full((10, 64, 64, 3), 255, np.uint8)
    over_black = distort(black, seeds(10), ("fog",))[0].astype(float)
    over_white = distort(white, seeds(10), ("fog",))[0].astype(float)
    transmission = (over_white - over_black) / 255
    assert 0 < transmission.min() < transmission.max() < 0.8
    air = over_black / (1 - transmission)  # I = J t + A (1 - t): one A for each image
    assert (air.std((1, 2, 3)) < 2).all()
    assert ((air.mean((1, 2, 3)) > 185) & (air.mean((1, 2, 3)) < 255)).all()


def test_occlusion_hides_rectangles_of_one_colour_and_nothing_else() -> None:
    images = RNG.integers(0, 256, (30, 60, 60, 3), dtype=np.uint8)
    damaged, _ = distort(images, seeds(30), ("occlusion",))
    hidden = (damaged != images).any(-1).mean((1, 2))
    assert (hidden > 0.02).all()
    assert (hidden < 0.5).all()
    for image, original in zip(damaged, images, strict=True):
        colours = np.unique(image[(image != original).any(-1)], axis=0)
        assert len(colours) <= 2


def test_rain_is_bright_streaks_on_a_darker_image() -> None:
    flat = np.full((10, 112, 112, 3), 100, np.uint8)
    damaged = distort(flat, seeds(10), ("rain",))[0].astype(int)
    assert (np.median(damaged, axis=(1, 2, 3)) < 100).all()
    share = (damaged > 105).mean((1, 2, 3))
    assert ((share > 0.005) & (share < 0.4)).all()


def test_compression_leaves_blocks() -> None:
    images = RNG.integers(0, 256, (10, 64, 64, 3), dtype=np.uint8)
    damaged, _ = distort(images, seeds(10), ("compression",))
    assert (sharpness(damaged) < 0.8 * sharpness(images)).all()
    assert (np.abs(damaged.mean((1, 2, 3)) - images.mean((1, 2, 3))) < 12).all()


def test_all_kinds_are_drawn_equally_often_and_named_in_turn() -> None:
    images = scene(8, 2000)
    damaged, kinds = distort(images, seeds(2000))
    names, counts = np.unique(kinds, return_counts=True)
    assert set(names) == set(KINDS)
    assert counts.min() > 150  # 200 expected, deviation 13
    row = int(np.flatnonzero(kinds == "defocus")[0])
    assert sharpness(damaged[row : row + 1]) < sharpness(images[:1])


def test_what_is_measured_is_never_mirrored_nor_moved() -> None:
    image = np.zeros((60, 40, 40, 3), np.uint8)
    image[:, :, :20] = 220
    damaged, _ = distort(image, seeds(60), [kind for kind in KINDS if kind != "occlusion"])
    assert (damaged[:, :, :20].mean((1, 2, 3)) > damaged[:, :, 20:].mean((1, 2, 3)) + 2).all()


def test_training_sees_clean_images_damaged_ones_and_mirrors() -> None:
    ramp = np.broadcast_to(np.linspace(20, 220, 64)[:, None], (1500, 64, 64, 3)).astype(np.uint8)
    ramp = ramp.copy()
    ramp[:, :, :10, 0] = 255  # a coloured edge, so that the side shows
    views = augmenter("distortion")(ramp, seeds(1500))
    same = (views == ramp).all((1, 2, 3))
    mirrored = (views == ramp[:, :, ::-1]).all((1, 2, 3))
    # Clean .3, unmoved .5 of those, half of them mirrored.
    assert 0.05 < same.mean() < 0.105
    assert 0.05 < mirrored.mean() < 0.105


def test_an_unknown_kind_offers_the_nearest() -> None:
    message = "unknown kind of distortion 'defocuss': did you mean 'defocus'? known: " + ", ".join(sorted(KINDS))
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        distort(scene(8, 1), seeds(1), ["defocuss"])


def test_no_kind_at_all_is_refused() -> None:
    message = f"no kind of distortion: expected some of {', '.join(KINDS)}; leave it out for all of them"
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        distort(scene(8, 1), seeds(1), [])


def test_a_seed_for_each_image_is_needed() -> None:
    with pytest.raises(ValueError, match="shorter"):
        distort(scene(8, 2), seeds(1))
