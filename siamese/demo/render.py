"""From an identity and the circumstances of one image to pixels."""

import numpy as np
from numpy.typing import NDArray

from siamese.demo.camera import background, expose, muted, record
from siamese.demo.canvas import SUPERSAMPLING, Canvas, pose
from siamese.demo.features import draw_brows, draw_eyes, draw_marks, draw_mouth, draw_nose
from siamese.demo.head import (
    complexion,
    draw_back_hair,
    draw_beard,
    draw_body,
    draw_ears,
    draw_hair,
    draw_head,
    draw_moustache,
)
from siamese.demo.identity import Identity
from siamese.demo.occlusion import draw_occlusion
from siamese.demo.variation import Variation
from siamese.errors import OptionError

SMALLEST, LARGEST = 32, 1024


def render(identity: Identity, variation: Variation, size: int = 112) -> NDArray[np.uint8]:
    """Draw one image of an identity.

    A pure function: equal arguments give equal pixels.

    Args:
        identity: who it shows.
        variation: how this image differs from the identity's others.
        size: side in pixels, 32 to 1024.

    Returns:
        Shape (size, size, 3), uint8, RGB.

    Raises:
        OptionError: for a size out of range.

    Example:
        >>> from siamese.demo.identity import sample_identities
        >>> render(sample_identities(1, seed=0)[0], Variation(), size=64).shape
        (64, 64, 3)
    """
    check_size(size)
    rng = np.random.default_rng(variation.scene_seed)
    side = SUPERSAMPLING * size
    canvas = Canvas(background(side, rng))
    place = pose(identity, variation, side)
    colours = complexion(identity)
    draw_back_hair(canvas, identity, place, colours)
    draw_body(canvas, identity, place, colours, cloth=muted(rng.uniform(10.0, 240.0, 3)))
    draw_ears(canvas, identity, place, colours)
    draw_head(canvas, identity, place, colours)
    draw_marks(canvas, identity, place, colours)
    draw_beard(canvas, identity, place, colours)
    draw_moustache(canvas, identity, place, colours)
    draw_mouth(canvas, identity, variation, place, colours)
    draw_nose(canvas, identity, place, colours)
    draw_eyes(canvas, identity, variation, place, colours)
    draw_brows(canvas, identity, variation, place, colours)
    draw_hair(canvas, identity, place, colours)
    draw_occlusion(canvas, identity, variation, place, rng)
    return record(expose(canvas, variation, place, size), variation, rng)


def check_size(size: int) -> None:
    """Raise OptionError where no image of `size` pixels can be drawn."""
    if not SMALLEST <= size <= LARGEST:
        raise OptionError(f"size is {size}: expected {SMALLEST} to {LARGEST} pixels")
