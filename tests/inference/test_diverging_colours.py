"""The colours of the maps: equal steps to the eye, and two arms apart with any kind of colour vision."""

import numpy as np
import pytest

from siamese.inference.diverging_colours import diverging_colours

STEPS = np.linspace(-1, 1, 201)
# Machado, Oliveira and Fernandes, IEEE TVCG 2009, severity 1.0, on linear RGB.
COLOUR_VISION = {
    "ordinary": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}


def lab(colours: np.ndarray, vision: str = "ordinary") -> np.ndarray:
    """Oklab of sRGB colours as someone sees them, by its definition from XYZ (Ottosson 2020)."""
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    linear = np.clip(linear @ COLOUR_VISION[vision].T, 0, 1)
    xyz = linear @ np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]).T
    to_lms = np.array(
        [
            [0.8189330101, 0.3618667424, -0.1288597137],
            [0.0329845436, 0.9293118715, 0.0361456387],
            [0.0482003018, 0.2643662691, 0.6338517070],
        ]
    )
    to_lab = np.array(
        [
            [0.2104542553, 0.7936177850, -0.0040720468],
            [1.9779984951, -2.4285922050, 0.4505937099],
            [0.0259040371, 0.7827717662, -0.8086757660],
        ]
    )
    return np.cbrt(xyz @ to_lms.T) @ to_lab.T


def test_the_middle_is_a_light_grey_and_the_ends_are_blue_and_orange() -> None:
    blue, grey, orange = diverging_colours([-1, 0, 1])
    assert np.ptp(grey) < 0.01
    assert grey.min() > 0.85
    assert blue[2] > blue[0] + 0.4
    assert orange[0] > orange[2] + 0.4


def test_values_beyond_the_ends_have_the_colour_of_the_end_and_shapes_are_kept() -> None:
    np.testing.assert_array_equal(diverging_colours([-3, 7]), diverging_colours([-1, 1]))
    colours = diverging_colours(np.zeros((4, 5)))
    assert colours.shape == (4, 5, 3)
    everything = diverging_colours(STEPS)
    assert everything.min() >= 0
    assert everything.max() <= 1


def test_equal_steps_look_equally_large() -> None:
    steps = np.linalg.norm(np.diff(lab(diverging_colours(STEPS)), axis=0), axis=1)
    assert steps.max() / steps.min() < 1.05


def test_both_ends_are_as_dark_as_each_other_and_dark_is_monotone_in_strength() -> None:
    lightness = lab(diverging_colours(STEPS))[:, 0]
    np.testing.assert_allclose(lightness, lightness[::-1], atol=0.01)
    assert (np.diff(lightness[100:]) < 0).all()


@pytest.mark.parametrize("vision", COLOUR_VISION)
def test_the_arms_are_told_apart_with_any_kind_of_colour_vision(vision: str) -> None:
    seen = lab(diverging_colours(STEPS), vision)
    apart = np.linalg.norm(seen - seen[::-1], axis=1)[101:]
    assert (np.diff(apart) > 0).all(), "the stronger, the further apart"
    # About 0.02 is just noticed; ends differ by more than ten times that.
    assert apart[-1] > 0.2
    strength = np.linalg.norm(seen - seen[100], axis=1)
    assert (np.diff(strength[100:]) > 0).all()
    assert (np.diff(strength[:101]) < 0).all()
