"""Encoder and head as one network from pixels to unit embeddings."""

from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamese.encoders.encoder import Encoder
from siamese.errors import OptionError
from siamese.heads.projection import create_head, default_embedding_dim
from siamese.images.input_spec import InputSpec


class SiameseNetwork(nn.Module):
    """A shared encoder and a projection head; both images of a pair go through the same weights.

    Args:
        encoder: from pixels to features.
        head: name of the projection head.
        embedding_dim: width of the embedding; None for the head's default.

    Attributes:
        embedding_dim: width of the embedding.
        frozen_stages: how many of the encoder's stages, counted from the input, do not train.
    """

    def __init__(self, encoder: Encoder, head: str = "none", embedding_dim: int | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = create_head(head, encoder.feature_dim, embedding_dim)
        self.head_name = head
        self.embedding_dim = embedding_dim or default_embedding_dim(head, encoder.feature_dim)
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
        return F.normalize(self.head(features), dim=1)

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
