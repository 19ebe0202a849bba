"""What each pair contributes to a statistic, and the variance of a statistic whose pairs share people.

The influence e of a pair is the derivative of a statistic with respect to the pair's weight (Hampel, "The influence
curve and its role in robust estimation", 1974): for small changes of weights the statistic moves by sum e (w - 1).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from siamese.evaluation.identity_codes import check_codes
from siamese.evaluation.weighted import (
    DECISION_STATISTICS,
    Bools,
    Confusion,
    Floats,
    Integers,
    Ranked,
    Statistic,
    WeightedCurve,
    cut_at_far,
    decisions,
    weighted_confusion,
)

# Where impostors share nothing by sharing a person, sums over people stray about the sum of independent dyads by 40 %
# in dense tables of 60 people. Cut off at all of it, the variance is 19 % too large on average and intervals of FAR
# cover 97 %; without any such limit they cover 92 %, with nine tenths of it 96 % (`benchmarks/interval_coverage.py`).
_LEAST_OF_INDEPENDENT = 0.9


@dataclass(frozen=True)
class Dyads:
    """Which two people each pair is of.

    Attributes:
        left, right: people of each pair, codes 0..people-1, (N,).
        people: number of people, P.
        of_pair: the dyad of each pair: pairs of the same two people (or of one) are one dyad, (N,).
        first, second: the people of each dyad, (D,); equal for pairs of one person.
    """

    left: Integers
    right: Integers
    people: int
    of_pair: Integers
    first: Integers
    second: Integers

    @classmethod
    def of(cls, same: ArrayLike, left: ArrayLike, right: ArrayLike) -> "Dyads":
        """Group pairs by their people.

        Args:
            same: labels, (N,).
            left: identity on the left of each pair, (N,) whole numbers.
            right: identity on the right; equal to the left one for genuine pairs, and for them alone.

        Raises:
            DataError: other lengths, numbers that are not whole, or identities that contradict the labels.
        """
        sides = check_codes(left, right, np.asarray(same, dtype=bool))
        first, second, people = _compact(np.concatenate(sides))
        keys, of_pair = np.unique(np.minimum(first, second) * people + np.maximum(first, second), return_inverse=True)
        return cls(first, second, people, of_pair, *np.divmod(keys, people))

    @property
    def between(self) -> Bools:
        """Which dyads are of two people, (D,)."""
        return np.asarray(self.first != self.second)

    def sums(self, influence: Floats) -> tuple[Floats, Floats]:
        """Influence of each dyad between two people, and of each person: all pairs that the person is in, (P,)."""
        dyads = np.bincount(self.of_pair, influence, len(self.first)).astype(np.float64)
        persons = np.bincount(self.first, dyads, self.people).astype(np.float64)
        persons += np.bincount(self.second, np.where(self.between, dyads, 0.0), self.people)
        return dyads[self.between], persons


def _compact(identities: Integers) -> tuple[Integers, Integers, int]:
    """Codes 0..people-1 of both sides, and the number of people."""
    low, high = int(identities.min()), int(identities.max())
    if high - low > 4 * len(identities):
        names, codes = np.unique(identities, return_inverse=True)
        return *codes.reshape(2, -1).astype(np.int64), len(names)
    # Counting takes a pass where sorting takes many: identities are nearly always codes without gaps.
    known = np.bincount(identities - low) > 0
    codes = (np.cumsum(known) - 1)[identities - low].astype(np.int64)
    return *codes.reshape(2, -1), int(known.sum())


def dyadic_variance(dyads: Dyads, influence: Floats) -> float:
    """Variance of a statistic when pairs that share a person depend on each other, and other pairs do not.

    The sum of e e' over every two pairs that share a person (Aronow, Samii and Assenova, "Cluster-robust variance
    estimation for dyadic data", Political Analysis 23, 2015), computed from sums over people and dyads: the
    sum over people of (their pairs' e)^2, less what the dyads between two people were counted twice.
    What pairs of one person have in common does not make them differ more: a sum far below that of independent dyads
    is chance, and is raised to nine tenths of it.
    """
    between, persons = dyads.sums(influence)
    twice = float(between @ between)
    within = np.bincount(dyads.of_pair, influence, len(dyads.first))[~dyads.between]
    independent = twice + float(within @ within)
    return max(float(persons @ persons) - twice, _LEAST_OF_INDEPENDENT * independent)


def product_variance(dyads: Dyads, influence: Floats) -> float:
    """Variance that a statistic has under the bootstrap that weighs a pair by the product of its people's counts.

    A product's variation is that of both people and of their interaction, (n - 1) + (m - 1) + (n - 1)(m - 1), so
    that dyads between two people count thrice (Owen, "The pigeonhole bootstrap", 2007).
    """
    between, persons = dyads.sums(influence)
    return float(persons @ persons + between @ between)


def influence(ranked: Ranked, dyads: Dyads, statistic: Statistic) -> Floats:
    """Influence of each pair on a statistic, (N,) in the order of the table; 0 on average over each kind of pair.

    AUC: placements (DeLong, DeLong and Clarke-Pearson, 1988). Statistics of decisions: their exact derivative. EER
    and TAR at FAR: the decisions at their threshold, with the slope of the characteristic there taken as the secant
    over a standard error to each side. Best accuracy: the decisions at the best threshold, where its derivative is 0.
    """
    if statistic.name in DECISION_STATISTICS:
        values = _of_decisions(ranked, statistic.name)
    else:
        curve = ranked.curve
        if statistic.name == "auc":
            values = _of_auc(ranked, curve)
        elif statistic.name == "best_accuracy":
            cut = int(np.argmax(curve.genuine[0] - curve.impostor[0]))
            values = np.where(ranked.same == _accepted(ranked, cut), 1.0, 0.0) / len(ranked.order)
        else:
            values = _of_threshold(ranked, dyads, curve, statistic)
    return _in_table_order(ranked, _centred(values, ranked.same))


def _centred(values: Floats, same: Bools) -> Floats:
    return np.asarray(values - np.where(same, values[same].mean(), values[~same].mean()))


def _in_table_order(ranked: Ranked, values: Floats) -> Floats:
    table = np.empty_like(values)
    table[ranked.order] = values
    return table


def _accepted(ranked: Ranked, cut: int) -> Bools:
    """Pairs accepted at a column of the curve."""
    return np.asarray(np.arange(len(ranked.order)) <= (ranked.ends[cut - 1] if cut else -1))


def _of_auc(ranked: Ranked, curve: WeightedCurve) -> Floats:
    group = np.repeat(np.arange(len(ranked.ends)), np.diff(ranked.ends, prepend=-1))
    above = (curve.tar[0, 1:] + curve.tar[0, :-1]) / 2
    below = 1.0 - (curve.far[0, 1:] + curve.far[0, :-1]) / 2
    genuine = np.count_nonzero(ranked.same)
    return np.where(ranked.same, below[group] / genuine, above[group] / (len(ranked.same) - genuine))


def _of_decisions(ranked: Ranked, name: str) -> Floats:
    accepted = decisions(ranked)
    cells = [float(each[0]) for each in weighted_confusion(ranked, np.ones((1, len(ranked.order))))]
    step = 1e-20  # of a complex step: the derivative is exact to rounding
    moved = np.asarray(cells)[:, None] + 1j * step * np.eye(4)
    slopes = np.imag(DECISION_STATISTICS[name](Confusion(*moved))) / step
    return np.asarray(slopes[np.where(ranked.same, 0, 2) + np.where(accepted, 0, 1)], dtype=np.float64)


def _of_threshold(ranked: Ranked, dyads: Dyads, curve: WeightedCurve, statistic: Statistic) -> Floats:
    far, tar, same = curve.far[0], curve.tar[0], ranked.same
    crossing = statistic.far is None
    last = np.argmax(far >= 1.0 - tar) if statistic.far is None else cut_at_far(curve.impostor, statistic.far)[0]
    cut = int(last)
    accepted = _centred(_accepted(ranked, cut).astype(float), same)
    hits, false_accepts = (np.where(k, accepted / np.count_nonzero(k), 0.0) for k in (same, ~same))
    spread = dyadic_variance(dyads, _in_table_order(ranked, false_accepts))
    if crossing:
        spread += dyadic_variance(dyads, _in_table_order(ranked, hits))
    around = np.clip(far[cut] + np.sqrt(spread) * np.array([-1.0, 1.0]), 0.0, 1.0)
    slope = float(np.diff(np.interp(around, far, tar))[0] / np.diff(around)[0]) if around[0] < around[1] else 0.0
    return (slope * false_accepts - hits) / (1.0 + slope) if crossing else hits - slope * false_accepts
