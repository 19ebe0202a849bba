"""Pairs and triplets drawn from a catalog: distinct, even over identities, the same for the same seed."""

import math

import numpy as np
import pandas as pd

from siamese.pairing.cells import Cells
from siamese.pairing.distinct import water_fill
from siamese.pairing.drawing import Balance, check_balance, draw_triplets, pair_rows
from siamese.pairing.grouped import GroupRule
from siamese.pairing.identities import IdentityIndex
from siamese.pairing.supply import (
    PairSupply,
    bounded,
    check_number,
    check_ratio,
    request_for,
    seeded,
    triplet_totals,
)
from siamese.pairing.table_columns import TRIPLET_COLUMNS
from siamese.pairing.taking import Taking


def sample_pairs(
    catalog: pd.DataFrame,
    *,
    num_pairs: int | None,
    ratio: tuple[float, float] = (1, 1),
    seed: int,
    at_most: int | None = None,
    max_per_identity: int | None = None,
    balance: Balance = "identity",
    groups: GroupRule | None = None,
    categorical: bool = False,
    what: str = "",
) -> pd.DataFrame:
    """Draw genuine and impostor pairs, no pair twice in either order, no image with itself.

    Genuine pairs are spread over identities so that none has more than it must: an identity with hundreds of
    images does not drown the rest. Impostor pairs are spread over pairs of identities in the same way: as long as
    no more are asked for than there are pairs of identities, each is of another pair of identities, all equally
    likely, with an image of either at random. LFW's own impostor pairs were drawn so (Huang et al., "Labeled Faces
    in the Wild", 2007, section 4), whatever number of images a person has. With `balance="image"` impostor pairs
    are uniform over pairs of images instead: an identity with 4 % of the images is then in 8 % of them.
    Sides and rows are shuffled. Memory is proportional to the catalog and the request.

    Args:
        catalog: a row per image: `path`, `identity`.
        num_pairs: genuine and impostor pairs together; the genuine share is rounded half up. None asks for as
            many as the catalog carries well: from each identity all its genuine pairs, but no more than the
            median identity (of those that have any) has, at least 5 and at most 5 per image of it;
            and impostors by the ratio. If impostors are too few, all of them and genuine pairs by the ratio.
        ratio: genuine to impostor, both above 0.
        seed: 0 or more; the same seed gives the same rows.
        at_most: bounds the number (at least 2) that None stands for; fewer are drawn where there are fewer.
        max_per_identity: the most genuine pairs of one identity; None for no bound beyond the spread.
        balance: what impostor pairs are even over, `identity` or `image`.
        groups: which groups the two images of a pair may be of. With `balance="identity"`, impostor pairs are then
            even over pairs of (identity, group) that the rule allows.
        categorical: give paths, identities and groups as categoricals instead of text, their categories all of the
            catalog's. For millions of pairs: they take 4 bytes a cell, and the files written are the same.
        what: what messages begin with ("val: ").

    Returns:
        A pair table with `left, right, same, left_identity, right_identity`; with `groups` also
        `left_group, right_group`.

    Raises:
        DataError: the catalog cannot give so many; the message says how many there are.
        OptionError: an option is out of its range.

    Example:
        >>> catalog = pd.DataFrame({"path": ["a/1", "a/2", "b/1"], "identity": ["a", "a", "b"]})
        >>> sample_pairs(catalog, num_pairs=2, seed=0)["same"].tolist()
        [True, False]
    """
    rng = seeded(seed)
    check_ratio(ratio)
    check_balance(balance)
    supply, rows, grouped = PairSupply.of(catalog, groups, max_per_identity, what)
    if num_pairs is None:
        genuine, impostor = supply.default_counts(ratio, at_most)
    else:
        check_number("--num-pairs", num_pairs)
        genuine = math.floor(num_pairs * ratio[0] / sum(ratio) + 0.5)
        impostor = num_pairs - genuine
    return Taking(rows, supply.index, grouped, categorical).pairs(*pair_rows(rng, supply, genuine, impostor, balance))


def draw_pairs(
    rng: np.random.Generator,
    catalog: pd.DataFrame,
    index: IdentityIndex,
    genuine: int,
    impostor: int,
    what: str = "",
    balance: Balance = "identity",
) -> pd.DataFrame:
    """Draw exactly `genuine` and `impostor` pairs; see `sample_pairs`.

    Args:
        rng: source of randomness.
        catalog: a row per image.
        index: the same catalog by identity.
        genuine: how many genuine pairs.
        impostor: how many impostor pairs.
        what: what messages begin with ("val: ").
        balance: what impostor pairs are even over, `identity` or `image`.

    Raises:
        DataError: the catalog has fewer.
        OptionError: the balance is neither of the two.
    """
    check_balance(balance)
    supply = PairSupply(index, Cells.of(index), what=what)
    return Taking(catalog, index).pairs(*pair_rows(rng, supply, genuine, impostor, balance))


def sample_triplets(
    catalog: pd.DataFrame,
    *,
    num_triplets: int | None,
    seed: int,
    at_most: int | None = None,
    max_per_identity: int | None = None,
    balance: Balance = "identity",
    categorical: bool = False,
    what: str = "",
) -> pd.DataFrame:
    """Draw triplets (anchor, another image of its identity, an image of another identity), none twice.

    Anchors are spread over identities as genuine pairs are in `sample_pairs`. The triplets of an identity are spread
    over anchor, positive and identity of the negative, so that an identity with hundreds of images is a negative no
    more often than any other; with `balance="image"` all its triplets are equally likely.

    Args:
        catalog: a row per image: `path`, `identity`.
        num_triplets: how many; None asks for 5 per image of the catalog, or for all if there are fewer.
        seed: 0 or more; the same seed gives the same rows.
        at_most: bounds the number that None stands for.
        max_per_identity: the most triplets anchored in one identity; None for no bound beyond the spread.
        balance: what negatives are even over, `identity` or `image`.
        categorical: as in `sample_pairs`.
        what: what messages begin with ("val: ").

    Returns:
        A triplet table with `anchor, positive, negative, anchor_identity, negative_identity`.

    Raises:
        DataError: the catalog cannot give so many; the message says how many there are.
        OptionError: an option is out of its range.
    """
    index, rng = IdentityIndex.of(catalog), seeded(seed)
    check_balance(balance)
    totals = triplet_totals(index)
    number = request_for(index, "triplets", num_triplets, totals, max_per_identity, at_most, what)
    counts = water_fill(rng, bounded(totals, max_per_identity, number), number)
    positions = draw_triplets(rng, index, counts, balance)
    shuffled = rng.permutation(number)
    rows = [index.order[position[shuffled]] for position in positions]
    return Taking(catalog, index, None, categorical).tuples(TRIPLET_COLUMNS, rows, ("anchor", "negative"))
