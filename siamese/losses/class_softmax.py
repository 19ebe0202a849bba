"""Softmax cross-entropy over identities."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamese.losses.class_weights import check_identities, imprint_rows, random_rows
from siamese.losses.loss import ClassLoss, LinearClassifier, LossSize
from siamese.losses.ranges import check_above_zero, check_label_smoothing


class CrossEntropy(ClassLoss):
    """Mean of -log softmax(s W z + b)_y: a linear classifier of identities on unit embeddings z.

    W has a row per identity, of any length, b an offset; both are learnt. The plain classification that margin
    losses refine; it separates identities without asking for a gap between them.

    Args:
        size: embedding dimension and number of identities.
        scale: s, above 0. Logits of unit vectors lie in [-1, 1], in which no softmax over many identities gets sure
            of one; 16 lets it reach a probability of .99 among some thousands (Wang et al., "CosFace", CVPR 2018,
            equation 6, gives the bound).
        label_smoothing: share of each label that is spread over all identities, in [0, 1).

    Attributes:
        weight: W, shape (C, D).
        bias: b, shape (C,).
    """

    def __init__(self, size: LossSize, *, scale: float = 16.0, label_smoothing: float = 0.0) -> None:
        super().__init__()
        identities = check_identities(size)
        self.scale = check_above_zero("scale", scale)
        self.label_smoothing = check_label_smoothing(label_smoothing)
        self.weight = nn.Parameter(random_rows(identities, size.embedding_dim))
        self.bias = nn.Parameter(torch.zeros(identities))

    def forward(self, embeddings: Tensor, index: Tensor) -> Tensor:
        """Loss of a batch: embeddings (U, D) of unit length, labels (U,) int64; a scalar."""
        logits = self.scale * embeddings @ self.weight.T + self.bias
        return F.cross_entropy(logits, index, label_smoothing=self.label_smoothing)

    def imprint(self, means: Tensor) -> None:
        """Start from class means (C, D), see `ClassLoss.imprint`."""
        imprint_rows(self.weight, means)

    def classifier(self) -> LinearClassifier:
        """The linear classifier itself."""
        return LinearClassifier(self.weight.detach().unsqueeze(1).clone(), self.bias.detach().clone(), self.scale)
