"""Angular prototypical loss: classification of a query among the identities of its batch."""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from siamese.losses.batch import mean_cost
from siamese.losses.learnt_scale import LearntScale
from siamese.losses.loss import Loss, LossSize, Needs

Form = Literal["softmax", "contrast"]


class AngularPrototypical(Loss):
    """Mean over identities j of the cross-entropy of j among the logits S_jk = a cos(q_j, c_k) + b.

    q_j is the last image of identity j in the batch, and c_k the mean of the other images of identity k: with B
    identities, one query each is classified B ways. a > 0 and b are learnt. Identities with one image are left out.
    Chung et al., "In Defence of Metric Learning for Speaker Recognition", Interspeech 2020, section 2; a and b are
    those of Wan et al., "Generalized End-to-End Loss for Speaker Verification", ICASSP 2018.

    Args:
        size: of the run.
        form: `softmax` as above, where b cancels out; `contrast` is 1 - sigmoid(S_jj) + max over k != j of
            sigmoid(S_jk), for which b is the threshold (Wan et al., equation 7).
        scale: a at the start, above 0; 10 in both papers.
        bias: b at the start; -5 in both papers.
    """

    needs: ClassVar[Needs] = "identities"

    def __init__(self, size: LossSize, *, form: Form = "softmax", scale: float = 10.0, bias: float = -5.0) -> None:
        super().__init__()
        self.form = form
        self.logit = LearntScale(scale, bias)

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Loss of a batch: embeddings (U, D) of unit length and their labels (U,); a scalar."""
        queries, centroids = _queries_and_centroids(embeddings, labels)
        logits = self.logit(queries @ F.normalize(centroids, dim=1).T)
        if self.form == "contrast":
            return mean_cost(_contrast(logits))
        target = torch.arange(len(logits), device=logits.device)
        return mean_cost(F.cross_entropy(logits, target, reduction="none"))


def _queries_and_centroids(embeddings: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The last row of each identity that has two, and the sum of its other rows; both (B, D)."""
    identities, place, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    rows = torch.arange(len(labels), device=labels.device)
    last = rows.new_zeros(len(identities)).scatter_reduce(0, place, rows, "amax")
    queries = embeddings[last]
    others = torch.zeros_like(queries).index_add(0, place, embeddings) - queries
    return queries[counts > 1], others[counts > 1]


def _contrast(logits: Tensor) -> Tensor:
    chances = logits.sigmoid()
    itself = torch.eye(len(logits), dtype=torch.bool, device=logits.device)
    # A lone identity has no rival.
    rival = chances.masked_fill(itself, 0.0).amax(dim=1) if len(logits) else chances.new_zeros(0)
    return 1.0 - chances.diagonal() + rival
