"""The one place that names albumentations' transforms: what each preset and each distortion is made of.

A step takes an image (H, W, 3) uint8 RGB and the random draws of that image, and gives an image of the same shape.
Lengths are shares of the image's shorter side, so that a distortion looks alike at 32 and at 512 pixels; only noise
is of each pixel, as that of a sensor is.
"""

import os
import random
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]


class Draws(NamedTuple):
    """Where one image's random numbers come from; the library wants both kinds.

    Attributes:
        generator: NumPy's.
        python: of the standard library.
    """

    generator: np.random.Generator
    python: random.Random

    @classmethod
    def of(cls, seed: int) -> "Draws":
        """Fresh draws that depend on `seed`, from 0 to 2^64 - 1, alone."""
        return cls(np.random.Generator(np.random.PCG64(seed)), random.Random(seed))  # noqa: S311 - no secret


Step = Callable[[Image, Draws], Image]

# The height at which streaks of rain are drawn.
_RAIN_HEIGHT = 112


def light() -> Step:
    """Horizontal flip, brightness and contrast up to 10 %."""
    library = _library()
    return _chain(
        _step(library.HorizontalFlip(p=0.5)),
        _step(library.RandomBrightnessContrast(brightness_limit=0.1, contrast_limit=0.1, p=0.5)),
    )


def standard() -> Step:
    """Flip, brightness and contrast up to 20 %, hue, saturation and value, and mild geometry."""
    library = _library()
    return _chain(
        _step(library.HorizontalFlip(p=0.5)),
        _step(library.RandomBrightnessContrast(brightness_limit=0.2, contrast_limit=0.2, p=0.5)),
        _step(library.HueSaturationValue(hue_shift_limit=10, sat_shift_limit=20, val_shift_limit=10, p=0.3)),
        _step(_affine(library)),
    )


def geometry() -> Step:
    """The flip and the geometry of `standard`: shift up to 6 %, scale up to 10 %, rotation up to 15 degrees."""
    library = _library()
    return _chain(_step(library.HorizontalFlip(p=0.5)), _step(_affine(library)))


def affine() -> Step:
    """Shift up to 5 %, scale up to 20 %, rotation up to 10 degrees, shear up to 15 degrees, and no flip.

    The ranges of Koch et al., "Siamese Neural Networks for One-shot Image Recognition", 2015, section 3.4, but for
    the shift, which they hold within 2 pixels of 105. What comes in at the border repeats the outermost pixels: paper
    is white.
    """
    library = _library()
    return _step(
        library.Affine(
            translate_percent=(-0.05, 0.05),
            scale=(0.8, 1.2),
            rotate=(-10, 10),
            shear=(-15, 15),
            balanced_scale=True,
            border_mode=cv2.BORDER_REPLICATE,
            p=0.8,
        )
    )


def distortions(height: int, width: int) -> Mapping[str, Step]:
    """What damages an image of (height, width) pixels, by name, in the order in which damage happens.

    First what stands or falls before the lens, then the lens, the exposure, the sensor, and last the file. How the
    ranges were set: docs/augmentation.md.
    """
    library, side = _library(), min(height, width)
    return {
        "occlusion": _step(
            library.CoarseDropout(
                num_holes_range=(1, 2),
                hole_height_range=(0.2, 0.45),
                hole_width_range=(0.2, 0.45),
                fill="random_uniform",
                p=1,
            )
        ),
        "fog": _fog(0.1, 0.4),
        "rain": _rain(library, height, width),
        "motion-blur": _step(
            library.MotionBlur(blur_limit=(_odd(0.1 * side), _odd(0.24 * side)), allow_shifted=False, p=1)
        ),
        "defocus": _step(
            library.Defocus(
                radius=(_whole(0.03 * side), _whole(0.08 * side)),
                alias_blur=(0.1, 0.5),
                p=1,
            )
        ),
        "low-light": _chain(
            _exposure(library, (-0.75, -0.4)),
            _step(library.ShotNoise(scale_range=(0.001, 0.005), p=1)),
        ),
        "over-exposure": _exposure(library, (0.3, 1.1), lift=(0.0, 0.15)),
        "noise": _one_of(
            _gaussian_noise(0.05, 0.18),
            _step(library.ShotNoise(scale_range=(0.02, 0.12), p=1)),
        ),
        "low-resolution": _step(
            library.Downscale(
                scale_range=(min(0.5, 9 / side), min(0.8, 26 / side)),
                interpolation_pair={"downscale": cv2.INTER_AREA, "upscale": cv2.INTER_LINEAR},
                p=1,
            )
        ),
        "compression": _one_of(_compression(library, "jpeg", 2, 14, side), _compression(library, "webp", 1, 6, side)),
    }


