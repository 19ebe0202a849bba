"""UniformFace: a cosine margin, and identities spread evenly over the sphere."""

import torch
import torch.nn.functional as F
from torch import Tensor

from siamese.losses.class_margin import CosFace
from siamese.losses.loss import LossSize
from siamese.losses.ranges import check_at_least
from siamese.similarity import squared_distance

# Keeps the root's gradient finite where two weights coincide.
_TINY = 1e-12


class UniformFace(CosFace):
    """CosFace plus lambda times the mean over pairs of identities j != k of 1 / (|c_j - c_k| + 1).

    The second term pushes the identities apart as charges on a sphere would, in [1/3, 1]. Duan, Lu and Zhou,
    "UniformFace: Learning Deep Equidistributed Representation for Face Recognition", CVPR 2019, section 3. The
    centres are the directions of the classifier's weights, which the first term holds amid their embeddings, instead
    of running means; and j runs over the identities of the batch, so memory grows with their number times that of
    all identities and not with the square of the latter.

    Args:
        size: embedding dimension and number of identities.
        margin: m of CosFace, a difference of cosines, in [0, 1].
        scale: s of CosFace, above 0.
        uniform: lambda, 0 or more; the paper's 1.
        label_smoothing: share of each label that is spread over all identities, in [0, 1).
    """

    def __init__(
        self,
        size: LossSize,
        *,
        margin: float = 0.35,
        scale: float = 30.0,
        uniform: float = 1.0,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(size, margin=margin, scale=scale, label_smoothing=label_smoothing)
        self.uniform = check_at_least("uniform", uniform, 0.0)

    def forward(self, embeddings: Tensor, index: Tensor) -> Tensor:
        """Loss of a batch: embeddings (U, D) of unit length, labels (U,) int64; a scalar."""
        return super().forward(embeddings, index) + self.uniform * self.closeness(torch.unique(index))

    def closeness(self, identities: Tensor) -> Tensor:
        """Mean of 1 / (distance + 1) from these identities (J,) to all others; a scalar in [1/3, 1]."""
        centres = F.normalize(self.weights[:, 0], dim=1)
        distance = squared_distance(centres[identities] @ centres.T).clamp_min(_TINY).sqrt()
        itself = torch.zeros_like(distance).scatter(1, identities[:, None], 1.0)
        return ((1 - itself) / (distance + 1)).sum() / (1 - itself).sum()
