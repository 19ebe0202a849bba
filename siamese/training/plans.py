"""Which images a batch holds: tuples of a file, some images each of some identities, or any images."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from siamese.errors import DataError
from siamese.training.tuples import Tuples

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Selection:
    """The images of a batch, each once, and what is known of them.

    Attributes:
        rows: rows of the array of images, shape (U,).
        columns: places in `rows` of the members of each tuple, shape (2, B) to (4, B); None without tuples.
        same: labels of pairs, shape (B,); None for all else.
        labels: identity of each image, shape (U,), -1 where it is not known; None where batches are made of tuples.
    """

    rows: Ints
    columns: Ints | None = None
    same: NDArray[np.bool_] | None = None
    labels: Ints | None = None


@dataclass(frozen=True)
class Share:
    """Which part of every batch a process encodes: the one of number `rank` of `world` equal ones."""

    rank: int = 0
    world: int = 1


WHOLE = Share()


class Plan(Protocol):
    """What fills batches; the same seed and epoch give the same batches, in any process."""

    def epoch(self, seed: int, epoch: int) -> list[Ints]:
        """The items of each batch of an epoch."""

    def select(self, items: Ints, share: Share) -> Selection:
        """The images of a batch, or of a process's share of it."""


class TuplePlan:
    """Every pair, triplet or quadruplet once an epoch, in random order.

    Args:
        tuples: of rows of the array of images.
        batch_size: tuples a batch.
    """

    def __init__(self, tuples: Tuples, batch_size: int) -> None:
        self._tuples, self._size = tuples, batch_size

    def epoch(self, seed: int, epoch: int) -> list[Ints]:
        """Numbers of tuples."""
        return shuffled_parts(len(self._tuples), self._size, seed, epoch)

    def select(self, items: Ints, share: Share = WHOLE) -> Selection:
        """The unique images of the tuples, and where in them each member is."""
        mine = items[share.rank :: share.world]
        rows = self._tuples.rows[mine]
        unique, places = np.unique(rows, return_inverse=True)
        same = None if self._tuples.same is None else self._tuples.same[mine]
        return Selection(unique, np.ascontiguousarray(places.reshape(rows.shape).T), same)


class IdentityPlan:
    """P identities a batch, and K images of each (Hermans et al., "In Defense of the Triplet Loss", 2017, section 2).

    Identities take turns in random order, whatever the number of their images, and no batch shows one twice; so do
    the images of an identity. One with fewer than K images gives all it has. An epoch has as many batches as it
    takes to show as many images as there are.

    Args:
        rows: rows of the array of images, shape (N,).
        labels: identity of each, shape (N,).
        batch_size: images a batch, P * K.
        images_per_identity: K.
        singles: take identities with one image too: they serve a classifier, and other losses only as impostors.

    Raises:
        DataError: fewer than two identities are left.
    """

    def __init__(
        self, rows: Ints, labels: Ints, *, batch_size: int, images_per_identity: int, singles: bool = False
    ) -> None:
        order = np.argsort(labels, kind="stable")
        names, starts, counts = np.unique(labels[order], return_index=True, return_counts=True)
        kept = counts >= (1 if singles else 2)
        if kept.sum() < 2:
            found = f"{kept.sum()} of {len(names)} identities have two images or more"
            raise DataError(f"{found}, and batches of identities need two such; add images, or train on pairs")
        self._rows, self._labels = rows[order], labels[order]
        self._starts, self._counts = starts[kept], counts[kept]
        self._each = np.minimum(self._counts, images_per_identity)
        self._identities = min(max(2, batch_size // images_per_identity), len(self._starts))
        self._batches = max(1, round(self._counts.sum() / (self._each.mean() * self._identities)))

    def epoch(self, seed: int, epoch: int) -> list[Ints]:
        """Places in the images sorted by identity."""
        rng = np.random.default_rng([seed, epoch])
        count = len(self._starts)
        a_round = count // self._identities  # batches in which no identity comes twice
        rounds = -(-self._batches // a_round)
        turns = np.concatenate([rng.permutation(count)[: a_round * self._identities] for _ in range(rounds)])
        turns = turns[: self._batches * self._identities]
        shuffled = np.lexsort((rng.random(len(self._rows)), self._labels))  # new within each identity
        each = self._each[turns]
        within = np.arange(each.sum()) - np.repeat(np.cumsum(each) - each, each)
        # K places in a row, from where the last turn ended: all different, as one with fewer than K gives fewer.
        offset = (np.repeat(_earlier(turns) * each, each) + within) % np.repeat(self._counts[turns], each)
        places = shuffled[np.repeat(self._starts[turns], each) + offset]
        ends = np.cumsum(each)[self._identities - 1 :: self._identities]
        return np.split(places, ends[:-1])

    def select(self, items: Ints, share: Share = WHOLE) -> Selection:
        """The images of the batch with their identities."""
        mine = items[share.rank :: share.world]
        return Selection(self._rows[mine], labels=self._labels[mine])


class ImagePlan:
    """Every image once an epoch, in random order: for losses that look at each image by itself, or at all of a batch.

    Args:
        rows: rows of the array of images, shape (N,).
        labels: identity of each, shape (N,), -1 where it is not known.
        batch_size: images a batch; a last batch of one image joins the one before, as one alone can neither be
            related nor normalised over its batch.

    Raises:
        DataError: there are fewer than two images.
    """

    def __init__(self, rows: Ints, labels: Ints, batch_size: int) -> None:
        if len(rows) < 2:
            raise DataError(f"{len(rows)} images to train on: expected at least two; add some")
        self._rows, self._labels, self._size = rows, labels, batch_size

    def epoch(self, seed: int, epoch: int) -> list[Ints]:
        """Places in the images."""
        parts = shuffled_parts(len(self._rows), self._size, seed, epoch)
        if self._size > 1 and len(parts) > 1 and len(parts[-1]) == 1:
            parts[-2:] = [np.concatenate(parts[-2:])]
        return parts

    def select(self, items: Ints, share: Share = WHOLE) -> Selection:
        """The images of the batch with their identities."""
        mine = items[share.rank :: share.world]
        return Selection(self._rows[mine], labels=self._labels[mine])


def shuffled_parts(count: int, size: int, seed: int, epoch: int) -> list[Ints]:
    """The numbers from 0 to `count` in the random order of an epoch, `size` at a time."""
    order = np.random.default_rng([seed, epoch]).permutation(count)
    return [order[start : start + size] for start in range(0, count, size)]


def _earlier(turns: Ints) -> Ints:
    """How often each element occurs before its own place, shape (N,)."""
    order = np.argsort(turns, kind="stable")
    _, starts, counts = np.unique(turns[order], return_index=True, return_counts=True)
    earlier = np.empty(len(turns), np.int64)
    earlier[order] = np.arange(len(turns)) - np.repeat(starts, counts)
    return earlier