def _library() -> Any:
    # The library asks a server for its newest version at import unless told not to.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations

    return albumentations


def _affine(library: Any) -> Any:
    return library.Affine(
        translate_percent=(-0.06, 0.06), scale=(0.9, 1.1), rotate=(-15, 15), balanced_scale=True, p=0.5
    )


def _rain(library: Any, height: int, width: int) -> Step:
    """Streaks in darker light, drawn at one height and scaled: the library's grow with the image in number too."""
    canvas = np.zeros((_RAIN_HEIGHT, _whole(_RAIN_HEIGHT * width / height), 3), np.uint8)
    fall = _step(
        library.RandomRain(
            slant_range=(-15, 15),
            drop_length=_RAIN_HEIGHT // 8,
            drop_width=1,
            drop_color=(180, 180, 180),
            blur_value=3,
            brightness_coefficient=1,
            rain_type="default",
            p=1,
        )
    )

    def apply(image: Image, draws: Draws) -> Image:
        streaks = cv2.resize(fall(canvas, draws), (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(cv2.multiply(cv2.add(image, streaks), 0.7), np.uint8)

    return apply


def _exposure(library: Any, gain: tuple[float, float], lift: tuple[float, float] = (0.0, 0.0)) -> Step:
    # The library's contrast is a gain about black: what more or less light on the sensor does.
    return _step(
        library.RandomBrightnessContrast(
            brightness_limit=lift, contrast_limit=gain, brightness_by_max=True, ensure_safe_range=False, p=1
        )
    )


def _fog(low: float, high: float) -> Step:
    """Light scattered between object and lens: I = J t + A (1 - t), the transmission t drawn between two shares.

    Koschmieder's law (1924), as in Narasimhan and Nayar, "Vision and the Atmosphere", IJCV 2002, with t varying
    smoothly over the image. Not the library's own: its hundreds of discs look like stains, and take 11 ms an
    image at 112 pixels, 157 at 512 (docs/augmentation.md).
    """

    def apply(image: Image, draws: Draws) -> Image:
        height, width = image.shape[:2]
        mean = draws.generator.uniform(low, high)
        thickness = draws.generator.uniform(0.6, 1.4, (4, 4)).astype(np.float32)
        field = cv2.resize(thickness, (width, height), interpolation=cv2.INTER_CUBIC)
        transmission = np.asarray(mean**field, np.float32)[..., None]
        air = np.float32(draws.generator.uniform(190, 250))
        return np.clip(np.rint(image * transmission + air * (1 - transmission)), 0, 255).astype(np.uint8)

    return apply


def _compression(library: Any, kind: str, low: int, high: int, side: int) -> Step:
    # Both code blocks of a fixed number of pixels, which are the larger a part the smaller the image.
    finer = max(1.0, 96 / side)
    quality = (min(50, round(low * finer)), min(60, round(high * finer)))
    return _step(library.ImageCompression(compression_type=kind, quality_range=quality, p=1))


def _gaussian_noise(low: float, high: float) -> Step:
    """Normal noise, its deviation drawn between two shares of the full range.

    Not the library's own: that draws from OpenCV's generator, which no seed of the library reaches.
    """

    def apply(image: Image, draws: Draws) -> Image:
        deviation = np.float32(255 * draws.generator.uniform(low, high))
        noise = draws.generator.standard_normal(image.shape, dtype=np.float32)
        return np.clip(np.rint(image + deviation * noise), 0, 255).astype(np.uint8)

    return apply


def _step(transform: Any) -> Step:
    def apply(image: Image, draws: Draws) -> Image:
        # Both generators go on from transform to transform. The library's own seeding starts each transform anew from
        # the same seed, and then a mirrored image is always a brightened one too.
        transform.set_random_state(draws.generator, draws.python)
        return np.asarray(transform(image=image)["image"], dtype=np.uint8)

    return apply


def _chain(*steps: Step) -> Step:
    def apply(image: Image, draws: Draws) -> Image:
        for step in steps:
            image = step(image, draws)
        return image

    return apply


def _one_of(*steps: Step) -> Step:
    return lambda image, draws: steps[draws.generator.integers(len(steps))](image, draws)


def _whole(length: float) -> int:
    return max(1, round(length))


def _odd(length: float) -> int:
    """The odd number next to `length`, at least 3: the library's kernels have a middle."""
    return max(3, 2 * round((length - 1) / 2) + 1)
