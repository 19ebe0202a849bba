"""MobileFaceNet: a million parameters for faces on small devices."""

from collections.abc import Callable

from torch import Tensor, nn

from siamese.encoders.attention import CBAM, ChannelAttention
from siamese.encoders.checkpoint import load_exactly
from siamese.encoders.encoder import Encoder
from siamese.errors import OptionError, unknown_name
from siamese.images.input_spec import InputSpec
from siamese.progress import log

# Table 1 of the paper: expansion, channels, repeats, stride of the first repeat.
BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
# The first convolution and three bottlenecks halve the image each.
REDUCTION = 16
# Published training code scales pixels by (x - 127.5) / 128; in units of [0, 1].
STD = 128 / 255

# What each variant puts behind the projections of the rows below.
ATTENTION: dict[str, Callable[[int], nn.Module] | None] = {
    "mobilefacenet": None,
    "mobilefacenet_ca": ChannelAttention,
    "mobilefacenet_cbam": CBAM,
}
# The third and the fifth row of the table, from 0: the long row in the middle and the last one.
ATTENTIVE_ROWS = (2, 4)
ATTENTION_KEY = ".attention."


class ConvBlock(nn.Module):
    """Convolution and batch norm, then PReLU unless `linear`."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int | tuple[int, int],
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel, stride, padding, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(channels_out)
        self.prelu = nn.Identity() if linear else nn.PReLU(channels_out)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, channels_in, H, W) to (B, channels_out, H', W')."""
        activated: Tensor = self.prelu(self.bn(self.conv(maps)))
        return activated


class Bottleneck(nn.Module):
    """Inverted residual of MobileNetV2 with PReLU: expand, filter each channel, project linearly.

    What `attention` holds weighs the projected maps before the residual is added, as in figure 3 of Woo et al. 2018.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = channels_in * expansion
        self.residual = stride == 1 and channels_in == channels_out
        self.conv = nn.Sequential(
            nn.Conv2d(channels_in, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
            nn.Conv2d(width, width, 3, stride, 1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.PReLU(width),
            nn.Conv2d(width, channels_out, 1, bias=False),
            nn.BatchNorm2d(channels_out),
        )
        self.attention: nn.Module = nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        """(B, channels_in, H, W) to (B, channels_out, H / stride, W / stride)."""
        projected: Tensor = self.attention(self.conv(maps))
        return maps + projected if self.residual else projected


class MobileFaceNet(Encoder):
    """MobileFaceNet with 128 features, plain or with attention.

    Chen et al. 2018, Table 1 (https://arxiv.org/abs/1804.07573). The last map is weighed per position by a
    depthwise convolution of its own size (`linear7`: 7x7 for 112x112 images, 7x6 for 112x96), which therefore
    follows the input size: weights of one size do not fit another.

    The variants `mobilefacenet_ca` (channel attention) and `mobilefacenet_cbam` (channel and spatial attention) have
    attention in every bottleneck of the third and the fifth row of the table. Its gates start open, so weights of
    the plain network load into them and score exactly as before; only training makes the difference.

    Args:
        input_size: height and width; None for 112x96.
        name: `mobilefacenet`, `mobilefacenet_ca` or `mobilefacenet_cbam`.

    Raises:
        OptionError: an input too small, or another name.

    Example:
        >>> MobileFaceNet((112, 112)).linear7.conv.kernel_size
        (7, 7)
    """

    def __init__(self, input_size: tuple[int, int] | None = None, name: str = "mobilefacenet") -> None:
        if name not in ATTENTION:
            raise unknown_name("encoder", name, ATTENTION)
        size = input_size or (112, 96)
        if min(size) < REDUCTION:
            raise OptionError(f"input size {size[0]}x{size[1]}: {name} needs at least {REDUCTION}x{REDUCTION}")
        spec = InputSpec(size=size, std=(STD, STD, STD), alignment="arcface-112")
        super().__init__(name, spec, feature_dim=128)
        self.conv1 = ConvBlock(3, 64, 3, stride=2, padding=1)
        self.dw_conv1 = ConvBlock(64, 64, 3, padding=1, groups=64)
        self.blocks = nn.Sequential(*_bottlenecks())
        self.conv2 = ConvBlock(128, 512, 1)
        # Each halving rounds up.
        last_map = (-(-size[0] // REDUCTION), -(-size[1] // REDUCTION))
        self.linear7 = ConvBlock(512, 512, last_map, groups=512, linear=True)
        self.linear1 = ConvBlock(512, 128, 1, linear=True)
        self.apply(_initialise)
        attention = ATTENTION[name]
        if attention is not None:  # after the initialisation, which would shut its gates half-way
            for row in ATTENTIVE_ROWS:
                for block in self._rows()[row]:
                    block.attention = attention(BOTTLENECKS[row][1])

    def forward(self, images: Tensor) -> Tensor:
        """Encode images (B, 3, H, W) float32 to features (B, 128)."""
        maps = self.conv2(self.blocks(self.dw_conv1(self.conv1(images))))
        features: Tensor = self.linear1(self.linear7(maps))
        return features.flatten(1)

    def stages(self) -> list[list[nn.Module]]:
        """Stem, then the five rows of bottlenecks in the paper's table, then the embedding."""
        return [[self.conv1, self.dw_conv1], *self._rows(), [self.conv2, self.linear7, self.linear1]]

    def load_checkpoint(self, state: dict[str, Tensor], origin: str) -> None:
        """Load weights with the names of this module, trained at this input size.

        A variant with attention also takes weights that have none at all, those of the plain network: the attention
        then stays as it is. Weights with a part of it are of another layout.
        """
        own = {name: tensor for name, tensor in self.state_dict().items() if ATTENTION_KEY in name}
        if own and not any(ATTENTION_KEY in name for name in state):
            log.info("%s: no attention in it, so that of %s starts with open gates", origin, self.name)
            state = state | own
        height, width = self.input_spec.size
        title = "MobileFaceNet" if not own else f"MobileFaceNet, plain or as {self.name},"
        layout = f"{title} at {height}x{width} ('conv1.conv.weight' ... 'linear1.bn.running_var', 128 features)"
        load_exactly(self, state, origin, layout)

    def _rows(self) -> list[list[nn.Module]]:
        """The bottlenecks by row of the table."""
        blocks = list(self.blocks)
        rows: list[list[nn.Module]] = []
        for _, _, repeats, _ in BOTTLENECKS:
            rows.append(blocks[:repeats])
            del blocks[:repeats]
        return rows


def _bottlenecks() -> list[nn.Module]:
    blocks: list[nn.Module] = []
    channels = 64
    for expansion, channels_out, repeats, stride in BOTTLENECKS:
        for repeat in range(repeats):
            blocks.append(Bottleneck(channels, channels_out, stride if repeat == 0 else 1, expansion))
            channels = channels_out
    return blocks


def _initialise(module: nn.Module) -> None:
    """He et al. 2015: keeps the variance of activations from layer to layer."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
