"""Losses on learnt proxies: vectors that stand for identities, so that no tuples need to be mined."""

from typing import Any

import torch
import torch.nn.functional as F
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.losses import ProxyAnchorLoss, ProxyNCALoss, SoftTripleLoss
from pytorch_metric_learning.reducers import DivisorReducer, MeanReducer
from torch import Tensor, nn

from siamese.losses.class_weights import check_identities, imprint_rows, random_rows
from siamese.losses.loss import ClassLoss, LinearClassifier, LossSize
from siamese.losses.ranges import check_above_zero, check_at_least, check_label_smoothing

# Keeps the root's gradient finite where two centres coincide.
_TINY = 1e-12


def _options(size: LossSize, reducer: nn.Module) -> dict[str, Any]:
    """What every proxy loss of pytorch-metric-learning is given."""
    return {
        "num_classes": check_identities(size),
        "embedding_size": size.embedding_dim,
        "distance": CosineSimilarity(),
        "reducer": reducer,
        "embedding_regularizer": None,
        "embedding_reg_weight": 1,
        "weight_regularizer": None,
        "weight_reg_weight": 1,
        "weight_init_func": nn.init.normal_,
    }


def _cosine_classifier(weights: Tensor, scale: float) -> LinearClassifier:
    """The nearest of an identity's proxies, weights (C, K, D) of any length, decides by its direction."""
    rows = F.normalize(weights.detach(), dim=2)
    return LinearClassifier(rows, rows.new_zeros(len(rows)), scale)


class SoftTriple(ClassLoss):
    """Mean of -log softmax(s (S - m e_y))_y, in which S_k softly picks the nearest of the K centres of identity k.

    S_k = sum over i of softmax(w_ki . z / gamma)_i w_ki . z. Added is tau / (C K (K - 1)) times the sum of the
    distances between the centres of each identity, so that centres which are not needed merge. Qian et al.,
    "SoftTriple Loss: Deep Metric Learning Without Triplet Sampling", ICCV 2019, sections 3.2 and 3.3.

    Args:
        size: embedding dimension and number of identities.
        margin: m, a difference of cosines, in [0, 1].
        scale: s (the paper's lambda), above 0.
        gamma: softness of the choice among centres, above 0; near 0 the nearest alone counts.
        centres: K, 1 or more. The paper's 10 serve classes of many images and looks; few images fill few centres.
        sparsity: tau, 0 or more; the paper's 0.2.
    """

    def __init__(
        self,
        size: LossSize,
        *,
        margin: float = 0.01,
        scale: float = 20.0,
        gamma: float = 0.1,
        centres: int = 3,
        sparsity: float = 0.2,
    ) -> None:
        super().__init__()
        if not 0 <= margin <= 1:
            raise ValueError(f"margin={margin}: expected a difference of cosines in [0, 1]")
        self.scale = check_above_zero("scale", scale)
        self.centres = int(check_at_least("centres", centres, 1))
        self.sparsity = check_at_least("sparsity", sparsity, 0.0)
        gamma = check_above_zero("gamma", gamma)
        options = {"centers_per_class": centres, "la": scale, "gamma": gamma, "margin": margin}
        self.soft_triple: Any = SoftTripleLoss(**_options(size, MeanReducer()), **options)
        self.soft_triple.fc.data.copy_(random_rows(size.identities * self.centres, size.embedding_dim).T)

    @property
    def weights(self) -> Tensor:
        """The centres, shape (C, K, D), of any length."""
        rows: Tensor = self.soft_triple.fc.T
        return rows.reshape(-1, self.centres, rows.shape[1])

    def forward(self, embeddings: Tensor, index: Tensor) -> Tensor:
        """Loss of a batch: embeddings (U, D) of unit length, labels (U,) int64; a scalar."""
        loss: Tensor = self.soft_triple(embeddings, index)
        return loss + self.sparsity * self.spread() if self.sparsity and self.centres > 1 else loss

    def spread(self) -> Tensor:
        """Half the mean distance between two centres of one identity; a scalar in [0, 1]."""
        centres = F.normalize(self.weights, dim=2)
        first, second = torch.triu_indices(self.centres, self.centres, offset=1, device=centres.device)
        similarity = (centres[:, first] * centres[:, second]).sum(dim=2)
        return 0.5 * (2 - 2 * similarity).clamp_min(_TINY).sqrt().mean()

    def imprint(self, means: Tensor) -> None:
        """Start from class means (C, D), see `ClassLoss.imprint`; the centres of an identity lie around its mean."""
        rows = self.weights.detach().clone()
        imprint_rows(rows, means)
        self.soft_triple.fc.data.copy_(rows.flatten(0, 1).T)

    def classifier(self) -> LinearClassifier:
        """The identity of the nearest centre: the soft choice made hard."""
        return _cosine_classifier(self.weights, self.scale)


