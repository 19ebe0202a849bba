"""The card of a model folder: everything needed to use its weights, read without loading any.

Imports no torch: whoever only asks what a model is, or runs it elsewhere, need not wait for it.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from siamese.encoders.weights import WeightsRecord
from siamese.errors import ModelError
from siamese.evaluation.calibration import Calibration
from siamese.evaluation.operating_points import OperatingPoint
from siamese.images.input_spec import InputSpec

CARD = "model.json"


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
