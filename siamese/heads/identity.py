"""The identity head: from an embedding to one of the identities that training knew."""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamese.errors import OptionError


class Classifier(Protocol):
    """What a head is filled with; `siamese.losses.loss.LinearClassifier` is one."""

    @property
    def weight(self) -> Tensor:
        """Shape (C, K, D)."""

    @property
    def bias(self) -> Tensor:
        """Shape (C,)."""

    @property
    def scale(self) -> float:
        """Above 0."""


class IdentityHead(nn.Module):
    """Logits of identities from unit embeddings z: scale * max over k of (w_ck . z) + b_c.

    Its state lies in buffers: a loss trains the classifier, margins included, and the head takes it over without
    them. Until it is filled, every logit is 0.

    Args:
        embedding_dim: width D of the embeddings.
        identities: number C of identities, 1 or more.
        subcentres: number K of weights an identity, 1 or more.

    Attributes:
        weight: shape (C, K, D).
        bias: shape (C,).
        scale: a scalar.

    Raises:
        OptionError: a size below 1.

    Example:
        >>> head = IdentityHead(embedding_dim=4, identities=3)
        >>> head(torch.eye(4)[:2]).shape
        torch.Size([2, 3])
    """

    weight: Tensor
    bias: Tensor
    scale: Tensor

    def __init__(self, embedding_dim: int, identities: int, subcentres: int = 1) -> None:
        super().__init__()
        sizes = {"embedding_dim": embedding_dim, "identities": identities, "subcentres": subcentres}
        for name, value in sizes.items():
            if value < 1:
                raise OptionError(f"identity head: {name}={value}, expected 1 or more")
        self.register_buffer("weight", torch.zeros(identities, subcentres, embedding_dim))
        self.register_buffer("bias", torch.zeros(identities))
        self.register_buffer("scale", torch.ones(()))

    @property
    def identities(self) -> int:
        """How many identities the head knows."""
        return len(self.bias)

    @property
    def subcentres(self) -> int:
        """Weights an identity."""
        return self.weight.shape[1]

    @torch.no_grad()
    def fill(self, classifier: Classifier) -> None:
        """Take over what a loss has trained.

        Raises:
            ValueError: of another size than the head, or with a value that is not finite.
        """
        found, expected = tuple(classifier.weight.shape), tuple(self.weight.shape)
        if found != expected or classifier.bias.shape != self.bias.shape:
            raise ValueError(f"classifier of identities, subcentres and width {found}, expected {expected}")
        if not (classifier.weight.isfinite().all() and classifier.bias.isfinite().all()):
            raise ValueError("the classifier holds values that are not finite; training has diverged")
        self.weight.copy_(classifier.weight)
        self.bias.copy_(classifier.bias)
        self.scale.fill_(classifier.scale)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Logits (B, C) of unit embeddings (B, D)."""
        cosine = embeddings @ self.weight.flatten(0, 1).T
        return self.scale * cosine.view(-1, self.identities, self.subcentres).amax(dim=2) + self.bias

    def probabilities(self, embeddings: Tensor) -> Tensor:
        """Probabilities (B, C) of unit embeddings (B, D); each row sums to 1.

        Among the known identities: an image of anybody else is given to one of them all the same.
        """
        return F.softmax(self(embeddings), dim=1)
