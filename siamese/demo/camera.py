"""Scene, light and sensor: the background, and what happens to a drawn face before it becomes a file."""

from math import cos, radians, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from siamese.demo.canvas import Canvas, Pose
from siamese.demo.variation import Variation

_REFERENCE_SIZE = 112  # pixels; the image that blur is given for
_SHADING_CELLS = 28  # light changes slowly, so few cells suffice


def background(side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A blurred scene (side, side, 3) uint8: a gradient between two colours, with blotches."""
    corners = muted(rng.uniform(10.0, 245.0, (2, 2, 3)))
    cells = int(rng.integers(3, 10))
    blotches = rng.normal(0.0, rng.uniform(0.0, 25.0), (cells, cells, 1)) * rng.uniform(0.6, 1.0, 3)
    coarse = cv2.resize(corners, (32, 32), interpolation=cv2.INTER_LINEAR)
    coarse = coarse + cv2.resize(blotches, (32, 32), interpolation=cv2.INTER_CUBIC)
    pixels = np.clip(coarse, 0.0, 255.0).astype(np.uint8)
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)


def muted(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """Colours (..., 3) brought halfway to grey, as most rooms and clothes are."""
    return np.asarray(0.5 * colours + 0.5 * colours.mean(axis=-1, keepdims=True))


def expose(canvas: Canvas, variation: Variation, place: Pose, size: int) -> NDArray[np.uint8]:
    """Shrink the canvas to `size` and light it: shape (size, size, 3) uint8."""
    pixels = cv2.resize(canvas.pixels, (size, size), interpolation=cv2.INTER_AREA)
    soft = cv2.resize(canvas.shade, (size, size), interpolation=cv2.INTER_AREA).astype(np.float32)
    soft = cv2.GaussianBlur(soft, (0, 0), 0.014 * size) / 128.0
    light = cv2.resize(_shading(variation, place, canvas.pixels.shape[0]), (size, size))
    lit = cv2.multiply(pixels.astype(np.float32), cv2.merge([soft * light] * 3))
    levels = np.clip(lit, 0.0, 255.0).astype(np.uint8)
    return np.asarray(cv2.LUT(levels, _response(variation)), dtype=np.uint8)


def _shading(variation: Variation, place: Pose, side: int) -> NDArray[np.float32]:
    """How much light falls where: Lambert's cosine law on the head's ellipsoid, (cells, cells)."""
    angle = radians(variation.light_angle)
    towards = np.array([0.8 * cos(angle), 0.8 * sin(angle), 0.6])
    cell = (np.arange(_SHADING_CELLS) + 0.5) * side / _SHADING_CELLS
    x = ((cell - place.origin[0]) / (place.unit * place.radii[0]))[None, :]
    y = ((cell - place.origin[1]) / (place.unit * place.radii[1]))[:, None]
    squared = x**2 + y**2
    z = np.sqrt(np.maximum(1.0 - squared, 0.0))
    cosine = (x * towards[0] + y * towards[1] + z * towards[2]) / np.sqrt(np.maximum(squared, 1.0))
    return np.asarray(1.0 + variation.light_strength * (cosine - 0.45), dtype=np.float32)


def _response(variation: Variation) -> NDArray[np.uint8]:
    """The camera's answer to each level: gamma, gain and colour temperature, shape (1, 256, 3)."""
    warm = 1.0 + variation.temperature * np.array([0.14, 0.01, -0.20])
    curve = 255.0 * (np.arange(256) / 255.0) ** variation.gamma
    return np.clip(np.outer(curve, variation.gain * warm), 0.0, 255.0).astype(np.uint8)[None]


def record(image: NDArray[np.uint8], variation: Variation, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur, sensor noise and JPEG compression, in the order of a real camera."""
    sigma = variation.blur * image.shape[0] / _REFERENCE_SIZE
    if sigma > 0.2:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), dtype=np.uint8)
    if variation.noise > 0.0:
        grain = rng.standard_normal(image.shape, dtype=np.float32) * variation.noise
        image = np.clip(image + grain, 0.0, 255.0).astype(np.uint8)
    if variation.jpeg_quality < 100.0:
        quality = [cv2.IMWRITE_JPEG_QUALITY, round(variation.jpeg_quality)]
        # Blocks of chroma depend on the channel order, and OpenCV's is BGR.
        packed = cv2.imencode(".jpg", image[..., ::-1], quality)[1]
        image = np.ascontiguousarray(np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)[..., ::-1])
    return image
