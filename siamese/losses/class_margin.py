"""Softmax with a margin on the angle between an embedding and the weight of its identity."""

import math
from typing import Any

import torch.nn.functional as F
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import (
    ArcFaceLoss,
    CosFaceLoss,
    LargeMarginSoftmaxLoss,
    SphereFaceLoss,
    SubCenterArcFaceLoss,
)
from pytorch_metric_learning.reducers import MeanReducer
from torch import Tensor, nn

from siamese.losses.class_weights import check_identities, imprint_rows, random_rows
from siamese.losses.loss import ClassLoss, LinearClassifier, LossSize
from siamese.losses.ranges import check_above_zero, check_at_least, check_label_smoothing

# The arc cosine is infinitely steep where an embedding lies on its weight, as it does after imprinting an identity
# of one image: closer than 0.08 degrees nothing is left to gain.
_NEAREST = 1.0 - 1e-6


class MarginLoss(ClassLoss):
    """Cross-entropy of logits in which the own identity's cosine is made worse by a margin.

    The margin, the scaling and the weights are those of a loss of pytorch-metric-learning; the cross-entropy is taken
    here, so that labels can be smoothed and a cosine of 1 has a gradient.

    Args:
        size: embedding dimension and number of identities.
        margin_loss: class of the loss.
        label_smoothing: share of each label that is spread over all identities, in [0, 1).
        subcentres: weights K of an identity.
        options: of `margin_loss`.
    """

    def __init__(
        self, size: LossSize, margin_loss: Any, label_smoothing: float, subcentres: int = 1, **options: Any
    ) -> None:
        super().__init__()
        identities = check_identities(size)
        self.label_smoothing = check_label_smoothing(label_smoothing)
        self.subcentres = subcentres
        self.margin_loss: Any = margin_loss(
            num_classes=identities,
            embedding_size=size.embedding_dim,
            distance=CosineSimilarity(),
            reducer=MeanReducer(),
            embedding_regularizer=None,
            embedding_reg_weight=1,
            weight_regularizer=None,
            weight_reg_weight=1,
            weight_init_func=nn.init.normal_,
            **options,
        )
        self.margin_loss.W.data.copy_(random_rows(identities * subcentres, size.embedding_dim).T)

    @property
    def weights(self) -> Tensor:
        """Shape (C, K, D), of any length."""
        rows: Tensor = self.margin_loss.W.T
        return rows.reshape(-1, self.subcentres, rows.shape[1])

    def logits(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Scaled logits (U, C), with the margin on each row's own identity."""
        cosine = self.margin_loss.get_cosine(embeddings)
        own = cosine.gather(1, labels[:, None]).squeeze(1).clamp(-_NEAREST, _NEAREST)
        harder = self.margin_loss.modify_cosine_of_target_classes(own).to(cosine.dtype)
        scaled: Tensor = self.margin_loss.scale_logits(
            cosine.scatter(1, labels[:, None], harder[:, None]), embeddings
        )
        return scaled

    def forward(self, embeddings: Tensor, index: Tensor) -> Tensor:
        """Loss of a batch: embeddings (U, D) of unit length, labels (U,) int64; a scalar."""
        return F.cross_entropy(self.logits(embeddings, index), index, label_smoothing=self.label_smoothing)

    def imprint(self, means: Tensor) -> None:
        """Start from class means (C, D), see `ClassLoss.imprint`; weights keep their lengths."""
        rows = self.weights.detach().clone()
        imprint_rows(rows, means, keep_length=True)
        self.margin_loss.W.data.copy_(rows.flatten(0, 1).T)

    def classifier(self) -> LinearClassifier:
        """Cosine logits without the margin."""
        rows = F.normalize(self.weights.detach(), dim=2)
        return LinearClassifier(rows, rows.new_zeros(len(rows)), float(self.margin_loss.scale))


class LargeMarginSoftmax(MarginLoss):
    """L-Softmax: the own identity's logit is s |w_y| psi(theta) instead of s |w_y| cos(theta).

    psi(theta) = (-1)^k cos(m theta) - 2 k for theta in [k pi / m, (k + 1) pi / m]. The lengths of the weights are
    learnt. Liu et al., "Large-Margin Softmax Loss for Convolutional Neural Networks", ICML 2016, equations 4 to 6.

    Args:
        size: embedding dimension and number of identities.
        margin: m, a whole number from 1 (no margin). From 3 on the loss needs a good start, such as a pretrained
            encoder and imprinted weights; the paper anneals it there.
        scale: s, above 0; the paper has none, since its features are not scaled to unit length.
        label_smoothing: share of each label that is spread over all identities, in [0, 1).
    """

    def __init__(self, size: LossSize, *, margin: int = 2, scale: float = 16.0, label_smoothing: float = 0.0) -> None:
        check_at_least("margin", margin, 1)
        check_above_zero("scale", scale)
        super().__init__(size, LargeMarginSoftmaxLoss, label_smoothing, margin=margin, scale=scale)

    def classifier(self) -> LinearClassifier:
        """Logits without the margin; weights keep their lengths."""
        rows = self.weights.detach().clone()
        return LinearClassifier(rows, rows.new_zeros(len(rows)), float(self.margin_loss.scale))


class SphereFace(MarginLoss):
    """A-Softmax: the own identity's logit is s psi(theta) instead of s cos(theta); weights count by direction alone.

    psi as in L-Softmax. Liu et al., "SphereFace: Deep Hypersphere Embedding for Face Recognition", CVPR 2017,
    equation 7.

    Args:
        size: embedding dimension and number of identities.
        margin: m, a whole number from 1 (no margin); the paper's 4 anneals it from nothing.
        scale: s, above 0; it stands for the length of the features, which are scaled to 1 here.
        label_smoothing: share of each label that is spread over all identities, in [0, 1).
    """

    def __init__(self, size: LossSize, *, margin: int = 2, scale: float = 30.0, label_smoothing: float = 0.0) -> None:
        check_at_least("margin", margin, 1)
        check_above_zero("scale", scale)
        super().__init__(size, SphereFaceLoss, label_smoothing, margin=margin, scale=scale)


class CosFace(MarginLoss):
    """The own identity's logit is s (cos(theta) - m) instead of s cos(theta).

    Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018, equation 4.

    Args:
        size: embedding dimension and number of identities.
        margin: m, a difference of cosines, in [0, 1].
        scale: s, above 0. 30 suits tens to thousands of identities, the paper's 64 tens of thousands.
        label_smoothing: share of each label that is spread over all identities, in [0, 1).
    """

    def __init__(
        self, size: LossSize, *, margin: float = 0.35, scale: float = 30.0, label_smoothing: float = 0.0
    ) -> None:
        if not 0 <= margin <= 1:
            raise ValueError(f"margin={margin}: expected a difference of cosines in [0, 1]")
        check_above_zero("scale", scale)
        super().__init__(size, CosFaceLoss, label_smoothing, margin=margin, scale=scale)


class ArcFace(MarginLoss):
    """The own identity's logit is s cos(theta + m) instead of s cos(theta).

    Beyond theta = pi - m, where that would rise again, it is s (cos(theta) - m sin(m)). Deng et al., "ArcFace:
    Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019, equation 3.

    Args:
        size: embedding dimension and number of identities.
        margin: m in radians, in [0, pi / 2]; 0.5 is 28.6 degrees.
        scale: s, above 0. 30 suits tens to thousands of identities, the paper's 64 tens of thousands.
        label_smoothing: share of each label that is spread over all identities, in [0, 1).
    """

    def __init__(
        self, size: LossSize, *, margin: float = 0.5, scale: float = 30.0, label_smoothing: float = 0.0
    ) -> None:
        degrees = _degrees(margin)
        check_above_zero("scale", scale)
        super().__init__(size, ArcFaceLoss, label_smoothing, margin=degrees, scale=scale)


class SubcenterArcFace(MarginLoss):
    """ArcFace with K weights an identity, of which the nearest counts: cos(theta) = max over k of w_yk . z.

    Images with a wrong label, or of another look, gather at a sub-centre of their own instead of spoiling the main
    one. Deng et al., "Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web Faces", ECCV 2020,
    section 3.

    Args:
        size: embedding dimension and number of identities.
        margin: m in radians, in [0, pi / 2].
        scale: s, above 0. 30 suits tens to thousands of identities, the paper's 64 tens of thousands.
        subcentres: K, 1 or more.
        label_smoothing: share of each label that is spread over all identities, in [0, 1).
    """

    def __init__(
        self,
        size: LossSize,
        *,
        margin: float = 0.5,
        scale: float = 30.0,
        subcentres: int = 3,
        label_smoothing: float = 0.0,
    ) -> None:
        degrees = _degrees(margin)
        check_above_zero("scale", scale)
        check_at_least("subcentres", subcentres, 1)
        options = {"margin": degrees, "scale": scale, "sub_centers": subcentres}
        super().__init__(size, SubCenterArcFaceLoss, label_smoothing, subcentres, **options)


def _degrees(margin: float) -> float:
    if not 0 <= margin <= math.pi / 2:
        raise ValueError(f"margin={margin}: expected radians in [0, pi/2]; 0.5 is 28.6 degrees")
    return math.degrees(margin)
