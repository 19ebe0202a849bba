"""Quadruplets drawn from a catalog: distinct, even over identities, the same for the same seed."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.pairing.distinct import sample_distinct, water_fill, water_fill_each
from siamese.pairing.drawing import anchors, draw_triplets
from siamese.pairing.identities import IdentityIndex
from siamese.pairing.supply import bounded, quadruplet_totals, request_for, seeded, triplet_totals
from siamese.pairing.table_columns import QUADRUPLET_COLUMNS
from siamese.pairing.taking import Taking

Ints = NDArray[np.int64]
Quadruplets = tuple[Ints, Ints, Ints, Ints]


def sample_quadruplets(
    catalog: pd.DataFrame,
    *,
    num_quadruplets: int | None,
    seed: int,
    at_most: int | None = None,
    max_per_identity: int | None = None,
    categorical: bool = False,
    what: str = "",
) -> pd.DataFrame:
    """Draw quadruplets (anchor, another image of its identity, images of two further identities), none twice.

    The four images of the quadruplet loss (Chen et al., "Beyond triplet loss", 2017). Anchors are spread over
    identities as genuine pairs are in `sample_pairs`, and so are the quadruplets of an identity over its triplets:
    as long as no more are asked for than there are triplets, no triplet is in two. The identity of either negative
    is drawn first, then one of its images.

    Args:
        catalog: a row per image: `path`, `identity`.
        num_quadruplets: how many; None asks for 5 per image of the catalog, or for all if there are fewer.
        seed: 0 or more; the same seed gives the same rows.
        at_most: bounds the number that None stands for.
        max_per_identity: the most quadruplets anchored in one identity; None for no bound beyond the spread.
        categorical: as in `sample_pairs`.
        what: what messages begin with ("val: ").

    Returns:
        A quadruplet table with `anchor, positive, negative, negative2, anchor_identity, negative_identity,
        negative2_identity`. The two negatives are ordered: swapped, they are another quadruplet.

    Raises:
        DataError: the catalog cannot give so many, or has fewer than three identities.
        OptionError: an option is out of its range.

    Example:
        >>> catalog = pd.DataFrame({"path": ["a/1", "a/2", "b/1", "c/1"], "identity": ["a", "a", "b", "c"]})
        >>> len(sample_quadruplets(catalog, num_quadruplets=None, seed=0))
        4
    """
    index, rng = IdentityIndex.of(catalog), seeded(seed)
    totals = quadruplet_totals(index)
    number = request_for(index, "quadruplets", num_quadruplets, totals, max_per_identity, at_most, what)
    counts = water_fill(rng, bounded(totals, max_per_identity, number), number)
    sparse = counts <= triplet_totals(index)
    parts = zip(
        _of_distinct_triplets(rng, index, counts * sparse), _of_all(rng, index, counts * ~sparse), strict=True
    )
    shuffled = rng.permutation(number)
    rows = [index.order[np.concatenate(part)[shuffled]] for part in parts]
    return Taking(catalog, index, None, categorical).tuples(
        QUADRUPLET_COLUMNS, rows, ("anchor", "negative", "negative2")
    )


def _of_distinct_triplets(rng: np.random.Generator, index: IdentityIndex, counts: Ints) -> Quadruplets:
    """Positions of quadruplets no two of which have their first three images in common."""
    anchor, positive, negative = draw_triplets(rng, index, counts, "identity")
    first, second = _two_identities(index, anchor, negative)
    if not len(anchor):
        return anchor, positive, negative, anchor
    other = rng.integers(0, len(index.names) - 2, len(anchor))
    other += other >= first
    other += other >= second
    return anchor, positive, negative, index.starts[other] + rng.integers(0, index.sizes[other])


def _of_all(rng: np.random.Generator, index: IdentityIndex, counts: Ints) -> Quadruplets:
    """Positions of quadruplets of identities of which more are asked than they have triplets: those are listed."""
    totals = triplet_totals(index) * (counts > 0)
    group, rank = sample_distinct(rng, totals, totals)
    rank, negative = np.divmod(rank, index.images - index.sizes[group])
    negative += np.where(negative >= index.starts[group], index.sizes[group], 0)  # its identity is stepped over
    first, second = _two_identities(index, index.starts[group], negative)
    room = index.images - index.sizes[first] - index.sizes[second]
    chosen, last = sample_distinct(rng, room, water_fill_each(rng, group, room, counts))
    anchor, positive = anchors(index, group[chosen], rank[chosen])
    for taken in (first[chosen], second[chosen]):
        last += np.where(last >= index.starts[taken], index.sizes[taken], 0)
    return anchor, positive, negative[chosen], last


def _two_identities(index: IdentityIndex, one: Ints, other: Ints) -> tuple[Ints, Ints]:
    """The identities of two images, by their positions in `index.order`, the lower first."""
    identities = [index.codes[index.order[position]] for position in (one, other)]
    return np.minimum(*identities), np.maximum(*identities)
