"""Images whose identity an embedding doubts: one person under two names, or a picture filed under a wrong one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from siamese.pairing.identities import IdentityIndex
from siamese.pairing.neighbours import nearest_strangers

Ints = NDArray[np.int64]

# The median absolute deviation of normal values times this is their standard deviation.
NORMAL = 1.4826
# Without genuine pairs, what a genuine pair reaches is taken to be this many spreads above the nearest stranger:
# one in 30,000 normal values lies further out.
WITHOUT_GENUINE = 4.0


@dataclass(frozen=True)
class Suspect:
    """An image that looks like another identity than its own.

    Attributes:
        image: row of the image.
        other: row of the most similar image of another identity.
        similarity: of the two, in [-1, 1].
        own: mean similarity of the image with the others of its identity; None where there are none.
        others: how many those are.
        score: see `label_suspects`; higher is more suspect.
    """

    image: int
    other: int
    similarity: float
    own: float | None
    others: int
    score: float


@dataclass(frozen=True)
class Suspicion:
    """Label suspects, and what they were measured against.

    Attributes:
        suspects: strongest first.
        total: how many there are, those not listed included.
        genuine: what a genuine pair typically reaches: median over identities of their mean similarity.
        stranger: what the nearest stranger of an image typically reaches: median over images.
        spread: of the latter over images, as a standard deviation (robust).
    """

    suspects: tuple[Suspect, ...]
    total: int
    genuine: float
    stranger: float
    spread: float

    @property
    def told_apart(self) -> bool:
        """Whether genuine pairs typically are more similar than nearest strangers; else nobody can be accused."""
        return self.genuine > self.stranger


def label_suspects(vectors: NDArray[np.float32], groups: Ints, *, limit: int = 1000) -> Suspicion:
    """Find images that are more similar to another identity than their own identity supports.

    For image i, let b be its highest similarity to an image of another identity, and m its mean similarity with the
    n other images of its own. With g the similarity of a typical genuine pair and s that of a typical nearest
    stranger, both of this very data, the score is

        b - max((n m + g) / (n + 1), s)

    The support of its own identity counts g once, as if one more ordinary image were there: so an image without
    others (n = 0) is suspect when a stranger is nearer than a genuine pair typically is, and one with a single poor
    companion is not condemned by it alone. An image that resembles nobody (low m, b no higher than s) is no suspect.
    Reported is what scores above the spread of b over the data (1.4826 median absolute deviations). Two images that
    suspect each other are reported once, the one with less support as the suspect.

    Similarities are computed in blocks: time grows with N^2, memory with N.

    Args:
        vectors: unit embeddings, shape (N, D).
        groups: identity of each as a number from 0, shape (N,).
        limit: suspects to list.
    """
    count = len(vectors)
    if len(np.unique(groups)) < 2:
        return Suspicion((), 0, 0.0, 0.0, 0.0)
    index = IdentityIndex.of_codes(groups, np.arange(groups.max() + 1).astype(object))
    nearest = nearest_strangers(vectors, index, 1)
    best, other = nearest.hardness[:, 0], nearest.rows[:, 0]
    own, others, genuine = _own_support(vectors, groups)
    stranger = float(np.median(best))
    spread = NORMAL * float(np.median(np.abs(best - stranger)))
    if genuine is None:
        genuine = stranger + WITHOUT_GENUINE * spread
    support = (others * own + genuine) / (others + 1)
    score = best - np.maximum(support, stranger)
    margin = max(spread, float(np.finfo(np.float32).eps))
    found = np.flatnonzero(score > margin) if genuine > stranger else np.empty(0, np.int64)
    found = found[np.argsort(-score[found], kind="stable")]
    pairs = np.minimum(found, other[found]) * count + np.maximum(found, other[found])
    found = found[np.sort(np.unique(pairs, return_index=True)[1])]
    suspects = tuple(
        Suspect(row, int(other[row]), float(best[row]), mean, int(others[row]), float(score[row]))
        for row in found[:limit].tolist()
        for mean in [float(own[row]) if others[row] else None]
    )
    return Suspicion(suspects, len(found), genuine, stranger, spread)


def _own_support(
    vectors: NDArray[np.float32], groups: Ints
) -> tuple[NDArray[np.float64], NDArray[np.int64], float | None]:
    """Mean similarity of each image with the others of its group (0 without any), their number, and the median over
    groups of their mean similarity (None when every group has one image)."""
    sizes = np.bincount(groups)
    sums = np.zeros((len(sizes), vectors.shape[1]))
    np.add.at(sums, groups, vectors)
    others = np.asarray(sizes[groups] - 1, dtype=np.int64)
    # The sum over a group holds the image itself, whose similarity with itself is 1.
    own = (np.einsum("nd,nd->n", vectors, sums[groups]) - 1) / np.maximum(others, 1)
    own[others == 0] = 0
    several = sizes > 1
    if not several.any():
        return own, others, None
    means = np.bincount(groups, weights=own)[several] / sizes[several]
    return own, others, float(np.median(means))
