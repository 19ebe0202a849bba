"""The files of a model folder as far as its encoder goes: the card's part, and the weights. Imports no torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from siamese.encoders.checksum import sha256_of
from siamese.encoders.weights import WeightsRecord
from siamese.errors import ModelError

if TYPE_CHECKING:
    from siamese.images.input_spec import InputSpec

CARD = "model.json"
WEIGHTS = "model.safetensors"
# New weights wait here until the card that names them is there: then, and only then, the model is the new one.
WAITING = "model-new.safetensors"


class _InputPart(BaseModel):
    model_config = ConfigDict(extra="allow")

    size: tuple[int, int]


class _EncoderPart(BaseModel):
    name: str
    input_spec: _InputPart
    weights: WeightsRecord | None


class _TrainingPart(BaseModel):
    config: dict[str, object]
    images: int


class EmbeddingCard(BaseModel):
    """What of a model card says how an image becomes an embedding; the rest of the card is left to `read_card`.

    Attributes:
        format: version of the card's layout.
        encoder: name, input as it stands there, and the origin of the weights that training began with.
        head: name of the projection head.
        embedding_dim: width of the embedding.
        pair_head: what scores two embeddings; None for their cosine.
        training: the configuration, and on how many images.
        licence: what is known of the licences of weights and data.
        sha256: of the weights.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = 1
    encoder: _EncoderPart
    head: str
    embedding_dim: int
    pair_head: dict[str, object] | None = None
    training: _TrainingPart | None = None
    licence: str = "unknown"
    sha256: str

    def input_spec(self) -> "InputSpec":
        """How images must be prepared.

        Raises:
            ValidationError: the card says something else.
        """
        from siamese.images.input_spec import InputSpec  # with OpenCV, which a list of models does without

        return InputSpec.model_validate(self.encoder.input_spec.model_dump())

    @property
    def training_set(self) -> str:
        """The images behind the weights, as far as known: those of the encoder it began with, then its own."""
        weights = self.encoder.weights
        parts = [] if weights is None else [weights.training_set]
        if self.training is not None:
            data = Path(str(self.training.config.get("data", ""))).name
            parts.append(f"{self.training.images:,} images{f' of {data}' if data else ''}")
        return ", then ".join(parts) or "unknown"


def read_embedding_card(folder: Path) -> EmbeddingCard:
    """Read `model.json` of a model folder.

    Raises:
        ModelError: missing, or not a card of a model.
    """
    path = folder / CARD
    try:
        return EmbeddingCard.model_validate_json(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelError(f"{folder}: no {CARD}; expected a model folder as `siamese train -o` writes it") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read ({error})") from error
    except ValidationError as error:
        raise changed_card(folder, error) from error


def changed_card(folder: Path, error: ValidationError) -> ModelError:
    """The error for a card that says what cannot be."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"])) or "the file"
    return ModelError(f"{folder / CARD}: {where}: {first['msg']}; the file was changed, copy the folder again")


def weights_file(folder: Path, sha256: str) -> Path:
    """The file with the weights that the card of a model folder names.

    Args:
        folder: the model folder.
        sha256: what the card says of its weights.

    Raises:
        ModelError: it is missing, or is not what was saved.
    """
    waiting = folder / WAITING  # of a writer that was killed with the last step before it, or at work just now
    if waiting.is_file() and sha256_of(waiting) == sha256:
        return waiting
    path = folder / WEIGHTS
    if not path.is_file():
        raise ModelError(f"{folder}: no {WEIGHTS}; the model folder is incomplete, copy it again")
    digest = sha256_of(path)
    if digest != sha256:
        raise ModelError(
            f"{path}: changed since it was saved (SHA-256 {digest[:12]}..., expected {sha256[:12]}...); "
            "copy the model folder again"
        )
    return path
