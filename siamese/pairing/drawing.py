"""Pairs and triplets drawn as positions among the images of a supply: distinct, and even over identities."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from siamese.errors import unknown_name
from siamese.pairing.distinct import sample_distinct, sample_spread, water_fill
from siamese.pairing.identities import IdentityIndex
from siamese.pairing.supply import PairSupply

Ints = NDArray[np.int64]
Balance = Literal["identity", "image"]


def check_balance(balance: str) -> None:
    """Refuse a balance that is neither `identity` nor `image`."""
    if balance not in ("identity", "image"):
        raise unknown_name("balance", balance, ("identity", "image"))


def pair_rows(
    rng: np.random.Generator, supply: PairSupply, genuine: int, impostor: int, balance: Balance
) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Draw exactly `genuine` and `impostor` pairs; see `sampling.sample_pairs`.

    Returns:
        Rows of the catalog for both sides and whether they are the same, shuffled, each (genuine + impostor,).

    Raises:
        DataError: the catalog has fewer.
    """
    supply.check(genuine, impostor)
    sides = zip(_genuine(rng, supply, genuine), _impostors(rng, supply, impostor, balance), strict=True)
    low, high = (np.concatenate(side) for side in sides)
    return shuffled_pairs(rng, supply.cells.order[low], supply.cells.order[high], genuine)


def shuffled_pairs(
    rng: np.random.Generator, low: Ints, high: Ints, genuine: int
) -> tuple[Ints, Ints, NDArray[np.bool_]]:
    """Put pairs, the first `genuine` of which are genuine, and their sides in random order."""
    # Pairs are found with their sides in order; without the swap a network could learn which side is which.
    swapped = rng.random(len(low)) < 0.5
    order = rng.permutation(len(low))
    left, right = np.where(swapped, high, low), np.where(swapped, low, high)
    return left[order], right[order], order < genuine


def draw_triplets(
    rng: np.random.Generator, index: IdentityIndex, counts: Ints, balance: Balance
) -> tuple[Ints, Ints, Ints]:
    """Positions in `index.order` of distinct triplets, `counts[g]` of them anchored in identity g."""
    if balance == "image":
        ordered_pairs = index.sizes * (index.sizes - 1)
        group, rank = sample_distinct(rng, ordered_pairs * (index.images - index.sizes), counts)
        rank, negative = np.divmod(rank, index.images - index.sizes[group])
        negative += np.where(negative >= index.starts[group], index.sizes[group], 0)  # its identity is stepped over
        return *anchors(index, group, rank), negative
    group, unit, item = sample_spread(
        rng, triplet_units(index), counts, lambda group, unit: index.sizes[_other(index, group, unit)[1]]
    )
    rank, other = _other(index, group, unit)
    return *anchors(index, group, rank), index.starts[other] + item


def triplet_units(index: IdentityIndex) -> Ints:
    """How many combinations of anchor, positive and identity of the negative each identity anchors, shape (G,)."""
    units: Ints = index.sizes * (index.sizes - 1) * (len(index.names) - 1)
    return units


def anchors(index: IdentityIndex, group: Ints, rank: Ints) -> tuple[Ints, Ints]:
    """Positions in `index.order` of the ordered genuine pair (anchor, positive) at `rank` of each `group`."""
    anchor, positive = np.divmod(rank, index.sizes[group] - 1)
    positive += positive >= anchor  # the anchor itself is stepped over
    return index.starts[group] + anchor, index.starts[group] + positive


def _other(index: IdentityIndex, group: Ints, unit: Ints) -> tuple[Ints, Ints]:
    """Rank of (anchor, positive), and the identity of the negative, which is not `group`."""
    rank, other = np.divmod(unit, len(index.names) - 1)
    return rank, other + (other >= group)


def _genuine(rng: np.random.Generator, supply: PairSupply, count: int) -> tuple[Ints, Ints]:
    """Positions of both sides of `count` genuine pairs."""
    shares = water_fill(rng, supply.genuine_totals, count)
    return supply.cells.genuine(*sample_distinct(rng, supply.cells.genuine_totals, shares))


def _impostors(rng: np.random.Generator, supply: PairSupply, count: int, balance: Balance) -> tuple[Ints, Ints]:
    """Positions of both sides of `count` impostor pairs."""
    cells = supply.cells
    if balance == "image":
        return cells.impostor(sample_distinct(rng, [cells.impostor_total], [count])[1])
    pairs = cells.as_images()

    def capacity(_: Ints, pair: Ints) -> Ints:
        low, high = pairs.impostor(pair)
        return cells.sizes[low] * cells.sizes[high]

    _, pair, item = sample_spread(rng, [pairs.impostor_total], [count], capacity)
    low, high = pairs.impostor(pair)
    early, late = np.divmod(item, cells.sizes[high])
    return cells.starts[low] + early, cells.starts[high] + late
