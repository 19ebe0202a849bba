"""Hard pairs and triplets mined with the vectors of a model: strangers that look alike, relatives that do not."""

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.errors import DataError
from siamese.pairing.drawing import shuffled_pairs
from siamese.pairing.identities import IdentityIndex
from siamese.pairing.neighbours import (
    Neighbours,
    check_per_image,
    check_vectors,
    farthest_relatives,
    nearest_strangers,
)
from siamese.pairing.supply import PairSupply, check_number, check_ratio, seeded
from siamese.pairing.table_columns import TRIPLET_COLUMNS
from siamese.pairing.taking import Taking
from siamese.similarity import pair_similarity

Ints = NDArray[np.int64]

_SLACK = 4  # how many times its even share an identity may have of the hardest before the bound is widened


def hard_pairs(
    catalog: pd.DataFrame,
    vectors: NDArray[np.floating],
    *,
    num_pairs: int | None,
    ratio: tuple[float, float] = (1, 1),
    seed: int,
    per_image: int = 10,
    max_per_identity: int | None = None,
    skip_above: float | None = None,
    skip_below: float | None = None,
    categorical: bool = False,
    what: str = "",
) -> pd.DataFrame:
    """Pick the hardest pairs: impostors of highest similarity and genuine pairs of lowest, no pair twice.

    Candidates are, for every image, its `per_image` most similar images of other identities and its `per_image`
    least similar of its own. Of either kind the hardest are taken first, an identity being passed over once it is in
    as many as it may be: without that bound two lookalikes, or one wrong label, with n images each would fill n^2
    rows. Memory is proportional to the catalog and the candidates; no matrix of all similarities is held.

    Wrong labels are the hardest pairs of all. Look at the head of the table, and leave them out by `skip_above` and
    `skip_below`, or mend the labels.

    Args:
        catalog: a row per image: `path`, `identity`.
        vectors: a unit vector for each row of the catalog, shape (N, D).
        num_pairs: genuine and impostor pairs together, divided as in `sample_pairs`. None asks for as many as there
            are images, or as the candidates give, at the ratio.
        ratio: genuine to impostor, both above 0.
        seed: of the order of rows and sides; the same seed and vectors give the same rows.
        per_image: candidates of either kind per image, at least 1.
        max_per_identity: the most genuine pairs, and the most impostor pairs, that an identity is in. None: 4 times
            its even share of the request, doubled until the request can be met.
        skip_above: leave out impostor pairs of a similarity above this; None leaves out none.
        skip_below: leave out genuine pairs of a similarity below this; None leaves out none.
        categorical: as in `sample_pairs`.
        what: what messages begin with ("train: ").

    Returns:
        A pair table as `sample_pairs` gives it, with `similarity` (float32, in [-1, 1]).

    Raises:
        DataError: fewer candidates than asked for (the message has the numbers), or vectors that do not fit.
        OptionError: an option is out of its range.
    """
    rng = seeded(seed)
    check_ratio(ratio)
    check_per_image(per_image)
    units = check_vectors(catalog, vectors)
    supply, _, _ = PairSupply.of(catalog, None, None, what)
    supply.check(1, 1)
    index = supply.index
    genuine = _distinct(farthest_relatives(units, index, per_image, skip_below))
    impostor = _distinct(nearest_strangers(units, index, per_image, skip_above))
    chosen = _choose(index, (genuine, impostor), num_pairs, ratio, max_per_identity, what)
    low, high = (np.concatenate([pairs[side] for pairs in chosen]) for side in (0, 1))
    left, right, same = shuffled_pairs(rng, low, high, len(chosen[0][0]))
    table = Taking(catalog, index, None, categorical).pairs(left, right, same)
    table["similarity"] = pair_similarity(units[left], units[right])
    return table


def hard_triplets(
    catalog: pd.DataFrame,
    vectors: NDArray[np.floating],
    *,
    num_triplets: int | None,
    seed: int,
    per_image: int = 3,
    max_per_identity: int | None = None,
    skip_above: float | None = None,
    skip_below: float | None = None,
    categorical: bool = False,
    what: str = "",
) -> pd.DataFrame:
    """Pick the hardest triplets: those whose negative is most more similar to the anchor than their positive.

    Candidates combine, for every image, its `per_image` least similar images of its identity with its `per_image`
    most similar of others. Arguments are those of `hard_pairs`; `max_per_identity` bounds the triplets anchored in
    one identity.

    Returns:
        A triplet table as `sample_triplets` gives it, with `positive_similarity` and `negative_similarity`
        (float32, in [-1, 1]).

    Raises:
        DataError: fewer candidates than asked for (the message has the numbers), or vectors that do not fit.
        OptionError: an option is out of its range.
    """
    rng = seeded(seed)
    check_per_image(per_image)
    units = check_vectors(catalog, vectors)
    supply, _, _ = PairSupply.of(catalog, None, None, what)
    supply.check(1, 1)
    index = supply.index
    rows = _combined(
        farthest_relatives(units, index, per_image, skip_below),
        nearest_strangers(units, index, per_image, skip_above),
    )
    wanted = min(index.images, len(rows[0])) if num_triplets is None else num_triplets
    check_number("--num-triplets", wanted)
    picked = _hardest((index.codes[rows[0]],), wanted, len(index.names), max_per_identity)
    if len(picked) < wanted:
        raise DataError(
            what + _too_few("triplets", wanted, len(picked), len(rows[0]), max_per_identity, "--num-triplets")
        )
    order = rng.permutation(picked)
    taken = [row[order] for row in rows]
    table = Taking(catalog, index, None, categorical).tuples(TRIPLET_COLUMNS, taken, ("anchor", "negative"))
    for name, row in zip(("positive", "negative"), taken[1:], strict=True):
        table[f"{name}_similarity"] = pair_similarity(units[taken[0]], units[row])
    return table


