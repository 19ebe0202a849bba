"""The prior: the share of genuine pairs that a probability is stated for, and that pairs are weighted to."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamese.errors import DataError, OptionError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def check_prior(prior: float) -> float:
    """The prior as a float.

    Raises:
        OptionError: not between 0 and 1; a prior of 0 or 1 leaves nothing to decide.
    """
    if not 0.0 < prior < 1.0:
        raise OptionError(f"prior {prior:g}: expected the share of genuine pairs, above 0 and below 1")
    return float(prior)


def check_vector(values: ArrayLike, kind: str) -> Floats:
    """Numbers as float64, shape (N,).

    Args:
        values: the numbers; N may be 0.
        kind: what they are, in the plural, for the message.

    Raises:
        DataError: not a vector, or numbers that are not finite.
    """
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise DataError(f"{kind} of shape {vector.shape}: expected a vector, shape (N,)")
    finite = np.isfinite(vector)
    if not finite.all():
        lost = np.count_nonzero(~finite)
        raise DataError(f"{lost} of {len(vector)} {kind} are not finite numbers; leave out pairs without one")
    return vector


def check_probabilities(probabilities: ArrayLike) -> Floats:
    """Probabilities as float64, shape (N,).

    Raises:
        DataError: not a vector, not finite, or outside [0, 1].
    """
    values = check_vector(probabilities, "probabilities")
    outside = (values < 0.0) | (values > 1.0)
    if outside.any():
        first = values[outside][0]
        count = np.count_nonzero(outside)
        raise DataError(f"{count} of {len(values)} probabilities lie outside [0, 1]; first: {first:g}")
    return values


def logit(probability: ArrayLike) -> Floats:
    """Log-odds of a probability, ln p - ln(1 - p)."""
    values = np.asarray(probability, dtype=np.float64)
    return np.asarray(np.log(values) - np.log1p(-values))


def sigmoid(log_odds: ArrayLike) -> Floats:
    """Probability of log-odds, in [0, 1]: 1 / (1 + exp(-x)), without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0.0, -np.asarray(log_odds, dtype=np.float64))))


def pair_weights(same: Bools, prior: float) -> Floats:
    """What each pair counts for so that genuine pairs weigh `prior` together and all pairs 1.

    Args:
        same: labels, shape (N,), of both kinds.
        prior: share of genuine pairs, in (0, 1).
    """
    genuine = int(np.count_nonzero(same))
    return np.where(same, prior / genuine, (1.0 - prior) / (len(same) - genuine))
