"""The one convention for scores: similarity is the cosine of two embeddings, and higher means more similar.

The functions use only arithmetic operators where they can, so NumPy arrays and torch tensors both work.
"""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = TypeVar("Array")


def normalise(features: NDArray[Any]) -> NDArray[Any]:
    """Scale each row of `features` (N, D) to unit length; a zero row stays zero."""
    norms = np.linalg.norm(features, axis=-1, keepdims=True)
    return np.asarray(features / np.maximum(norms, np.finfo(features.dtype).tiny))


def pair_similarity(left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
    """Similarity of each row of `left` with the same row of `right`.

    Args:
        left: unit embeddings, shape (N, D).
        right: unit embeddings, shape (N, D).

    Returns:
        Shape (N,), in [-1, 1].

    Example:
        >>> pair_similarity(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))
        array([0.])
    """
    return np.asarray(np.clip(np.einsum("nd,nd->n", left, right), -1.0, 1.0))


def squared_distance(similarity: Array) -> Array:
    """Squared Euclidean distance of two unit embeddings: |a - b|^2 = 2 - 2 a.b, in [0, 4]."""
    return 2.0 - 2.0 * similarity  # type: ignore[operator, return-value]
