"""How often the right identity is among the first that an identity head names."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


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