class ProxyAnchor(ClassLoss):
    """Each proxy, as an anchor, pulls its identity's embeddings and pushes all others, the hardest most.

    Mean over the proxies p with positives in the batch of log(1 + sum over positives z of exp(-s (p.z - m))), plus
    mean over all proxies of log(1 + sum over negatives z of exp(s (p.z + m))). Kim et al., "Proxy Anchor Loss for
    Deep Metric Learning", CVPR 2020, equation 4.

    Args:
        size: embedding dimension and number of identities.
        margin: m, a cosine, in [0, 1].
        scale: s (the paper's alpha), above 0.
    """

    def __init__(self, size: LossSize, *, margin: float = 0.1, scale: float = 32.0) -> None:
        super().__init__()
        if not 0 <= margin <= 1:
            raise ValueError(f"margin={margin}: expected a cosine in [0, 1]")
        self.scale = check_above_zero("scale", scale)
        self.proxy_anchor: Any = ProxyAnchorLoss(**_options(size, DivisorReducer()), margin=margin, alpha=scale)
        self.proxy_anchor.proxies.data.copy_(random_rows(size.identities, size.embedding_dim))

    def forward(self, embeddings: Tensor, index: Tensor) -> Tensor:
        """Loss of a batch: embeddings (U, D) of unit length, labels (U,) int64; a scalar."""
        loss: Tensor = self.proxy_anchor(embeddings, index)
        return loss

    def imprint(self, means: Tensor) -> None:
        """Start from class means (C, D), see `ClassLoss.imprint`."""
        imprint_rows(self.proxy_anchor.proxies, means)

    def classifier(self) -> LinearClassifier:
        """The identity of the nearest proxy."""
        return _cosine_classifier(self.proxy_anchor.proxies.unsqueeze(1), self.scale)


