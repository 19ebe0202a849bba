"""What every encoder is: a module from prepared pixels to features that knows its own preprocessing."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from siamese.encoders.weights import WeightsRecord
from siamese.images.input_spec import InputSpec


class Encoder(nn.Module, ABC):
    """A network from images to features.

    Attributes:
        name: the architecture, without tag or file (`mobilefacenet`, `timm/resnet18`); with `input_spec` it is
            all that `create_untrained` needs to build the same network again.
        input_spec: how images must be prepared.
        feature_dim: length of the feature vector.
        pretrained: False as long as the weights are random.
        verifies: whether it is a verifier that was trained by siamese.
        weights: where the weights came from; None for random ones.
    """

    def __init__(self, name: str, input_spec: InputSpec, feature_dim: int) -> None:
        super().__init__()
        self.name = name
        self.input_spec = input_spec
        self.feature_dim = feature_dim
        self.pretrained = False
        self.verifies = False
        self.weights: WeightsRecord | None = None

    @abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """Encode images (B, 3, H, W) float32, prepared by `input_spec`, to features (B, feature_dim)."""

    @abstractmethod
    def stages(self) -> list[list[nn.Module]]:
        """The network in order from its input; every parameter lies in exactly one stage.

        Freezing the first N stages keeps what is general (edges, textures) and trains the rest. A parameter
        that hangs on no layer of its own (a class token) comes wrapped in an `nn.ParameterList`.
        """

    @abstractmethod
    def load_checkpoint(self, state: dict[str, Tensor], origin: str) -> None:
        """Load a published checkpoint of this architecture, its classifier dropped; nothing may be left over.

        Args:
            state: parameters and buffers by name, as `checkpoint.read_checkpoint` gives them.
            origin: the file they came from, for error messages.

        Raises:
            WeightsError: the checkpoint is of another layout or of other shapes.
        """
