"""What hides part of a face in one image: glasses, a block at the border, a band over nose and mouth."""

import numpy as np

from siamese.demo.canvas import Canvas, Pose
from siamese.demo.identity import Identity
from siamese.demo.variation import Variation

_ANGLE = np.linspace(0.0, 2.0 * np.pi, 21)


def draw_occlusion(
    canvas: Canvas, identity: Identity, variation: Variation, place: Pose, rng: np.random.Generator
) -> None:
    """Draw what `variation.occlusion` names; colour, size and place come from `rng`."""
    drawn = {"glasses": _draw_glasses, "block": _draw_block, "band": _draw_band}
    if variation.occlusion != "none":
        drawn[variation.occlusion](canvas, identity, place, rng)


def _draw_glasses(canvas: Canvas, identity: Identity, place: Pose, rng: np.random.Generator) -> None:
    colour = rng.uniform(10.0, 110.0, 3)
    width, height, power = rng.uniform(0.20, 0.26), rng.uniform(0.15, 0.22), rng.uniform(0.45, 1.0)
    thick = rng.uniform(0.02, 0.05) * place.unit
    rim = np.stack([_bulge(np.cos(_ANGLE), power) * width, _bulge(np.sin(_ANGLE), power) * height], axis=1)
    y = identity.eye_height + 0.02
    for side in (-1.0, 1.0):
        x = side * max(identity.eye_spacing, width + 0.04)
        canvas.stroke(place.surface(rim + np.array((x, y)), 0.10), colour, thick)
        inner, outer = x - side * width, x + side * width
        canvas.stroke(place.surface([(inner, y), (0.0, y - 0.03)], 0.14), colour, thick)
        ear = place.flat([(side * identity.head_width, y - 0.03)], 0.0)
        canvas.stroke(np.concatenate([place.surface([(outer, y - 0.03)], 0.10), ear]), colour, thick)


def _bulge(wave: np.ndarray, power: float) -> np.ndarray:
    return np.asarray(np.sign(wave) * np.abs(wave) ** power)


def _draw_block(canvas: Canvas, identity: Identity, place: Pose, rng: np.random.Generator) -> None:
    side = canvas.pixels.shape[0]
    middle = rng.uniform(0.1, 0.9, 2) * side
    half = rng.uniform(0.08, 0.17, 2) * side
    corners = middle + half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)])
    canvas.unshade(corners)
    canvas.fill(corners, rng.uniform(20.0, 235.0, 3))


def _draw_band(canvas: Canvas, identity: Identity, place: Pose, rng: np.random.Generator) -> None:
    wide = 1.02 * identity.head_width
    top, bottom = identity.nose_tip - rng.uniform(0.05, 0.2), identity.chin + rng.uniform(-0.2, 0.2)
    x = np.linspace(-wide, wide, 13)
    bow = 1.0 - (x / wide) ** 2
    upper = place.surface(np.stack([x, top + 0.1 - 0.1 * bow], axis=1), 0.12)
    lower = place.surface(np.stack([x, 0.5 * (top + bottom) + 0.5 * (bottom - top) * bow**0.5], axis=1), 0.12)
    outline = np.concatenate([upper, lower[::-1]])
    canvas.unshade(outline)
    canvas.fill(outline, rng.uniform(30.0, 230.0, 3))
