"""An encoder that ends in a projection head: the embedding of a trained verifier as features to learn from."""

import re

from torch import Tensor, nn

from siamese.encoders.checkpoint import load_exactly
from siamese.encoders.encoder import Encoder
from siamese.heads.projection import create_head

# What a name ends in: `+HEAD:WIDTH`.
_ENDING = re.compile(r"(.+)\+([a-z-]+):([0-9]{1,6})", re.DOTALL)
# The parts of a network in a model folder that give no embedding.
_LEFT_BEHIND = ("pair_head.", "identity_head.")


class HeadedEncoder(Encoder):
    """A trunk and its head as one encoder; its features are the embedding before it is scaled to unit length.

    Its name says how to build it without any file: `timm/regnetx_002+linear:256`, and, of a verifier that was itself
    trained from such a one, `timm/regnetx_002+linear:256+identity-start:256`.

    Args:
        trunk: from pixels to the head's input.
        head: name of the projection head.
        width: of its output.

    Raises:
        OptionError: no such head, or a width that it cannot give.
    """

    def __init__(self, trunk: Encoder, head: str, width: int) -> None:
        super().__init__(f"{trunk.name}+{head}:{width}", trunk.input_spec, width)
        self.trunk = trunk
        self.head = create_head(head, trunk.feature_dim, width)

    def forward(self, images: Tensor) -> Tensor:
        """Encode images (B, 3, H, W) float32 to features (B, feature_dim)."""
        features: Tensor = self.head(self.trunk(images))
        return features

    def stages(self) -> list[list[nn.Module]]:
        """Those of the trunk, then the head, if it has anything to train."""
        has_weights = next(self.head.parameters(), None) is not None
        return [*self.trunk.stages(), *([[self.head]] if has_weights else [])]

    def load_checkpoint(self, state: dict[str, Tensor], origin: str) -> None:
        """Load the weights of a model folder with this encoder and head, or of this module.

        A pair head and an identity head stay behind: they are no part of the embedding.
        """
        if any(name.startswith("encoder.") for name in state):
            kept = {name: tensor for name, tensor in state.items() if not name.startswith(_LEFT_BEHIND)}
            state = {name.replace("encoder.", "trunk.", 1): tensor for name, tensor in kept.items()}
        load_exactly(self, state, origin, f"those of a model with encoder and head {self.name}")


def parse_headed(name: str) -> tuple[str, str, int] | None:
    """The trunk's name, the head's, and its width, out of a name that ends in `+HEAD:WIDTH`; None of any other."""
    found = _ENDING.fullmatch(name)
    return None if found is None else (found[1], found[2], int(found[3]))