def _distinct(found: Neighbours) -> tuple[Ints, Ints]:
    """Rows of both images of each candidate, once, the hardest first."""
    images, count = found.rows.shape
    there = np.isfinite(found.hardness).ravel()
    row, partner = np.repeat(np.arange(images), count)[there], found.rows.ravel()[there]
    keys, first = np.unique(np.minimum(row, partner) * images + np.maximum(row, partner), return_index=True)
    low, high = np.divmod(keys[np.argsort(-found.hardness.ravel()[there][first], kind="stable")], images)
    return low, high


def _combined(positives: Neighbours, negatives: Neighbours) -> tuple[Ints, Ints, Ints]:
    """Rows of anchor, positive and negative of every combination, the hardest first."""
    hardness = positives.hardness[:, :, None] + negatives.hardness[:, None, :]
    there = np.flatnonzero(np.isfinite(hardness))
    there = there[np.argsort(-hardness.ravel()[there], kind="stable")]
    anchor, positive, negative = np.unravel_index(there, hardness.shape)
    return anchor, positives.rows[anchor, positive], negatives.rows[anchor, negative]


def _choose(
    index: IdentityIndex,
    candidates: tuple[tuple[Ints, Ints], tuple[Ints, Ints]],
    num_pairs: int | None,
    ratio: tuple[float, float],
    max_per_identity: int | None,
    what: str,
) -> list[tuple[Ints, Ints]]:
    """The genuine and the impostor pairs to take."""
    total = index.images if num_pairs is None else num_pairs
    check_number("--num-pairs", total)
    genuine = math.floor(total * ratio[0] / sum(ratio) + 0.5)
    wanted = (genuine, total - genuine)
    sides = [
        (index.codes[low],) if kind == 0 else (index.codes[low], index.codes[high])
        for kind, (low, high) in enumerate(candidates)
    ]
    picked = [
        _hardest(side, number, len(index.names), max_per_identity) for side, number in zip(sides, wanted, strict=True)
    ]
    if num_pairs is None:
        # What is short sets the number, at the ratio.
        scale = min(1.0, *(len(found) / number for found, number in zip(picked, wanted, strict=True) if number))
        wanted = (max(1, math.floor(wanted[0] * scale + 1e-9)), max(1, math.floor(wanted[1] * scale + 1e-9)))
    for kind, found, number, (low, _) in zip(("genuine", "impostor"), picked, wanted, candidates, strict=True):
        if len(found) < number:
            raise DataError(
                what + _too_few(f"{kind} pairs", number, len(found), len(low), max_per_identity, "--num-pairs")
            )
    chosen = zip(picked, wanted, candidates, strict=True)
    return [(low[found[:number]], high[found[:number]]) for found, number, (low, high) in chosen]


def _hardest(sides: tuple[Ints, ...], number: int, identities: int, max_per_identity: int | None) -> Ints:
    """Places of the first `number` candidates, or of as many as there are, that keep within the bound."""
    if max_per_identity is not None:
        check_number("--max-per-identity", max_per_identity)
        return _within_bound(sides, max_per_identity, identities)[:number]
    bound = _SLACK * max(1, math.ceil(number * len(sides) / identities))
    while True:
        picked = _within_bound(sides, bound, identities)
        if len(picked) >= number or len(picked) == len(sides[0]):
            return picked[:number]
        bound *= 2


def _within_bound(sides: tuple[Ints, ...], bound: int, identities: int) -> Ints:
    """Places of the candidates that are taken, in order, when each identity is in `bound` of them at most.

    The same as going through the candidates one by one: a candidate that has fewer others before it, in each of its
    identities, than that identity still has room for, is taken whatever becomes of those others.
    """
    room = np.full(identities, bound)
    open_places = np.arange(len(sides[0]))
    taken: list[Ints] = []
    while len(open_places):
        of = [side[open_places] for side in sides]
        sure = np.logical_and.reduce([place < room[side] for side, place in zip(of, _places(of), strict=True)])
        taken.append(open_places[sure])
        room -= sum(np.bincount(side[sure], minlength=identities) for side in of)
        left = ~sure & np.logical_and.reduce([room[side] > 0 for side in of])
        open_places = open_places[left]
    return np.sort(np.concatenate(taken)) if taken else np.empty(0, np.int64)


def _places(of: list[Ints]) -> list[Ints]:
    """How many entries of the same identity come before each entry, over all sides."""
    together = np.column_stack(of).ravel()
    order = np.argsort(together, kind="stable")
    ordered = together[order]
    place = np.empty_like(order)
    place[order] = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    return list(place.reshape(-1, len(of)).T)


def _too_few(kind: str, asked: int, found: int, candidates: int, bound: int | None, option: str) -> str:
    limits = "" if bound is None else f", {found:,} with at most {bound:,} of one identity"
    mend = "raise --per-image" if bound is None else "raise --max-per-identity or --per-image"
    return (
        f"{asked:,} hard {kind} asked for, but there are {candidates:,} candidates{limits}; {mend}, or lower {option}"
    )
