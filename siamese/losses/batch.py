"""What a loss sees: unit embeddings, and index tuples or identity labels that say which belong together."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from siamese.similarity import squared_distance


@dataclass(frozen=True)
class PairIndex:
    """Pairs among the embeddings of a batch.

    Attributes:
        left: rows of the left images, shape (P,), int64.
        right: rows of the right images, shape (P,), int64.
        same: 1 for genuine, 0 for impostor, shape (P,), float32.
    """

    left: Tensor
    right: Tensor
    same: Tensor


@dataclass(frozen=True)
class TripletIndex:
    """Triplets among the embeddings of a batch; each attribute has shape (T,), int64."""

    anchor: Tensor
    positive: Tensor
    negative: Tensor


@dataclass(frozen=True)
class QuadrupletIndex:
    """Quadruplets among the embeddings of a batch; each attribute has shape (Q,), int64.

    Anchor and positive are of one identity; either negative is of an identity of its own.
    """

    anchor: Tensor
    positive: Tensor
    negative: Tensor
    second_negative: Tensor


# Which tuples a loss is the mean over.
Reduction = Literal["all", "active"]

Tuples = PairIndex | TripletIndex | QuadrupletIndex


@dataclass(frozen=True)
class BatchIndex:
    """Which embeddings of a batch belong together.

    Attributes:
        tuples: pairs, triplets or quadruplets from a file; None where a batch is made of identities.
        labels: identity of each embedding, shape (U,), int64, from 0, and -1 where it is not known; None where a
            batch is made of tuples.
        teacher: the teacher's unit embeddings of the same images as they are, shape (U, T); None without a teacher.
    """

    tuples: Tuples | None = None
    labels: Tensor | None = None
    teacher: Tensor | None = None


# Keeps the root's gradient finite where two embeddings coincide.
_TINY = 1e-12
# Float32 leaves about as much of a squared distance that is zero.
_ROUNDING = 1e-6


def similarities(embeddings: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Similarity of rows of unit embeddings (U, D); shape (P,), in [-1, 1] up to rounding."""
    if len(left) <= len(embeddings):
        return (embeddings[left] * embeddings[right]).sum(dim=1)
    # More pairs than rows: each product once, and two tensors (P, D) less. Mined left rows come before those of a
    # memory, so the product has the batch's rows only.
    product = embeddings[: int(left.max()) + 1] @ embeddings.T
    return product.flatten()[left * len(embeddings) + right]


def squared_distances(embeddings: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Squared Euclidean distance between rows of unit embeddings (U, D); shape (P,), in [0, 4]."""
    return squared_distance(similarities(embeddings, left, right)).clamp_min(0.0)


def distances(embeddings: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Euclidean distance between rows of unit embeddings (U, D); shape (P,), in [0, 2]."""
    return root(squared_distances(embeddings, left, right))


def root(squared: Tensor) -> Tensor:
    """Distances from squared distances, with a finite gradient where embeddings coincide."""
    return squared.clamp_min(_TINY).sqrt()


def mean_cost(costs: Tensor, over: Reduction = "all") -> Tensor:
    """Mean of the costs of tuples (P,): over `all`, or over the `active`, which cost something.

    0 where there are none, still a part of the graph.
    """
    if over == "all":
        return costs.sum() / max(1, len(costs))
    return costs.sum() / (costs > 0).sum().clamp_min(1)


def costly_share(costs: Tensor) -> Tensor:
    """Share of tuples that cost more than rounding, in [0, 1], detached; 0 where there are none."""
    return mean_cost((costs.detach() > _ROUNDING).to(costs.dtype))
