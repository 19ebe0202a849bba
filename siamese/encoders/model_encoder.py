"""A trained verifier as the encoder of the next one: any model folder, among them the one that ships."""

from pathlib import Path

from pydantic import ValidationError

import siamese
from siamese.encoders.bundled import BUNDLED
from siamese.encoders.checkpoint import read_checkpoint
from siamese.encoders.encoder import Encoder
from siamese.encoders.model_files import CARD, EmbeddingCard, changed_card, read_embedding_card, weights_file
from siamese.encoders.registry import create_untrained
from siamese.encoders.weights import WeightsRecord
from siamese.errors import ModelError, OptionError, SiameseError
from siamese.progress import log


def create_model_encoder(name: str, folder: Path, input_size: tuple[int, int] | None = None) -> Encoder:
    """The embedding of a model folder, before it is scaled to unit length, as a pretrained encoder.

    Args:
        name: how the folder was named, `bundled` or its path.
        folder: the model folder.
        input_size: must be None, or what the model has.

    Raises:
        OptionError: another input size.
        ModelError: a file is missing or was changed, or the weights do not fit the card.
    """
    card = read_embedding_card(folder)
    try:
        spec = card.input_spec()
    except ValidationError as error:
        raise changed_card(folder, error) from error
    size = spec.size
    if input_size not in (None, size):
        raise OptionError(
            f"--input-size: the model {name} has its own, {size[0]}x{size[1]}; leave the option out, or start from "
            "an encoder by name"
        )
    path = weights_file(folder, card.sha256)
    try:
        encoder = create_untrained(f"{card.encoder.name}+{card.head}:{card.embedding_dim}", spec)
        encoder.load_checkpoint(read_checkpoint(path), str(path))
    except SiameseError as error:
        raise ModelError(f"{folder}: the weights do not fit {CARD} ({error}); copy the folder again") from error
    if card.pair_head is not None:
        log.info("%s: its pair head stays behind, its embedding goes on", name)
    encoder.weights = _record(name, folder, card, encoder.name)
    encoder.pretrained = encoder.verifies = True
    return encoder


def _record(name: str, folder: Path, card: EmbeddingCard, architecture: str) -> WeightsRecord:
    source = f"{BUNDLED} with siamese {siamese.__version__}" if name == BUNDLED else folder.absolute().name
    return WeightsRecord(
        encoder=architecture,
        tag=None,
        source=source,
        sha256=card.sha256,
        licence=card.licence,
        training_set=card.training_set,
    )
