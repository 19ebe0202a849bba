"""Who a synthetic face shows: a vector of named traits that stay the same in every image of the identity."""

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from siamese.errors import OptionError


def trait(low: float, high: float) -> Any:
    """A dataclass field with no default that must lie in [low, high]."""
    return field(metadata={"range": (low, high)})


@dataclass(frozen=True)
class Identity:
    """A synthetic person.

    Lengths are in face units: the head is an ellipse of half height about 1 around the origin, x to the
    right, y down. Traits without a length are shares between two extremes. Values outside the range that
    `ranges` gives raise OptionError.

    Example:
        >>> sample_identities(1, seed=0)[0] == sample_identities(5, seed=0)[0]
        True
    """

    head_width: float = trait(0.66, 0.86)
    head_height: float = trait(0.94, 1.08)
    jaw: float = trait(0.0, 1.0)  # pointed to square
    chin: float = trait(0.90, 1.16)  # length below the origin
    ear_size: float = trait(0.13, 0.25)
    skin_tone: float = trait(0.0, 1.0)  # light to dark
    skin_undertone: float = trait(-1.0, 1.0)  # rosy to olive
    hair_colour: float = trait(0.0, 1.0)  # black, brown, auburn, blond, grey
    hairline: float = trait(-0.92, -0.52)  # y of its middle
    hairline_curve: float = trait(-0.22, 0.22)  # receding corners to rounded fringe
    hair_part: float = trait(-0.9, 0.9)
    hair_volume: float = trait(0.04, 0.34)
    hair_length: float = trait(0.0, 1.0)  # above .5 it falls beside the neck
    hair_curl: float = trait(0.0, 1.0)
    eye_spacing: float = trait(0.25, 0.38)  # from the middle of the face to the middle of the eye
    eye_height: float = trait(-0.20, 0.02)
    eye_size: float = trait(0.12, 0.19)
    eye_roundness: float = trait(0.38, 0.72)
    eye_tilt: float = trait(-0.20, 0.30)
    iris_colour: float = trait(0.0, 1.0)  # dark brown, hazel, green, blue
    brow_distance: float = trait(0.15, 0.29)  # above the eye
    brow_thickness: float = trait(0.025, 0.085)
    brow_angle: float = trait(-0.25, 0.35)
    brow_length: float = trait(0.17, 0.26)
    brow_arch: float = trait(0.0, 0.09)
    nose_length: float = trait(0.34, 0.54)  # from the eyes to the tip
    nose_width: float = trait(0.10, 0.22)
    nose_bridge: float = trait(0.3, 1.0)
    mouth_width: float = trait(0.19, 0.36)
    mouth_height: float = trait(0.30, 0.48)  # share of the way from the tip of the nose to the chin
    upper_lip: float = trait(0.025, 0.085)
    lower_lip: float = trait(0.035, 0.105)
    lip_colour: float = trait(0.0, 1.0)  # skin-like to red
    beard: float = trait(0.0, 1.0)  # below .65 clean-shaven
    moustache: float = trait(0.0, 1.0)  # below .65 clean-shaven
    freckles: float = trait(0.0, 1.0)  # below .6 none
    freckle_pattern: float = trait(0.0, 1.0)
    cheek_mole_x: float = trait(-0.5, 0.5)
    cheek_mole_y: float = trait(0.10, 0.5)
    cheek_mole_size: float = trait(-0.03, 0.035)  # 0 or less: none
    wrinkles: float = trait(0.0, 1.0)

    def __post_init__(self) -> None:
        check_ranges(self)

    @property
    def nose_tip(self) -> float:
        """Where the nose ends: y in face units."""
        return self.eye_height + self.nose_length

    @property
    def mouth_y(self) -> float:
        """Where the closed lips meet: y in face units."""
        return self.nose_tip + self.mouth_height * (self.chin - self.nose_tip)


def ranges(kind: type[Any]) -> dict[str, tuple[float, float]]:
    """Lowest and highest value of every trait of a dataclass whose fields carry a range."""
    return {f.name: f.metadata["range"] for f in fields(kind) if "range" in f.metadata}


def check_ranges(item: Any) -> None:
    """Raise OptionError where a field of `item` is not a number within its range."""
    for name, (low, high) in ranges(type(item)).items():
        value = getattr(item, name)
        # Written so that NaN fails too.
        if not low <= value <= high:
            kind = type(item).__name__.lower()
            raise OptionError(f"{kind} {name} is {value}: expected a number from {low:g} to {high:g}")


def sample_identities(count: int, seed: int) -> list[Identity]:
    """Draw identities, every trait uniform over its range.

    Identity number i depends on `seed` and i alone, so a longer list begins with the shorter one.

    Args:
        count: how many, at least 1.
        seed: 0 or more.

    Raises:
        OptionError: for a count below 1 or a negative seed.
    """
    check_at_least("identities", count, 1)
    check_at_least("seed", seed, 0)
    low, high = np.array(list(ranges(Identity).values())).T
    draws = [identity_stream(seed, i, 0).uniform(low, high) for i in range(count)]
    return [Identity(*map(float, draw)) for draw in draws]


def identity_stream(seed: int, *key: int) -> np.random.Generator:
    """A random stream of its own for every key: (identity, 0) for traits, (identity, 1, image) for images."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def check_at_least(option: str, value: int, least: int) -> None:
    """Raise OptionError where `value` is below `least`."""
    if value < least:
        raise OptionError(f"{option} is {value}: expected a whole number of at least {least}")
