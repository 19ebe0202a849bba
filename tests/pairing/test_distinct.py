import itertools

import numpy as np
import pytest
from scipy import stats

from siamese.pairing.distinct import sample_distinct, sample_spread, unrank_pairs, water_fill, water_fill_each


@pytest.mark.parametrize("seed", range(20))
def test_draws_are_distinct_in_range_and_as_many_as_asked(seed):
    rng = np.random.default_rng(seed)
    totals = rng.integers(0, 60, 200)
    counts = rng.integers(0, totals + 1)
    counts[::10] = totals[::10]
    group, index = sample_distinct(rng, totals, counts)
    assert (np.bincount(group, minlength=200) == counts).all()
    assert ((index >= 0) & (index < totals[group])).all()
    assert len(set(zip(group.tolist(), index.tolist(), strict=True))) == counts.sum()


@pytest.mark.parametrize("count", [2, 3, 4])  # of 6: those drawn are ticked off, or those left out
def test_every_subset_is_equally_likely(count):
    rng = np.random.default_rng(11)
    groups = 6000
    index = sample_distinct(rng, np.full(groups, 6), np.full(groups, count))[1].reshape(groups, count)
    subsets = dict.fromkeys(itertools.combinations(range(6), count), 0)
    for row in index.tolist():
        subsets[tuple(row)] += 1
    assert stats.chisquare(list(subsets.values())).pvalue > 0.01


def test_every_integer_of_a_large_range_is_equally_likely():
    index = sample_distinct(np.random.default_rng(5), [10**12], [100_000])[1]
    cells = np.bincount(index // (10**12 // 50), minlength=50)
    assert stats.chisquare(cells).pvalue > 0.01
    assert index.max() > 0.999 * 10**12


def test_everything_that_exists_can_be_drawn():
    group, index = sample_distinct(np.random.default_rng(0), [3, 0, 1], [3, 0, 1])
    assert group.tolist() == [0, 0, 0, 2]
    assert index.tolist() == [0, 1, 2, 0]


def test_no_draw_is_no_draw():
    group, index = sample_distinct(np.random.default_rng(0), [3, 0], [0, 0])
    assert len(group) == len(index) == 0


@pytest.mark.parametrize(("totals", "counts"), [([3], [4]), ([3], [-1]), ([3, 3], [1])])
def test_impossible_counts_are_refused(totals, counts):
    with pytest.raises(ValueError, match="counts must have the shape of totals and lie between 0 and them"):
        sample_distinct(np.random.default_rng(0), totals, counts)


def fill_by_hand(sizes, request):
    """One unit at a time to the emptiest group that has room: the shares, sorted (who gets the last is open)."""
    shares = [0] * len(sizes)
    for _ in range(request):
        _, group = min((share, g) for g, share in enumerate(shares) if share < sizes[g])
        shares[group] += 1
    return shares


@pytest.mark.parametrize("seed", range(60))
def test_water_filling_agrees_with_pouring_unit_by_unit(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, 12, rng.integers(1, 9))
    request = int(rng.integers(0, sizes.sum() + 1))
    shares = water_fill(rng, sizes, request)
    assert (shares <= sizes).all()
    assert sorted(shares.tolist()) == sorted(fill_by_hand(sizes.tolist(), request))


@pytest.mark.parametrize("seed", range(20))
def test_every_group_is_filled_as_if_it_were_alone(seed):
    rng = np.random.default_rng(seed)
    owner = np.sort(rng.integers(0, 6, 30))
    sizes = rng.integers(0, 12, 30)
    requests = rng.integers(0, np.bincount(owner, weights=sizes, minlength=6).astype(int) + 1)
    shares = water_fill_each(rng, owner, sizes, requests)
    assert (shares <= sizes).all()
    for group in range(6):
        mine = owner == group
        assert sorted(shares[mine].tolist()) == sorted(fill_by_hand(sizes[mine].tolist(), int(requests[group])))


def test_draws_are_spread_over_units_so_that_none_gets_more_than_it_must():
    rooms = [np.array([3, 1, 4]), np.array([2, 9]), np.array([], np.int64), np.array([5, 5, 5, 5])]
    units = [len(room) for room in rooms]
    for counts, expected in (
        ([2, 1, 0, 4], [[0, 1, 1], [0, 1], [], [1, 1, 1, 1]]),
        ([8, 7, 0, 2], [[1, 3, 4], [2, 5], [], [0, 0, 1, 1]]),
        ([6, 11, 0, 10], [[1, 2, 3], [2, 9], [], [2, 2, 3, 3]]),
    ):
        group, unit, item = sample_spread(
            *(np.random.default_rng(0), units, counts),
            lambda groups, wanted: np.array([rooms[g][u] for g, u in zip(groups, wanted, strict=True)], np.int64),
        )
        draws = set(zip(group.tolist(), unit.tolist(), item.tolist(), strict=True))
        assert len(draws) == len(group) == sum(counts)
        assert all(item < rooms[g][u] for g, u, item in draws)
        for g in range(4):
            assert sorted(np.bincount(unit[group == g], minlength=units[g]).tolist()) == expected[g]


def test_every_item_of_every_unit_is_equally_likely():
    rng, counts = np.random.default_rng(2), np.zeros((3, 4))
    for _ in range(1200):
        _, unit, item = sample_spread(rng, [3], [2], lambda _, unit: np.full(len(unit), 4))
        counts[unit, item] += 1
    assert stats.chisquare(counts.ravel()).pvalue > 0.01


def test_who_gets_the_last_unit_is_drawn_at_random():
    rng = np.random.default_rng(3)
    taken = sum(water_fill(rng, [1, 5, 5, 5], 8) for _ in range(3000))
    assert taken[0] == 3000
    assert stats.chisquare(taken[1:] - 6000).pvalue > 0.01


@pytest.mark.parametrize("request_", [-1, 4])
def test_more_than_the_groups_take_is_refused(request_):
    with pytest.raises(ValueError, match=f"cannot share {request_} over groups that take 3"):
        water_fill(np.random.default_rng(0), [1, 2], request_)


def test_pairs_are_unranked_in_order():
    low, high = unrank_pairs(np.arange(45))
    expected = [(i, j) for j in range(10) for i in range(j)]
    assert list(zip(low.tolist(), high.tolist(), strict=True)) == expected


def test_unranking_is_exact_at_the_borders_of_large_indices():
    n = np.unique(np.geomspace(2, 10**6, 5000).astype(np.int64))
    first = n * (n - 1) // 2
    for index, high in ((first, n), (first - 1, n - 1)):
        low, found = unrank_pairs(index)
        assert (found == high).all()
        assert (low == index - high * (high - 1) // 2).all()
        assert ((low >= 0) & (low < found)).all()
