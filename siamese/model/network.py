"""Encoder and head as one network from pixels to unit embeddings."""

from contextlib import nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from siamese.encoders.encoder import Encoder
from siamese.errors import OptionError
from siamese.heads.identity import IdentityHead
from siamese.heads.pair import PairHead
from siamese.heads.projection import create_head, default_embedding_dim
from siamese.images.input_spec import InputSpec
from siamese.similarity import pair_similarity


class SiameseNetwork(nn.Module):
    """A shared encoder and a projection head; both images of a pair go through the same weights.

    Args:
        encoder: from pixels to features.
        head: name of the projection head.
        embedding_dim: width of the embedding; None for the head's default.
        pair_head: features of the pair head, joined by `+`; None to compare embeddings by their cosine.
        pair_hidden: hidden units of the pair head; 0 for a logistic regression.
        pair_dropout: share of the hidden units dropped in training.

    Attributes:
        embedding_dim: width of the embedding.
        pair_head: from two embeddings to a logit; None to compare by cosine.
        identity_head: from an embedding to identities; None until it is filled with what training learnt.
        frozen_stages: how many of the encoder's stages, counted from the input, do not train.
    """

    pair_head: PairHead | None
    identity_head: IdentityHead | None

    def __init__(
        self,
        encoder: Encoder,
        head: str = "none",
        embedding_dim: int | None = None,
        *,
        pair_head: str | None = None,
        pair_hidden: int = 0,
        pair_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = create_head(head, encoder.feature_dim, embedding_dim)
        self.head_name = head
        self.embedding_dim = embedding_dim or default_embedding_dim(head, encoder.feature_dim)
        self.pair_head = None
        if pair_head is not None:
            self.pair_head = PairHead(self.embedding_dim, pair_head, pair_hidden, pair_dropout)
        self.identity_head = None
        self.frozen_stages = 0
        self._stages = len(encoder.stages())  # counted once: timm finds its groups by pattern

    @property
    def input_spec(self) -> InputSpec:
        """What the encoder expects of an image."""
        return self.encoder.input_spec

    def forward(self, images: Tensor) -> Tensor:
        """Embed a batch: (B, 3, H, W) float to (B, embedding_dim), rows of unit length."""
        with torch.no_grad() if self.encoder_frozen else nullcontext():
            features = self.encoder(images)
        return self.project(features)

    def project(self, features: Tensor) -> Tensor:
        """Embed the encoder's features: (B, feature_dim) to (B, embedding_dim), rows of unit length.

        Half precision ends here: a unit vector rounded to bfloat16 is no unit vector, and its margins are lost.
        """
        embeddings = self.head(features)
        return F.normalize(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)), dim=1)

    def pair_similarity(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[Any]:
        """Similarity of each row of `left` with the same row of `right`: how this network compares two images.

        The pair head's if there is one (see `PairHead.similarity`), else the cosine.

        Args:
            left: unit embeddings, shape (P, embedding_dim).
            right: unit embeddings, shape (P, embedding_dim).

        Returns:
            Shape (P,), in [-1, 1]; higher means more similar.
        """
        return pair_similarity(left, right) if self.pair_head is None else self.pair_head.similarity(left, right)

    @property
    def encoder_frozen(self) -> bool:
        """Whether no stage of the encoder trains."""
        return self.frozen_stages == self._stages

    def freeze(self, choice: str) -> None:
        """Freeze stages of the encoder.

        Args:
            choice: `all`, `none`, or the number of stages, counted from the input.

        Raises:
            OptionError: not one of those, or more stages than there are.
        """
        stages = self.encoder.stages()
        choice = {"all": str(len(stages)), "none": "0"}.get(choice, choice)
        if not choice.isdecimal() or int(choice) > len(stages):
            raise OptionError(f"--freeze {choice!r}: expected all, none, or 0 to {len(stages)} stages")
        self.frozen_stages = int(choice)
        for number, stage in enumerate(stages):
            for module in stage:
                module.requires_grad_(number >= self.frozen_stages)
        self.train(self.training)

    def train(self, mode: bool = True) -> "SiameseNetwork":
        """Switch to training, but keep what is frozen in evaluation: else BatchNorm would drift on new data."""
        super().train(mode)
        if mode:
            # Dropout and the like hold no parameters and lie in no stage, so a frozen encoder is taken whole.
            frozen = [[self.encoder]] if self.encoder_frozen else self.encoder.stages()[: self.frozen_stages]
            for stage in frozen:
                for module in stage:
                    module.eval()
        return self
