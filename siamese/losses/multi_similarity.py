"""Multi-similarity loss."""

from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import MultiSimilarityLoss
from pytorch_metric_learning.reducers import MeanReducer
from torch import Tensor

from siamese.losses.batch import costly_share
from siamese.losses.batch_loss import NOT_REGULARISED, BatchLoss
from siamese.losses.loss import LossSize
from siamese.losses.mining import relations
from siamese.losses.ranges import check_above_zero


class MultiSimilarity(BatchLoss):
    """Mean over rows of log(1 + sum_p exp(-a (s_p - c))) / a + log(1 + sum_n exp(b (s_n - c))) / b.

    s_p and s_n are similarities of a row to its mined positives and negatives. Mined is a positive that is no more
    than `epsilon` more similar than the row's most similar negative, and a negative that is at most `epsilon` less
    similar than the row's least similar positive. Wang et al., "Multi-Similarity Loss with General Pair Weighting
    for Deep Metric Learning", CVPR 2019, section 3.

    Args:
        size: of the run.
        alpha: a, how sharply positives are weighted by how hard they are, above 0.
        beta: b, the same of negatives, above 0.
        base: c, the similarity that positives should exceed and negatives stay below, in [-1, 1].
        epsilon: of the mining, 0 or more; the larger, the more pairs.
        memory: how many embeddings of earlier batches rows are compared with.
    """

    def __init__(
        self,
        size: LossSize,
        *,
        alpha: float = 2.0,
        beta: float = 50.0,
        base: float = 0.5,
        epsilon: float = 0.1,
        memory: int = 0,
    ) -> None:
        super().__init__(size, memory)
        check_above_zero("alpha", alpha)
        check_above_zero("beta", beta)
        if not -1 <= base <= 1:
            raise ValueError(f"base={base}: expected a similarity in [-1, 1]")
        if not epsilon >= 0:
            raise ValueError(f"epsilon={epsilon}: expected 0 or more")
        self.epsilon = epsilon
        self.loss = MultiSimilarityLoss(
            alpha=alpha, beta=beta, base=base, distance=CosineSimilarity(), reducer=MeanReducer(), **NOT_REGULARISED
        )

    def compare(self, embeddings: Tensor, labels: Tensor, rows: Tensor, row_labels: Tensor) -> Tensor:
        """Loss of the batch (U, D) among the rows (R, D)."""
        mined = mine_informative(embeddings.detach(), rows.detach(), row_labels, self.epsilon)
        self.active = costly_share(_has(mined[0], labels) + _has(mined[2], labels))
        value: Tensor = self.loss(embeddings, labels, mined, rows, row_labels)
        return value


def mine_informative(embeddings: Tensor, rows: Tensor, labels: Tensor, epsilon: float) -> tuple[Tensor, ...]:
    """The pairs that `MultiSimilarity` counts, among rows (R, D) that begin with the batch (U, D).

    Returns:
        anchors and positives of the genuine pairs, anchors and negatives of the impostor pairs.
    """
    same, different = relations(labels, len(embeddings))
    similarity = embeddings @ rows.T
    # An anchor without a negative keeps no positives, and one without a positive keeps no negatives.
    nearest = similarity.masked_fill(~different, -float("inf")).amax(dim=1, keepdim=True)
    farthest = similarity.masked_fill(~same, float("inf")).amin(dim=1, keepdim=True)
    genuine = same & (similarity - epsilon < nearest)
    impostor = different & (similarity + epsilon > farthest)
    return *genuine.nonzero(as_tuple=True), *impostor.nonzero(as_tuple=True)


def _has(anchors: Tensor, labels: Tensor) -> Tensor:
    marks = labels.new_zeros(len(labels)).float()
    marks[anchors] = 1.0
    return marks
