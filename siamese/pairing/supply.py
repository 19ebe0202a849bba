"""What a catalog can give, and requests refused where it cannot."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.errors import DataError, OptionError
from siamese.pairing.cells import Cells
from siamese.pairing.grouped import Grouped, GroupRule, grouped_catalog
from siamese.pairing.identities import IdentityIndex

Ints = NDArray[np.int64]

_PER_IMAGE = 5  # how many genuine pairs, or triplets, per image a request without a number stands for


@dataclass(frozen=True)
class PairSupply:
    """The pairs that a catalog, or a part of it, has under a rule of groups and a bound per identity.

    Attributes:
        index: the images by identity.
        cells: the same images by identity and group, and their pairs.
        rule: which groups may be paired; None for all.
        max_per_identity: the most genuine pairs of one identity; None for no bound.
        what: what messages begin with ("fold 3: ").
    """

    index: IdentityIndex
    cells: Cells
    rule: GroupRule | None = None
    max_per_identity: int | None = None
    what: str = ""

    @classmethod
    def of(
        cls, catalog: pd.DataFrame, rule: GroupRule | None, max_per_identity: int | None, what: str = ""
    ) -> tuple[Self, pd.DataFrame, Grouped | None]:
        """The supply of a catalog; also the rows it speaks of (those that the rule can pair) and their groups.

        Raises:
            DataError: the catalog is no catalog, or lacks the column or a group of the rule.
            OptionError: the bound is below 1.
        """
        if max_per_identity is not None:
            check_number("--max-per-identity", max_per_identity)
        grouped = None if rule is None else grouped_catalog(catalog, rule)
        rows = catalog if grouped is None else grouped.catalog
        index = IdentityIndex.of(rows)
        cells = Cells.of(index) if grouped is None else Cells.of(index, grouped.codes, grouped.relation)
        return cls(index, cells, rule, max_per_identity, what), rows, grouped

    @cached_property
    def genuine_totals(self) -> Ints:
        """The most genuine pairs that each identity gives, shape (G,)."""
        totals = self.cells.genuine_totals
        return totals if self.max_per_identity is None else np.minimum(totals, self.max_per_identity)

    def default_counts(self, ratio: tuple[float, float], at_most: int | None = None) -> tuple[int, int]:
        """How many genuine and impostor pairs a request without a number stands for; see `sampling.sample_pairs`.

        Raises:
            DataError: there are no genuine or no impostor pairs at all.
        """
        self.check(1, 1)
        totals = self.genuine_totals
        genuine = int(np.minimum(totals, self._identity_cap()).sum())
        impostor = max(1, math.floor(genuine * ratio[1] / ratio[0] + 0.5))
        available = self.cells.impostor_total
        if impostor > available:
            genuine, impostor = max(1, min(genuine, math.floor(available * ratio[0] / ratio[1]))), available
        if at_most is None or genuine + impostor <= at_most:
            return genuine, impostor
        share = math.floor(at_most * ratio[0] / sum(ratio) + 0.5)
        genuine = min(genuine, max(1, min(share, at_most - 1)))
        return genuine, min(impostor, at_most - genuine)

    def check(self, genuine: int, impostor: int) -> None:
        """Refuse to draw more pairs of either kind than exist.

        Raises:
            DataError: begins with `what`; says how many exist, from how many identities and images.
        """
        if impostor and len(self.index.names) < 2:
            raise DataError(self.what + _no_impostors(self.index))
        if genuine and not self.index.paired.any():
            raise DataError(self.what + _no_genuine(self.index))
        mends = "lower --num-pairs or add images"
        if self.max_per_identity is not None:
            mends = f"raise --max-per-identity, {mends}"
            bounded = f" with at most {self.max_per_identity:,} of one identity"
        else:
            bounded = ""
        under = "" if self.rule is None else f" {self.rule.described()}"
        for kind, asked, available, limits, mend in (
            ("genuine pairs", genuine, int(self.genuine_totals.sum()), under + bounded, mends),
            ("impostor pairs", impostor, self.cells.impostor_total, under, "lower --num-pairs or add images"),
        ):
            if asked > available:
                raise DataError(self.what + _too_few(kind, asked, available, limits, self.index, mend))

    def _identity_cap(self) -> int:
        """The most genuine pairs of one identity: as many as the median identity has.

        Whatever the richest few could give beyond it would be mostly about them. At least 5 (most identities of
        photographs from the web have two or three images) and at most 5 per image of the median identity.
        """
        totals = self.cells.genuine_totals
        giving = totals > 0
        median, image = np.median(totals[giving]), np.median(self.index.sizes[giving])
        return math.floor(max(_PER_IMAGE, min(median, _PER_IMAGE * image)))


def triplet_totals(index: IdentityIndex) -> Ints:
    """How many triplets have their anchor in each identity, shape (G,): n (n - 1) (N - n)."""
    return index.sizes * (index.sizes - 1) * (index.images - index.sizes)


def quadruplet_totals(index: IdentityIndex) -> NDArray[np.float64]:
    """How many quadruplets have their anchor in each identity, shape (G,): in floats, as they may pass 2**63.

    n (n - 1) times the ordered pairs of images of two further identities, (N - n)^2 - (sum of squares - n^2).
    """
    sizes = index.sizes.astype(np.float64)
    totals: NDArray[np.float64] = sizes * (sizes - 1) * ((index.images - sizes) ** 2 - ((sizes**2).sum() - sizes**2))
    return totals


def bounded(totals: NDArray[np.float64] | Ints, max_per_identity: int | None, request: int) -> Ints:
    """The most that each identity gives to a request, shape (G,), whole numbers whatever the totals are."""
    most = request if max_per_identity is None else min(request, max_per_identity)
    return np.minimum(totals, most).astype(np.int64)


def request_for(
    index: IdentityIndex,
    kind: Literal["triplets", "quadruplets"],
    number: int | None,
    totals: NDArray[np.float64] | Ints,
    max_per_identity: int | None,
    at_most: int | None,
    what: str,
) -> int:
    """How many triplets or quadruplets to draw: `number`, or what None stands for.

    Raises:
        DataError: there are fewer, or none; the message begins with `what` and has the numbers.
        OptionError: `number` or `max_per_identity` is below 1.
    """
    if max_per_identity is not None:
        check_number("--max-per-identity", max_per_identity)
    _check_supply(index, kind, 1, totals, max_per_identity, what)
    if number is None:
        most = totals if max_per_identity is None else np.minimum(totals, max_per_identity)
        number = min(int(most.sum()), _PER_IMAGE * index.images)
        number = number if at_most is None else min(number, at_most)
    check_number(f"--num-{kind}", number)
    _check_supply(index, kind, number, totals, max_per_identity, what)
    return number


def _check_supply(
    index: IdentityIndex,
    kind: str,
    asked: int,
    totals: NDArray[np.float64] | Ints,
    max_per_identity: int | None,
    what: str,
) -> None:
    if len(index.names) < 2:
        raise DataError(what + _no_impostors(index))
    if not index.paired.any():
        raise DataError(what + _no_genuine(index))
    if kind == "quadruplets" and len(index.names) < 3:
        raise DataError(f"{what}all {index.images:,} images are of 2 identities; quadruplets need at least three")
    available, mend, limits = int(totals.sum()), f"lower --num-{kind} or add images", ""
    if max_per_identity is not None:
        available = int(np.minimum(totals, max_per_identity).sum())
        mend, limits = f"raise --max-per-identity, {mend}", f" with at most {max_per_identity:,} of one identity"
    if asked > available:
        raise DataError(what + _too_few(kind, asked, available, limits, index, mend))


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


def _no_impostors(index: IdentityIndex) -> str:
    return (
        f"all {index.images:,} images are of one identity ({str(index.names[0])!r}); "
        "impostor pairs and negatives need at least two"
    )


def _no_genuine(index: IdentityIndex) -> str:
    return (
        f"none of the {len(index.names):,} identities has two images; "
        "genuine pairs and positives need at least one that has"
    )


def _too_few(kind: str, asked: int, available: int, limits: str, index: IdentityIndex, mend: str) -> str:
    found = f"{asked:,} {kind}{limits} asked for, but only {available:,} exist"
    if not available:
        found = f"no {kind}{limits} exist"
    return f"{found} ({index.described()}); {mend}"
