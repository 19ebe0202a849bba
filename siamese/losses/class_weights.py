"""What losses with a weight per identity share: how many identities, and how weights start."""

import torch
import torch.nn.functional as F
from torch import Tensor

from siamese.losses.loss import LossSize


def check_identities(size: LossSize) -> int:
    """How many identities there are.

    Raises:
        ValueError: fewer than two.
    """
    if size.identities < 2:
        raise ValueError(
            f"needs identities, at least 2, found {size.identities}; train on identity folders or a manifest, or "
            "choose a loss of pairs or triplets"
        )
    return size.identities


def random_rows(rows: int, embedding_dim: int) -> Tensor:
    """Random directions (rows, D), each of unit length.

    Of the length of the embeddings, so that a step of an optimiser turns a weight about as much as it turns them;
    the elements of standard deviation 1 that some libraries start from are sqrt(D) times as stiff.
    """
    return F.normalize(torch.randn(rows, embedding_dim), dim=1)


@torch.no_grad()
def imprint_rows(weights: Tensor, means: Tensor, *, keep_length: bool = False) -> None:
    """Set rows to class means, in place; rows whose mean is all zero, so not known, stay as they are.

    Args:
        weights: shape (C, K, D) or (C, D); with K sub-centres each becomes the mean plus what is left of its random
            direction: where all are equal, only one of them would ever learn.
        means: shape (C, D), rows of unit length or zero.
        keep_length: give the mean the length that its row has.

    Raises:
        ValueError: the means are of another shape.
    """
    rows = weights if weights.dim() == 3 else weights.unsqueeze(1)
    if means.shape != (rows.shape[0], rows.shape[2]):
        raise ValueError(f"class means of shape {tuple(means.shape)}, expected {(rows.shape[0], rows.shape[2])}")
    target = means.to(rows).unsqueeze(1).expand_as(rows)
    if rows.shape[1] > 1:
        target = F.normalize(target + _SPREAD * F.normalize(rows, dim=2), dim=2)
    if keep_length:
        target = target * rows.norm(dim=2, keepdim=True)
    known = (means != 0).any(dim=1).to(rows.device)
    rows[known] = target[known]


# Sub-centres start some 6 degrees from their mean: apart, and nearer to it than images of one identity are.
_SPREAD = 0.1
