"""What embedding a list of images gives, and how many go through the network at a time. Imports no torch."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from siamese.images.loader import Outcome

# On a CPU more images at a time gain nothing and cost memory; a GPU wants to be filled.
CPU_BATCH, GPU_BATCH = 16, 128


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of a list of images.

    Attributes:
        vectors: shape (N, D), float32, rows of unit length; zero where the outcome is not `ok`.
        outcomes: what happened to each image.
    """

    vectors: NDArray[np.float32]
    outcomes: list[Outcome]

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Which rows hold an embedding, shape (N,)."""
        return np.array([outcome.status == "ok" for outcome in self.outcomes], dtype=bool)


def default_batch(device: str) -> int:
    """Images at a time that suit a device."""
    return CPU_BATCH if device == "cpu" else GPU_BATCH
