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
from scipy.stats import norm  # type: ignore[import-untyped]
from scipy.stats import t as student

from siamese.evaluation.bootstrap import resampled_statistics
from siamese.evaluation.influence import Dyads, influence
from siamese.evaluation.intervals import Interval, IntervalOptions, bias_correction, bootstrap_shares
from siamese.evaluation.mcnemar import NO_DIFFERENCE
from siamese.evaluation.spread import ROUNDING, Spread, freedom_of_difference, spread
from siamese.evaluation.sufficiency import FEWEST_PEOPLE, too_many_degenerate, why_no_interval, why_no_value
from siamese.evaluation.weighted import Floats, Ranked, Statistic, check_statistics, weighted_statistics

# Of these, less is better.
ERROR_RATES = ("eer", "far")
# Of acceleration times quantile: beyond it a few people make up the whole difference, and the formula its own tail.
_MOST_LEAN = 0.4


@dataclass(frozen=True)
class Comparison:
    """One statistic of two models.

    Attributes:
        first, second: its values; None is *insufficient data*, or a ratio of nothing.
        difference: second - first; None without both.
        interval: of the difference; None where the data supports none. [0, 0] of the same scores alone: models that
            only decide alike on these pairs may differ on others.
        p_value: chance of a difference this far from 0 where there is none, two-sided: 1 - level of the widest
            interval that does not hold 0; 1 where no pair tells the models apart.
        verdict: in words: "no significant difference", which model is better and by how much, or why it is not known.
    """

    first: float | None
    second: float | None
    difference: float | None
    interval: Interval | None
    p_value: float | None
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
    ranked = Ranked.of(first, same, decisions[0]), Ranked.of(second, same, decisions[1])
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

    ranked: tuple[Ranked, Ranked]
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
        known, level, method = drawn[~np.isnan(drawn)], self.options.level, self.options.method
        if self.same_scores:
            return Interval(0.0, 0.0, level, method, len(known)), 1.0, ""
        one, two = (influence(each, self.dyads, statistic) for each in self.ranked)
        found = spread(self.dyads, two - one, level, freedom_of_difference(statistic))
        if found is None and abs(difference) <= ROUNDING:
            return None, 1.0, ""
        reason = why_no_interval(statistic, self.ranked[0], self.dyads) or too_many_degenerate(drawn)
        if reason:
            return None, None, reason
        if found is None:
            return None, None, "insufficient data: no person's pairs differ from another's"
        if method == "dyadic":
            low, high = (difference + found.error * _leaned(end, found) for end in (-found.quantile, found.quantile))
            return Interval(low, high, level, method, 0), _p_value(difference, found), ""
        low, high = np.quantile(known, bootstrap_shares(known, difference, found, self.options))
        ends = [difference + found.scale * (float(end) - difference) for end in (low, high)]
        p_value = _bootstrap_p_value(known, difference, found, self.options)
        return Interval(ends[0], ends[1], level, method, len(known)), p_value, ""

    @property
    def same_scores(self) -> bool:
        """Whether both models rank all pairs alike, and decide on them alike."""
        one, two = self.ranked
        return (
            np.array_equal(one.order, two.order)
            and np.array_equal(one.ends, two.ends)
            and (one.accepted is None or two.accepted is None or np.array_equal(one.accepted, two.accepted))
        )

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
