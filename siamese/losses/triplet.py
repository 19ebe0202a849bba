"""Triplet loss."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from siamese.losses.batch import TripletIndex, distances


@dataclass(frozen=True)
class Triplet:
    """Mean over triplets of max(0, d(a, p) - d(a, n) + m).

    d is the Euclidean distance of two unit embeddings, in [0, 2]. The form of `torch.nn.TripletMarginLoss` (Balntas
    et al., BMVC 2016); Schroff et al., "FaceNet", CVPR 2015, equation 3, uses d^2.

    Attributes:
        margin: m, by how much the negative must be farther than the positive, in (0, 2].
    """

    margin: float = 0.3
    needs: ClassVar[type] = TripletIndex

    def __post_init__(self) -> None:
        if not 0 < self.margin <= 2:
            raise ValueError(f"margin={self.margin}: expected a distance in (0, 2]")

    def __call__(self, embeddings: Tensor, index: TripletIndex) -> Tensor:
        """Loss of a batch: embeddings (U, D) of unit length, and triplets among them; a scalar."""
        positive = distances(embeddings, index.anchor, index.positive)
        negative = distances(embeddings, index.anchor, index.negative)
        return (positive - negative + self.margin).clamp_min(0.0).mean()
