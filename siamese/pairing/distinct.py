"""Drawing without repetition from ranges too large to list, and sharing a request out evenly."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ints = NDArray[np.int64]


def sample_distinct(rng: np.random.Generator, totals: ArrayLike, counts: ArrayLike) -> tuple[Ints, Ints]:
    """For every group g draw `counts[g]` distinct integers from range(totals[g]), every subset equally likely.

    Sparse groups (at most half of the range asked for) are drawn, stripped of repetitions and topped up by exactly
    what lacks; dense groups are listed and drawn by random keys. Memory is proportional to the request.

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
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    # Written as a subtraction, since twice a count may not fit.
    sparse = wanted <= sizes - wanted
    keys = np.concatenate(
        [
            _sparse(rng, offsets, np.where(sparse, wanted, 0)),
            _dense(rng, offsets, np.where(sparse, 0, wanted)),
        ]
    )
    keys.sort()
    group = np.searchsorted(offsets, keys, side="right") - 1
    return group, keys - offsets[group]


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
    if not 0 <= request <= room.sum():
        raise ValueError(f"cannot share {request} over groups that take {room.sum()}")
    if request == 0:
        return np.zeros_like(room)
    ordered = np.sort(room)
    below = np.cumsum(ordered) - ordered
    open_groups = np.arange(len(ordered), 0, -1)
    # What is reached when the cap equals each size in turn: it ascends, and so does the cap.
    step = int(np.searchsorted(below + open_groups * ordered, request))
    cap = -((below[step] - request) // open_groups[step])  # the quotient rounded up
    shares: Ints = np.minimum(room, cap - 1)
    takers = np.flatnonzero(room >= cap)
    shares[rng.choice(takers, request - int(shares.sum()), replace=False)] += 1
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


def _sparse(rng: np.random.Generator, offsets: Ints, wanted: Ints) -> Ints:
    sizes = np.diff(offsets)
    keys = np.empty(0, np.int64)
    lacking = wanted
    while lacking.any():
        group = np.repeat(np.arange(len(sizes)), lacking)
        drawn = offsets[group] + rng.integers(0, sizes[group])
        keys = np.unique(np.concatenate([keys, drawn]))
        found = np.searchsorted(offsets, keys, side="right") - 1
        lacking = wanted - np.bincount(found, minlength=len(sizes))
    return keys


def _dense(rng: np.random.Generator, offsets: Ints, wanted: Ints) -> Ints:
    groups = np.flatnonzero(wanted)
    sizes = np.diff(offsets)[groups]
    group = np.repeat(np.arange(len(groups)), sizes)
    starts = np.cumsum(sizes) - sizes
    within = np.arange(len(group)) - starts[group]
    # Sorting by (group, random key) shuffles each group in its own stretch; its head is the draw.
    order = np.lexsort((rng.random(len(group)), group))
    kept = order[within < wanted[groups][group]]
    drawn: Ints = offsets[groups][group[kept]] + within[kept]
    return drawn
