"""The list of encoders and their weights; builds no network and imports no torch."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from siamese.encoders.weights import ENTRIES, WeightEntry, cached_path

# Input size and features of the encoders with published weights; a test compares them with the networks.
SHAPES = {"inception_resnet_v1": ((160, 160), 512), "timm/convnext_atto": ((224, 224), 320)}

_BY_FILE = "weights are given as a file, {name}@FILE, or {name}@random"
_PLAIN_FITS = "; a file of mobilefacenet fits"
MOBILEFACENETS = {
    "mobilefacenet": _BY_FILE,
    "mobilefacenet_ca": f"with channel attention, to be trained; {_BY_FILE}{_PLAIN_FITS}",
    "mobilefacenet_cbam": f"with channel and spatial attention, to be trained; {_BY_FILE}{_PLAIN_FITS}",
}


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
        cached: whether the file is in the cache (it is verified when it is used).
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
    path: Path | None = None
    note: str = ""


def list_encoders() -> list[EncoderRow]:
    """Every encoder with each of its published weights, then those whose weights are given as a file."""
    return [
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
    ]


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
