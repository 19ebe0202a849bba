"""What one batch of embeddings tells of a run: how far they spread, and by identity."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from siamese.losses.batch import BatchIndex, PairIndex


@dataclass(frozen=True)
class BatchHealth:
    """What one batch of embeddings tells.

    Attributes:
        spread: root mean square distance from their mean, the standard deviation per dimension in units of the
            1 / sqrt(D) of embeddings spread evenly over the sphere; sqrt(1 - mean similarity of two of them). 1 for
            even spread, 0.7 for a mean similarity of .5, 0 where all are alike.
        rank: effective number of dimensions they spread over, (sum of eigenvalues)^2 / sum of squared eigenvalues of
            their covariance (the participation ratio); 1 on a line, 0 where all are alike.
        gap: mean similarity of genuine minus that of impostor pairs, in [-2, 2]; NaN where the batch lacks either.
        loss: of the batch.
        active: share of tuples that still cost something, in [0, 1]; NaN where the loss has no such notion.
    """

    spread: float
    rank: float
    gap: float
    loss: float
    active: float

    def __str__(self) -> str:
        """The values as they stand in a message."""
        shares = "" if math.isnan(self.active) else f", active tuples {self.active:.0%}"
        return (
            f"spread {self.spread:.3g}, effective rank {self.rank:.2g}, similarity gap {self.gap:.3g}, "
            f"loss {self.loss:.4g}{shares}"
        )


@torch.no_grad()
def measure_batch(embeddings: Tensor, index: BatchIndex, loss: Tensor, active: Tensor | None = None) -> BatchHealth:
    """Measure a batch, with one wait for the device.

    Args:
        embeddings: shape (U, D), U at least 2, rows of unit length.
        index: which of them belong together.
        loss: scalar.
        active: share of tuples that cost something, a scalar, or None.
    """
    embeddings = embeddings.detach().float()
    centred = embeddings - embeddings.mean(dim=0)  # 1 - |mean|^2 would round a narrow spread away
    gram = centred @ centred.T
    total = gram.diagonal().sum()
    spread = (total / (len(embeddings) - 1)).sqrt()
    rank = total.square() / gram.square().sum().clamp_min(torch.finfo(gram.dtype).tiny)
    share = loss.new_tensor(math.nan) if active is None else active
    values = torch.stack([each.detach().double() for each in (spread, rank, _gap(embeddings, index), loss, share)])
    return BatchHealth(*values.tolist())


def _gap(embeddings: Tensor, index: BatchIndex) -> Tensor:
    if index.labels is not None:
        known = index.labels >= 0
        return _gap_of_labels(embeddings[known], index.labels[known])
    tuples = index.tuples
    if isinstance(tuples, PairIndex):
        similarity = (embeddings[tuples.left] * embeddings[tuples.right]).sum(dim=1)
        genuine = tuples.same > 0.5
        return similarity[genuine].mean() - similarity[~genuine].mean()  # NaN of an empty mean
    if tuples is None:
        return embeddings.new_tensor(math.nan)
    anchors = embeddings[tuples.anchor]
    return (anchors * (embeddings[tuples.positive] - embeddings[tuples.negative])).sum(dim=1).mean()


def _gap_of_labels(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Over all pairs, from the sums of each identity: the sum over pairs a != b of a.b is |sum|^2 - sum |a|^2."""
    identities, rows = torch.unique(labels, return_inverse=True)
    sums = embeddings.new_zeros(len(identities), embeddings.shape[1]).index_add_(0, rows, embeddings)
    counts = torch.bincount(rows, minlength=len(identities)).to(embeddings.dtype)
    within, all_sums = sums.square().sum(), sums.sum(dim=0).square().sum()
    genuine = (within - embeddings.square().sum()) / (counts.square().sum() - len(labels))
    return genuine - (all_sums - within) / (len(labels) ** 2 - counts.square().sum())
