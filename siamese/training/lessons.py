"""What a teacher embeds the training images to, by row."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Ints = NDArray[np.int64]


class Lessons:
    """Unit embeddings by a teacher.

    Args:
        embeddings: of the images `rows`, shape (N, T), float32; may be mapped from a file.
        rows: which images those are, shape (N,), rising.
    """

    def __init__(self, embeddings: NDArray[np.float32], rows: Ints) -> None:
        self._embeddings, self.rows = embeddings, rows

    @property
    def dim(self) -> int:
        """Width T of the embeddings."""
        return int(self._embeddings.shape[1])

    def take(self, rows: Ints) -> Tensor:
        """Embeddings (U, T) of the images `rows`, each of which must be there."""
        return torch.from_numpy(self._embeddings[np.searchsorted(self.rows, rows)])
