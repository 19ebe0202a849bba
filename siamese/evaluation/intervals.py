"""Confidence intervals of verification statistics, for pairs that share people.

Three methods; all of them take the variance of a statistic from `influence.dyadic_variance`, which counts that pairs
of one person depend on each other and no more:

- `dyadic` (default): logit(value) +- t s, s the standard error of the logit. Time and memory linear in the pairs.
- `percentile` and `bca` (Efron, "Better bootstrap confidence intervals", 1987): of the bootstrap by identity, whose
  spread about the value is scaled on the logit to that variance (as Rao and Wu, "Resampling inference with complex
  survey data", 1988, scale theirs).

The bootstrap takes a pass over the pairs for each resample: seconds for ten thousand pairs, an hour for ten million,
in memory that does not grow with the resamples. `dyadic` needs none: it is exact for what statistics do to first
order, and approximates nothing else but the slope of the characteristic at a threshold (`influence.influence`).

Why not the bootstrap as it is: weighing a pair by n_i n_j lets a pair of two people vary thrice as much as a pair
that was drawn by chance does. In lists where nearly every pair has its own people, as LFW's, intervals of FAR become
1.7 times too wide and cover 99.7 %, not 95 %; in dense tables they are still too wide where what is particular to two
people outweighs what is particular to each. Simulated in `benchmarks/interval_coverage.py`.

Simulated there, `dyadic` covers 93 to 97 % on lists like LFW's and on dense tables of 60 people and more; `bca` 92 to
97 % on lists like LFW's, `percentile` the same but for 80 % of best accuracy, which is too good in every sample and
once more in every resample.

The logit keeps intervals inside [0, 1] and makes rates near 0 or 1 nearly normal; the Matthews coefficient goes from
[-1, 1] to [0, 1] first, where the logit is Fisher's z. The degrees of freedom of t are those of `spread`: few people,
or few errors, widen an interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit, logit  # type: ignore[import-untyped]
from scipy.stats import norm  # type: ignore[import-untyped]

from siamese.errors import OptionError, unknown_name
from siamese.evaluation.bootstrap import resampled_statistics
from siamese.evaluation.influence import Dyads, influence
from siamese.evaluation.spread import Spread, freedom_of_value, spread
from siamese.evaluation.sufficiency import FEWEST_PEOPLE, too_many_degenerate, why_no_interval, why_no_value
from siamese.evaluation.weighted import Floats, Ranked, Statistic, check_statistics, weighted_statistics

METHODS = ("dyadic", "percentile", "bca")


@dataclass(frozen=True)
class Interval:
    """Confidence interval.

    Attributes:
        low, high: its ends, in the units of the statistic.
        level: the share of such intervals that hold the true value.
        method: one of `METHODS`, or `exact` where no error was seen (Clopper and Pearson, 1934).
        resamples: how many resamples it rests on, those that leave the statistic undefined not counted; 0 without.
    """

    low: float
    high: float
    level: float
    method: str
    resamples: int


@dataclass(frozen=True)
class Estimate:
    """A statistic with its interval.

    Attributes:
        value: None is *insufficient data*, or a ratio of nothing (precision where nothing was accepted).
        interval: None where the data supports no interval.
        reason: why one of them is None, for people; else empty.
        degenerate: how many resamples left the statistic undefined.
    """

    value: float | None
    interval: Interval | None
    reason: str = ""
    degenerate: int = 0


@dataclass(frozen=True)
class IntervalOptions:
    """How intervals are made.

    Attributes:
        method: one of `METHODS`.
        level: in (0, 1).
        resamples: of people, for the bootstrap.
        seed: of the resamples.
    """

    method: str = "dyadic"
    level: float = 0.95
    resamples: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown_name("interval method", self.method, METHODS)
        if not 0 < self.level < 1:
            raise OptionError(f"level {self.level}: expected a share between 0 and 1, such as 0.95")
        if self.resamples < 100:
            raise OptionError(f"resamples {self.resamples}: expected at least 100 (1000 or more for a 95 % interval)")


def estimates(
    scores: ArrayLike,
    same: ArrayLike,
    left: ArrayLike,
    right: ArrayLike,
    statistics: Sequence[Statistic | str],
    *,
    accepted: ArrayLike | None = None,
    options: IntervalOptions | None = None,
) -> dict[str, Estimate]:
    """Statistics of pairs with their intervals; one pass over the resamples serves all of them.

    Args:
        scores: similarities, (N,).
        same: labels, (N,).
        left: identity on the left, (N,) whole numbers.
        right: identity on the right; equal to the left one for genuine pairs alone.
        statistics: names ("auc", "eer", "best_accuracy", "accuracy", "balanced_accuracy", "f1", "precision",
            "recall", "tar", "far", "mcc"), or `Statistic("tar_at_far", far)`.
        accepted: decision on each pair, (N,) bool, for the statistics of decisions.
        options: method, level, resamples and seed.

    Returns:
        One estimate for each statistic, by `str(statistic)`. A TAR at a FAR with fewer than three expected errors has
        no value, with fewer than five no interval; fewer than 60 people give no interval, nor fewer than 100 of TAR.

    Raises:
        DataError: scores, labels, identities or decisions that do not fit together.
        OptionError: an unknown statistic, or one that lacks its FAR.

    Example:
        >>> scores, people = np.linspace(0, 1, 60), np.arange(60)
        >>> same = np.sin(np.arange(60)) + scores > 0.5
        >>> found = estimates(scores, same, people, np.where(same, people, people + 100), ["auc"])["auc"]
        >>> found.interval.low < found.value < found.interval.high
        True
    """
    asked, options = check_statistics(statistics), options or IntervalOptions()
    ranked, dyads = Ranked.of(scores, same, accepted), Dyads.of(same, left, right)
    values = weighted_statistics(ranked, np.ones((1, len(ranked.order))), asked)[0]
    drawn = np.zeros((0, 1, len(asked)))
    if options.method != "dyadic" and dyads.people >= FEWEST_PEOPLE:
        drawn = resampled_statistics(dyads, [ranked], asked, options.resamples, options.seed)
    return {
        str(each): _estimate(each, float(values[k]), drawn[:, 0, k], ranked, dyads, options)
        for k, each in enumerate(asked)
    }


def _estimate(
    statistic: Statistic, value: float, drawn: Floats, ranked: Ranked, dyads: Dyads, options: IntervalOptions
) -> Estimate:
    missing = why_no_value(statistic, value, ranked)
    if missing:
        return Estimate(None, None, missing)
    too_few = why_no_interval(statistic, ranked, dyads)
    if too_few:
        return Estimate(value, None, too_few)
    low, high = (-1.0, 1.0) if statistic.name == "mcc" else (0.0, 1.0)
    share = (value - low) / (high - low)
    if not 1e-12 < share < 1 - 1e-12:
        return _at_the_end(statistic, value, ranked, dyads, options.level)
    contributions = influence(ranked, dyads, statistic) / (high - low)
    found = spread(dyads, contributions, options.level, freedom_of_value(statistic))
    if found is None:
        return Estimate(value, None, "insufficient data: no person's pairs differ from another's")
    known = drawn[~np.isnan(drawn)]
    if too_many := too_many_degenerate(drawn):
        return Estimate(value, None, too_many, len(drawn) - len(known))
    middle, error = float(logit(share)), found.error / (share * (1 - share))
    if options.method == "dyadic":
        ends = middle + found.quantile * error * np.array([-1.0, 1.0])
    else:
        # A resample without an error has an infinite logit: what is left of 1 in a float64 stands for it.
        logits = logit(np.clip((known - low) / (high - low), 1e-15, 1 - 1e-15))
        shares = bootstrap_shares(known, value, found, options)
        ends = middle + found.scale * (np.quantile(logits, shares) - middle)
    below, above = low + (high - low) * expit(ends)
    interval = Interval(float(below), float(above), options.level, options.method, len(known))
    return Estimate(value, interval, "", len(drawn) - len(known))


def bias_correction(drawn: Floats, value: float) -> float:
    """BCa's z0: the share of resampled statistics below the value, as a normal quantile; ties count half."""
    below = np.mean(drawn < value) + np.mean(drawn == value) / 2
    return float(norm.ppf(np.clip(below, 1 / len(drawn), 1 - 1 / len(drawn))))


