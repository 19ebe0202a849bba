"""The model folder: what training hands back, complete in itself.

`model.safetensors` holds the weights, `model.json` everything needed to use them. Nothing in it is ever unpickled.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from siamese.atomic import atomic_path, write_text
from siamese.encoders.download import sha256_of
from siamese.encoders.registry import create_untrained
from siamese.encoders.weights import WeightsRecord
from siamese.errors import ModelError, SiameseError
from siamese.evaluation.calibration import Calibration
from siamese.evaluation.operating_points import OperatingPoint
from siamese.heads.identity import IdentityHead
from siamese.heads.pair import PairHead
from siamese.images.input_spec import InputSpec
from siamese.model.network import SiameseNetwork

WEIGHTS, CARD = "model.safetensors", "model.json"
# New weights wait here until the card that names them is there: then, and only then, the model is the new one.
WAITING = "model-new.safetensors"


class EncoderCard(BaseModel):
    """Which encoder, where its weights came from, and what it expects of an image."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    feature_dim: int
    input_spec: InputSpec
    weights: WeightsRecord | None


class PairHeadCard(BaseModel):
    """What the pair head compares, joined by `+`, and the hidden layer on top of it (0 units for none)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: str
    hidden: int = 0
    dropout: float = 0.0


class ValidationFigures(BaseModel):
    """What was measured on the validation pairs; accuracy is two-fold cross-fitted.

    Attributes:
        top1: share of held-out images that the identity head names; None where there are none, or no such head.
        top5: share whose identity is among its first five.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    auc: float
    accuracy: float
    eer: float
    top1: float | None = None
    top5: float | None = None


class TrainingCard(BaseModel):
    """Where the model comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    config: dict[str, object]
    baseline: ValidationFigures
    best: ValidationFigures
    best_epoch: int
    images: int
    tuples: int
    versions: dict[str, str]


class ModelCard(BaseModel):
    """The content of `model.json`.

    Attributes:
        format: version of this layout.
        encoder: the encoder.
        head: name of the projection head.
        embedding_dim: width of the embedding.
        pair_head: what scores two embeddings; None for their cosine.
        identities: labels of the identity head, in the order of its classes; None where there is no such head.
        subcentres: weights that the identity head has for each identity.
        operating_points: thresholds fitted on the validation pairs.
        calibration: from similarity to P(same), fitted on the same pairs; None in folders of earlier versions.
        training: provenance.
        licence: what is known of the licences of weights and data.
        sha256: of `model.safetensors`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    encoder: EncoderCard
    head: str
    embedding_dim: int
    pair_head: PairHeadCard | None = None
    identities: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    subcentres: Annotated[int, Field(ge=1)] = 1
    operating_points: tuple[OperatingPoint, ...]
    calibration: Calibration | None = None
    training: TrainingCard | None = None
    licence: str = "unknown"
    sha256: str = ""


def describe_encoder(network: SiameseNetwork) -> EncoderCard:
    """The encoder's part of a model card."""
    encoder = network.encoder
    return EncoderCard(
        name=encoder.name, feature_dim=encoder.feature_dim, input_spec=encoder.input_spec, weights=encoder.weights
    )


def describe_pair_head(network: SiameseNetwork) -> PairHeadCard | None:
    """The pair head's part of a model card; None where embeddings are compared by their cosine."""
    head = network.pair_head
    return None if head is None else PairHeadCard(features=head.name, hidden=head.hidden, dropout=head.dropout)


def save_model(folder: Path, network: SiameseNetwork, card: ModelCard) -> None:
    """Write a model folder.

    At every moment the folder holds one whole model, the old one or the new one, also when the writer is killed: the
    card names the hash of its weights, and those of either lie in a file of their own until it has been replaced.

    Raises:
        ValueError: the card names other heads than the network has, so that the folder could not be loaded.
    """
    _check_heads(network, card)
    _settle(folder)
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    with atomic_path(folder / WAITING) as temporary:
        save_file(state, temporary)
        digest = sha256_of(temporary)
    write_text(folder / CARD, card.model_copy(update={"sha256": digest}).model_dump_json(indent=2) + "\n")
    (folder / WAITING).replace(folder / WEIGHTS)


def _check_heads(network: SiameseNetwork, card: ModelCard) -> None:
    if card.pair_head != (built := describe_pair_head(network)):
        raise ValueError(f"the card's pair head is {card.pair_head}, the network's {built}")
    head = network.identity_head
    named = None if card.identities is None else (len(card.identities), card.subcentres)
    found = None if head is None else (head.identities, head.subcentres)
    if named != found:
        raise ValueError(f"identities and sub-centres: the card has {named}, the network {found}")


def _settle(folder: Path) -> None:
    """Put weights in their place that a killed writer left waiting, if the card is theirs."""
    waiting = folder / WAITING
    try:
        if waiting.is_file() and sha256_of(waiting) == read_card(folder).sha256:
            waiting.replace(folder / WEIGHTS)
    except ModelError:
        return  # no card, or none of ours: nothing that could be lost


def read_card(folder: Path) -> ModelCard:
    """Read and check `model.json`.

    Raises:
        ModelError: missing, not JSON, of another version, or with fields that do not fit.
    """
    path = folder / CARD
    try:
        return ModelCard.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(f"{folder}: no {CARD}; expected a model folder as `siamese train -o` writes it") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        if first["loc"] == ("format",) and isinstance(first["input"], int):
            found = f"model folder of format {first['input']}, expected 1"
            raise ModelError(f"{path}: {found}; use the version of siamese that wrote it, or a newer one") from error
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ModelError(f"{path}: {where}: {first['msg']}; the file was changed, copy the folder again") from error


def load_model(folder: Path) -> tuple[SiameseNetwork, ModelCard]:
    """Load a model folder: the network in evaluation on the CPU, and its card.

    Raises:
        ModelError: a file is missing or changed, or the weights do not fit the card.
    """
    card = read_card(folder)
    path = folder / WAITING  # of a writer that was killed with the last step before it, or at work just now
    if not path.is_file() or sha256_of(path) != card.sha256:
        path = folder / WEIGHTS
    if not path.is_file():
        raise ModelError(f"{folder}: no {WEIGHTS}; the model folder is incomplete, copy it again")
    digest = sha256_of(path)
    if digest != card.sha256:
        raise ModelError(
            f"{path}: changed since it was saved (SHA-256 {digest[:12]}..., expected {card.sha256[:12]}...); "
            "copy the model folder again"
        )
    try:
        network = _untrained(card)
        network.load_state_dict(load_file(path))
    except (RuntimeError, SafetensorError, SiameseError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"{folder}: the weights do not fit {CARD} ({reason}); copy the folder again") from error
    network.encoder.weights = card.encoder.weights
    network.encoder.pretrained = True
    return network.eval(), card


def _untrained(card: ModelCard) -> SiameseNetwork:
    """The network that a card describes, with random weights."""
    encoder = create_untrained(card.encoder.name, card.encoder.input_spec)
    network = SiameseNetwork(encoder, card.head, card.embedding_dim)
    pair = card.pair_head
    if pair is not None:
        network.pair_head = PairHead(card.embedding_dim, pair.features, pair.hidden, pair.dropout)
    if card.identities is not None:
        network.identity_head = IdentityHead(card.embedding_dim, len(card.identities), subcentres=card.subcentres)
    return network
