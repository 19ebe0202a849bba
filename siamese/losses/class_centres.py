"""Losses on distances to a centre per identity: center loss and large-margin Gaussian mixture."""

import torch.nn.functional as F
from torch import Tensor, nn

from siamese.losses.class_weights import check_identities, imprint_rows, random_rows
from siamese.losses.loss import ClassLoss, LinearClassifier, LossSize
from siamese.losses.ranges import check_above_zero, check_at_least, check_label_smoothing


class Center(ClassLoss):
    """Mean of |z - c_y|^2 / 2: pulls each embedding z to the learnt centre c_y of its identity.

    Wen et al., "A Discriminative Feature Learning Approach for Deep Face Recognition", ECCV 2016, equation 2, where
    it accompanies softmax cross-entropy: alone it is least where all embeddings coincide, so write it as a sum, such
    as `cross_entropy+center:0.01`. The centres follow the gradient, with the optimiser's rate, instead of the
    paper's rule with a rate of its own.

    Args:
        size: embedding dimension and number of identities.
        scale: of the logits of the nearest-centre classifier, above 0; it shapes probabilities, neither the loss nor
            the decision.

    Attributes:
        centres: shape (C, D); inside the unit ball once trained.
    """

    def __init__(self, size: LossSize, *, scale: float = 16.0) -> None:
        super().__init__()
        self.scale = check_above_zero("scale", scale)
        self.centres = nn.Parameter(random_rows(check_identities(size), size.embedding_dim))

    def forward(self, embeddings: Tensor, index: Tensor) -> Tensor:
        """Loss of a batch: embeddings (U, D) of unit length, labels (U,) int64; a scalar."""
        return 0.5 * (embeddings - self.centres[index]).square().sum(dim=1).mean()

    def imprint(self, means: Tensor) -> None:
        """Start from class means (C, D), see `ClassLoss.imprint`."""
        imprint_rows(self.centres, means)

    def classifier(self) -> LinearClassifier:
        """The nearest centre decides."""
        return _nearest(self.centres, self.scale)


class LargeMarginGaussian(ClassLoss):
    """L-GM: identities as Gaussians around learnt means, a margin between them, and their likelihood.

    With d_k = |z - mu_k|^2 / (2 v), the mean of -log softmax(-d - alpha d_y e_y)_y + lambda d_y, in which e_y is the
    one-hot label: the own distance counts 1 + alpha times. Wan et al., "Rethinking Feature Distribution for Loss
    Functions in Image Classification", CVPR 2018, section 3, for equal priors and one isotropic
    covariance v I for all. The variance is given, not learnt: the embedding's length fixes the unit of distance, and
    a learnt one would shrink without end where classes do (constant terms of the likelihood are left out).

    Args:
        size: embedding dimension and number of identities.
        margin: alpha, 0 or more.
        likelihood: lambda, the weight of the likelihood term, 0 or more; the paper's 0.1.
        variance: v, above 0; around a mean of unit length, -d is a cosine softmax of scale 1 / v.
        label_smoothing: share of each label that is spread over all identities, in [0, 1).

    Attributes:
        means: mu, shape (C, D).
    """

    def __init__(
        self,
        size: LossSize,
        *,
        margin: float = 0.1,
        likelihood: float = 0.1,
        variance: float = 0.0625,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.margin = check_at_least("margin", margin, 0.0)
        self.likelihood = check_at_least("likelihood", likelihood, 0.0)
        self.variance = check_above_zero("variance", variance)
        self.label_smoothing = check_label_smoothing(label_smoothing)
        self.means = nn.Parameter(random_rows(check_identities(size), size.embedding_dim))

    def forward(self, embeddings: Tensor, index: Tensor) -> Tensor:
        """Loss of a batch: embeddings (U, D) of unit length, labels (U,) int64; a scalar."""
        squares = embeddings.square().sum(1, keepdim=True) + self.means.square().sum(1)
        distances = (squares - 2 * embeddings @ self.means.T).clamp_min(0.0) / (2 * self.variance)
        own = distances.gather(1, index[:, None])
        logits = -distances.scatter(1, index[:, None], (1 + self.margin) * own)
        classification = F.cross_entropy(logits, index, label_smoothing=self.label_smoothing)
        return classification + self.likelihood * own.mean()

    def imprint(self, means: Tensor) -> None:
        """Start from class means (C, D), see `ClassLoss.imprint`."""
        imprint_rows(self.means, means)

    def classifier(self) -> LinearClassifier:
        """Bayes' rule for the Gaussians: the nearest mean decides."""
        return _nearest(self.means, 1 / self.variance)


def _nearest(centres: Tensor, scale: float) -> LinearClassifier:
    """Logits -s |z - c|^2 / 2, less the part that is the same for all identities."""
    rows = centres.detach().clone()
    return LinearClassifier(rows.unsqueeze(1), -0.5 * scale * rows.square().sum(dim=1), scale)