def bootstrap_shares(drawn: Floats, value: float, found: Spread, options: IntervalOptions) -> Floats:
    """Which quantiles of the resampled statistics are the ends of the interval (Efron 1987, equation 2.3)."""
    shares = np.array([1 - options.level, 1 + options.level]) / 2
    if options.method == "percentile":
        return shares
    bias = bias_correction(drawn, value)
    moved = bias + norm.ppf(shares)
    return np.asarray(norm.cdf(bias + moved / (1 - found.acceleration * moved)))


# Of these, an end of [0, 1] means that all of n decisions were alike; which kinds of pairs they are shares of.
_PROPORTIONS = {"accuracy": (True, True), "far": (False, True), "tar": (True, False), "recall": (True, False)}


def _at_the_end(statistic: Statistic, value: float, ranked: Ranked, dyads: Dyads, level: float) -> Estimate:
    """No error, or nothing but errors: there is no spread to see, but a proportion of n has exact limits."""
    if statistic.name not in _PROPORTIONS:
        return Estimate(value, None, "insufficient data: no pair is out of order, so nothing shows the spread")
    genuine, impostor = _PROPORTIONS[statistic.name]
    same = ranked.same[np.argsort(ranked.order)]
    counted = np.where(same, genuine, impostor)
    # Pairs of one person are taken for one trial at the most, in favour of the wider interval.
    people = len(np.unique(np.concatenate((dyads.left[counted], dyads.right[counted]))))
    trials = min(int(np.count_nonzero(counted)), people)
    limit = float(((1 - level) / 2) ** (1 / trials))
    ends = (limit, 1.0) if value > 0.5 else (0.0, 1.0 - limit)
    return Estimate(value, Interval(*ends, level, "exact", 0))
