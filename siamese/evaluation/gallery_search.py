"""Searching probes in a gallery: whom each probe is most like, and how many go before the right identity.

Gallery and probes in the terms of ISO/IEC 19795-1 and of Grother and Ngan, "Face Recognition Vendor Test (FRVT),
Part 2: Identification" (NISTIR 8271): a probe is *mated* when its identity is in the gallery, else *non-mated*. An
identity scores as its most similar gallery image does. A tie counts against the probe: another identity of the same
similarity goes before the right one, so that an encoder which finds everything alike identifies nobody.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamese.errors import DataError, OptionError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
# Similarities held at a time: 64 MiB of float32.
_BLOCK = 2**24


@dataclass(frozen=True)
class Search:
    """What came of searching every probe in a gallery.

    Attributes:
        gallery: images in the gallery.
        identities: identities in the gallery.
        mated: whether the identity of each probe is in the gallery, shape (P,).
        best: similarity of the most similar identity, shape (P,).
        own: similarity of the right identity, shape (P,); NaN for a non-mated probe.
        ranks: other identities at least as similar as the right one, shape (P,): 0 is a hit at once; -1 for a
            non-mated probe.
        nearest: the most similar identity, shape (P,), as it was given; of equal ones another than the right one.
    """

    gallery: int
    identities: int
    mated: Bools
    best: Floats
    own: Floats
    ranks: Ints
    nearest: NDArray[Any]


def draw_gallery(
    identities: ArrayLike, *, per_identity: int = 1, unknown: float = 0.0, seed: int | Sequence[int] = 0
) -> tuple[Ints, Ints]:
    """Divide images into a gallery and probes, the same for the same seed.

    An identity with more images than the gallery takes is enrolled, and the rest of its images are mated probes. All
    images of the others are non-mated probes, as those of people with one photograph are in LFW (Best-Rowden et al.,
    "Unconstrained Face Recognition: Identifying a Person of Interest from a Media Collection", 2014).

    Args:
        identities: of each image, shape (N,).
        per_identity: gallery images of an identity, 1 or more.
        unknown: share of the identities that could be enrolled which are left out, as non-mated probes; in [0, 1).
        seed: 0 or more; several numbers, such as a seed and the number of a draw, make one seed.

    Returns:
        Rows of the gallery and rows of the probes, both ascending.

    Raises:
        OptionError: an option out of its range.
        DataError: no identity has enough images.
    """
    if per_identity < 1 or not 0 <= unknown < 1:
        raise OptionError(
            f"per_identity={per_identity}, unknown={unknown:g}: expected 1 or more images and a share in [0, 1)"
        )
    codes = numbered(identities)[1]
    random = np.random.default_rng(seed)
    shuffled = random.permutation(len(codes))
    order = shuffled[np.argsort(codes[shuffled], kind="stable")]
    sizes = np.bincount(codes)
    place = np.arange(len(codes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    able = np.flatnonzero(sizes > per_identity)
    if not len(able):
        raise DataError(
            f"{len(sizes)} identities, none with more than {per_identity} image{'s' if per_identity > 1 else ''}: "
            "a gallery needs one more for a probe; add images"
        )
    enrolled = np.zeros(len(sizes), dtype=bool)
    enrolled[random.permutation(able)[int(unknown * len(able)) :]] = True
    chosen = enrolled[codes[order]] & (place < per_identity)
    return np.sort(order[chosen]), np.sort(order[~chosen])


def search(
    probes: NDArray[Any], probe_identities: ArrayLike, gallery: NDArray[Any], gallery_identities: ArrayLike
) -> Search:
    """Search unit embeddings of probes (P, D) in those of a gallery (G, D), a block of probes at a time.

    Memory is that of the embeddings and of one block of similarities.

    Args:
        probes: unit embeddings, shape (P, D).
        probe_identities: shape (P,).
        gallery: unit embeddings, shape (G, D).
        gallery_identities: shape (G,); several images of an identity count as their best one.

    Raises:
        DataError: shapes that do not belong together, nothing to search, or embeddings that are not finite.
    """
    if probes.ndim != 2 or gallery.ndim != 2 or probes.shape[1] != gallery.shape[1]:
        raise DataError(f"probes {probes.shape} and gallery {gallery.shape}: expected embeddings (P, D) and (G, D)")
    if not len(gallery):
        raise DataError("0 gallery images: expected at least one")
    enrolled = np.asarray(gallery_identities)
    if enrolled.shape != (len(gallery),):
        raise DataError(f"gallery {gallery.shape} and identities {enrolled.shape}: expected one for each image")
    # Image by image of each identity: a row of embeddings is moved once, a column of similarities in every block.
    order = np.argsort(numbered(enrolled)[1], kind="stable")
    return search_blocks(_similarities(probes, gallery[order]), probe_identities, enrolled[order])


def search_blocks(
    blocks: Iterable[NDArray[Any]], probe_identities: ArrayLike, gallery_identities: ArrayLike
) -> Search:
    """Search with a matrix of similarities (P, G) that comes in blocks of consecutive rows, as `search` does.

    Args:
        blocks: similarities of some probes with the whole gallery, each of shape (B, G).
        probe_identities: shape (P,).
        gallery_identities: shape (G,).

    Raises:
        DataError: blocks that do not make up (P, G), nothing to search, or similarities that are not finite.
    """
    own_side, other_side = np.asarray(gallery_identities), np.asarray(probe_identities)
    if own_side.ndim != 1 or other_side.ndim != 1 or not len(own_side) or not len(other_side):
        found = f"{own_side.size} gallery images and {other_side.size} probes"
        raise DataError(f"{found}: expected at least one of either, with an identity each")
    names, codes = numbered(np.concatenate((own_side, other_side)))
    order = np.argsort(codes[: len(own_side)], kind="stable")
    enrolled, starts = np.unique(codes[: len(own_side)][order], return_index=True)
    wanted = codes[len(own_side) :]
    position = np.minimum(np.searchsorted(enrolled, wanted), len(enrolled) - 1)
    mated = enrolled[position] == wanted
    best, own, ranks = np.empty(len(wanted)), np.full(len(wanted), np.nan), np.full(len(wanted), -1)
    nearest = np.zeros(len(wanted), np.int64)
    row = 0
    for block in blocks:
        rows = slice(row, row + len(block))
        row += len(block)
        if block.ndim != 2 or block.shape[1] != len(own_side) or row > len(wanted):
            raise DataError(
                f"block {block.shape} up to probe {row}: expected ({len(wanted)}, {len(own_side)}) in all"
            )
        if len(block):
            searched = _searched(block, order, starts, position[rows], mated[rows])
            best[rows], own[rows], ranks[rows], nearest[rows] = searched
    if row != len(wanted):
        raise DataError(f"blocks of {row} rows: expected {len(wanted)}, one for each probe")
    own[~mated], ranks[~mated] = np.nan, -1
    return Search(len(own_side), len(enrolled), mated, best, own, ranks, names[enrolled[nearest]])


def numbered(column: ArrayLike, what: str = "identities") -> tuple[NDArray[Any], Ints]:
    """The distinct values of a column in sorted order, and the number of each cell's value among them, shape (N,).

    Args:
        column: shape (N,), all text or all numbers.
        what: the column holds, for messages.

    Raises:
        DataError: not one vector, or some values are missing.
    """
    values = np.asarray(column)
    if values.ndim != 1:
        raise DataError(f"{what} {values.shape}: expected one for each image")
    try:
        names, codes = np.unique(values, return_inverse=True)
        missing = names.dtype.kind == "f" and bool(np.isnan(names).any())
    except TypeError:  # None and NaN do not compare with text
        missing = True
    if missing:
        raise DataError(f"{what}: some are missing; give one for each image, all text or all numbers")
    return names, codes.astype(np.int64)


def _similarities(probes: NDArray[Any], gallery: NDArray[Any]) -> Iterator[NDArray[Any]]:
    rows = max(1, _BLOCK // len(gallery))
    for start in range(0, len(probes), rows):
        yield np.clip(probes[start : start + rows] @ gallery.T, -1.0, 1.0)


def _searched(
    block: NDArray[Any], order: Ints, starts: Ints, own: Ints, mated: Bools
) -> tuple[Floats, Floats, Ints, Ints]:
    """Best similarity, that of the identity at place `own`, how many others reach that, and the best place; (B,)."""
    if not (np.isfinite(block.min()) and np.isfinite(block.max())):
        raise DataError("similarities hold values that are not finite; leave out images without an embedding")
    each = block if (np.diff(order) > 0).all() else np.take(block, order, axis=1)
    if len(starts) < len(order):
        each = np.maximum.reduceat(each, starts, axis=1)
    mine = np.take_along_axis(each, own[:, None], axis=1)
    ranks = np.count_nonzero(each >= mine, axis=1) - 1
    nearest = each.argmax(axis=1)
    # Where another identity ties with the right one, it went before it.
    tied = np.flatnonzero(mated & (nearest == own) & (ranks > 0))
    rivals = each[tied]
    rivals[np.arange(len(tied)), own[tied]] = -np.inf
    nearest[tied] = rivals.argmax(axis=1)
    best = np.take_along_axis(each, nearest[:, None], axis=1)[:, 0]
    return best.astype(np.float64), mine[:, 0].astype(np.float64), ranks, nearest
