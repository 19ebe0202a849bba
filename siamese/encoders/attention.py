"""Attention on feature maps whose gates start open, so that a pretrained network scores as before."""

import torch
from torch import Tensor, nn

# Section 3.1 and 3.2 of the paper: the bottleneck of the channel gate, and the window of the spatial one.
REDUCTION = 16
WINDOW = 7


class ChannelAttention(nn.Module):
    """Weighs each channel by a gate made from its average and its peak: CBAM's channel half.

    M = 2 sigmoid(W1 relu(W0 avg) + W1 relu(W0 max)), one pair of matrices for both. Woo et al., "CBAM: Convolutional
    Block Attention Module", ECCV 2018, equation 2; with the average alone it is the squeeze-and-excitation of Hu et
    al., CVPR 2018. Here the gate goes from 0 to 2 and W1 starts at zero: the gate is exactly 1 at the start.

    Args:
        channels: of the maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // REDUCTION)
        last = nn.Conv2d(hidden, channels, 1, bias=False)
        nn.init.zeros_(last.weight)
        self.mlp = nn.Sequential(nn.Conv2d(channels, hidden, 1, bias=False), nn.ReLU(), last)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, channels, H, W) to the same shape."""
        average, peak = maps.mean(dim=(2, 3), keepdim=True), maps.amax(dim=(2, 3), keepdim=True)
        return maps * _gate(self.mlp(average) + self.mlp(peak))


class SpatialAttention(nn.Module):
    """Weighs each position by a gate made from the average and the peak over its channels, in a window around it.

    M = 2 sigmoid(conv7x7([avg; max])). Woo et al., ECCV 2018, equation 3. Here the gate goes from 0 to 2 and the
    convolution starts at zero: the gate is exactly 1 at the start.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, WINDOW, padding=WINDOW // 2, bias=False)
        nn.init.zeros_(self.conv.weight)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        pooled = torch.cat([maps.mean(dim=1, keepdim=True), maps.amax(dim=1, keepdim=True)], dim=1)
        return maps * _gate(self.conv(pooled))


class CBAM(nn.Module):
    """Channel attention, then spatial attention: the order that Woo et al., ECCV 2018, table 3, found best.

    Args:
        channels: of the maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channel = ChannelAttention(channels)
        self.spatial = SpatialAttention()

    def forward(self, maps: Tensor) -> Tensor:
        """(B, channels, H, W) to the same shape."""
        weighed: Tensor = self.spatial(self.channel(maps))
        return weighed


def _gate(logits: Tensor) -> Tensor:
    """From 0 to 2, and 1 where nothing has been learnt."""
    return 2.0 * torch.sigmoid(logits)
