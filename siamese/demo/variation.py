"""What differs between two images of one identity: expression, pose, light, scene, camera and occlusion."""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from siamese.demo.identity import check_at_least, check_ranges, ranges
from siamese.errors import unknown_name

Occlusion = Literal["none", "glasses", "block", "band"]


def _around(neutral: float, low: float, high: float) -> Any:
    return field(default=neutral, metadata={"range": (low, high)})


@dataclass(frozen=True)
class Variation:
    """One image's circumstances; without arguments the neutral ones.

    Angles are in degrees: positive `yaw` turns towards the image's right, positive `pitch` upwards, positive
    `roll` clockwise. Shifts are shares of the image size, `blur` is in pixels of a 112-pixel image, `noise` in
    grey levels of 255. `scene_seed` fixes background, clothing, where an occlusion sits, and the noise.
    Values outside the range that `siamese.demo.identity.ranges` gives raise OptionError.
    """

    smile: float = _around(0.0, -1.0, 1.0)
    mouth_open: float = _around(0.0, 0.0, 1.0)
    brow_raise: float = _around(0.0, -1.0, 1.0)
    eye_openness: float = _around(1.0, 0.25, 1.3)
    gaze_x: float = _around(0.0, -1.0, 1.0)
    gaze_y: float = _around(0.0, -1.0, 1.0)
    roll: float = _around(0.0, -20.0, 20.0)
    yaw: float = _around(0.0, -30.0, 30.0)
    pitch: float = _around(0.0, -15.0, 15.0)
    shift_x: float = _around(0.0, -0.08, 0.08)
    shift_y: float = _around(0.0, -0.08, 0.08)
    scale: float = _around(1.0, 0.85, 1.15)
    light_angle: float = _around(270.0, 0.0, 360.0)  # where it comes from: 0 right, 90 below
    light_strength: float = _around(0.15, 0.0, 0.7)
    gain: float = _around(1.0, 0.6, 1.3)
    gamma: float = _around(1.0, 0.7, 1.45)
    temperature: float = _around(0.0, -1.0, 1.0)  # bluish to yellowish
    blur: float = _around(0.0, 0.0, 1.3)
    noise: float = _around(0.0, 0.0, 14.0)
    jpeg_quality: float = _around(100.0, 30.0, 100.0)
    occlusion: Occlusion = "none"
    scene_seed: int = 0

    def __post_init__(self) -> None:
        check_ranges(self)
        check_at_least("variation scene_seed", self.scene_seed, 0)
        if self.occlusion not in get_args(Occlusion):
            raise unknown_name("occlusion", self.occlusion, get_args(Occlusion))


# Standard deviations of what is drawn from a normal distribution; the ranges above cut its tails.
_SPREAD = {
    "brow_raise": 0.45,
    "eye_openness": 0.16,
    "gaze_x": 0.4,
    "gaze_y": 0.25,
    "roll": 6.0,
    "yaw": 11.0,
    "pitch": 5.5,
    "shift_x": 0.025,
    "shift_y": 0.025,
    "scale": 0.05,
    "gain": 0.12,
    "gamma": 0.13,
    "temperature": 0.35,
}
_OCCLUSION_SHARES = {"none": 0.80, "glasses": 0.10, "block": 0.05, "band": 0.05}


def sample_variation(rng: np.random.Generator) -> Variation:
    """Draw the circumstances of one image from `rng`, which moves on."""
    limits, neutral = ranges(Variation), Variation()
    steps = rng.standard_normal(len(_SPREAD))
    values: dict[str, Any] = {
        name: _clip(getattr(neutral, name) + spread * step, *limits[name])
        for (name, spread), step in zip(_SPREAD.items(), steps, strict=True)
    }
    shares = list(_OCCLUSION_SHARES.values())
    return Variation(
        **values,
        smile=_clip(rng.normal(0.2, 0.45), *limits["smile"]),
        # Most mouths are closed, some wide open.
        mouth_open=float(rng.uniform() ** 3),
        light_angle=float(rng.uniform(0.0, 360.0)),
        light_strength=float(rng.uniform(0.05, 0.5)),
        blur=float(rng.uniform() ** 2),
        noise=float(rng.uniform() ** 2 * 8.0),
        jpeg_quality=float(rng.uniform(45.0, 98.0)),
        occlusion=list(_OCCLUSION_SHARES)[int(rng.choice(len(shares), p=shares))],  # type: ignore[arg-type]
        scene_seed=int(rng.integers(2**31)),
    )


def _clip(value: float, low: float, high: float) -> float:
    return float(min(max(value, low), high))
