"""Head, neck, ears, hair and beard: what gives a face its outline."""

from dataclasses import dataclass

import numpy as np

from siamese.demo.canvas import Canvas, Colour, Points, Pose, along, mix
from siamese.demo.identity import Identity

# RGB, light to dark.
_SKIN = np.array([(240, 202, 178), (224, 178, 148), (198, 146, 112), (160, 110, 82), (118, 78, 58)], float)
# RGB: black, dark brown, brown, auburn, blond, grey.
_HAIR = np.array([(28, 24, 24), (62, 42, 32), (104, 68, 44), (128, 66, 40), (196, 154, 96), (160, 156, 152)], float)
_SHARE_OF_CLEAN_SHAVEN = 0.65
_ARC = np.linspace(0.0, np.pi, 25)


@dataclass(frozen=True)
class Complexion:
    """Colours of a person, RGB in [0, 255]."""

    skin: Colour
    hair: Colour


def complexion(identity: Identity) -> Complexion:
    """Skin and hair colour from continuous palettes that neighbouring identities share."""
    skin = along(_SKIN, identity.skin_tone) + identity.skin_undertone * np.array([-5.0, 3.0, -2.0])
    return Complexion(skin, along(_HAIR, identity.hair_colour))


def jaw_line(identity: Identity, inset: float = 1.0) -> Points:
    """The lower half of the head's outline, from the right temple round the chin to the left, (25, 2)."""
    # A superellipse: its exponent moves from a pointed to a square jaw.
    power = 1.12 - 0.50 * identity.jaw
    across = np.sign(np.cos(_ARC)) * np.abs(np.cos(_ARC)) ** power
    down = np.sin(_ARC) ** (0.98 - 0.18 * identity.jaw)
    return np.stack([identity.head_width * inset * across, identity.chin * inset * down], axis=1)


def skull_line(identity: Identity, grow: float = 0.0, wave: float = 0.0) -> Points:
    """The upper half of the outline, from the left temple over the top to the right, (25, 2)."""
    rim = 1.0 + wave * (1.0 + np.sin(11.0 * _ARC))
    across = -(identity.head_width + 0.7 * grow) * np.cos(_ARC) * rim
    up = -(identity.head_height + grow) * np.sin(_ARC) ** 0.9 * rim
    return np.stack([across, up], axis=1)


def draw_back_hair(canvas: Canvas, identity: Identity, place: Pose, colours: Complexion) -> None:
    """Hair that falls behind neck and ears, for those who wear it long."""
    fall = identity.hair_length - 0.5
    if fall <= 0.0:
        return
    reach = 0.35 + 2.2 * fall
    half = identity.head_width + 0.7 * identity.hair_volume
    wave = 0.05 * identity.hair_curl * np.sin(np.linspace(0.0, 9.0, 8))
    down = np.linspace(0.0, reach, 8)
    right = np.stack([half * (1.0 + 0.10 * np.sin(2.0 * down)) + wave, down], axis=1)
    outline = np.concatenate([skull_line(identity, identity.hair_volume), right, right[::-1] * (-1.0, 1.0)])
    canvas.fill(place.flat(outline, -0.15), 0.80 * colours.hair)


def draw_body(canvas: Canvas, identity: Identity, place: Pose, colours: Complexion, cloth: Colour) -> None:
    """Neck and shoulders; the clothing's colour belongs to the image, not to the identity."""
    half, chin = 0.62 * identity.head_width, identity.chin
    shoulders = [(-3.0, 2.6), (-1.5, 1.62), (-half, 1.36), (half, 1.36), (1.5, 1.62), (3.0, 2.6)]
    neck = np.array([(-half, 0.45), (half, 0.45), (1.05 * half, 1.4), (0.0, 1.62), (-1.05 * half, 1.4)])
    canvas.fill(place.flat(shoulders, -0.2), cloth)
    canvas.fill(place.flat(neck, -0.1), 0.88 * colours.skin)
    throat = np.array([(-half, 0.6), (half, 0.6), (0.8 * half, chin + 0.14), (-0.8 * half, chin + 0.14)])
    canvas.darken(place.flat(throat, 0.0), 0.72)


def draw_ears(canvas: Canvas, identity: Identity, place: Pose, colours: Complexion) -> None:
    """Both ears, behind the head's outline."""
    angle = np.linspace(0.0, 2.0 * np.pi, 14)
    ring = np.stack([0.55 * np.cos(angle), np.sin(angle)], axis=1) * identity.ear_size
    for side in (-1.0, 1.0):
        middle = np.array([side * (identity.head_width + 0.005), identity.eye_height + 0.14])
        canvas.fill(place.flat(ring + middle, -0.12), 0.90 * colours.skin)
        canvas.fill(place.flat(0.55 * ring + middle + (0.02 * side, 0.0), -0.12), 0.74 * colours.skin)


