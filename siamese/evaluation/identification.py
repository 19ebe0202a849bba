"""How often the right identity is among the first: of an identity head, and of probes searched in a gallery.

Gallery and probes in the terms of ISO/IEC 19795-1 and of Grother and Ngan, "Face Recognition Vendor Test (FRVT),
Part 2: Identification" (NISTIR 8271): a probe is *mated* when its identity is in the gallery, else *non-mated*. An
identity scores as its most similar gallery image does. A tie counts against the probe: another identity of the same
similarity goes before the right one, so that an encoder which finds everything alike identifies nobody.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamese.errors import DataError, OptionError
from siamese.evaluation.metrics import enough_for_far

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
RANKS = (1, 5, 10)
FPIRS = (1e-1, 1e-2, 1e-3)
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
    """

    gallery: int
    identities: int
    mated: Bools
    best: Floats
    own: Floats
    ranks: Ints


@dataclass(frozen=True)
class Identification:
    """Identification measured in a gallery.

    Attributes:
        gallery: images in the gallery.
        identities: identities in the gallery.
        mated: probes whose identity is in the gallery.
        non_mated: probes whose identity is not.
        cmc: share of the mated probes whose identity is among the first k, by k ("1", "5", "10"); None without any.
        tpir_at_fpir: TPIR by FPIR ("0.1", "0.01", "0.001"); None is insufficient data.
    """

    gallery: int
    identities: int
    mated: int
    non_mated: int
    cmc: Mapping[str, float | None]
    tpir_at_fpir: Mapping[str, float | None]


def top_k_accuracy(logits: NDArray[Any], labels: NDArray[np.integer[Any]], k: int = 1) -> float:
    """Share of images whose identity is among the k of highest logit; of equal logits the first identity goes first.

    Args:
        logits: shape (N, C), or anything of the same order, such as probabilities.
        labels: shape (N,), from 0 to C - 1.
        k: 1 or more.

    Raises:
        ValueError: no images, shapes that do not belong together, a label out of range, k below 1, or logits that are
            not numbers.

    Example:
        >>> logits = np.array([[0.1, 0.9], [0.8, 0.2]])
        >>> top_k_accuracy(logits, np.array([1, 1]))
        0.5
    """
    _check(logits, labels, k)
    return float((ranks(logits, labels) < k).mean())


