"""From similarities to logits, by a scale and a bias that are learnt."""

import math

import torch
from torch import Tensor, nn

from siamese.losses.ranges import check_above_zero


class LearntScale(nn.Module):
    """logit = scale * similarity + bias.

    The scale is kept as its logarithm, so that no step can turn it negative and with it the direction of similarity.

    Args:
        scale: at the start, above 0 and finite.
        bias: at the start.
    """

    def __init__(self, scale: float, bias: float) -> None:
        super().__init__()
        check_above_zero("scale", scale)
        if not math.isfinite(bias):
            raise ValueError(f"bias={bias}: expected a finite number")
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = nn.Parameter(torch.tensor(float(bias)))

    def forward(self, similarity: Tensor) -> Tensor:
        """Logits in the shape of `similarity`."""
        logits: Tensor = self.log_scale.exp() * similarity + self.bias
        return logits
