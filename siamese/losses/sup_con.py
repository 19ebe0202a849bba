"""Supervised contrastive loss."""

from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import SupConLoss
from pytorch_metric_learning.reducers import AvgNonZeroReducer
from torch import Tensor

from siamese.losses.batch_loss import NOT_REGULARISED, BatchLoss, all_pairs
from siamese.losses.loss import LossSize
from siamese.losses.ranges import check_above_zero


class SupCon(BatchLoss):
    """Mean over rows i of -1/|P(i)| sum over p in P(i) of log(exp(s_ip / t) / sum over a != i of exp(s_ia / t)).

    s is the similarity and P(i) the other rows of the identity of i; rows without any are left out. Khosla et al.,
    "Supervised Contrastive Learning", NeurIPS 2020, equation 2.

    Args:
        size: of the run.
        temperature: t, above 0.
        memory: how many embeddings of earlier batches rows are compared with.
    """

    def __init__(self, size: LossSize, *, temperature: float = 0.1, memory: int = 0) -> None:
        super().__init__(size, memory)
        check_above_zero("temperature", temperature)
        # Rows without a positive cost exactly zero there, and are the ones that the reducer leaves out.
        self.loss = SupConLoss(
            temperature=temperature, distance=CosineSimilarity(), reducer=AvgNonZeroReducer(), **NOT_REGULARISED
        )

    def compare(self, embeddings: Tensor, labels: Tensor, rows: Tensor, row_labels: Tensor) -> Tensor:
        """Loss of the batch (U, D) among the rows (R, D)."""
        pairs = all_pairs(row_labels, len(embeddings))
        value: Tensor = self.loss(embeddings, labels, pairs, rows, row_labels)
        return value