class ProxyNCA(ClassLoss):
    """Mean of -log of exp(-s |z - p_y|^2) over the sum over all proxies p of exp(-s |z - p|^2).

    z and p are of unit length. Movshovitz-Attias et al., "No Fuss Distance Metric Learning using Proxies", ICCV
    2017, with the own proxy in the sum, as Teh, DeVries and Taylor, "ProxyNCA++", ECCV 2020, showed to
    be better; so is their scale, 9, against 1.

    Args:
        size: embedding dimension and number of identities.
        scale: s, above 0, of the squared distance; a cosine softmax of twice that scale.
        label_smoothing: share of each label that is spread over all identities, in [0, 1).
    """

    def __init__(self, size: LossSize, *, scale: float = 9.0, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.scale = check_above_zero("scale", scale)
        self.label_smoothing = check_label_smoothing(label_smoothing)
        self.proxy_nca: Any = ProxyNCALoss(**_options(size, MeanReducer()), softmax_scale=2 * scale)
        self.proxy_nca.proxies.data.copy_(random_rows(size.identities, size.embedding_dim))

    def forward(self, embeddings: Tensor, index: Tensor) -> Tensor:
        """Loss of a batch: embeddings (U, D) of unit length, labels (U,) int64; a scalar."""
        # -|z - p|^2 = 2 z.p - 2. Through cross_entropy, as the library's own sum leaves out, in silence, embeddings
        # so far from their proxy that the share underflows.
        logits = 2 * self.scale * self.proxy_nca.get_logits(embeddings)
        return F.cross_entropy(logits, index, label_smoothing=self.label_smoothing)

    def imprint(self, means: Tensor) -> None:
        """Start from class means (C, D), see `ClassLoss.imprint`."""
        imprint_rows(self.proxy_nca.proxies, means)

    def classifier(self) -> LinearClassifier:
        """The identity of the nearest proxy."""
        return _cosine_classifier(self.proxy_nca.proxies.unsqueeze(1), 2 * self.scale)


class MaskProxy(ClassLoss):
    """Masked proxy loss: identities in the batch are met by their own embeddings, all others by their proxies.

    Mean over embeddings z of -log softmax(w c.z)_y, plus lambda times the mean over identities j of the batch of
    -log softmax over the batch's proxies of (w p.c_j)_j. c_k is the centroid, scaled to unit length, of identity k in
    the batch (without z itself where k = y), or its proxy p_k where the batch does not show it, or shows it by z
    alone. The second term teaches the proxies that the first one masks. Lian et al., "Masked Proxy Loss for
    Text-Independent Speaker Verification", Interspeech 2021; every embedding takes its turn as the query, and the
    paper's offset of the similarity is left out, since a softmax does not see it.

    Args:
        size: embedding dimension and number of identities.
        scale: w at the start, above 0; learnt.
        proxies: lambda, the weight of the second term, 0 or more; the paper's 0.5. At 0, proxies of identities that
            never share a batch with others are hardly taught.

    Attributes:
        proxies: shape (C, D).
        log_scale: logarithm of w, a scalar.
    """

    def __init__(self, size: LossSize, *, scale: float = 10.0, proxies: float = 0.5) -> None:
        super().__init__()
        check_above_zero("scale", scale)
        self.proxy_weight = check_at_least("proxies", proxies, 0.0)
        self.proxies = nn.Parameter(random_rows(check_identities(size), size.embedding_dim))
        self.log_scale = nn.Parameter(torch.tensor(float(scale)).log())

    def forward(self, embeddings: Tensor, index: Tensor) -> Tensor:
        """Loss of a batch: embeddings (U, D) of unit length, labels (U,) int64; a scalar."""
        scale = self.log_scale.exp()
        proxies = F.normalize(self.proxies, dim=1)
        shown, member = torch.unique(index, return_inverse=True)
        counts = member.bincount()
        sums = embeddings.new_zeros(len(shown), embeddings.shape[1]).index_add(0, member, embeddings)
        centroids = F.normalize(sums, dim=1)
        alone = (counts[member] == 1)[:, None]
        own = torch.where(alone, proxies[index], F.normalize(sums[member] - embeddings, dim=1))
        cosine = embeddings @ proxies.index_copy(0, shown, centroids).T
        cosine = cosine.scatter(1, index[:, None], (embeddings * own).sum(dim=1, keepdim=True))
        among_proxies = scale * centroids @ proxies[shown].T
        taught = F.cross_entropy(among_proxies, torch.arange(len(shown), device=index.device))
        return F.cross_entropy(scale * cosine, index) + self.proxy_weight * taught

    def imprint(self, means: Tensor) -> None:
        """Start from class means (C, D), see `ClassLoss.imprint`."""
        imprint_rows(self.proxies, means)

    def classifier(self) -> LinearClassifier:
        """The identity of the nearest proxy."""
        return _cosine_classifier(self.proxies.unsqueeze(1), self.log_scale.exp().item())


PROXY_LOSSES: dict[str, type[ClassLoss]] = {
    "soft_triple": SoftTriple,
    "proxy_anchor": ProxyAnchor,
    "proxy_nca": ProxyNCA,
    "mask_proxy": MaskProxy,
}
