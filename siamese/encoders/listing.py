"""The list of encoders and their weights; builds no network and imports no torch."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from siamese.encoders.bundled import BUNDLED, bundled_folder
from siamese.encoders.model_files import WEIGHTS, read_embedding_card
from siamese.encoders.weights import ENTRIES, WeightEntry, cached_path
from siamese.errors import ModelError

# Input size and features of the encoders with published weights; a test compares them with the networks.
SHAPES = {"inception_resnet_v1": ((160, 160), 512), "timm/convnext_atto": ((224, 224), 320)}

_BY_FILE = "weights are given as a file, {name}@FILE, or {name}@random"
_PLAIN_FITS = "; a file of mobilefacenet fits"
MOBILEFACENETS = {
    "mobilefacenet": _BY_FILE,
    "mobilefacenet_ca": f"with channel attention, to be trained; {_BY_FILE}{_PLAIN_FITS}",
    "mobilefacenet_cbam": f"with channel and spatial attention, to be trained; {_BY_FILE}{_PLAIN_FITS}",
}

_SHIPS = (
    f"the verifier that ships with siamese: MODEL {BUNDLED}, taken where none is named, and --encoder {BUNDLED}; any "
    "other model folder is an encoder too, --encoder FOLDER"
)


class EncoderRow(BaseModel):
    """One line of the list: an encoder with one of its weights.

    Attributes:
        name: the encoder.
        tag: the weights; None where there are none to download.
        default: whether NAME alone means these weights.
        input_size: height and width in pixels; None where it depends on the architecture.
        feature_dim: length of the features; None where it depends on the architecture.
        source: the project that publishes the weights.
        licence: terms of the weights and of the images behind them.
        training_set: the images they were trained on.
        megabytes: approximate size of the file.
        cached: whether the file is here, in the cache or the package (it is verified when it is used).
        packaged: whether it came with the package.
        path: where the file is expected, downloaded or put there by hand.
        note: how to name it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    tag: str | None = None
    default: bool = False
    input_size: tuple[int, int] | None = None
    feature_dim: int | None = None
    source: str = ""
    licence: str = ""
    training_set: str = ""
    megabytes: int | None = None
    cached: bool = False
    packaged: bool = False
    path: Path | None = None
    note: str = ""


def list_encoders() -> list[EncoderRow]:
    """The verifier that ships, every encoder with each of its published weights, then those with weights in a file.

    Raises:
        ModelError: the card of the verifier that ships was changed.
    """
    return [
        _bundled(),
        *(_row(entry) for entry in ENTRIES),
        *(
            EncoderRow(name=name, input_size=(112, 96), feature_dim=128, note=note.format(name=name))
            for name, note in MOBILEFACENETS.items()
        ),
        EncoderRow(
            name="timm/NAME",
            source="https://github.com/huggingface/pytorch-image-models",
            note="any architecture of timm: timm/NAME, timm/NAME@TAG, timm/NAME@FILE or timm/NAME@random",
        ),
        EncoderRow(
            name="openvino:PATH.xml",
            note="a graph of OpenVINO, frozen; PATH.input.json describes its input, or openvino:PATH.xml@SPEC.json",
        ),
    ]


def _bundled() -> EncoderRow:
    """The verifier that ships; what is known of it is empty in a build of the package without it."""
    try:
        folder = bundled_folder()
    except ModelError:
        return EncoderRow(name=BUNDLED, note="a verifier that ships with siamese, but not with this installation")
    card, path = read_embedding_card(folder), folder / WEIGHTS
    there = path.is_file()
    return EncoderRow(
        name=BUNDLED,
        default=True,
        input_size=card.encoder.input_spec.size,
        feature_dim=card.embedding_dim,
        source="siamese",
        licence=card.licence,
        training_set=card.training_set,
        megabytes=round(path.stat().st_size / 1e6) if there else None,
        cached=there,
        packaged=there,
        path=path,
        note=_SHIPS,
    )


def _row(entry: WeightEntry) -> EncoderRow:
    name = entry.encoder.removeprefix("timm/")
    size, feature_dim = SHAPES[entry.encoder]
    path = cached_path(entry)
    default = next(other for other in ENTRIES if other.encoder == entry.encoder)
    return EncoderRow(
        name=name,
        tag=entry.tag,
        default=entry is default,
        input_size=size,
        feature_dim=feature_dim,
        source=entry.source,
        licence=entry.licence,
        training_set=entry.training_set,
        megabytes=round(entry.bytes / 1e6),
        cached=path.is_file(),
        path=path,
        note=name if entry is default else f"{name}@{entry.tag}",
    )
