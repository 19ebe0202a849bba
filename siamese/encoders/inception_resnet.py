"""InceptionResnetV1, the FaceNet trunk of facenet-pytorch."""

from facenet_pytorch import InceptionResnetV1
from torch import Tensor, nn

from siamese.encoders.checkpoint import load_exactly
from siamese.encoders.encoder import Encoder
from siamese.errors import OptionError
from siamese.images.input_spec import InputSpec

# Below this the last strided convolution without padding has no pixel left.
SMALLEST = 75
# The library's fixed_image_standardization, (x - 127.5) / 128, in units of [0, 1].
STD = 128 / 255


class InceptionResnetEncoder(Encoder):
    """Inception-ResNet-v1 with 512 features of unit length.

    Architecture: Szegedy et al. 2016 (https://arxiv.org/abs/1602.07261), as trained for faces by Schroff et al.
    2015 (https://arxiv.org/abs/1503.03832). The forward pass is facenet-pytorch's own.
    """

    def __init__(self, input_size: tuple[int, int] | None = None) -> None:
        size = input_size or (160, 160)
        if min(size) < SMALLEST:
            raise OptionError(
                f"input size {size[0]}x{size[1]}: inception_resnet_v1 needs at least {SMALLEST}x{SMALLEST}"
            )
        spec = InputSpec(size=size, std=(STD, STD, STD), alignment="mtcnn-160")
        super().__init__("inception_resnet_v1", spec, feature_dim=512)
        self.network = InceptionResnetV1(pretrained=None)

    def forward(self, images: Tensor) -> Tensor:
        """Encode images (B, 3, H, W) float32 to features (B, 512) of unit length."""
        features: Tensor = self.network(images)
        return features

    def stages(self) -> list[list[nn.Module]]:
        """Stem, then the three groups of residual blocks with the reductions between them, then the embedding."""
        net = self.network
        return [
            [net.conv2d_1a, net.conv2d_2a, net.conv2d_2b, net.conv2d_3b, net.conv2d_4a, net.conv2d_4b],
            [net.repeat_1],
            [net.mixed_6a],
            [net.repeat_2],
            [net.mixed_7a],
            [net.repeat_3, net.block8],
            [net.last_linear, net.last_bn],
        ]

    def load_checkpoint(self, state: dict[str, Tensor], origin: str) -> None:
        """Load weights in facenet-pytorch's layout; the classifier (`logits`) is dropped."""
        trunk = {name: tensor for name, tensor in state.items() if not name.startswith("logits.")}
        layout = "facenet-pytorch's InceptionResnetV1 ('conv2d_1a.conv.weight' ... 'last_bn.running_var')"
        load_exactly(self.network, trunk, origin, layout)
