"""Eyes, brows, nose, mouth and marks: what lies inside the outline and moves with expression and pose."""

import numpy as np

from siamese.demo.canvas import Canvas, Points, Pose, along, mix
from siamese.demo.head import Complexion
from siamese.demo.identity import Identity
from siamese.demo.variation import Variation

_IRIS = np.array([(48, 30, 20), (98, 64, 34), (92, 104, 60), (84, 128, 150)], float)
_WHITE = np.array((236, 232, 226), float)
_BLACK = np.array((18, 14, 14), float)
_CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 17)), np.sin(np.linspace(0, 2 * np.pi, 17))], axis=1)
_ACROSS = np.linspace(-1.0, 1.0, 11)
_DOWN = np.array((0.0, 1.0))
_SIDES = (-1.0, 1.0)  # left and right in the image


def draw_eyes(canvas: Canvas, identity: Identity, variation: Variation, place: Pose, colours: Complexion) -> None:
    """Sockets, whites, irises that follow the gaze, and lids as open as the expression has them."""
    iris = along(_IRIS, identity.iris_colour)
    half = identity.eye_size
    height = half * identity.eye_roundness * variation.eye_openness
    radius = 0.045 + 0.26 * half
    look = np.array([0.35 * half * variation.gaze_x, 0.25 * height * variation.gaze_y])
    for side in _SIDES:
        middle = np.array([side * identity.eye_spacing, identity.eye_height])
        slope = -side * identity.eye_tilt
        upper = _lid(half, -height, slope)
        lower = _lid(half, 0.62 * height, slope)
        socket = _CIRCLE * (1.35 * half, 1.25 * half) + (0.0, -0.25 * half)
        canvas.darken(place.surface(socket + middle), 0.86)
        canvas.fill(place.surface(np.concatenate([upper, lower[::-1]]) + middle), _WHITE)
        for size, tint in ((radius, iris), (0.48 * radius, _BLACK)):
            disc = _CIRCLE * size + look
            # Lids cover what of the iris reaches beyond them.
            top, bottom = (np.interp(disc[:, 0], lid[:, 0], lid[:, 1]) for lid in (upper, lower))
            disc[:, 1] = np.clip(disc[:, 1], top, bottom)
            canvas.fill(place.surface(disc + middle), tint)
        glint = 0.22 * radius * _CIRCLE[::2] + look + (-0.03, -0.35 * height)
        canvas.fill(place.surface(glint + middle), _WHITE)
        canvas.stroke(place.surface(upper + middle), mix(_BLACK, colours.skin, 0.18), 0.032 * place.unit)
        crease = upper * (1.05, 1.0) + middle - (0.0, 0.055)
        canvas.stroke(place.surface(crease), 0.74 * colours.skin, 0.014 * place.unit)
        canvas.stroke(place.surface(lower + middle), 0.72 * colours.skin, 0.014 * place.unit)


def _lid(half: float, height: float, slope: float) -> Points:
    return np.stack([half * _ACROSS, height * (1.0 - _ACROSS**2) ** 0.8 + slope * half * _ACROSS], axis=1)


def draw_brows(canvas: Canvas, identity: Identity, variation: Variation, place: Pose, colours: Complexion) -> None:
    """Brows, tapered outwards; raising lifts them and lowering draws them together."""
    rise = identity.brow_distance + 0.055 * variation.brow_raise
    # Fair brows would vanish on fair skin.
    colour = mix(0.8 * colours.hair, 0.45 * colours.skin, 0.3)
    for side in _SIDES:
        x = identity.brow_length * _ACROSS
        lean = identity.brow_angle - 0.12 * min(variation.brow_raise, 0.0)
        y = -identity.brow_arch * (1.0 - _ACROSS**2) - lean * x * side
        thick = 0.5 * identity.brow_thickness * (1.0 - 0.55 * (0.5 + 0.5 * side * _ACROSS) ** 2)
        middle = (side * (identity.eye_spacing + 0.015), identity.eye_height - rise)
        ribbon = np.concatenate([np.stack([x, y - thick], 1), np.stack([x, y + thick], 1)[::-1]])
        canvas.fill(place.surface(ribbon + middle, 0.03), colour)


