"""Bootstrap by identity: people are drawn with replacement, and a pair weighs as often as its people are drawn.

Pairs that share a person are not independent, so pairs are not what is drawn. A pair of one person weighs n_i, how
often that person is drawn, a pair of two people n_i n_j (Snijders and Borgatti, "Non-parametric standard errors and
tests for network statistics", 1999; Owen, "The pigeonhole bootstrap", 2007).

How many pairs of each kind there are was decided by whoever made the list, not by chance: weights are scaled so that
each kind keeps its share.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from siamese.errors import OptionError
from siamese.evaluation.influence import Dyads
from siamese.evaluation.weighted import Bools, Floats, Integers, Ranked, Statistic, weighted_statistics

# Weights held at a time: a block of resamples and the handful of arrays made from it fill tens of megabytes, and
# pairs beyond this number are taken one resample at a time.
_BLOCK = 2**19


def draw_people(people: int, resamples: int, seed: int, block: int) -> Iterator[Integers]:
    """How often each person is drawn: arrays (R, people) of at most `block` resamples, rows adding up to `people`.

    The draws depend on the seed alone, not on the size of the blocks.
    """
    if resamples < 1:
        raise OptionError(f"resamples {resamples}: expected at least 1")
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn: Integers = generator.integers(people, size=(rows, people))
        drawn += np.arange(rows)[:, None] * people
        yield np.bincount(drawn.ravel(), minlength=rows * people).reshape(rows, people)


def pair_weights(drawn: NDArray[np.int64], left: Integers, right: Integers, same: Bools) -> Floats:
    """Weight of each pair in each resample, before kinds are scaled: (R, N) from counts of people (R, P)."""
    weights = np.take(drawn, left, axis=1).astype(np.float64)
    two = np.flatnonzero(~same)
    weights[:, two] *= np.take(drawn, right[two], axis=1)
    return weights


def keep_shares(weights: Floats, same: Bools) -> Floats:
    """Scale the weights of each kind to add up to its number of pairs; a kind without weight stays without."""
    for kind in (same, ~same):
        totals = weights @ kind.astype(np.float64)
        weights *= np.where(kind, (np.count_nonzero(kind) / np.where(totals == 0, 1.0, totals))[:, None], 1.0)
    return weights


def resampled_statistics(
    dyads: Dyads, models: Sequence[Ranked], statistics: Sequence[Statistic], resamples: int, seed: int
) -> Floats:
    """Statistics of each model in each resample of the people; the same resamples serve every model.

    Args:
        dyads: the people of the pairs.
        models: M rankings of the same pairs.
        statistics: S of them, as `check_statistics` returns.
        resamples: R.
        seed: of the draws.

    Returns:
        (R, M, S); NaN where a resample leaves a statistic undefined (no pair of one kind is left, for example).
    """
    block = max(1, _BLOCK // max(len(dyads.left), dyads.people))
    sides = [(dyads.left[each.order], dyads.right[each.order]) for each in models]
    parts = [
        np.stack(
            [
                weighted_statistics(each, keep_shares(pair_weights(drawn, *side, each.same), each.same), statistics)
                for each, side in zip(models, sides, strict=True)
            ],
            axis=1,
        )
        for drawn in draw_people(dyads.people, resamples, seed, block)
    ]
    return np.concatenate(parts)
