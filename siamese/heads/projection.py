"""Projection heads: from an encoder's features to the space in which similarity is measured.

Every head maps (B, feature_dim) to (B, embedding_dim); the network scales the result to unit length.
"""

from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamese.errors import OptionError, unknown_name

# Width of the embedding that the classic heads give unless told otherwise.
DEFAULT_EMBEDDING_DIM = 128


class LinearHead(nn.Linear):
    """One affine map."""

    def __init__(self, feature_dim: int, embedding_dim: int) -> None:
        super().__init__(feature_dim, embedding_dim)


class LinearNormHead(nn.Sequential):
    """One linear map and batch normalisation of each dimension of the embedding.

    As the encoders of face recognition end (Deng et al., "ArcFace", CVPR 2019, section 3.2.3). A network that starts
    from noise gives embeddings that are nearly alike; normalised they spread at once, and it learns sooner. At use it
    is one affine map.
    """

    def __init__(self, feature_dim: int, embedding_dim: int) -> None:
        super().__init__(nn.Linear(feature_dim, embedding_dim, bias=False), nn.BatchNorm1d(embedding_dim))


class MLPHead(nn.Sequential):
    """Linear, ReLU, Linear; the hidden layer is as wide as the features (SimCLR, Chen et al. 2020, section 4.2)."""

    def __init__(self, feature_dim: int, embedding_dim: int) -> None:
        super().__init__(nn.Linear(feature_dim, feature_dim), nn.ReLU(), nn.Linear(feature_dim, embedding_dim))


class IdentityStartHead(nn.Module):
    """z = x + MLP(x) for features x scaled to unit length, with the MLP's last layer zero at the start.

    Before the first step it therefore scores exactly like the encoder alone, and training starts from the pretrained
    verifier instead of from noise (the zero-initialised residual of Goyal et al. 2017 and Zhang et al. 2019). The
    identity stays fixed: letting it train too loses accuracy on new pairs (docs/results.md).

    Args:
        feature_dim: width of the features.
        embedding_dim: at least `feature_dim`; a narrower identity would change the scores. What is wider than the
            features starts at zero.
    """

    def __init__(self, feature_dim: int, embedding_dim: int) -> None:
        super().__init__()
        if embedding_dim < feature_dim:
            raise OptionError(
                f"--embedding-dim {embedding_dim}: the identity-start head keeps the encoder's scores, so it needs "
                f"at least the encoder's {feature_dim} dimensions; leave the option out, or use --head mlp"
            )
        self.padding = embedding_dim - feature_dim
        self.residual = MLPHead(feature_dim, embedding_dim)
        with torch.no_grad():
            for parameter in self.residual[-1].parameters():
                nn.init.zeros_(parameter)

    def forward(self, features: Tensor) -> Tensor:
        """(B, feature_dim) to (B, embedding_dim)."""
        # Unit length: else the residual learns the faster, the larger the features of an encoder happen to be.
        unit = F.normalize(features, dim=1)
        embedding: Tensor = F.pad(unit, (0, self.padding)) + self.residual(unit)
        return embedding


class NoHead(nn.Identity):
    """The features as they are."""

    def __init__(self, feature_dim: int, embedding_dim: int) -> None:
        super().__init__()
        if embedding_dim != feature_dim:
            raise OptionError(
                f"--embedding-dim {embedding_dim}: without a head the embedding has the encoder's {feature_dim} "
                "dimensions; leave the option out, or use --head linear"
            )


class _HeadType(Protocol):
    def __call__(self, feature_dim: int, embedding_dim: int) -> nn.Module: ...


HEADS: dict[str, _HeadType] = {
    "identity-start": IdentityStartHead,
    "mlp": MLPHead,
    "linear": LinearHead,
    "linear-norm": LinearNormHead,
    "none": NoHead,
}


def default_embedding_dim(head: str, feature_dim: int) -> int:
    """The width a head gives unless told otherwise: the encoder's for the heads that keep its scores."""
    return feature_dim if head in ("identity-start", "none") else DEFAULT_EMBEDDING_DIM


def create_head(name: str, feature_dim: int, embedding_dim: int | None = None) -> nn.Module:
    """Build the projection head called `name`.

    Args:
        name: `identity-start`, `mlp`, `linear`, `linear-norm` or `none`.
        feature_dim: width of the encoder's features.
        embedding_dim: width of the embedding; None for the head's default.

    Raises:
        OptionError: an unknown name, or a width that the head cannot give.
    """
    if name not in HEADS:
        raise unknown_name("head", name, HEADS)
    if embedding_dim is None:
        embedding_dim = default_embedding_dim(name, feature_dim)
    if embedding_dim < 1:
        raise OptionError(f"--embedding-dim {embedding_dim}: expected 1 or more")
    return HEADS[name](feature_dim, embedding_dim)
