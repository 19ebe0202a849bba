"""How far a statistic strays, from what people contribute to it.

Errors gather in few people, so a variance is itself known only as well as these few people make it known, and the
quantile is that of t. Its degrees of freedom are of one of three kinds, for how the variance depends on the sample:

- `satterthwaite`: 2 V^2 / var(V), with var(V) from the fourth powers of what people contribute (Satterthwaite, "An
  approximate distribution of estimates of variance components", 1946).
- `beyond_value`: the same of the part of V that the value of the statistic does not tell. On the logit a rate tells
  the variance of its own estimate: the variance of a binomial is not known badly because errors are few, and the
  logit's own interval allows for that already. For rates of decisions, TAR at a FAR and best accuracy.
- `effective_people`: half of Satterthwaite's, how many people would have that variance if all contributed alike. What
  people contribute to AUC and EER has a heavy tail, and fourth powers of few people hardly ever hold its end: in the
  simulation var(V) / V^2 is two to three times what they say, in every kind of table.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.stats import norm  # type: ignore[import-untyped]
from scipy.stats import t as student

from siamese.evaluation.influence import Dyads, dyadic_variance, product_variance
from siamese.evaluation.weighted import Floats, Statistic

Freedom = Callable[[Floats], float]
HEAVY_TAILED = ("auc", "eer")
# Where hardly a pair is out of order one person may make up the spread, and t of one degree of freedom would give an
# AUC close to 1 nearly all of [0, 1]. It is the samples without such a person whose intervals miss.
FEWEST_EFFECTIVE = 3.0
# Statistics are shares, and a difference of 1e-12 is no pair: smaller ones are of sums that should be 0.
ROUNDING = 1e-12


class Spread(NamedTuple):
    """How far a statistic strays, to first order.

    Attributes:
        error: standard error.
        freedom: degrees of freedom of that error, at least 1.
        scale: what the bootstrap's deviations are multiplied with to have that error, t's wider tails included.
        acceleration: skewness of what people contribute, over 6 (Efron 1987, equation 6.6).
        quantile: of t, at the level asked for.
    """

    error: float
    freedom: float
    scale: float
    acceleration: float
    quantile: float


def satterthwaite(persons: Floats) -> float:
    """Degrees of freedom of the sum of squares of what people contribute (P,)."""
    excess = _variance_of_squares(persons)
    return max(1.0, 2 / excess) if excess > 0 else np.inf


def effective_people(persons: Floats) -> float:
    """Degrees of freedom where contributions (P,) have a heavier tail than the sample shows."""
    return max(FEWEST_EFFECTIVE, satterthwaite(persons) / 2)


def beyond_value(persons: Floats) -> float:
    """Degrees of freedom of what the statistic's value does not tell about its variance, from contributions (P,).

    The share of squares of a person is what they add to log V, and the residual of its regression on what they add
    to the value is what the value does not tell.
    """
    shares = persons**2 / (persons @ persons)
    told = float(shares @ persons) ** 2 / float(persons @ persons)
    untold = _variance_of_squares(persons) - told
    return max(1.0, 2 / untold) if untold > ROUNDING else np.inf


def _variance_of_squares(persons: Floats) -> float:
    """Variance of the sum of squares, relative to its square."""
    shares = persons**2 / (persons @ persons)
    return float(shares @ shares) - 1 / len(persons)


def freedom_of_value(statistic: Statistic) -> Freedom:
    """Which degrees of freedom the interval of a statistic has."""
    return effective_people if statistic.name in HEAVY_TAILED else beyond_value


def freedom_of_difference(statistic: Statistic) -> Freedom:
    """Which degrees of freedom the interval of a difference has: it tells nothing about its variance."""
    return effective_people if statistic.name in HEAVY_TAILED else satterthwaite


def spread(dyads: Dyads, contributions: Floats, level: float, freedom: Freedom = satterthwaite) -> Spread | None:
    """The spread of a statistic from the influence (N,) of its pairs; None where no pair has any."""
    persons = dyads.sums(contributions)[1]
    squares = float(persons @ persons)
    variance = dyadic_variance(dyads, contributions) * dyads.people / max(dyads.people - 1, 1)
    if not (variance > ROUNDING**2 and squares > 0):
        return None
    degrees = freedom(persons)
    quantile = float(student.ppf((1 + level) / 2, degrees))
    wider = quantile / float(norm.ppf((1 + level) / 2))
    scale = wider * np.sqrt(variance / product_variance(dyads, contributions))
    acceleration = float((persons**3).sum()) / (6 * squares**1.5)
    return Spread(float(np.sqrt(variance)), degrees, float(scale), acceleration, quantile)
