"""Similarities of pairs that are numbers of rows, from embeddings that lie in a file."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Similarity = Callable[[NDArray[np.float32], NDArray[np.float32]], NDArray[Any]]
# Pairs whose embeddings are gathered at a time: what is gathered stays in a processor's cache until it is compared.
AT_ONCE = 2048


class PairScorer:
    """Compares rows of embeddings.

    Args:
        similarity: from two arrays (N, D) to similarities (N,).
        vectors: shape (M, D), an array or mapped from a file.
        usable: which rows hold an embedding, shape (M,).
    """

    def __init__(self, similarity: Similarity, vectors: NDArray[np.float32], usable: NDArray[np.bool_]) -> None:
        self._similarity, self._usable = similarity, usable
        self._vectors = np.asarray(vectors)  # a memmap's own indexing is slow

    def scores(self, codes: NDArray[np.int32]) -> NDArray[np.float64]:
        """Similarities of pairs of rows (N, 2), shape (N,); NaN where a row holds no embedding."""
        scores = np.full(len(codes), np.nan)
        kept = np.flatnonzero(self._usable[codes].all(axis=1))
        # Gathered into the same place each time: fresh memory costs more than what is done with it.
        left, right = (np.empty((min(AT_ONCE, len(kept)), self._vectors.shape[1]), np.float32) for _ in range(2))
        for start in range(0, len(kept), AT_ONCE):
            pairs = kept[start : start + AT_ONCE]
            sides = [
                np.take(self._vectors, codes[pairs, side], axis=0, out=each[: len(pairs)], mode="clip")
                for side, each in enumerate((left, right))
            ]
            scores[pairs] = self._similarity(*sides)
        return scores
