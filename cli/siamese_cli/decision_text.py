"""Thresholds and probabilities in words."""

from siamese_cli.output import percent


def word_fit(split: str, genuine: int | None, impostor: int | None) -> str:
    """The pairs that a threshold or a calibration was fitted on, with how many there are of either kind."""
    return f"{split} pairs: {genuine or 0:,} genuine, {impostor or 0:,} impostor"


def word_probability(value: float) -> str:
    """A probability as a percentage: no data supports "100.00 %"."""
    bounded = min(max(value, 1e-4), 1 - 1e-4)
    sign = "" if bounded == value else "below " if bounded > value else "above "
    return sign + percent(bounded)
