"""Pairs and triplets drawn from a catalog: distinct, even over identities, the same for the same seed."""

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.pairing.distinct import sample_distinct, unrank_pairs, water_fill
from siamese.pairing.identities import IdentityIndex
from siamese.pairing.supply import (
    check_number,
    check_pair_supply,
    check_ratio,
    check_triplet_supply,
    default_counts,
    default_triplets,
    genuine_totals,
    impostor_totals,
    seeded,
    triplet_totals,
)
from siamese.pairing.table import TRIPLET_COLUMNS

Ints = NDArray[np.int64]


def sample_pairs(
    catalog: pd.DataFrame,
    *,
    num_pairs: int | None,
    ratio: tuple[float, float] = (1, 1),
    seed: int,
    at_most: int | None = None,
) -> pd.DataFrame:
    """Draw genuine and impostor pairs, no pair twice in either order, no image with itself.

    Genuine pairs are spread over identities so that none has more than it must: an identity with hundreds of
    images does not drown the rest. Impostor pairs are uniform over all pairs of images of different identities.
    Sides and rows are shuffled. Memory is proportional to the catalog and the request.

    Args:
        catalog: a row per image: `path`, `identity`.
        num_pairs: genuine and impostor pairs together; the genuine share is rounded half up. None asks for as
            many as the catalog carries well: from each identity all its genuine pairs, but no more than the
            median identity (of those with two images or more) has, at least 5 and at most 5 per image of it;
            and impostors by the ratio. If impostors are too few, all of them and genuine pairs by the ratio.
        ratio: genuine to impostor, both above 0.
        seed: 0 or more; the same seed gives the same rows.
        at_most: bounds the number (at least 2) that None stands for; fewer are drawn where there are fewer.

    Returns:
        A pair table with `left, right, same, left_identity, right_identity`.

    Raises:
        DataError: the catalog cannot give so many; the message says how many there are.
        OptionError: `num_pairs`, `ratio` or `seed` is out of its range.

    Example:
        >>> catalog = pd.DataFrame({"path": ["a/1", "a/2", "b/1"], "identity": ["a", "a", "b"]})
        >>> sample_pairs(catalog, num_pairs=2, seed=0)["same"].tolist()
        [False, True]
    """
    index, rng = IdentityIndex.of(catalog), seeded(seed)
    check_ratio(ratio)
    if num_pairs is None:
        genuine, impostor = default_counts(index, ratio, at_most=at_most)
    else:
        check_number("--num-pairs", num_pairs)
        genuine = math.floor(num_pairs * ratio[0] / sum(ratio) + 0.5)
        impostor = num_pairs - genuine
    return draw_pairs(rng, catalog, index, genuine, impostor)


def sample_triplets(
    catalog: pd.DataFrame, *, num_triplets: int | None, seed: int, at_most: int | None = None
) -> pd.DataFrame:
    """Draw triplets (anchor, another image of its identity, an image of another identity), none twice.

    Anchors are spread over identities as in `sample_pairs`; within an identity all its triplets are equally likely.

    Args:
        catalog: a row per image: `path`, `identity`.
        num_triplets: how many; None asks for 5 per image of the catalog, or for all if there are fewer.
        seed: 0 or more; the same seed gives the same rows.
        at_most: bounds the number that None stands for.

    Returns:
        A triplet table with `anchor, positive, negative, anchor_identity, negative_identity`.

    Raises:
        DataError: the catalog cannot give so many; the message says how many there are.
        OptionError: `num_triplets` or `seed` is out of its range.
    """
    index, rng = IdentityIndex.of(catalog), seeded(seed)
    if num_triplets is None:
        num_triplets = default_triplets(index, at_most)
    check_number("--num-triplets", num_triplets)
    check_triplet_supply(index, num_triplets)
    totals = triplet_totals(index)
    group, rank = sample_distinct(rng, totals, water_fill(rng, totals, num_triplets))
    anchor, positive, negative = _unrank_triplets(index, group, rank)
    shuffled = rng.permutation(len(group))
    rows = [index.order[side[shuffled]] for side in (anchor, positive, negative)]
    columns = {name: _take(catalog, "path", row) for name, row in zip(TRIPLET_COLUMNS, rows, strict=True)}
    columns["anchor_identity"] = _take(catalog, "identity", rows[0])
    columns["negative_identity"] = _take(catalog, "identity", rows[2])
    return pd.DataFrame(columns)


def draw_pairs(
    rng: np.random.Generator,
    catalog: pd.DataFrame,
    index: IdentityIndex,
    genuine: int,
    impostor: int,
    what: str = "",
) -> pd.DataFrame:
    """Draw exactly `genuine` and `impostor` pairs; see `sample_pairs`.

    Args:
        rng: source of randomness.
        catalog: a row per image.
        index: the same catalog by identity.
        genuine: how many genuine pairs.
        impostor: how many impostor pairs.
        what: what messages begin with ("fold 3: ").

    Raises:
        DataError: the catalog has fewer.
    """
    check_pair_supply(index, genuine, impostor, what)
    sides = zip(_genuine(rng, index, genuine), _impostors(rng, index, impostor), strict=True)
    left, right = (np.concatenate(side) for side in sides)
    same = np.arange(len(left)) < genuine
    # Unranking orders the two sides; without the swap a network could learn which side is which.
    swapped = rng.random(len(left)) < 0.5
    left, right = np.where(swapped, right, left), np.where(swapped, left, right)
    shuffled = rng.permutation(len(left))
    rows = [index.order[side[shuffled]] for side in (left, right)]
    return pd.DataFrame(
        {
            "left": _take(catalog, "path", rows[0]),
            "right": _take(catalog, "path", rows[1]),
            "same": pd.array(same[shuffled], dtype="boolean"),
            "left_identity": _take(catalog, "identity", rows[0]),
            "right_identity": _take(catalog, "identity", rows[1]),
        }
    )


def _genuine(rng: np.random.Generator, index: IdentityIndex, count: int) -> tuple[Ints, Ints]:
    """Positions in `index.order` of both sides of `count` genuine pairs."""
    totals = genuine_totals(index)
    group, rank = sample_distinct(rng, totals, water_fill(rng, totals, count))
    low, high = unrank_pairs(rank)
    return index.starts[group] + low, index.starts[group] + high


def _impostors(rng: np.random.Generator, index: IdentityIndex, count: int) -> tuple[Ints, Ints]:
    """Positions in `index.order` of both sides of `count` impostor pairs."""
    totals = impostor_totals(index)
    ends = np.cumsum(totals)
    # One range for all identities, since every impostor pair is to be equally likely.
    rank = sample_distinct(rng, ends[-1:], [count])[1]
    group = np.searchsorted(ends, rank, side="right")
    late, early = np.divmod(rank - (ends - totals)[group], index.starts[group])
    return early, index.starts[group] + late


def _unrank_triplets(index: IdentityIndex, group: Ints, rank: Ints) -> tuple[Ints, Ints, Ints]:
    """Positions in `index.order` of the triplet at `rank` of each `group`: negative fastest, then positive."""
    start, size = index.starts[group], index.sizes[group]
    rank, negative = np.divmod(rank, index.images - size)
    anchor, positive = np.divmod(rank, size - 1)
    positive += positive >= anchor  # the anchor itself is stepped over
    negative += np.where(negative >= start, size, 0)  # and so is the anchor's identity
    return start + anchor, start + positive, negative


def _take(catalog: pd.DataFrame, column: str, rows: Ints) -> pd.Series:
    return catalog[column].iloc[rows].reset_index(drop=True)
