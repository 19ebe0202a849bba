"""Every genuine and every impostor pair of a catalog, counted and numbered without listing one of them.

The images are laid out cell by cell, a cell being the images of one identity in one group (without groups, the
images of one identity), and every pair has the later of its two images to its name: how many partners an image has
before it is known in closed form, and so is the partner at a given place among them.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray

from siamese.pairing.distinct import unrank_pairs
from siamese.pairing.grouped import Relation
from siamese.pairing.identities import IdentityIndex

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Cells:
    """The images of a catalog by identity and group, and the pairs among them that a relation of groups allows.

    Attributes:
        relation: whether the two images of a pair are of one group (`within`) or of two (`across`).
        order: rows of the catalog, identity by identity, group by group, each in catalog order, shape (N,).
        identity: of each cell, ascending, shape (C,).
        group: of each cell, shape (C,); all 0 where there are no groups.
        sizes: images per cell, shape (C,).
        starts: where each cell begins in `order`, shape (C,).
    """

    relation: Relation
    order: Ints
    identity: Ints
    group: Ints
    sizes: Ints
    starts: Ints

    @classmethod
    def of(cls, index: IdentityIndex, groups: Ints | None = None, relation: Relation = "within") -> Self:
        """Lay a catalog out; `groups` (N,) gives the group of each row, from 0, None puts all into one."""
        if groups is None:
            names = np.arange(len(index.names))
            return cls(relation, index.order, names, np.zeros_like(names), index.sizes, index.starts)
        order = np.lexsort((groups, index.codes))
        identity, group = index.codes[order], groups[order]
        starts = np.flatnonzero(np.diff(identity, prepend=-1).astype(bool) | np.diff(group, prepend=-1).astype(bool))
        sizes = np.diff(starts, append=len(order))
        return cls(relation, order, identity[starts], group[starts], sizes, starts)

    def as_images(self) -> "Cells":
        """The same cells with one image each: its pairs are the pairs of cells that the relation allows."""
        each = np.arange(len(self.sizes))
        return Cells(self.relation, each, self.identity, self.group, np.ones_like(each), each)

    @cached_property
    def genuine_totals(self) -> Ints:
        """How many genuine pairs each identity has, shape (G,)."""
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(self._genuine_per_cell)])
        return np.diff(ends[np.searchsorted(self.identity, np.arange(int(self.identity[-1]) + 2))])

    def genuine(self, identity: Ints, rank: Ints) -> tuple[Ints, Ints]:
        """Positions in `order` of both images of the genuine pair at `rank` of each identity, both (K,)."""
        per_cell = self._genuine_per_cell
        begins = np.cumsum(per_cell) - per_cell
        rank = begins[np.searchsorted(self.identity, identity)] + rank
        cell = np.searchsorted(begins + per_cell, rank, side="right")
        rank -= begins[cell]
        if self.relation == "within":
            low, high = unrank_pairs(rank)
            return self.starts[cell] + low, self.starts[cell] + high
        late, early = np.divmod(rank, self._before_in_identity[cell])
        return self._identity_starts[cell] + early, self.starts[cell] + late

    @cached_property
    def impostor_total(self) -> int:
        """How many impostor pairs there are."""
        return int((self.sizes * self._strangers).sum())

    def impostor(self, rank: Ints) -> tuple[Ints, Ints]:
        """Positions in `order` of both images of the impostor pair at each `rank`, shape (K,)."""
        cell, late, early = self._impostor_cell(rank)
        return self._stranger(self.group[cell], early), self.starts[cell] + late

    def _impostor_cell(self, rank: Ints) -> tuple[Ints, Ints, Ints]:
        ends = np.cumsum(self.sizes * self._strangers)
        cell = np.searchsorted(ends, rank, side="right")
        late, early = np.divmod(rank - (ends[cell] - self.sizes[cell] * self._strangers[cell]), self._strangers[cell])
        return cell, late, early

    @cached_property
    def _identity_starts(self) -> Ints:
        """Where the identity of each cell begins in `order`, shape (C,)."""
        return self.starts[np.searchsorted(self.identity, self.identity)]

    @cached_property
    def _before_in_identity(self) -> Ints:
        """How many images of its identity lie before each cell, shape (C,)."""
        return self.starts - self._identity_starts

    @cached_property
    def _genuine_per_cell(self) -> Ints:
        """How many genuine pairs have their later image in each cell, shape (C,)."""
        if self.relation == "within":
            return self.sizes * (self.sizes - 1) // 2
        return self.sizes * self._before_in_identity

    @cached_property
    def _by_group(self) -> tuple[Ints, Ints, Ints]:
        """Positions in `order` group by group, ascending in each; where each group begins; each one's place in it."""
        group = np.repeat(self.group, self.sizes)
        positions = np.argsort(group, kind="stable")
        begins = np.searchsorted(group[positions], np.arange(int(self.group.max()) + 1))
        place = np.empty_like(positions)
        place[positions] = np.arange(len(positions)) - begins[group[positions]]
        return positions, begins, place

    @cached_property
    def _strangers(self) -> Ints:
        """How many images of identities before it each image of a cell can be paired with, shape (C,)."""
        # Of the cell's own group: those before the cell are all of earlier identities.
        of_group: Ints = self._by_group[2][self.starts]
        return of_group if self.relation == "within" else self._identity_starts - of_group

    def _stranger(self, group: Ints, place: Ints) -> Ints:
        """Position in `order` of the image at `place` of those in the group (`within`) or outside it (`across`)."""
        positions, begins, within = self._by_group
        if self.relation == "within":
            inside: Ints = positions[begins[group] + place]
            return inside
        # Before the group's j-th image, at position p, lie p - j others: all images of the group for which that is
        # no more than `place` are stepped over. One search serves all groups, each in a stretch of its own.
        stretch = len(positions) + 1
        of = np.repeat(self.group, self.sizes)[positions]
        others = of * stretch + positions - within[positions]
        found: Ints = place + np.searchsorted(others, group * stretch + place, side="right") - begins[group]
        return found
