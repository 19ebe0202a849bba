"""Augmentation presets: the one place that names albumentations' transforms."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamese.errors import unknown_name

PRESETS = ("none", "light", "standard")

Augment = Callable[[NDArray[np.uint8], int], NDArray[np.uint8]]


def augmenter(preset: str) -> Augment:
    """The augmentation named `preset`.

    `none` changes nothing. `light`: horizontal flip, brightness and contrast up to 10 %. `standard`: horizontal
    flip, brightness and contrast up to 20 %, hue, saturation and value, shift up to 6 %, scale up to 10 %, rotation
    up to 15 degrees. A mirrored character or signature is another one: train those with `none`.

    Returns:
        A function of images (N, H, W, 3) uint8 and a seed; the same images and seed give the same result.

    Raises:
        OptionError: an unknown preset, with the nearest one.
    """
    if preset == "none":
        return lambda images, seed: images
    if preset not in PRESETS:
        raise unknown_name("augmentation", preset, PRESETS)
    # The library asks a server for its newest version at import unless told not to.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    pipeline = albumentations.Compose(_transforms(albumentations, preset))

    def augment(images: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
        pipeline.set_random_seed(seed)
        return np.stack([pipeline(image=image)["image"] for image in images])

    return augment


def _transforms(library: Any, preset: str) -> list[Any]:
    if preset == "light":
        return [
            library.HorizontalFlip(p=0.5),
            library.RandomBrightnessContrast(brightness_limit=0.1, contrast_limit=0.1, p=0.5),
        ]
    return [
        library.HorizontalFlip(p=0.5),
        library.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5),
        library.HueSaturationValue(hue_shift_limit=10, sat_shift_limit=20, val_shift_limit=10, p=0.3),
        library.Affine(
            translate_percent=(-0.06, 0.06), scale=(0.9, 1.1), rotate=(-15, 15), balanced_scale=True, p=0.5
        ),
    ]
