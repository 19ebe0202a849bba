"""What embeddings and scores look like before any threshold: alignment, uniformity, and the gap between the kinds."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamese.errors import DataError
from siamese.evaluation.curves import Floats, check_scores
from siamese.similarity import normalise, squared_distance

# Up to so many embeddings uniformity is that of all pairs (50 million), beyond that of so many drawn pairs.
EXACT_EMBEDDINGS = 10_000
DRAWN_PAIRS = 2**20

_ROWS, _COLUMNS = 1024, 32  # of the blocks in which embeddings are taken up in float64
_LENGTH_TOLERANCE = 1e-3  # of unit embeddings that were stored as float16


@dataclass(frozen=True)
class ScoreGap:
    """How far genuine scores lie above impostor scores.

    Attributes:
        genuine_mean: mean score of the genuine pairs.
        genuine_std: standard deviation (n - 1) of them, None for a single pair.
        impostor_mean: mean score of the impostor pairs.
        impostor_std: standard deviation (n - 1) of them, None for a single pair.
        gap: genuine mean - impostor mean.
        d_prime: the gap over the root mean square of the two standard deviations; None where that is 0 or unknown.
    """

    genuine_mean: float
    genuine_std: float | None
    impostor_mean: float
    impostor_std: float | None
    gap: float
    d_prime: float | None


def score_gap(scores: ArrayLike, same: ArrayLike) -> ScoreGap:
    """Means and standard deviations of both kinds of scores, and d' (decidability; Daugman, 2000, "Biometric
    decision landscapes").

    Args:
        scores: similarities, shape (N,).
        same: labels, shape (N,).

    Raises:
        DataError: what `check_scores` refuses.
    """
    values, labels = check_scores(scores, same)
    genuine, genuine_std = _moments(values[labels])
    impostor, impostor_std = _moments(values[~labels])
    d_prime = None
    if genuine_std is not None and impostor_std is not None and (genuine_std or impostor_std):
        d_prime = (genuine - impostor) / float(np.hypot(genuine_std, impostor_std) / np.sqrt(2))
    return ScoreGap(genuine, genuine_std, impostor, impostor_std, genuine - impostor, d_prime)


def _moments(values: Floats) -> tuple[float, float | None]:
    # Shifted by one of them: the mean of equal scores is that score, and their deviation 0, to the last digit.
    shifted = values - values[0]
    return float(values[0] + shifted.mean()), float(shifted.std(ddof=1)) if len(values) > 1 else None


def alignment(embeddings: NDArray[Any], identities: ArrayLike) -> float | None:
    """Mean squared distance of two embeddings of one identity, in [0, 4]; lower is better.

    Wang and Isola, "Understanding contrastive representation learning through alignment and uniformity on the
    hypersphere", 2020, equation 1 with alpha = 2; positives are all pairs of different images of one identity, each
    weighing the same. Exact, in time and memory linear in the number of embeddings.

    Args:
        embeddings: unit vectors, shape (N, D).
        identities: label of each, shape (N,), of any kind.

    Returns:
        None where no identity has two images.

    Raises:
        DataError: other shapes, numbers that are not finite, or vectors that are not of unit length.

    Example:
        >>> alignment(np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), ["a", "a", "b"])
        2.0
    """
    vectors, lengths = _check_unit(embeddings)
    labels = np.asarray(identities)
    if labels.shape != lengths.shape:
        raise DataError(f"embeddings {vectors.shape} and identities {labels.shape}: expected a label for each row")
    _, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    pairs = int((sizes * (sizes - 1)).sum()) // 2
    if pairs == 0:
        return None
    order, starts = np.argsort(codes, kind="stable"), np.cumsum(sizes) - sizes
    # The squared distances within a group of n unit vectors add up to n^2 - |their sum|^2.
    total = float((sizes.astype(np.float64) ** 2).sum())
    for column in range(0, vectors.shape[1], _COLUMNS):
        block = vectors[:, column : column + _COLUMNS][order] / lengths[order, None]
        total -= float((np.add.reduceat(block, starts, axis=0) ** 2).sum())
    return max(0.0, total / pairs)


def uniformity(embeddings: NDArray[Any], seed: int = 0) -> float | None:
    """How evenly embeddings spread over the sphere: log of the mean of exp(-2 d^2), d the distance of two of them.

    Wang and Isola, 2020, equation 2 with t = 2, over pairs of different embeddings; in [-8, 0], lower is more even.
    In high dimensions evenly spread embeddings are at right angles and reach about -4. Up to `EXACT_EMBEDDINGS`
    embeddings all pairs count, beyond that `DRAWN_PAIRS` pairs drawn with `seed`; memory is bounded either way.

    Args:
        embeddings: unit vectors, shape (N, D).
        seed: of the drawn pairs.

    Returns:
        None for fewer than two embeddings.

    Raises:
        DataError: another shape, numbers that are not finite, or vectors that are not of unit length.
    """
    vectors, _ = _check_unit(embeddings)
    if len(vectors) < 2:
        return None
    mean = _mean_of_all(vectors) if len(vectors) <= EXACT_EMBEDDINGS else _mean_of_drawn(vectors, seed)
    return float(np.log(mean))


def _potential(similarity: Floats) -> Floats:
    return np.asarray(np.exp(-2.0 * squared_distance(np.clip(similarity, -1.0, 1.0))))


def _mean_of_all(vectors: NDArray[Any]) -> float:
    count, total = len(vectors), 0.0
    for top in range(0, count, _ROWS):
        rows = normalise(vectors[top : top + _ROWS].astype(np.float64))
        # Of the block on the diagonal only what lies above it.
        total += float(np.triu(_potential(rows @ rows.T), 1).sum())
        for left in range(top + _ROWS, count, _ROWS):
            columns = normalise(vectors[left : left + _ROWS].astype(np.float64))
            total += float(_potential(rows @ columns.T).sum())
    return total / (count * (count - 1) / 2)


def _mean_of_drawn(vectors: NDArray[Any], seed: int) -> float:
    rng, count, total = np.random.default_rng(seed), len(vectors), 0.0
    for _ in range(0, DRAWN_PAIRS, _ROWS):
        left = rng.integers(count, size=_ROWS)
        right = (left + rng.integers(1, count, size=_ROWS)) % count
        one, other = (normalise(vectors[rows].astype(np.float64)) for rows in (left, right))
        total += float(_potential(np.einsum("nd,nd->n", one, other)).sum())
    return total / DRAWN_PAIRS


def _check_unit(embeddings: NDArray[Any]) -> tuple[NDArray[Any], Floats]:
    """The embeddings and their lengths, (N,)."""
    vectors = np.asarray(embeddings)
    if vectors.ndim != 2 or vectors.dtype.kind != "f":
        found = f"{vectors.dtype} of shape {vectors.shape}"
        raise DataError(f"embeddings: found {found}, expected floating-point numbers of shape (images, dimensions)")
    lengths = np.empty(len(vectors))
    for top in range(0, len(vectors), _ROWS):
        lengths[top : top + _ROWS] = np.linalg.norm(vectors[top : top + _ROWS].astype(np.float64), axis=1)
    if not np.isfinite(lengths).all():
        row = int(np.flatnonzero(~np.isfinite(lengths))[0])
        raise DataError(f"embedding of row {row}: holds numbers that are not finite; leave such rows out")
    wrong = np.flatnonzero(np.abs(lengths - 1.0) > _LENGTH_TOLERANCE)
    if len(wrong):
        found = f"length {lengths[wrong[0]]:.6g}"
        raise DataError(
            f"embedding of row {wrong[0]}: {found}, expected 1; normalise embeddings before diagnosing them"
        )
    return vectors, lengths
