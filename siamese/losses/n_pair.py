"""N-pair loss."""

import math
from typing import ClassVar

from pytorch_metric_learning.distances import DotProductSimilarity
from pytorch_metric_learning.losses import NPairsLoss
from pytorch_metric_learning.reducers import MeanReducer
from torch import Tensor

from siamese.losses.batch_loss import NOT_REGULARISED
from siamese.losses.loss import Loss, LossSize, Needs
from siamese.losses.ranges import check_above_zero


class NPair(Loss):
    """Mean over identities i of log(1 + sum over j != i of exp(a s(x_i, y_j) - a s(x_i, y_i))).

    Each identity with two images in the batch gives one pair (x_i, y_i), its first two; s is their similarity. Sohn,
    "Improved Deep Metric Learning with Multi-class N-pair Loss Objective", NIPS 2016, section 3, where embeddings
    are not normalised and their length is penalised; here they are of unit length, and the scale takes its place.

    Args:
        size: of the run.
        scale: a, the squared length that embeddings would have in the paper, above 0.
    """

    needs: ClassVar[Needs] = "identities"

    def __init__(self, size: LossSize, *, scale: float = 16.0) -> None:
        super().__init__()
        self.length = math.sqrt(check_above_zero("scale", scale))
        self.loss = NPairsLoss(
            distance=DotProductSimilarity(normalize_embeddings=False), reducer=MeanReducer(), **NOT_REGULARISED
        )

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Loss of a batch: embeddings (U, D) of unit length and their labels (U,); a scalar."""
        value: Tensor = self.loss(self.length * embeddings, labels)
        return value
