"""Triplet loss."""

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from siamese.losses.batch import Reduction, TripletIndex, costly_share, mean_cost, root, squared_distances
from siamese.losses.loss import LossSize, Needs
from siamese.losses.mining import Mining
from siamese.losses.tuple_loss import TupleLoss

Form = Literal["euclidean", "squared"]


class Triplet(TupleLoss):
    """Mean over triplets of max(0, d(a, p) - d(a, n) + m).

    d is the Euclidean distance of two unit embeddings, in [0, 2]. The form of `torch.nn.TripletMarginLoss` (Balntas
    et al., BMVC 2016); Schroff et al., "FaceNet", CVPR 2015, equation 3, has d^2 in place of d.

    Args:
        size: of the run.
        margin: m, by how much the negative must be farther than the positive, in (0, 2].
        form: `euclidean` for d, `squared` for d^2.
        soft: log(1 + exp(d(a, p) - d(a, n))) instead, which never ceases to pull (Hermans et al., "In Defense of the
            Triplet Loss", 2017, section 2); the margin then plays no part.
        reduce: mean over `all` triplets, or over the `active`, which cost something.
        mining: how triplets are chosen from labels.
        memory: how many embeddings of earlier batches positives and negatives may come from.
    """

    needs: ClassVar[Needs] = "triplets"

    def __init__(
        self,
        size: LossSize,
        *,
        margin: float = 0.3,
        form: Form = "euclidean",
        soft: bool = False,
        reduce: Reduction = "all",
        mining: Mining = "auto",
        memory: int = 0,
    ) -> None:
        super().__init__(size, mining, memory)
        if not 0 < margin <= 2:
            raise ValueError(f"margin={margin}: expected a distance in (0, 2]")
        self.margin, self.form, self.soft, self.reduce = margin, form, soft, reduce

    def forward(self, embeddings: Tensor, index: TripletIndex) -> Tensor:
        """Loss of a batch: embeddings (U, D) of unit length, and triplets among them; a scalar."""
        positive = squared_distances(embeddings, index.anchor, index.positive)
        negative = squared_distances(embeddings, index.anchor, index.negative)
        if self.form == "euclidean":
            positive, negative = root(positive), root(negative)
        if self.soft:
            return mean_cost(F.softplus(positive - negative))
        costs = (positive - negative + self.margin).clamp_min(0.0)
        self.active = costly_share(costs)
        return mean_cost(costs, self.reduce)
