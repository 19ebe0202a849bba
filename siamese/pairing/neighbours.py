"""For every image the most similar of other identities and the least similar of its own, by blocked products."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.errors import DataError, OptionError
from siamese.pairing.identities import IdentityIndex
from siamese.progress import progress

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

_ROWS, _COLUMNS = 512, 16_384  # a block of similarities is 32 MB, whatever the number of images
_LANE = 64


@dataclass(frozen=True)
class Neighbours:
    """The hardest partners of every image, in no particular order.

    Attributes:
        rows: row of the catalog of each partner, shape (N, k).
        hardness: similarity of a stranger, or minus the similarity of a relative; -inf where the catalog has no
            further partner, shape (N, k).
    """

    rows: Ints
    hardness: Floats


def check_vectors(catalog: pd.DataFrame, vectors: NDArray[np.floating]) -> Floats:
    """The vectors as float32.

    Raises:
        DataError: they are not one for each image of the catalog, finite and of length 1 (within 1e-3).
    """
    if vectors.ndim != 2 or len(vectors) != len(catalog):
        raise DataError(f"vectors of shape {vectors.shape}, expected ({len(catalog)}, D): one for each image")
    lengths = np.linalg.norm(vectors, axis=1)
    bad = ~(np.abs(lengths - 1) < 1e-3)  # so that NaN is bad too
    if bad.any():
        first = int(bad.argmax())
        raise DataError(
            f"the vector of {catalog['path'].iloc[first]!r} has length {lengths[first]:.4g}, expected 1; normalise "
            "the vectors, and leave out images that have none"
        )
    return np.ascontiguousarray(vectors, dtype=np.float32)


def nearest_strangers(
    vectors: Floats, index: IdentityIndex, count: int, skip_above: float | None = None
) -> Neighbours:
    """For every image the `count` most similar images of other identities.

    Args:
        vectors: unit vectors in the order of the catalog, shape (N, D).
        index: the catalog by identity.
        count: partners per image, at least 1.
        skip_above: leave out partners that are more similar than this: probable label errors. None keeps all.
    """
    return _search(vectors, index, count, own=False, ceiling=skip_above)


def farthest_relatives(
    vectors: Floats, index: IdentityIndex, count: int, skip_below: float | None = None
) -> Neighbours:
    """For every image the `count` least similar images of its own identity; those below `skip_below` are left out."""
    return _search(vectors, index, count, own=True, ceiling=None if skip_below is None else -skip_below)


def check_per_image(per_image: int) -> None:
    """Refuse to look for fewer than one partner of an image."""
    if per_image < 1:
        raise OptionError(f"--per-image {per_image}: expected at least 1")


def _search(vectors: Floats, index: IdentityIndex, count: int, *, own: bool, ceiling: float | None) -> Neighbours:
    """Search among images laid out identity by identity, so that an identity is one stretch of columns."""
    laid = vectors[index.order]
    first = np.repeat(index.starts, index.sizes)
    end = np.repeat(index.starts + index.sizes, index.sizes)
    rows = np.zeros((index.images, count), np.int64)
    hardness = np.full((index.images, count), -np.inf, np.float32)
    what = "least similar of the same identity" if own else "most similar of other identities"
    for start in progress(range(0, index.images, _ROWS), what, unit="block"):
        block = slice(start, min(start + _ROWS, index.images))
        stretch = (int(first[block.start]), int(end[block.stop - 1]))
        low, high = stretch if own else (0, index.images)
        found: list[tuple[Ints, Floats]] = []
        for column in range(low, high, _COLUMNS):
            columns = slice(column, min(column + _COLUMNS, high))
            scores = laid[block] @ laid[columns].T
            if own:
                np.negative(scores, out=scores)
            _exclude(scores, block, columns, (first[block], end[block]), own=own)
            if ceiling is not None:
                scores[scores > ceiling] = -np.inf
            found = [_best(count, [*found, _top(scores, count, column)])]
        best_rows, best = found[0]
        rows[block, : best.shape[1]], hardness[block, : best.shape[1]] = index.order[best_rows], best
    # Back from the layout to the order of the catalog.
    place = np.empty_like(index.order)
    place[index.order] = np.arange(index.images)
    return Neighbours(rows[place], hardness[place])


def _exclude(scores: Floats, rows: slice, columns: slice, spans: tuple[Ints, Ints], *, own: bool) -> None:
    """Set to -inf what is no partner: of the rows' own identities, or, if `own`, of others and the image itself."""
    first, end = (span[:, None] for span in spans)
    # Only here can a column be of the identity of a row; the rest of the block is all strangers.
    low, high = max(int(first[0, 0]), columns.start), min(int(end[-1, 0]), columns.stop)
    if low >= high:
        return
    column = np.arange(low, high)
    excluded = (column >= first) & (column < end)
    if own:
        excluded = ~excluded | (column == np.arange(rows.start, rows.stop)[:, None])
    scores[:, low - columns.start : high - columns.start][excluded] = -np.inf


def _top(scores: Floats, count: int, offset: int) -> tuple[Ints, Floats]:
    """The columns, counted from `offset`, and scores of the `count` greatest of each row; -inf fills what lacks."""
    rows, width = scores.shape
    if count == 1:
        best = scores.argmax(axis=1)[:, None]
        return best + offset, np.take_along_axis(scores, best, axis=1)
    if count >= width:
        return np.broadcast_to(np.arange(width) + offset, scores.shape), scores
    # The count-th greatest of the greatest of each lane bounds that of the row from below; what reaches it is little
    # more than what is looked for, and found five times as fast as by partitioning the row.
    lanes = width // _LANE
    if lanes <= count:
        best = np.argpartition(scores, -count, axis=1)[:, -count:]
        return best + offset, np.take_along_axis(scores, best, axis=1)
    greatest = scores[:, : lanes * _LANE].reshape(rows, _LANE, lanes).max(axis=1)
    least = np.partition(greatest, -count, axis=1)[:, -count]
    row, column = np.divmod(np.flatnonzero(scores >= np.maximum(least, np.finfo(np.float32).min)[:, None]), width)
    found = scores[row, column]
    order = np.lexsort((-found, row))
    place = np.arange(len(row)) - np.searchsorted(row, row)  # rows ascend, and sorting within them keeps them so
    order, place = order[place < count], place[place < count]
    columns, best_scores = np.zeros((rows, count), np.int64), np.full((rows, count), -np.inf, np.float32)
    columns[row[order], place], best_scores[row[order], place] = column[order] + offset, found[order]
    return columns, best_scores


def _best(count: int, found: list[tuple[Ints, Floats]]) -> tuple[Ints, Floats]:
    if len(found) == 1:
        return found[0]
    columns, scores = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    best, kept = _top(scores, count, 0)
    return np.take_along_axis(columns, best, axis=1), kept
