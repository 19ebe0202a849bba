"""The identity head of a run: from class means before the first step, from the loss that trains it after."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from siamese.heads.identity import IdentityHead
from siamese.losses.loss import LinearClassifier
from siamese.losses.objective import Objective
from siamese.model.embedding import embed_features
from siamese.model.network import SiameseNetwork
from siamese.training.data import RunData
from siamese.training.module import classifier_of
from siamese.training.validation import Images

# Images embedded at a time for class means.
_CHUNK = 8192


def give_identity_head(network: SiameseNetwork, objective: Objective) -> None:
    """Build an identity head of the size of what the loss trains; none where no loss trains one."""
    classifier = classifier_of(objective)
    if classifier is not None:
        identities, subcentres, width = classifier.weight.shape
        network.identity_head = IdentityHead(width, identities, subcentres).to(next(network.parameters()).device)


def class_means(networks: Sequence[SiameseNetwork], images: Images, data: RunData) -> list[Tensor]:
    """Mean embedding of the training images of each identity, scaled to unit length, shape (C, D) float32.

    Args:
        networks: on one encoder, which sees each image once.
        images: as they are.
        data: of the run.

    Returns:
        The means by each network.
    """
    assert data.labels is not None  # noqa: S101 - asked for with identities only
    sums = [torch.zeros(len(data.identities), network.embedding_dim) for network in networks]
    for start in range(0, len(data.rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        features = images.encode(networks[0], data.rows[part])
        labels = torch.from_numpy(data.labels[part].astype(np.int64))
        known = labels >= 0
        for network, total in zip(networks, sums, strict=True):
            vectors = torch.from_numpy(embed_features(network, features, device=images.device))
            total.index_add_(0, labels[known], vectors[known])
    return [F.normalize(total, dim=1) for total in sums]


def means_head(means: Tensor, scale: float) -> IdentityHead:
    """The identity head of nearest class means: what the untouched encoder can do without training.

    Args:
        means: shape (C, D), rows of unit length.
        scale: of the logits, so that probabilities compare with those of the trained head.
    """
    head = IdentityHead(means.shape[1], len(means))
    head.fill(LinearClassifier(means[:, None, :], torch.zeros(len(means)), scale))
    return head
