"""Quadruplet loss."""

from typing import ClassVar

from torch import Tensor

from siamese.losses.batch import QuadrupletIndex, Reduction, costly_share, mean_cost, squared_distances
from siamese.losses.loss import LossSize, Needs
from siamese.losses.mining import Mining
from siamese.losses.tuple_loss import TupleLoss


class Quadruplet(TupleLoss):
    """Mean over quadruplets of max(0, d(a, p)^2 - d(a, n)^2 + m) + max(0, d(a, p)^2 - d(n2, n)^2 + m2).

    d is the Euclidean distance of two unit embeddings; n and n2 are of two identities other than the anchor's. The
    second term asks that genuine pairs be nearer than impostor pairs of *other* people: what one threshold for all
    needs, and triplets never compare. Chen et al., "Beyond Triplet Loss: A Deep Quadruplet Network for Person
    Re-identification", CVPR 2017, section 3.

    Args:
        size: of the run.
        margin: m, in (0, 4].
        second_margin: m2, in (0, 4]; smaller than m, as the second term is the weaker one in the paper.
        reduce: mean over `all` quadruplets, or over the `active`, which cost something.
        mining: how quadruplets are chosen from labels.
    """

    needs: ClassVar[Needs] = "quadruplets"

    def __init__(
        self,
        size: LossSize,
        *,
        margin: float = 0.6,
        second_margin: float = 0.3,
        reduce: Reduction = "all",
        mining: Mining = "auto",
    ) -> None:
        super().__init__(size, mining)
        for name, value in (("margin", margin), ("second_margin", second_margin)):
            if not 0 < value <= 4:
                raise ValueError(f"{name}={value}: expected a squared distance in (0, 4]")
        self.margin, self.second_margin, self.reduce = margin, second_margin, reduce

    def forward(self, embeddings: Tensor, index: QuadrupletIndex) -> Tensor:
        """Loss of a batch: embeddings (U, D) of unit length, and quadruplets among them; a scalar."""
        genuine = squared_distances(embeddings, index.anchor, index.positive)
        impostor = squared_distances(embeddings, index.anchor, index.negative)
        others = squared_distances(embeddings, index.second_negative, index.negative)
        costs = (genuine - impostor + self.margin).clamp_min(0.0)
        costs = costs + (genuine - others + self.second_margin).clamp_min(0.0)
        self.active = costly_share(costs)
        return mean_cost(costs, self.reduce)
