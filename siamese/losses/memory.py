"""Cross-batch memory: embeddings of earlier batches as further candidates for the pairs of a batch."""

import torch
from torch import Tensor, nn

# A similarity matrix of 64 images against it takes 256 MiB.
LARGEST_MEMORY = 2**20


class Memory(nn.Module):
    """The last N embeddings and their labels.

    Wang et al., "Cross-Batch Memory for Embedding Learning", CVPR 2020: embeddings drift slowly, so those of earlier
    steps serve as partners though they carry no gradient. Here a batch meets itself, with gradients on both sides,
    and what was remembered *before* it, so that no embedding is ever paired with its own copy. The state is in
    buffers: a resumed run goes on with the same memory.

    Args:
        size: N, from 1 to `LARGEST_MEMORY`.
        embedding_dim: width D of the embeddings.
    """

    embeddings: Tensor
    labels: Tensor
    next_row: Tensor

    def __init__(self, size: int, embedding_dim: int) -> None:
        super().__init__()
        self.register_buffer("embeddings", torch.zeros(size, embedding_dim))
        self.register_buffer("labels", torch.full((size,), -1, dtype=torch.int64))
        self.register_buffer("next_row", torch.zeros((), dtype=torch.int64))

    def recall(self) -> tuple[Tensor, Tensor]:
        """What is remembered: embeddings (M, D) and labels (M,), with M from 0 to N."""
        filled = self.labels >= 0
        return self.embeddings[filled], self.labels[filled]

    @torch.no_grad()
    def remember(self, embeddings: Tensor, labels: Tensor) -> None:
        """Put a batch (U, D) with labels (U,) in the place of the oldest entries; of more than N rows, the last N.

        A row that is not finite is left out: it would spoil every step that meets it.
        """
        size = len(self.labels)
        embeddings, labels = embeddings[-size:], labels[-size:]
        finite = embeddings.isfinite().all(dim=1)
        rows = (self.next_row + torch.arange(len(labels), device=labels.device)) % size
        # Out of place: the step that has just been taken may still need the old values for its gradient.
        self.embeddings = self.embeddings.index_copy(0, rows, embeddings.nan_to_num(0, 0, 0).to(self.embeddings))
        self.labels = self.labels.index_copy(0, rows, labels.where(finite, -1))
        self.next_row = (self.next_row + len(labels)) % size


def memory_of(size: int, embedding_dim: int) -> Memory | None:
    """The memory that the option `memory` asks for; None for 0.

    Raises:
        ValueError: the size is negative or beyond `LARGEST_MEMORY`.
    """
    if not 0 <= size <= LARGEST_MEMORY:
        raise ValueError(f"memory={size}: expected a number of embeddings from 0 (none) to {LARGEST_MEMORY}")
    return Memory(size, embedding_dim) if size else None


def with_memory(memory: Memory | None, embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The rows of a batch, followed by those that are remembered: (U + M, D) and (U + M,)."""
    if memory is None:
        return embeddings, labels
    kept, kept_labels = memory.recall()
    return torch.cat((embeddings, kept.to(embeddings.dtype))), torch.cat((labels, kept_labels))
