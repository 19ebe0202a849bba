"""The drawing surface: colour and soft shade at twice the final size, and the pose that puts faces onto it."""

from dataclasses import dataclass
from math import cos, radians, sin

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamese.demo.identity import Identity
from siamese.demo.variation import Variation

Points = NDArray[np.float64]
Colour = NDArray[np.float64]

SUPERSAMPLING = 2
_FRACTION_BITS = 4  # OpenCV draws at sixteenths of a pixel
_NEUTRAL_SHADE = 128


class Canvas:
    """Antialiased polygons on an RGB image, with a second layer that darkens or lightens softly.

    Attributes:
        pixels: shape (S, S, 3) uint8, RGB.
        shade: shape (S, S) uint8; 128 leaves a pixel as it is, 64 halves it.
    """

    def __init__(self, pixels: NDArray[np.uint8]) -> None:
        self.pixels = pixels
        self.shade = np.full(pixels.shape[:2], _NEUTRAL_SHADE, np.uint8)

    def fill(self, points: Points, colour: Colour) -> None:
        """Fill the polygon `points` (N, 2), in pixels, with an RGB colour in [0, 255]."""
        cv2.fillPoly(self.pixels, [_fixed(points)], colour.tolist(), cv2.LINE_AA, _FRACTION_BITS)

    def stroke(self, points: Points, colour: Colour, width: float) -> None:
        """Draw the open line `points` (N, 2) about `width` pixels thick."""
        thickness = max(1, round(width))
        cv2.polylines(self.pixels, [_fixed(points)], False, colour.tolist(), thickness, cv2.LINE_AA, _FRACTION_BITS)

    def darken(self, points: Points, factor: float) -> None:
        """Multiply the light within the polygon `points` by `factor` in [0, 1.9], with soft edges."""
        level = round(_NEUTRAL_SHADE * factor)
        cv2.fillPoly(self.shade, [_fixed(points)], level, cv2.LINE_8, _FRACTION_BITS)

    def unshade(self, points: Points) -> None:
        """Take all soft shade away from the polygon `points`: what lies there is in front of the face."""
        self.darken(points, 1.0)


@dataclass(frozen=True)
class Pose:
    """From face units to pixels: rotation in three dimensions, parallel projection, scale and shift.

    Attributes:
        matrix: shape (3, 2), takes (x, y, z) to pixels from the origin.
        origin: shape (2,), where the middle of the head lands.
        radii: half width, half height and half depth of the head's ellipsoid.
        unit: pixels per face unit.
    """

    matrix: NDArray[np.float64]
    origin: NDArray[np.float64]
    radii: tuple[float, float, float]
    unit: float

    def flat(self, points: ArrayLike, depth: ArrayLike = 0.0) -> Points:
        """Project points (N, 2) that lie `depth` in front of the middle of the head."""
        xy = np.asarray(points, np.float64)
        ahead = np.asarray(depth, np.float64).reshape(-1, 1) * self.matrix[2]
        return np.asarray(xy @ self.matrix[:2] + self.origin + ahead)

    def surface(self, points: ArrayLike, lift: ArrayLike = 0.0) -> Points:
        """Project points (N, 2) that lie on the head's ellipsoid, or `lift` above it."""
        xy = np.asarray(points, np.float64)
        inside = 1.0 - (xy[:, 0] / self.radii[0]) ** 2 - (xy[:, 1] / self.radii[1]) ** 2
        return self.flat(xy, self.radii[2] * np.sqrt(np.maximum(inside, 0.0)) + np.asarray(lift, np.float64))


def pose(identity: Identity, variation: Variation, side: int) -> Pose:
    """The pose of one image on a canvas of `side` pixels."""
    yaw, pitch, roll = (radians(a) for a in (variation.yaw, variation.pitch, variation.roll))
    unit = 0.365 * side * variation.scale
    # Rows: where the x, y and z axes of the face go, after yaw about y and pitch about x.
    turned = np.array(
        [
            [cos(yaw), sin(yaw) * sin(pitch)],
            [0.0, cos(pitch)],
            [sin(yaw), -cos(yaw) * sin(pitch)],
        ]
    )
    rolled = turned @ np.array([[cos(roll), sin(roll)], [-sin(roll), cos(roll)]])
    origin = side * np.array([0.5 + variation.shift_x, 0.52 + variation.shift_y]) - 0.5
    depth = 0.62  # flatter than a real head, so that turning keeps the far eye on the face
    return Pose(unit * rolled, origin, (identity.head_width * 1.08, identity.head_height * 1.08, depth), unit)


def mix(one: ArrayLike, other: ArrayLike, share: float) -> Colour:
    """The colour that is `share` of `other` and the rest of `one`."""
    return np.asarray(one, np.float64) * (1.0 - share) + np.asarray(other, np.float64) * share


def along(palette: Colour, position: float) -> Colour:
    """The colour at `position` in [0, 1] along the rows of `palette` (N, 3)."""
    place = position * (len(palette) - 1)
    low = min(int(place), len(palette) - 2)
    return mix(palette[low], palette[low + 1], place - low)


def _fixed(points: Points) -> NDArray[np.int32]:
    return np.rint(points * (1 << _FRACTION_BITS)).astype(np.int32)
