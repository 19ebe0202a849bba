"""Arithmetic on the boxes of MTCNN (Zhang et al. 2016), in single precision and in facenet-pytorch's order of steps.

Boxes are left, top, right, bottom, shape (N, 4) float32.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float32]
# Overlaps are looked at in blocks: memory grows with the number of boxes, not with its square.
BLOCK = 512
# The proposal net looks at squares of this side, every other pixel.
CELL, STRIDE = 12, 2


def suppress(
    boxes: Boxes, scores: NDArray[np.float32], limit: float, overlap: Literal["union", "smaller"] = "union"
) -> NDArray[np.int64]:
    """Non-maximum suppression: drop each box that overlaps a kept one of higher score by more than `limit`.

    Args:
        boxes: shape (N, 4).
        scores: shape (N,); of equal scores the first counts as higher with `union`, the last with `smaller`.
        limit: largest overlap that is let pass.
        overlap: shared area over that of the `union`, or over the `smaller` one's, sides then counted in whole pixels
            (one more than their length).

    Returns:
        Which boxes are kept, the highest score first.
    """
    first_wins = overlap == "union"
    order = np.argsort(-scores, kind="stable") if first_wins else np.argsort(scores, kind="stable")[::-1]
    ranked = boxes[order]
    kept = np.zeros(0, np.int64)
    for start in range(0, len(order), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(order)))
        if len(kept):
            block = block[~(_overlaps(ranked[kept], ranked[block], overlap) > limit).any(0)]
        hits = np.triu(_overlaps(ranked[block], ranked[block], overlap) > limit, 1)
        kept = np.concatenate([kept, block[_greedy(hits)]])
    return order[kept]


def _greedy(hits: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which rows stay, taken in order, when a row that stays drops those it hits.

    Each row hits later ones only. Whether it stays depends on those before it, so the answer is the one fixed point;
    each round settles at least one more link of the longest chain of hits.
    """
    stays = np.ones(len(hits), np.bool_)
    while True:
        again = np.logical_not(hits[stays].any(axis=0), dtype=np.bool_)
        if np.array_equal(again, stays):
            return stays
        stays = again


def _overlaps(rows: Boxes, columns: Boxes, overlap: str) -> NDArray[np.float32]:
    more = np.float32(0 if overlap == "union" else 1)
    left, top, right, bottom = rows.T[:, :, None]
    other_left, other_top, other_right, other_bottom = columns.T[:, None, :]
    width = np.minimum(right, other_right) - np.maximum(left, other_left) + more
    height = np.minimum(bottom, other_bottom) - np.maximum(top, other_top) + more
    shared = np.maximum(width, np.float32(0)) * np.maximum(height, np.float32(0))
    one, other = _areas(rows, more)[:, None], _areas(columns, more)[None]
    whole = one + other - shared if overlap == "union" else np.minimum(one, other)
    # A box without area overlaps nothing.
    return np.asarray(np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0), dtype=np.float32)


def _areas(boxes: Boxes, more: np.float32) -> NDArray[np.float32]:
    return (boxes[:, 2] - boxes[:, 0] + more) * (boxes[:, 3] - boxes[:, 1] + more)


def cells(rows: NDArray[np.int64], columns: NDArray[np.int64], scale: float) -> Boxes:
    """The squares of the image that cells (N,), (N,) of the proposal net's map saw at a scale of the pyramid."""
    corner = STRIDE * np.column_stack([columns, rows]).astype(np.float32)
    return np.floor(np.column_stack([(corner + 1) / scale, (corner + CELL) / scale]))


def shift(boxes: Boxes, offsets: NDArray[np.float32], more: float = 1.0) -> Boxes:
    """Move each side by the offsets (N, 4) that a net gave, in units of the box's width and height plus `more`."""
    width = boxes[:, 2] - boxes[:, 0] + np.float32(more)
    height = boxes[:, 3] - boxes[:, 1] + np.float32(more)
    return boxes + offsets * np.column_stack([width, height, width, height])


def square(boxes: Boxes) -> Boxes:
    """The squares about the same middles whose side is the longer one of each box."""
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.max(1, keepdims=True)
    corner = boxes[:, :2] + sides * np.float32(0.5) - longer * np.float32(0.5)
    return np.column_stack([corner, corner + longer])


def pixels(boxes: Boxes, height: int, width: int) -> NDArray[np.int64]:
    """The pixels of an image that boxes cover: left, top inclusive, right, bottom exclusive.

    Coordinates count from one and are cut off to whole numbers; what lies outside the image is left out.
    """
    whole = boxes.astype(np.int64)
    return np.column_stack([np.maximum(whole[:, :2], 1) - 1, np.minimum(whole[:, 2:], (width, height))])
