"""Drawing without repetition from ranges too large to list, and sharing a request out evenly."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]

_LISTED = 16  # a range is ticked off in memory, a byte each, if at least one in so many of it is wanted


def sample_distinct(rng: np.random.Generator, totals: ArrayLike, counts: ArrayLike) -> tuple[Ints, Ints]:
    """For every group g draw `counts[g]` distinct integers from range(totals[g]), every subset equally likely.

    Sparse groups are drawn, stripped of repetitions and topped up by exactly what lacks; dense groups are ticked
    off in memory, those drawn or those left out, whichever are fewer. Memory is proportional to the request.

    Args:
        rng: source of randomness.
        totals: size of each group's range, shape (G,); their sum stays below 2**63.
        counts: how many to draw, shape (G,), 0 <= counts <= totals.

    Returns:
        Group and integer of every draw, both int64 of shape (sum of counts,), ascending by group, then integer:
        it is a set; shuffle it where order matters.

    Raises:
        ValueError: a count is negative or exceeds its total.

    Example:
        >>> sample_distinct(np.random.default_rng(0), [3, 10**12], [3, 0])
        (array([0, 0, 0]), array([0, 1, 2]))
    """
    sizes, wanted = np.asarray(totals, dtype=np.int64), np.asarray(counts, dtype=np.int64)
    if sizes.shape != wanted.shape or (wanted < 0).any() or (wanted > sizes).any():
        raise ValueError("counts must have the shape of totals and lie between 0 and them")
    offsets = np.cumsum(sizes) - sizes
    sparse = wanted <= sizes // _LISTED
    keys = np.concatenate(
        [_sparse(rng, offsets, sizes, wanted * sparse), _dense(rng, offsets, sizes, wanted * ~sparse)]
    )
    keys.sort(kind="stable")  # merges the two runs, which ascend
    group = np.repeat(np.arange(len(sizes)), wanted)
    keys -= offsets[group]
    return group, keys


def sample_spread(
    rng: np.random.Generator, units: ArrayLike, counts: ArrayLike, capacity: Callable[[Ints, Ints], Ints]
) -> tuple[Ints, Ints, Ints]:
    """For every group draw distinct (unit, item), spread over its units so that none gets more than it must.

    A group that has as many units as are asked of it gives distinct units, every subset equally likely, each with
    one item at random. Where there are fewer, `water_fill` shares the request out over all of them. Memory is
    proportional to the request.

    Args:
        rng: source of randomness.
        units: how many units each group has, shape (G,).
        counts: how many (unit, item) to draw of each group, shape (G,), at most all there are.
        capacity: from groups and units, both (K,), how many items each of these units holds, (K,), at least 1.

    Returns:
        Group, unit and item of every draw, three times int64 of shape (sum of counts,); a set, as above.
    """
    sizes, wanted = np.asarray(units, dtype=np.int64), np.asarray(counts, dtype=np.int64)
    roomy = wanted <= sizes
    group, unit = sample_distinct(rng, sizes, wanted * roomy)
    item = rng.integers(0, capacity(group, unit))
    if roomy.all():
        return group, unit, item
    # The units of the crowded groups are fewer than what is asked of them, so all of them can be listed.
    listed = sizes * ~roomy
    owner = np.repeat(np.arange(len(sizes)), listed)
    every = np.arange(len(owner)) - np.repeat(np.cumsum(listed) - listed, listed)
    room = capacity(owner, every)
    chosen, rest = sample_distinct(rng, room, water_fill_each(rng, owner, room, wanted * ~roomy))
    more = (owner[chosen], every[chosen], rest)
    group, unit, item = (np.concatenate(both) for both in zip((group, unit, item), more, strict=True))
    return group, unit, item


def water_fill(rng: np.random.Generator, sizes: ArrayLike, request: int) -> Ints:
    """Share `request` out over groups so that the fullest group gets as little as possible.

    Every group gets min(size, c) with c the smallest cap that meets the request; of the last unit, the groups that
    could still take it and get it are drawn at random.

    Args:
        rng: source of randomness.
        sizes: the most each group can take, shape (G,).
        request: the sum to reach, 0 <= request <= sum of sizes.

    Returns:
        What each group gets, int64 of shape (G,).

    Raises:
        ValueError: the groups cannot take so many, or the request is negative.
    """
    room = np.asarray(sizes, dtype=np.int64)
    return water_fill_each(rng, np.zeros(len(room), np.int64), room, np.array([request], np.int64))


def water_fill_each(rng: np.random.Generator, owner: Ints, sizes: Ints, requests: Ints) -> Ints:
    """Share `requests[g]` out over the members of every group g, each group as in `water_fill`.

    Args:
        rng: source of randomness.
        owner: group of each member, shape (K,), ascending.
        sizes: the most each member can take, shape (K,).
        requests: the sum to reach in each group, shape (G,).

    Returns:
        What each member gets, int64 of shape (K,).

    Raises:
        ValueError: the members of a group cannot take so many, or a request is negative.
    """
    room = _sums(owner, sizes, len(requests))
    bad = (requests < 0) | (requests > room)
    if bad.any():
        first = int(bad.argmax())
        raise ValueError(f"cannot share {requests[first]} over groups that take {room[first]}")
    members = np.bincount(owner, minlength=len(requests))
    ends = np.cumsum(members)
    ordered = sizes[np.argsort(sizes) if len(requests) == 1 else np.lexsort((sizes, owner))]
    before = np.concatenate([np.zeros(1, np.int64), np.cumsum(ordered)])
    below = before[:-1] - before[(ends - members)[owner]]
    open_members = ends[owner] - np.arange(len(owner))
    # What is reached when the cap equals each size in turn: within a group it ascends, and so does the cap.
    short = below + open_members * ordered < requests[owner]
    caps = np.zeros(len(requests), np.int64)
    asked = requests > 0
    step = (ends - members + np.bincount(owner[short], minlength=len(requests)))[asked]
    caps[asked] = -((below[step] - requests[asked]) // open_members[step])  # the quotient rounded up
    cap = caps[owner]
    shares: Ints = np.minimum(sizes, np.maximum(cap - 1, 0))
    takers = np.flatnonzero((sizes >= cap) & (cap > 0))
    lacking = requests - _sums(owner, shares, len(requests))
    of_group = np.bincount(owner[takers], minlength=len(requests))
    group, place = sample_distinct(rng, of_group, lacking)
    shares[takers[(np.cumsum(of_group) - of_group)[group] + place]] += 1
    return shares


def unrank_pairs(index: Ints) -> tuple[Ints, Ints]:
    """The pair (low, high), 0 <= low < high, at `index` in the order (0,1), (0,2), (1,2), (0,3), ...

    Pair (low, high) has index high (high - 1) / 2 + low, so the first n (n - 1) / 2 indices are the pairs below n.
    """
    high = ((1 + np.sqrt(1 + 8 * index.astype(np.float64))) / 2).astype(np.int64)
    # The root of a large integer may round across the border to a neighbour.
    high -= high * (high - 1) // 2 > index
    high += high * (high + 1) // 2 <= index
    return index - high * (high - 1) // 2, high


def _sums(owner: Ints, values: Ints, groups: int) -> Ints:
    """The sum of the values of each group, exactly: weights of `bincount` would pass through float64."""
    upto = np.concatenate([np.zeros(1, np.int64), np.cumsum(values, dtype=np.int64)])
    ends = np.cumsum(np.bincount(owner, minlength=groups))
    return np.diff(upto[ends], prepend=0)


def _sparse(rng: np.random.Generator, offsets: Ints, sizes: Ints, wanted: Ints) -> Ints:
    ends = offsets + sizes
    keys = np.empty(0, np.int64)
    lacking = wanted
    while lacking.any():
        group = np.repeat(np.arange(len(sizes)), lacking)
        drawn = rng.integers(offsets[group], ends[group])
        drawn.sort()
        keys = np.concatenate([keys, drawn])
        keys.sort(kind="stable")  # merges two runs
        keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])]
        found = np.searchsorted(keys, ends) - np.searchsorted(keys, offsets)
        lacking = wanted - found
    return keys


def _dense(rng: np.random.Generator, offsets: Ints, sizes: Ints, wanted: Ints) -> Ints:
    groups = np.flatnonzero(wanted)
    spans, wanted = sizes[groups], wanted[groups]
    begins = np.cumsum(spans) - spans
    # Which ones are left out is as uniform a choice as which are drawn; the fewer are quicker to find.
    fewer = np.minimum(wanted, spans - wanted)
    ticked = np.zeros(int(spans.sum()), np.bool_)
    lacking = fewer
    while lacking.any():
        short = np.repeat(np.flatnonzero(lacking), lacking[lacking > 0])
        ticked[rng.integers(begins[short], (begins + spans)[short])] = True
        lacking = fewer - np.add.reduceat(ticked, begins, dtype=np.int64)
    ticked ^= np.repeat(fewer < wanted, spans)
    drawn: Ints = np.flatnonzero(ticked) + np.repeat(offsets[groups] - begins, wanted)
    return drawn
