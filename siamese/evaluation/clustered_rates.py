"""Intervals of rates whose trials come in clusters: the probes of an identity, the one-shot trials of an alphabet.

Trials of one cluster may depend on each other in any way, those of two clusters do not. The variance of a rate is the
cluster-robust one (Liang and Zeger, "Longitudinal data analysis using generalized linear models", Biometrika 73,
1986): the sum over C clusters of the square of what each contributes, times C / (C - 1). The interval is made on the
scale of the logit, with t of as many degrees of freedom as that sum of squares has (Satterthwaite, "An approximate
distribution of estimates of variance components", 1946), as those of pairs are (`siamese.evaluation.intervals`).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit  # type: ignore[import-untyped]
from scipy.stats import t as student  # type: ignore[import-untyped]

from siamese.evaluation.intervals import Estimate, Interval
from siamese.evaluation.spread import satterthwaite

Floats = NDArray[np.float64]
METHOD = "clusters"


def shares(hits: NDArray[np.bool_] | Floats, codes: NDArray[np.int64], clusters: int) -> Floats:
    """What each cluster contributes to the mean of `hits`, beyond an average one; shape (clusters,), adding up to 0.

    Args:
        hits: of each trial, shape (T,), T above 0.
        codes: cluster of each trial, from 0 to clusters - 1, shape (T,).
        clusters: how many there are.
    """
    return np.bincount(codes, hits - hits.mean(), clusters) / len(hits)


def clustered_variance(contributions: Floats) -> float:
    """Variance of a rate from what its C clusters contribute, shape (C,)."""
    clusters = len(contributions)
    return float(contributions @ contributions) * clusters / max(clusters - 1, 1)


def clustered_estimate(
    value: float, contributions: Floats, *, fewest: int, what: str = "identities", level: float = 0.95
) -> Estimate:
    """A rate with its interval.

    Args:
        value: the rate, in [0, 1].
        contributions: of each cluster that has trials, shape (C,), as `shares` gives them.
        fewest: clusters that an interval needs.
        what: the clusters are, for the reason why there is none.
        level: share of such intervals that hold the true rate.

    Returns:
        An interval unless there are too few clusters, or all of them do alike. A rate of 0 or 1 has no spread to see:
        its limits are the exact ones of as many trials as there are clusters (Clopper and Pearson, 1934).
    """
    clusters = len(contributions)
    if clusters < fewest:
        return Estimate(value, None, f"insufficient data: an interval needs {fewest} {what}, found {clusters}")
    if not 1e-12 < value < 1 - 1e-12:
        limit = float(((1 - level) / 2) ** (1 / clusters))
        ends = (limit, 1.0) if value > 0.5 else (0.0, 1.0 - limit)
        return Estimate(value, Interval(*ends, level, "exact", 0))
    variance = clustered_variance(contributions)
    if not variance > 1e-24:  # rounding of what adds up to nothing
        return Estimate(value, None, f"insufficient data: all {clusters} {what} do alike")
    error = np.sqrt(variance) / (value * (1 - value))
    reach = student.ppf((1 + level) / 2, min(satterthwaite(contributions), clusters - 1)) * error
    low, high = expit(logit(value) + reach * np.array([-1.0, 1.0]))
    return Estimate(value, Interval(float(low), float(high), level, METHOD, 0))
