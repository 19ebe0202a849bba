"""The same network in operations that OpenVINO runs faster."""

from copy import deepcopy

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn


class _ChannelNorm(nn.Module):
    """What `LayerNorm2d` computes, without turning the channels to the end and back.

    OpenVINO 2026.4 on the CPU runs the turned form as eight operations, five of which move memory; this one as four,
    all over the channels where they lie. ConvNeXt-Atto embeds a tenth more images a second in float32, and a fifth
    more in bfloat16.
    """

    def __init__(self, norm: LayerNorm2d) -> None:
        super().__init__()
        self._weight, self._bias, self._eps = norm.weight, norm.bias, norm.eps

    def forward(self, features: Tensor) -> Tensor:
        """Shape (B, C, H, W), to mean 0 and variance 1 over C at each place, then scaled and shifted by channel."""
        centred = features - features.mean(1, keepdim=True)
        normalised = centred * torch.rsqrt((centred * centred).mean(1, keepdim=True) + self._eps)
        if self._weight is None:
            return normalised
        scaled: Tensor = normalised * self._weight[:, None, None]
        return scaled if self._bias is None else scaled + self._bias[:, None, None]


def rewritten(network: nn.Module) -> nn.Module:
    """A network that computes the same, up to rounding; `network` itself where there is nothing to rewrite."""
    if not any(type(module) is LayerNorm2d for module in network.modules()):
        return network
    copy = deepcopy(network)
    for parent in list(copy.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is LayerNorm2d:
                setattr(parent, name, _ChannelNorm(child))
    return copy
