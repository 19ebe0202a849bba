"""How far probabilities can be believed, as pure functions of probabilities and labels.

Everywhere `probabilities` has shape (N,), P(same) in [0, 1], and `same` has shape (N,), true for genuine pairs; both
kinds must be there. With a `prior`, genuine pairs weigh that share together and impostor pairs the rest, so that
pairs in another ratio can be judged at the prior that the probabilities were stated for; without one, each pair
weighs the same.
"""

from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamese.errors import OptionError, unknown_name
from siamese.evaluation.calibration_prior import (
    Bools,
    Floats,
    check_prior,
    check_probabilities,
    pair_weights,
)
from siamese.evaluation.metrics import check_scores

Binning = Literal["width", "mass"]

# Normal quantile of a 95 % interval.
_Z = 1.959963984540054
_EPSILON = float(np.finfo(np.float64).eps)


class ReliabilityBins(NamedTuple):
    """A reliability diagram: one entry for each bin that holds pairs, K in all, at rising probabilities.

    Attributes:
        low: lower edge, shape (K,); a bin holds what is above it (the first one also what is at it).
        high: upper edge, included, shape (K,).
        pairs: how many, shape (K,) int64.
        weight: share of all pairs' weight, sums to 1, shape (K,).
        probability: mean probability, shape (K,).
        genuine: share of genuine pairs, shape (K,).
        interval_low: lower end of Wilson's 95 % interval of that share, shape (K,).
        interval_high: upper end, shape (K,).
    """

    low: Floats
    high: Floats
    pairs: NDArray[np.int64]
    weight: Floats
    probability: Floats
    genuine: Floats
    interval_low: Floats
    interval_high: Floats


class BrierScore(NamedTuple):
    """The Brier score and its parts: score = reliability - resolution + uncertainty + within_bins, exactly.

    Attributes:
        score: mean squared difference of probability and label, in [0, 1]; lower is better.
        reliability: squared distance of the diagram from its diagonal; 0 is perfectly calibrated.
        resolution: how far the bins' shares of genuine pairs differ from the share in all; higher is better.
        uncertainty: variance of the labels, s (1 - s) for a share s of genuine pairs.
        within_bins: what the bins hide, variance of the probabilities less twice their covariance with the labels;
            0 where each bin holds one probability.
    """

    score: float
    reliability: float
    resolution: float
    uncertainty: float
    within_bins: float


def reliability_bins(
    probabilities: ArrayLike,
    same: ArrayLike,
    *,
    bins: int = 15,
    binning: Binning = "width",
    prior: float | None = None,
) -> ReliabilityBins:
    """The data of a reliability diagram.

    Wilson's interval counts pairs of unequal weights as (sum w)^2 / (sum w^2) pairs (L. Kish, "Survey Sampling",
    1965).

    Args:
        probabilities: P(same).
        same: labels.
        bins: how many bins, at least 1; empty ones are left out.
        binning: `width` divides [0, 1] into equal parts; `mass` cuts where equal weights lie between, and keeps
            pairs of one probability together.
        prior: share that genuine pairs weigh, in (0, 1); None to count each pair once.

    Raises:
        DataError: only one kind of pair, or probabilities that are not finite or lie outside [0, 1].
        OptionError: no bins, an unknown binning, or a prior outside (0, 1).
    """
    if bins < 1:
        raise OptionError(f"bins {bins}: expected at least 1")
    if binning not in get_args(Binning):
        raise unknown_name("binning", binning, get_args(Binning))
    values, labels, weights = _checked(probabilities, same, prior)
    edges = np.linspace(0.0, 1.0, bins + 1) if binning == "width" else _mass_edges(values, weights, bins)
    places = np.searchsorted(edges[1:-1], values, side="left")
    pairs = np.bincount(places, minlength=len(edges) - 1)
    held = pairs > 0

    def total(of: Floats) -> Floats:
        return np.asarray(np.bincount(places, of, minlength=len(edges) - 1)[held], dtype=np.float64)

    weight = total(weights)
    genuine = np.clip(total(weights * labels) / weight, 0.0, 1.0)
    low, high = _wilson(genuine, weight**2 / total(weights**2))
    return ReliabilityBins(
        low=edges[:-1][held],
        high=edges[1:][held],
        pairs=pairs[held],
        weight=weight,
        probability=np.clip(total(weights * values) / weight, 0.0, 1.0),
        genuine=genuine,
        interval_low=low,
        interval_high=high,
    )