def ranks(logits: NDArray[Any], labels: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """How many identities go before the right one, shape (N,); 0 is a hit at once. See `top_k_accuracy`."""
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    return np.asarray(((logits > own) | ((logits == own) & earlier)).sum(axis=1), dtype=np.int64)


def _check(logits: NDArray[Any], labels: NDArray[np.integer[Any]], k: int) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(
            f"logits of shape {logits.shape} and labels of shape {labels.shape}, expected (N, C) and (N,), N above 0"
        )
    if k < 1:
        raise ValueError(f"k={k}: expected 1 or more")
    if labels.min() < 0 or labels.max() >= logits.shape[1]:
        raise ValueError(f"labels from {labels.min()} to {labels.max()}, expected 0 to {logits.shape[1] - 1}")
    if np.isnan(logits).any():
        raise ValueError("logits hold values that are not numbers (NaN)")


def draw_gallery(
    identities: ArrayLike, *, per_identity: int = 1, unknown: float = 0.0, seed: int = 0
) -> tuple[Ints, Ints]:
    """Divide images into a gallery and probes, the same for the same seed.

    An identity with more images than the gallery takes is enrolled, and the rest of its images are mated probes. All
    images of the others are non-mated probes, as those of people with one photograph are in LFW (Best-Rowden et al.,
    "Unconstrained Face Recognition: Identifying a Person of Interest from a Media Collection", 2014).

    Args:
        identities: of each image, shape (N,).
        per_identity: gallery images of an identity, 1 or more.
        unknown: share of the identities that could be enrolled which are left out, as non-mated probes; in [0, 1).
        seed: 0 or more.

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
    codes = numbered(np.concatenate((own_side, other_side)))[1]
    order = np.argsort(codes[: len(own_side)], kind="stable")
    enrolled, starts = np.unique(codes[: len(own_side)][order], return_index=True)
    wanted = codes[len(own_side) :]
    position = np.minimum(np.searchsorted(enrolled, wanted), len(enrolled) - 1)
    mated = enrolled[position] == wanted
    best, own, ranks = np.empty(len(wanted)), np.full(len(wanted), np.nan), np.full(len(wanted), -1)
    row = 0
    for block in blocks:
        rows = slice(row, row + len(block))
        row += len(block)
        if block.ndim != 2 or block.shape[1] != len(own_side) or row > len(wanted):
            raise DataError(
                f"block {block.shape} up to probe {row}: expected ({len(wanted)}, {len(own_side)}) in all"
            )
        if len(block):
            best[rows], own[rows], ranks[rows] = _searched(block, order, starts, position[rows])
    if row != len(wanted):
        raise DataError(f"blocks of {row} rows: expected {len(wanted)}, one for each probe")
    own[~mated], ranks[~mated] = np.nan, -1
    return Search(len(own_side), len(enrolled), mated, best, own, ranks)


def cmc(found: Search, rank: int = 1) -> float | None:
    """Cumulative match characteristic: share of the mated probes whose identity is among the first `rank`.

    Closed set: no threshold, non-mated probes do not count; None without mated probes. It is 1 where the gallery has
    no more than `rank` identities.

    Raises:
        OptionError: a rank below 1.
    """
    if rank < 1:
        raise OptionError(f"rank {rank}: expected 1 or more")
    return float((found.ranks[found.mated] < rank).mean()) if found.mated.any() else None


def fpir_at(found: Search, threshold: float) -> float | None:
    """False-positive identification rate: share of the non-mated probes for which anybody reaches the threshold."""
    strangers = found.best[~found.mated]
    return float((strangers >= threshold).mean()) if len(strangers) else None


def tpir_at(found: Search, threshold: float, rank: int = 1) -> float | None:
    """True-positive identification rate, 1 - FNIR: mated probes whose identity reaches threshold and rank.

    None without mated probes.
    """
    hits = (found.own >= threshold) & (found.ranks < rank)
    return float(hits[found.mated].mean()) if found.mated.any() else None


def threshold_at_fpir(found: Search, fpir: float) -> float | None:
    """The lowest threshold whose FPIR does not exceed `fpir`.

    None where the non-mated probes do not support it: fewer than three false positives are expected.

    Args:
        found: the searches.
        fpir: in (0, 1).

    Raises:
        OptionError: a rate out of its range.
    """
    if not 0 < fpir < 1:
        raise OptionError(f"FPIR {fpir:g}: expected above 0 and below 1")
    strangers = np.sort(found.best[~found.mated])[::-1]
    if not enough_for_far(len(strangers), fpir):
        return None
    allowed = min(int(np.floor(fpir * len(strangers) * (1 + 1e-12))), len(strangers) - 1)
    return float(np.nextafter(strangers[allowed], np.inf))


def tpir_at_fpir(found: Search, fpir: float, rank: int = 1) -> float | None:
    """TPIR at the lowest threshold whose FPIR does not exceed `fpir`; None is *insufficient data*."""
    threshold = threshold_at_fpir(found, fpir)
    return None if threshold is None else tpir_at(found, threshold, rank)


def measure_identification(
    found: Search, ranks: Sequence[int] = RANKS, fpirs: Sequence[float] = FPIRS
) -> Identification:
    """Measure searches: CMC at each rank, TPIR of the first identity at each FPIR."""
    mated = int(np.count_nonzero(found.mated))
    return Identification(
        gallery=found.gallery,
        identities=found.identities,
        mated=mated,
        non_mated=len(found.mated) - mated,
        cmc={str(rank): cmc(found, rank) for rank in ranks},
        tpir_at_fpir={f"{fpir:g}": tpir_at_fpir(found, fpir) for fpir in fpirs},
    )


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


def _searched(block: NDArray[Any], order: Ints, starts: Ints, own: Ints) -> tuple[Floats, Floats, Ints]:
    """Best similarity, that of the identity at place `own`, and how many others reach that, each (B,)."""
    if not (np.isfinite(block.min()) and np.isfinite(block.max())):
        raise DataError("similarities hold values that are not finite; leave out images without an embedding")
    each = block if (np.diff(order) > 0).all() else np.take(block, order, axis=1)
    if len(starts) < len(order):
        each = np.maximum.reduceat(each, starts, axis=1)
    mine = np.take_along_axis(each, own[:, None], axis=1)
    ranks = np.count_nonzero(each >= mine, axis=1) - 1
    return each.max(axis=1).astype(np.float64), mine[:, 0].astype(np.float64), ranks
