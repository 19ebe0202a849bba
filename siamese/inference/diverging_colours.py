"""A colour map with two arms, perceptually uniform, and told apart with any kind of colour vision."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Oklab (Ottosson, "A perceptual color space for image processing", 2020): equal steps look equally large. Blue and
# orange differ along the axis that red-green blindness leaves alone; both ends are as dark as each other and as far
# from the middle, so that neither arm looks stronger.
_MIDDLE, _END, _CHROMA = 0.95, 0.55, 0.155
_HUES = np.radians((255.0, 45.0))  # blue below zero, orange above

_LMS_FROM_LAB = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_RGB_FROM_LMS = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


def diverging_colours(values: ArrayLike) -> NDArray[np.float64]:
    """Colours of values: blue at -1, light grey at 0, orange at 1; beyond, the colour of the end.

    Args:
        values: of any shape.

    Returns:
        sRGB in [0, 1], shape (..., 3).
    """
    value = np.clip(np.asarray(values, np.float64), -1, 1)[..., None]
    hue, strength = np.where(value < 0, *_HUES), np.abs(value)
    chroma = _CHROMA * strength
    lab = np.concatenate([_MIDDLE + (_END - _MIDDLE) * strength, chroma * np.cos(hue), chroma * np.sin(hue)], axis=-1)
    linear = np.clip((lab @ _LMS_FROM_LAB.T) ** 3 @ _RGB_FROM_LMS.T, 0, 1)
    # The transfer function of sRGB, IEC 61966-2-1.
    return np.asarray(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))
