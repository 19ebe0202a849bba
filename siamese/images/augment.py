"""Augmentation presets: how the views of an image that training sees are made."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from siamese.errors import unknown_name
from siamese.images.distortion import damage, keep_grey
from siamese.images.transforms import Draws, Image, Step, affine, distortions, geometry, light, standard

PRESETS = ("none", "light", "standard", "affine", "distortion")

Augment = Callable[[NDArray[np.uint8], NDArray[np.uint64]], NDArray[np.uint8]]

_STEPS: Mapping[str, Callable[[], Step]] = {"light": light, "standard": standard, "affine": affine}

# Clean and damaged images of an identity meet in training only if some stay clean.
_CLEAN = 0.3
# Of the damaged ones: rain comes with low light, a small face with compression.
_TWICE = 0.2


def augmenter(preset: str) -> Augment:
    """The augmentation named `preset`.

    `none` changes nothing. `light`: horizontal flip, brightness and contrast up to 10 %. `standard`: horizontal
    flip, brightness and contrast up to 20 %, hue, saturation and value, shift up to 6 %, scale up to 10 %, rotation
    up to 15 degrees. `affine`: shift up to 5 %, scale up to 20 %, rotation up to 10 degrees, shear up to 15 degrees,
    what comes in at the border repeated from it, and no flip. `distortion`: flip and geometry as in `standard`; then
    three images of ten stay as they are, and the others suffer one, every fifth of them two, of the kinds of
    `siamese.images.distortion`. A mirrored character or signature is another one: train those with `affine` or
    `none`. Grey images stay grey.

    Returns:
        A function of images (N, H, W, 3) uint8 and their seeds (N,) uint64 (see `view_seeds`): an image and its seed
        decide its view, whatever else is in the batch. It holds state while it runs: one for each thread.

    Raises:
        OptionError: an unknown preset, with the nearest one.

    Example:
        >>> seeds = view_seeds(0, np.arange(2), np.zeros(2, np.int64))
        >>> augmenter("light")(np.zeros((2, 32, 32, 3), np.uint8), seeds).shape
        (2, 32, 32, 3)
    """
    if preset not in PRESETS:
        raise unknown_name("augmentation", preset, PRESETS)
    if preset == "none":
        return lambda images, seeds: images
    if preset == "distortion":
        return _distortion()
    step = _STEPS[preset]()
    return lambda images, seeds: _each(images, seeds, step)


def view_seeds(seed: int, rows: NDArray[np.int64], views: NDArray[np.int64]) -> NDArray[np.uint64]:
    """A seed for each view of each image, mixed so that neighbours have nothing in common.

    SplitMix64's finaliser (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014) over
    the three numbers in turn. It is one to one, so that rows differ surely for a given run and view, and views for a
    given run and row.

    Args:
        seed: of the run.
        rows: which image, shape (N,).
        views: which view of it, shape (N,): a number of its own for each epoch, or for each cached view.

    Returns:
        Shape (N,), uint64.
    """
    run = _mixed(np.array([seed % 2**64], np.uint64))
    return _mixed(_mixed(run ^ rows.astype(np.uint64)) ^ views.astype(np.uint64))


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _distortion() -> Augment:
    move = geometry()
    built: dict[tuple[int, int], Mapping[str, Step]] = {}  # a run's images have one size

    def augment(images: NDArray[np.uint8], seeds: NDArray[np.uint64]) -> NDArray[np.uint8]:
        size = (images.shape[1], images.shape[2])
        if size not in built:
            built[size] = distortions(*size)
        steps = built[size]

        def step(image: Image, draws: Draws) -> Image:
            image = move(image, draws)
            if draws.generator.random() < _CLEAN:
                return image
            return damage(image, draws, steps, 2 if draws.generator.random() < _TWICE else 1)

        return _each(images, seeds, step)

    return augment


def _each(images: NDArray[np.uint8], seeds: NDArray[np.uint64], step: Step) -> NDArray[np.uint8]:
    result = np.empty_like(images)
    for row, (image, seed) in enumerate(zip(images, seeds.tolist(), strict=True)):
        result[row] = keep_grey(image, step(image, Draws.of(seed)))
    return result
