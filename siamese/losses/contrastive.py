"""Contrastive loss on pairs."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from siamese.losses.batch import PairIndex, distances, squared_distances


@dataclass(frozen=True)
class Contrastive:
    """Mean over pairs of y d^2 + (1 - y) max(0, m - d)^2.

    d is the Euclidean distance of two unit embeddings, in [0, 2]; y is 1 for a genuine pair and 0 for an impostor
    pair. Hadsell, Chopra and LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006,
    equation 4 (there with a factor of one half and the opposite label).

    Attributes:
        margin: m, the distance beyond which an impostor pair costs nothing, in (0, 2]. The default is just below the
            sqrt(2) of orthogonal embeddings: where a pretrained verifier has its impostor pairs already.
    """

    margin: float = 1.4
    needs: ClassVar[type] = PairIndex

    def __post_init__(self) -> None:
        if not 0 < self.margin <= 2:
            raise ValueError(f"margin={self.margin}: expected a distance in (0, 2]")

    def __call__(self, embeddings: Tensor, index: PairIndex) -> Tensor:
        """Loss of a batch: embeddings (U, D) of unit length, and pairs among them; a scalar."""
        pull = squared_distances(embeddings, index.left, index.right)
        push = (self.margin - distances(embeddings, index.left, index.right)).clamp_min(0.0) ** 2
        return (index.same * pull + (1.0 - index.same) * push).mean()
