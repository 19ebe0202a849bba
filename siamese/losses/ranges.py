"""Checks of options that several losses share."""

import math


def check_above_zero(name: str, value: float) -> float:
    """The value of an option that must be above 0 and finite.

    Raises:
        ValueError: it is not.
    """
    if not 0 < value < math.inf:
        raise ValueError(f"{name}={value}: expected a finite number above 0")
    return value


def check_at_least(name: str, value: float, least: float) -> float:
    """The value of an option that must be finite and not below `least`.

    Raises:
        ValueError: it is below, or not finite.
    """
    if not least <= value < math.inf:
        raise ValueError(f"{name}={value}: expected {least} or more")
    return value


def check_label_smoothing(label_smoothing: float) -> float:
    """The share of each label that is spread over all of them (Szegedy et al., CVPR 2016, section 7).

    Raises:
        ValueError: not in [0, 1).
    """
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"label_smoothing={label_smoothing}: expected a share in [0, 1)")
    return label_smoothing
