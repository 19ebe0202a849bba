"""What the losses on all rows of a batch and their labels share: a memory, and every pair at once."""

from abc import abstractmethod
from typing import Any, ClassVar

from torch import Tensor

from siamese.losses.loss import Loss, LossSize, Needs
from siamese.losses.memory import memory_of, with_memory
from siamese.losses.mining import relations

# What every loss of pytorch-metric-learning adds to itself unless told otherwise: nothing.
NOT_REGULARISED: dict[str, Any] = {"embedding_regularizer": None, "embedding_reg_weight": 1}


class BatchLoss(Loss):
    """A loss that compares each row of a batch with all others at once.

    Attributes:
        memory: embeddings of earlier batches that rows are compared with too, or None.
    """

    needs: ClassVar[Needs] = "identities"

    def __init__(self, size: LossSize, memory: int = 0) -> None:
        super().__init__()
        self.memory = memory_of(memory, size.embedding_dim)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Loss of a batch: embeddings (U, D) of unit length and their labels (U,); a scalar.

        With a memory, a label stands for the same identity in every batch.
        """
        rows, row_labels = with_memory(self.memory, embeddings, labels)
        value = self.compare(embeddings, labels, rows, row_labels)
        if self.training and self.memory is not None:
            self.memory.remember(embeddings, labels)
        return value

    @abstractmethod
    def compare(self, embeddings: Tensor, labels: Tensor, rows: Tensor, row_labels: Tensor) -> Tensor:
        """Loss of the batch (U, D) among the rows (R, D) it begins: itself, then the memory."""


def all_pairs(labels: Tensor, anchors: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Every ordered pair of one of the first `anchors` rows and another row.

    Returns:
        anchors and positives of the genuine pairs, anchors and negatives of the impostor pairs.
    """
    same, different = relations(labels, anchors)
    anchor, positive = same.nonzero(as_tuple=True)
    other, negative = different.nonzero(as_tuple=True)
    return anchor, positive, other, negative
