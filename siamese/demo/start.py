"""What the demo trains from."""

from dataclasses import dataclass, field
from pathlib import Path

from siamese.encoders.bundled import BUNDLED, bundled_folder
from siamese.errors import ModelError
from siamese.inference.protocol import Protocol
from siamese.inference.verifier import Verifier


@dataclass(frozen=True)
class Start:
    """An encoder, and how it is trained on rendered faces.

    Attributes:
        encoder: its name.
        input_size: height and width; None for its own.
        options: of training.
    """

    encoder: str
    input_size: tuple[int, int] | None
    options: dict[str, object] = field(default_factory=dict)

    @property
    def pretrained(self) -> bool:
        """Whether it verifies before it is trained."""
        return self.encoder == BUNDLED

    def untouched(self, device: str) -> Verifier:
        """The verifier that training starts from; random weights are drawn from torch's generator."""
        return Verifier.load(self.encoder, device=device, runtime="torch", input_size=self.input_size)

    def protocol(self, val_pairs: Path) -> Protocol:
        """How it is measured: its own thresholds are for photographs, so that one for rendered faces is fitted."""
        return Protocol(val_pairs=val_pairs) if self.pretrained else Protocol()


# The verifier that ships knows photographs; a head learns what is different about faces that are drawn.
FROM_BUNDLED = Start(BUNDLED, None, {"loss": "multi_similarity", "lr": 1e-3, "augment": "light"})
# A ResNet of 0.4 million parameters, quick to train from nothing on a CPU: pretrained weights would be a download.
FROM_NOTHING = Start(
    "timm/test_resnet@random", (64, 64), {"head": "mlp", "loss": "contrastive", "lr": 1e-3, "augment": "light"}
)


def choose_start() -> Start:
    """The verifier that ships, or, in a build of the package without it, a small network from nothing."""
    try:
        bundled_folder()
    except ModelError:
        return FROM_NOTHING
    return FROM_BUNDLED