def draw_head(canvas: Canvas, identity: Identity, place: Pose, colours: Complexion) -> None:
    """The face itself, without features."""
    jaw = jaw_line(identity)
    # The chin lies further forward than the skull, so it leads when the head turns.
    outline = np.concatenate([place.flat(skull_line(identity)), place.flat(jaw, 0.22 * np.sin(_ARC))])
    canvas.unshade(outline)
    canvas.fill(outline, colours.skin)


def draw_hair(canvas: Canvas, identity: Identity, place: Pose, colours: Complexion) -> None:
    """Hair from the skull down to the hairline, with a few strands."""
    outer = place.flat(skull_line(identity, identity.hair_volume, 0.03 * identity.hair_curl))
    inner = place.surface(_hairline(identity))
    end = np.array([identity.head_width + 0.45 * identity.hair_volume, _side_end(identity) - 0.04])
    corners = place.flat(np.stack([end, end * (-1.0, 1.0)]))
    outline = np.concatenate([outer, corners[:1], inner[::-1], corners[1:]])
    canvas.unshade(outline)
    canvas.fill(outline, colours.hair)
    part = round(12 + 8 * identity.hair_part)
    for number, share in enumerate((0.2, 0.45, 0.7)):
        strand = outer * (1.0 - share) + inner * share
        tint = mix(colours.hair, (255, 240, 220), 0.10) if number == 1 else 0.78 * colours.hair
        canvas.stroke(strand[2 : part + 1], tint, 0.02 * place.unit)
        canvas.stroke(strand[part + 1 : -2], tint, 0.02 * place.unit)


def _side_end(identity: Identity) -> float:
    """How far down the hair beside the face reaches, y in face units."""
    length = identity.hair_length
    return -0.20 + 0.5 * length if length < 0.5 else 0.25 + 0.9 * (length - 0.5)


def _hairline(identity: Identity) -> Points:
    """The lower edge of the hair over the forehead, from the left temple to the right, (25, 2)."""
    share = -np.cos(_ARC)
    parting = 0.10 * np.exp(-18.0 * (share - identity.hair_part) ** 2)
    across = identity.hairline + identity.hairline_curve * (1.0 - share**2) - parting
    y = across + (_side_end(identity) - across) * np.abs(share) ** 6
    # Nobody's hair begins above the skull.
    return np.stack([0.97 * identity.head_width * share, np.maximum(y, -0.97 * np.sin(_ARC))], axis=1)


def draw_beard(canvas: Canvas, identity: Identity, place: Pose, colours: Complexion) -> None:
    """A beard from the temples round the mouth to the chin, as dense as the identity has it."""
    density = (identity.beard - _SHARE_OF_CLEAN_SHAVEN) / (1.0 - _SHARE_OF_CLEAN_SHAVEN)
    if density <= 0.0:
        return
    outer = jaw_line(identity)[1:-1]
    rim = place.flat(outer, 0.22 * np.sin(_ARC[1:-1]))
    share = np.linspace(-1.0, 1.0, 17)
    # A paler edge first: hair thins out towards the cheek.
    for rise, cover in ((0.06, 0.5), (0.0, 1.0)):
        low = identity.mouth_y + 0.14 - rise
        y = low + (outer[0, 1] - low) * np.abs(share) ** 2.5
        inner = np.stack([0.99 * outer[0, 0] * share, y], axis=1)
        colour = mix(colours.skin, 0.85 * colours.hair, cover * (0.3 + 0.55 * density))
        canvas.fill(np.concatenate([rim, place.surface(inner)]), colour)


def draw_moustache(canvas: Canvas, identity: Identity, place: Pose, colours: Complexion) -> None:
    """A moustache between nose and mouth, as dense and wide as the identity has it."""
    density = (identity.moustache - _SHARE_OF_CLEAN_SHAVEN) / (1.0 - _SHARE_OF_CLEAN_SHAVEN)
    if density <= 0.0:
        return
    share = np.linspace(-1.0, 1.0, 11)
    reach = identity.mouth_width * (0.85 + 0.3 * density)
    gap = identity.mouth_y - identity.nose_tip
    top = np.stack([reach * share, identity.mouth_y - gap * (0.75 - 0.65 * share**2)], axis=1)
    bottom = np.stack([reach * share, identity.mouth_y + 0.05 * share**2], axis=1)
    colour = mix(colours.skin, 0.85 * colours.hair, 0.45 + 0.45 * density)
    canvas.fill(place.surface(np.concatenate([top, bottom[::-1]]), 0.04), colour)
