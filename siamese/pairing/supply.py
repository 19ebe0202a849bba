"""What a catalog can give, and requests refused where it cannot."""

import math

import numpy as np
from numpy.typing import NDArray

from siamese.errors import DataError, OptionError
from siamese.pairing.identities import IdentityIndex

Ints = NDArray[np.int64]

_PER_IMAGE = 5  # how many genuine pairs, or triplets, per image a request without a number stands for


def genuine_totals(index: IdentityIndex) -> Ints:
    """How many genuine pairs each identity has, shape (G,)."""
    return index.sizes * (index.sizes - 1) // 2


def impostor_totals(index: IdentityIndex) -> Ints:
    """How many pairs each identity has with the identities before it, shape (G,): each impostor pair once."""
    return index.sizes * index.starts


def triplet_totals(index: IdentityIndex) -> Ints:
    """How many triplets have their anchor in each identity, shape (G,): n (n - 1) (N - n)."""
    return index.sizes * (index.sizes - 1) * (index.images - index.sizes)


def default_counts(
    index: IdentityIndex, ratio: tuple[float, float], what: str = "", at_most: int | None = None
) -> tuple[int, int]:
    """How many genuine and impostor pairs a request without a number stands for; see `sampling.sample_pairs`.

    Raises:
        DataError: there are no genuine or no impostor pairs at all.
    """
    check_pair_supply(index, 1, 1, what)
    totals = genuine_totals(index)
    genuine = int(np.minimum(totals, _identity_cap(index, totals)).sum())
    impostor = max(1, math.floor(genuine * ratio[1] / ratio[0] + 0.5))
    available = int(impostor_totals(index).sum())
    if impostor > available:
        genuine, impostor = max(1, min(genuine, math.floor(available * ratio[0] / ratio[1]))), available
    if at_most is None or genuine + impostor <= at_most:
        return genuine, impostor
    share = math.floor(at_most * ratio[0] / sum(ratio) + 0.5)
    genuine = min(genuine, max(1, min(share, at_most - 1)))
    return genuine, min(impostor, at_most - genuine)


def _identity_cap(index: IdentityIndex, totals: Ints) -> int:
    """The most genuine pairs of one identity: as many as the median identity has.

    Whatever the richest few could give beyond it would be mostly about them. At least 5 (most identities of
    photographs from the web have two or three images) and at most 5 per image of the median identity.
    """
    median, image = np.median(totals[index.paired]), np.median(index.sizes[index.paired])
    return math.floor(max(_PER_IMAGE, min(median, _PER_IMAGE * image)))


def default_triplets(index: IdentityIndex, at_most: int | None = None) -> int:
    """How many triplets a request without a number stands for; see `sampling.sample_triplets`.

    Raises:
        DataError: there are none at all.
    """
    check_triplet_supply(index, 1)
    number = min(int(triplet_totals(index).sum()), _PER_IMAGE * index.images)
    return number if at_most is None else min(number, at_most)


def check_pair_supply(index: IdentityIndex, genuine: int, impostor: int, what: str = "") -> None:
    """Refuse to draw more pairs of either kind than exist.

    Raises:
        DataError: begins with `what`; says how many exist, from how many identities and images.
    """
    if impostor and len(index.names) < 2:
        raise DataError(_no_impostors(index, what))
    if genuine and not index.paired.any():
        raise DataError(_no_genuine(index, what))
    for kind, asked, totals in (
        ("genuine pairs", genuine, genuine_totals(index)),
        ("impostor pairs", impostor, impostor_totals(index)),
    ):
        if asked > totals.sum():
            raise DataError(what + _too_few(kind, asked, int(totals.sum()), index, "--num-pairs"))


def check_triplet_supply(index: IdentityIndex, asked: int) -> None:
    """Refuse to draw more triplets than exist.

    Raises:
        DataError: says how many exist, from how many identities and images.
    """
    if len(index.names) < 2:
        raise DataError(_no_impostors(index, ""))
    if not index.paired.any():
        raise DataError(_no_genuine(index, ""))
    available = int(triplet_totals(index).sum())
    if asked > available:
        raise DataError(_too_few("triplets", asked, available, index, "--num-triplets"))


def check_ratio(ratio: tuple[float, float]) -> None:
    """Refuse a ratio of genuine to impostor pairs unless both sides are finite and above 0."""
    if not all(math.isfinite(side) and side > 0 for side in ratio):
        raise OptionError(f"--ratio {ratio[0]:g}:{ratio[1]:g}: both sides must be above 0")


def check_number(option: str, number: int) -> None:
    """Refuse a request for fewer than one."""
    if number < 1:
        raise OptionError(f"{option} {number}: expected at least 1")


def seeded(seed: int) -> np.random.Generator:
    """The source of randomness for a seed.

    Raises:
        OptionError: the seed is negative.
    """
    if seed < 0:
        raise OptionError(f"--seed {seed}: expected 0 or more")
    return np.random.default_rng(seed)


def _no_impostors(index: IdentityIndex, what: str) -> str:
    return (
        f"{what}all {index.images:,} images are of one identity ({str(index.names[0])!r}); "
        "impostor pairs and negatives need at least two"
    )


def _no_genuine(index: IdentityIndex, what: str) -> str:
    return (
        f"{what}none of the {len(index.names):,} identities has two images; "
        "genuine pairs and positives need at least one that has"
    )


def _too_few(kind: str, asked: int, available: int, index: IdentityIndex, option: str) -> str:
    return (
        f"{asked:,} {kind} asked for, but only {available:,} exist ({index.described()}); "
        f"lower {option} or add images"
    )
