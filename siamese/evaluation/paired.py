"""Two models on the same pairs: how much they differ, and whether that is more than chance.

What both models have in common (the same people, the same hard photos) cancels in their difference, so that it is
known far better than the intervals of the two models tell. The interval is made on the difference itself, from the
dyadic variance that `intervals` explains, and leans to the side of the people that contribute most: often one model
is better on a few hard people, and a symmetric interval would miss on one side. The bootstrap gives both models the
same resamples of the people; in the simulation it is the poorer choice here: intervals of BCa cover 85 to 95 %, for
its bias correction is read off a difference of few pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq  # type: ignore[import-untyped]
from scipy.stats import binom, norm  # type: ignore[import-untyped]
from scipy.stats import t as student

from siamese.errors import DataError
from siamese.evaluation.bootstrap import resampled_statistics
from siamese.evaluation.influence import Dyads, influence
from siamese.evaluation.intervals import (
    FEWEST_PEOPLE,
    MOST_DEGENERATE,
    Interval,
    IntervalOptions,
    Spread,
    bias_correction,
    bootstrap_shares,
    spread,
    too_many_degenerate,
    why_no_interval,
    why_no_value,
)
from siamese.evaluation.weighted import Floats, Ranked, Statistic, check_statistics, weighted_statistics

# Of these, less is better.
ERROR_RATES = ("eer", "far")
# Of acceleration times quantile: beyond it a few people make up the whole difference, and the formula its own tail.
_MOST_LEAN = 0.4
NO_DIFFERENCE = "no significant difference"


@dataclass(frozen=True)
class Comparison:
    """One statistic of two models.

    Attributes:
        first, second: its values; None is *insufficient data*, or a ratio of nothing.
        difference: second - first; None without both.
        interval: of the difference; None where the data supports none.
        p_value: chance of a difference this far from 0 where there is none, two-sided: 1 - level of the widest
            interval that does not hold 0.
        verdict: in words: "no significant difference", which model is better and by how much, or why it is not known.
    """

    first: float | None
    second: float | None
    difference: float | None
    interval: Interval | None
    p_value: float | None
    verdict: str


class McNemar(NamedTuple):
    """Decisions of two models on the same pairs.

    Attributes:
        first_only: pairs that only the first model decides rightly.
        second_only: pairs that only the second model decides rightly.
        p_value: the mid-p value, two-sided.
        exact_p_value: the exact conditional one, which errs on the side of no difference.
        verdict: in words.
    """

    first_only: int
    second_only: int
    p_value: float
    exact_p_value: float
    verdict: str


def compare(
    first: ArrayLike,
    second: ArrayLike,
    same: ArrayLike,
    left: ArrayLike,
    right: ArrayLike,
    statistics: Sequence[Statistic | str],
    *,
    accepted: tuple[ArrayLike, ArrayLike] | None = None,
    names: tuple[str, str] = ("the first model", "the second model"),
    options: IntervalOptions | None = None,
) -> dict[str, Comparison]:
    """Compare two models on the same pairs.

    Args:
        first: scores of the first model, (N,).
        second: scores of the second model on the same pairs, (N,), in any unit of its own.
        same: labels, (N,).
        left: identity on the left, (N,) whole numbers.
        right: identity on the right; equal to the left one for genuine pairs alone.
        statistics: as `intervals.estimates` takes them.
        accepted: decisions of both models, each (N,) bool, for the statistics of decisions.
        names: of the models, for the verdict.
        options: method, level, resamples and seed.

    Returns:
        One comparison for each statistic, by `str(statistic)`.

    Raises:
        DataError: scores, labels, identities or decisions that do not fit together.
        OptionError: an unknown statistic, or one that lacks its FAR.
    """
    asked, options = check_statistics(statistics), options or IntervalOptions()
    decisions = accepted or (None, None)
    ranked = tuple(Ranked.of(scores, same, each) for scores, each in zip((first, second), decisions, strict=True))
    dyads = Dyads.of(same, left, right)
    values = [weighted_statistics(each, np.ones((1, len(each.order))), asked)[0] for each in ranked]
    drawn = np.zeros((0, 2, len(asked)))
    if options.method != "dyadic" and dyads.people >= FEWEST_PEOPLE:
        drawn = resampled_statistics(dyads, ranked, asked, options.resamples, options.seed)
    paired = _Paired(ranked, dyads, names, options)
    return {
        str(each): paired.comparison(each, values[0][k], values[1][k], drawn[:, :, k]) for k, each in enumerate(asked)
    }


class _Paired(NamedTuple):
    """What all comparisons of two models share."""

    ranked: tuple[Ranked, ...]
    dyads: Dyads
    names: tuple[str, str]
    options: IntervalOptions

    def comparison(self, statistic: Statistic, first: float, second: float, drawn: Floats) -> Comparison:
        reasons = [why_no_value(statistic, v, r) for v, r in zip((first, second), self.ranked, strict=True)]
        values = [None if reason else float(v) for v, reason in zip((first, second), reasons, strict=True)]
        if any(reasons):
            return Comparison(values[0], values[1], None, None, None, next(filter(None, reasons)))
        difference = float(second - first)
        interval, p_value, reason = self.interval(statistic, difference, drawn[:, 1] - drawn[:, 0])
        verdict = reason or self.verdict(statistic, difference, interval)
        return Comparison(values[0], values[1], difference, interval, p_value, verdict)

    def interval(
        self, statistic: Statistic, difference: float, drawn: Floats
    ) -> tuple[Interval | None, float | None, str]:
        """The interval of a difference and its p-value, or why there is none."""
        too_few = why_no_interval(statistic, self.ranked[0], self.dyads)
        if too_few:
            return None, None, too_few
        known = drawn[~np.isnan(drawn)]
        if len(known) < (1 - MOST_DEGENERATE) * len(drawn):
            return None, None, too_many_degenerate(drawn)
        one, two = (influence(each, self.dyads, statistic) for each in self.ranked)
        level, method = self.options.level, self.options.method
        found = spread(self.dyads, two - one, level)
        if found is None and difference == 0.0:
            return Interval(0.0, 0.0, level, method, len(known)), 1.0, ""
        if found is None:
            return None, None, "insufficient data: no person's pairs differ from another's"
        if method == "dyadic":
            low, high = (difference + found.error * _leaned(end, found) for end in (-found.quantile, found.quantile))
            return Interval(low, high, level, method, 0), _p_value(difference, found), ""
        low, high = np.quantile(known, bootstrap_shares(known, difference, found, self.options))
        ends = [difference + found.scale * (float(end) - difference) for end in (low, high)]
        p_value = _bootstrap_p_value(known, difference, found, self.options)
        return Interval(ends[0], ends[1], level, method, len(known)), p_value, ""

    def verdict(self, statistic: Statistic, difference: float, interval: Interval | None) -> str:
        if interval is None or interval.low <= 0.0 <= interval.high:
            return NO_DIFFERENCE
        better = self.names[int((difference > 0) != (statistic.name in ERROR_RATES))]
        low, high = sorted((abs(interval.low), abs(interval.high)))
        return f"{better} is better: {statistic} by {abs(difference):.4f} [{low:.4f}, {high:.4f}]"


def _leaned(quantile: float, found: Spread) -> float:
    """Standard errors from the difference to the end of its interval, farther where contributions have their tail.

    w / (1 - a w)^2 with w = a + t and acceleration a: the ABC interval of a sum, whose bias correction is a itself
    (DiCiccio and Efron, "More accurate confidence intervals in exponential families", 1992, section 3).
    """
    moved = found.acceleration + quantile
    return moved / (1 - np.clip(found.acceleration * moved, -_MOST_LEAN, _MOST_LEAN)) ** 2  # type: ignore[no-any-return]


def _p_value(difference: float, found: Spread) -> float:
    """1 - level of the widest leaned interval that does not hold 0: `_leaned` grows, so its root is bracketed."""
    wanted = -difference / found.error
    reach = 10 + 4 * abs(wanted)
    quantile = float(brentq(lambda end: _leaned(end, found) - wanted, -reach, reach))
    return min(1.0, 2 * float(student.sf(abs(quantile), found.freedom)))


def _bootstrap_p_value(drawn: Floats, difference: float, found: Spread, options: IntervalOptions) -> float:
    """1 - level of the widest interval of the bootstrap that does not hold 0, not below 2 / (resamples + 1)."""
    scaled = difference + found.scale * (drawn - difference)
    count = float(np.count_nonzero(scaled < 0) + np.count_nonzero(scaled == 0) / 2)
    quantile = float(norm.ppf((count + 0.5) / (len(drawn) + 1)))
    if options.method == "bca":
        bias = bias_correction(drawn, difference)
        moved = quantile - bias
        quantile = moved / (1 + found.acceleration * moved) - bias
    return float(np.clip(2 * norm.sf(abs(quantile)), 2 / (len(drawn) + 1), 1.0))


def mcnemar(
    first: ArrayLike,
    second: ArrayLike,
    same: ArrayLike,
    *,
    names: tuple[str, str] = ("the first model", "the second model"),
    level: float = 0.95,
) -> McNemar:
    """McNemar's test of two models' decisions on the same pairs.

    Only pairs that the models decide differently tell them apart; without a difference between the models, either
    is right on half of them (McNemar, "Note on the sampling error of the difference between correlated proportions
    or percentages", 1947). The binomial is taken as it is, however many pairs there are; the mid-p value counts half
    of the table that was seen and keeps the level nearly exactly, where the exact p-value stays far below it
    (Fagerland, Lydersen and Laake, "The McNemar test for binary matched-pairs data", 2013).

    The test takes pairs for independent. Pairs that share people are not, and then it finds differences too easily:
    `compare` with "accuracy" does not.

    Args:
        first: decisions of the first model, (N,) bool, true where a pair is accepted.
        second: decisions of the second model.
        same: labels, (N,).
        names: of the models, for the verdict.
        level: 1 - p below which models count as different.

    Raises:
        DataError: decisions and labels of different lengths.
        OptionError: a level that is not between 0 and 1.
    """
    IntervalOptions(level=level)
    decided, labels = [np.asarray(each, dtype=bool) for each in (first, second)], np.asarray(same, dtype=bool)
    if labels.ndim != 1 or any(each.shape != labels.shape for each in decided):
        shapes = f"decisions {decided[0].shape} and {decided[1].shape} and labels {labels.shape}"
        raise DataError(f"{shapes}: expected three vectors of one length")
    right = [each == labels for each in decided]
    only = [int(np.count_nonzero(right[k] & ~right[1 - k])) for k in (0, 1)]
    total, fewer = sum(only), min(only)
    tail, seen = (float(each) for each in (binom.cdf(fewer, total, 0.5), binom.pmf(fewer, total, 0.5)))
    exact = min(1.0, 2 * tail)
    # Half of the outcomes as likely as what was seen: they are two, on either side, unless the models are even.
    mid = 1.0 - seen / 2 if only[0] == only[1] else 2 * tail - seen
    p_value = mid if total else 1.0
    if p_value >= 1 - level:
        return McNemar(only[0], only[1], p_value, exact, NO_DIFFERENCE)
    better = int(only[1] > only[0])
    verdict = f"{names[better]} is better: right on {only[better]} of the {total} pairs that only one decides rightly"
    return McNemar(only[0], only[1], p_value, exact, verdict)