def draw_nose(canvas: Canvas, identity: Identity, place: Pose, colours: Complexion) -> None:
    """Bridge, tip and nostrils; the tip stands out of the face, so it moves most when the head turns."""
    tip = identity.nose_tip
    wide, bridge = identity.nose_width, 0.34 * identity.nose_width * identity.nose_bridge
    top = identity.eye_height + 0.02
    lift = np.array([0.05, 0.12, 0.20, 0.10, 0.10, 0.20, 0.12, 0.05])
    for side in _SIDES:
        flank = np.array([(bridge, top), (1.2 * bridge, 0.5 * (top + tip)), (0.8 * wide, tip - 0.08), (wide, tip)])
        edge = np.concatenate([flank, flank[::-1] + np.array((0.09, 0.0))]) * (side, 1.0)
        canvas.darken(place.surface(edge, lift), 0.84 if side < 0 else 0.76)
    ridge = np.array([(-0.03, top), (0.03, top), (0.05, tip - 0.04), (-0.05, tip - 0.04)])
    canvas.darken(place.surface(ridge, np.array([0.05, 0.05, 0.22, 0.22])), 1.10)
    base = [(-wide, tip - 0.05), (-wide, tip + 0.03), (-0.5 * wide, tip + 0.035), (0.0, tip + 0.075)]
    base_line = np.array(base + [(-x, y) for x, y in base[-2::-1]])
    heights = np.array([0.08, 0.10, 0.18, 0.22, 0.18, 0.10, 0.08])
    canvas.stroke(place.surface(base_line, heights), 0.62 * colours.skin, 0.022 * place.unit)
    for side in _SIDES:
        hole = _CIRCLE[::2] * (0.26 * wide, 0.022) + (side * 0.48 * wide, tip + 0.025)
        canvas.fill(place.surface(hole, 0.18), 0.38 * colours.skin)


def draw_mouth(canvas: Canvas, identity: Identity, variation: Variation, place: Pose, colours: Complexion) -> None:
    """Lips that curve with the smile and part with the opening, teeth between them."""
    half = identity.mouth_width * (1.0 + 0.16 * variation.smile - 0.10 * variation.mouth_open)
    gap = 0.20 * variation.mouth_open
    curve = 0.07 * (variation.smile + 0.25) * (1.0 - 2.0 * _ACROSS**2)
    arch = 1.0 - _ACROSS**2
    # The dip in the middle of the upper lip.
    bow = 1.0 - 0.35 * np.exp(-((_ACROSS / 0.18) ** 2))
    lines = {
        "top": curve - gap * 0.25 * arch - identity.upper_lip * arch**0.7 * bow,
        "upper": curve - gap * 0.25 * arch,
        "lower": curve + gap * 0.75 * arch,
        "bottom": curve + gap * 0.75 * arch + identity.lower_lip * arch**0.8,
    }
    rows = {name: np.stack([half * _ACROSS, y + identity.mouth_y], axis=1) for name, y in lines.items()}
    red = mix(mix(colours.skin, (150, 60, 60), 0.35), (178, 44, 56), 0.55 * identity.lip_colour)
    canvas.fill(_between(place, rows["top"], rows["upper"]), 0.88 * red)
    canvas.fill(_between(place, rows["lower"], rows["bottom"]), red)
    if gap > 0.015:
        canvas.fill(_between(place, rows["upper"], rows["lower"]), np.array((70.0, 24.0, 26.0)))
        teeth = rows["upper"] + np.stack([0.0 * _ACROSS, 0.42 * gap * arch], axis=1)
        canvas.fill(_between(place, rows["upper"], teeth), _WHITE)
    canvas.stroke(place.surface(rows["upper"], 0.06), 0.42 * red, 0.018 * place.unit)
    below = rows["bottom"] * (0.6, 1.0)
    canvas.darken(_between(place, below + _DOWN * 0.03, below + _DOWN * 0.09), 0.84)


def _between(place: Pose, upper: Points, lower: Points) -> Points:
    return place.surface(np.concatenate([upper, lower[::-1]]), 0.06)


def draw_marks(canvas: Canvas, identity: Identity, place: Pose, colours: Complexion) -> None:
    """Freckles, a mole, and the folds beside nose and mouth."""
    number = int(60 * max(0.0, identity.freckles - 0.6))
    if number:
        turn = np.arange(number) + 37.0 * identity.freckle_pattern
        # Steps by powers of the plastic number spread points evenly, whatever their number.
        spots = np.stack([(turn * 0.754878) % 1.0 - 0.5, (turn * 0.569840) % 1.0], axis=1) * (0.95, 0.32)
        for spot in place.surface(spots + _DOWN * (identity.eye_height + 0.16)):
            canvas.fill(spot + 0.016 * place.unit * _CIRCLE[::3], 0.72 * colours.skin)
    if identity.cheek_mole_size > 0.0:
        middle = (identity.cheek_mole_x, identity.cheek_mole_y)
        canvas.fill(place.surface(_CIRCLE * identity.cheek_mole_size + middle), 0.35 * colours.skin)
    tip = identity.nose_tip
    depth = 0.97 - 0.22 * identity.wrinkles
    fold = np.array([(1.1 * identity.nose_width, tip - 0.02), (1.2 * identity.mouth_width, tip + 0.22)])
    for side in _SIDES:
        canvas.stroke(place.surface(fold * (side, 1.0)), depth * colours.skin, 0.02 * place.unit)
