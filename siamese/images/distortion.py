"""Damage that photographs suffer in use, drawn for each image by its own seed.

Robustness to such damage is measured in the way of Hendrycks and Dietterich, "Benchmarking Neural Network Robustness
to Common Corruptions and Perturbations", ICLR 2019; here severity is drawn, not stepped.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from siamese.errors import OptionError, unknown_name
from siamese.images.transforms import Draws, Image, Step, distortions

# In the order in which damage happens, from the scene to the file.
KINDS = (
    "occlusion",
    "fog",
    "rain",
    "motion-blur",
    "defocus",
    "low-light",
    "over-exposure",
    "noise",
    "low-resolution",
    "compression",
)


def distort(
    images: NDArray[np.uint8], seeds: NDArray[np.uint64], kinds: Sequence[str] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Damage every image once, for measuring how a model stands it; nothing is mirrored or moved.

    Args:
        images: shape (N, H, W, 3), uint8, RGB.
        seeds: one an image, shape (N,), uint64, as `view_seeds` gives them: an image and its seed decide the result,
            whatever else is in the batch.
        kinds: some of `KINDS`, of which each image gets one, all equally likely; None for all of them.

    Returns:
        The damaged images (N, H, W, 3) uint8, and the kind that each got, shape (N,).

    Raises:
        OptionError: an unknown kind, or none at all.

    Example:
        >>> damaged, kinds = distort(np.zeros((2, 32, 32, 3), np.uint8), view_seeds(0, rows, views))  # doctest: +SKIP
    """
    chosen = _checked(KINDS if kinds is None else kinds)
    steps = distortions(*images.shape[1:3])
    result = np.empty_like(images)
    names = []
    for row, (image, seed) in enumerate(zip(images, seeds.tolist(), strict=True)):
        draws = Draws.of(seed)
        names.append(chosen[draws.generator.integers(len(chosen))])
        result[row] = keep_grey(image, steps[names[-1]](image, draws))
    return result, np.array(names, dtype=np.str_)


def damage(image: Image, draws: Draws, steps: Mapping[str, Step], count: int) -> Image:
    """Apply `count` different kinds, drawn, in the order of `KINDS`."""
    for number in sorted(draws.generator.choice(len(KINDS), count, replace=False)):
        image = steps[KINDS[number]](image, draws)
    return image


def keep_grey(image: Image, changed: Image) -> Image:
    """`changed`, made grey if `image` (H, W, 3) is grey: a grey camera sees no coloured noise."""
    if (image[..., 0] == image[..., 1]).all() and (image[..., 0] == image[..., 2]).all():
        return np.asarray(cv2.cvtColor(cv2.cvtColor(changed, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)
    return changed


def _checked(kinds: Sequence[str]) -> tuple[str, ...]:
    if not kinds:
        raise OptionError(f"no kind of distortion: expected some of {', '.join(KINDS)}; leave it out for all of them")
    for kind in kinds:
        if kind not in KINDS:
            raise unknown_name("kind of distortion", kind, KINDS)
    return tuple(kinds)
