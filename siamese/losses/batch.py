"""What a loss sees: unit embeddings, and index tuples that say which belong together."""

from dataclasses import dataclass

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


BatchIndex = PairIndex | TripletIndex

# Keeps the root's gradient finite where two embeddings coincide.
_TINY = 1e-12


def squared_distances(embeddings: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Squared Euclidean distance between rows of unit embeddings (U, D); shape (P,), in [0, 4]."""
    similarity = (embeddings[left] * embeddings[right]).sum(dim=1)
    return squared_distance(similarity).clamp_min(0.0)


def distances(embeddings: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Euclidean distance between rows of unit embeddings (U, D); shape (P,), in [0, 2]."""
    return squared_distances(embeddings, left, right).clamp_min(_TINY).sqrt()
