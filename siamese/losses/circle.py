"""Circle loss."""

from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import CircleLoss
from pytorch_metric_learning.reducers import AvgNonZeroReducer
from torch import Tensor

from siamese.losses.batch_loss import NOT_REGULARISED, BatchLoss, all_pairs
from siamese.losses.loss import LossSize
from siamese.losses.ranges import check_above_zero


class Circle(BatchLoss):
    """Mean over rows of log(1 + sum_n exp(g a_n (s_n - m)) sum_p exp(-g a_p (s_p - 1 + m))).

    s_p and s_n are similarities of a row to its positives and negatives; a_p = max(0, 1 + m - s_p) and
    a_n = max(0, s_n + m) weight each by how far it is from its optimum, and carry no gradient. Sun et al., "Circle
    Loss: A Unified Perspective of Pair Similarity Optimization", CVPR 2020, section 3.

    Args:
        size: of the run.
        margin: m, in (0, 1): positives are asked to exceed 1 - m and negatives to stay below m. The paper has 0.4
            for retrieval and 0.25 for faces.
        gamma: g, the scale, above 0; 80 for retrieval and 256 for faces in the paper.
        memory: how many embeddings of earlier batches rows are compared with.
    """

    def __init__(self, size: LossSize, *, margin: float = 0.4, gamma: float = 80.0, memory: int = 0) -> None:
        super().__init__(size, memory)
        if not 0 < margin < 1:
            raise ValueError(f"margin={margin}: expected a number in (0, 1)")
        check_above_zero("gamma", gamma)
        self.loss = CircleLoss(
            m=margin, gamma=gamma, distance=CosineSimilarity(), reducer=AvgNonZeroReducer(), **NOT_REGULARISED
        )

    def compare(self, embeddings: Tensor, labels: Tensor, rows: Tensor, row_labels: Tensor) -> Tensor:
        """Loss of the batch (U, D) among the rows (R, D)."""
        pairs = all_pairs(row_labels, len(embeddings))
        value: Tensor = self.loss(embeddings, labels, pairs, rows, row_labels)
        return value