def expected_calibration_error(
    probabilities: ArrayLike,
    same: ArrayLike,
    *,
    bins: int = 15,
    binning: Binning = "width",
    prior: float | None = None,
) -> float:
    """Expected calibration error: mean distance of a bin's probability from its share of genuine pairs, in [0, 1].

    M. Naeini, G. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI 2015,
    with bins of equal width; with bins of equal mass, J. Nixon et al., "Measuring calibration in deep learning",
    CVPR workshops 2019. Chance alone keeps it above 0, the more so the more bins and the fewer pairs.

    Arguments and errors as for `reliability_bins`.
    """
    found = reliability_bins(probabilities, same, bins=bins, binning=binning, prior=prior)
    return float(found.weight @ np.abs(found.probability - found.genuine))


def maximum_calibration_error(
    probabilities: ArrayLike,
    same: ArrayLike,
    *,
    bins: int = 15,
    binning: Binning = "width",
    prior: float | None = None,
) -> float:
    """Maximum calibration error: the largest such distance of any bin (Naeini et al., 2015), in [0, 1].

    A bin of one pair counts like any other; with `binning="mass"` no bin is that small.

    Arguments and errors as for `reliability_bins`.
    """
    found = reliability_bins(probabilities, same, bins=bins, binning=binning, prior=prior)
    return float(np.abs(found.probability - found.genuine).max())


def brier_score(
    probabilities: ArrayLike,
    same: ArrayLike,
    *,
    bins: int = 15,
    binning: Binning = "width",
    prior: float | None = None,
) -> BrierScore:
    """The Brier score and its decomposition.

    A. Murphy, "A new vector partition of the probability score", 1973, with the terms within bins of D. Stephenson,
    C. Coelho, I. Jolliffe, "Two extra components in the Brier score decomposition", 2008. The score itself does not
    depend on the bins.

    Arguments and errors as for `reliability_bins`.
    """
    found = reliability_bins(probabilities, same, bins=bins, binning=binning, prior=prior)
    values, labels, weights = _checked(probabilities, same, prior)
    share = float(weights @ labels)
    score = float(weights @ np.square(values - labels))
    reliability = float(found.weight @ np.square(found.probability - found.genuine))
    resolution = float(found.weight @ np.square(found.genuine - share))
    uncertainty = share * (1.0 - share)
    return BrierScore(
        score=score,
        reliability=reliability,
        resolution=resolution,
        uncertainty=uncertainty,
        within_bins=score - (reliability - resolution + uncertainty),
    )


def log_loss(probabilities: ArrayLike, same: ArrayLike, *, prior: float | None = None) -> float:
    """Mean of -ln of the probability given to what is true, in nats per pair.

    Probabilities of 0 and 1 are taken for 2.2e-16 away from them, so that one pair does not make the loss infinite.

    Args:
        probabilities: P(same).
        same: labels.
        prior: share that genuine pairs weigh, in (0, 1); None to count each pair once.

    Raises:
        DataError: only one kind of pair, or probabilities that are not finite or lie outside [0, 1].
        OptionError: a prior outside (0, 1).
    """
    values, labels, weights = _checked(probabilities, same, prior)
    values = np.clip(values, _EPSILON, 1.0 - _EPSILON)
    return float(-(weights @ np.where(labels, np.log(values), np.log1p(-values))))


def _checked(probabilities: ArrayLike, same: ArrayLike, prior: float | None) -> tuple[Floats, Bools, Floats]:
    values, labels = check_scores(check_probabilities(probabilities), same)
    if prior is None:
        return values, labels, np.full(len(values), 1.0 / len(values))
    return values, labels, pair_weights(labels, check_prior(prior))


def _mass_edges(values: Floats, weights: Floats, bins: int) -> Floats:
    """Edges between which weights are as equal as ties allow, from 0 to 1, shape (at most bins + 1,)."""
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    # A sum that misses a cut by rounding has reached it.
    wanted = reached[-1] * np.arange(1, bins) / bins - 1e-3 * weights.min()
    cuts = values[order][np.searchsorted(reached, wanted)]
    return np.concatenate(([0.0], np.unique(cuts), [1.0]))


def _wilson(share: Floats, pairs: Floats) -> tuple[Floats, Floats]:
    """Wilson's 95 % interval of a share among so many pairs (E. Wilson, 1927, equation 4)."""
    spread = _Z**2 / pairs
    centre = (share + spread / 2.0) / (1.0 + spread)
    half = _Z / (1.0 + spread) * np.sqrt(share * (1.0 - share) / pairs + spread / (4.0 * pairs))
    return np.maximum(centre - half, 0.0), np.minimum(centre + half, 1.0)
