"""Published encoder weights: where they come from, under which terms, and how they get into the cache.

Imports no torch, so that listing them is instant.
"""

import re
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from siamese.atomic import write_text
from siamese.cache_folder import cache_folder
from siamese.encoders.checksum import sha256_of
from siamese.errors import WeightsError
from siamese.progress import log

_HEX64 = r"^[0-9a-f]{64}$"


class WeightsRecord(BaseModel):
    """Where an encoder's weights came from; it travels in the model folder.

    Attributes:
        encoder: the architecture.
        tag: name of the published weights; None for a file.
        source: the URL, or the file's name.
        sha256: of the file that was loaded.
        licence: terms of the weights and of the images behind them, as far as known.
        training_set: the images they were trained on, as far as known.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str
    tag: str | None
    source: str
    sha256: str
    licence: str
    training_set: str


class WeightEntry(BaseModel):
    """Published weights that can be downloaded.

    Attributes:
        encoder: the architecture (`inception_resnet_v1`, `timm/resnet18`).
        tag: name of the weights.
        url: http or https.
        sha256: of the file, where it is known; else the first file seen is recorded and holds from then on.
        bytes: approximate size.
        licence: terms of the weights and of the images behind them.
        training_set: the images they were trained on.
        source: the project that publishes them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    encoder: str
    tag: str
    url: str = Field(pattern="^https?://")
    sha256: str | None = Field(default=None, pattern=_HEX64)
    bytes: int
    licence: str
    training_set: str
    source: str


_FACENET = "https://github.com/timesler/facenet-pytorch"
_FACENET_RELEASE = f"{_FACENET}/releases/download/v2.2.9"

ENTRIES: tuple[WeightEntry, ...] = (
    WeightEntry(
        encoder="inception_resnet_v1",
        tag="vggface2",
        url=f"{_FACENET_RELEASE}/20180402-114759-vggface2.pt",
        sha256="281cebca8662831adb987a874bdcb36e73f5b1c6dc5ee5878f305e985625d99b",
        bytes=107_000_000,
        licence="code MIT; VGGFace2 images CC BY-SA 4.0, for research",
        training_set="VGGFace2",
        source=_FACENET,
    ),
    WeightEntry(
        encoder="inception_resnet_v1",
        tag="casia-webface",
        url=f"{_FACENET_RELEASE}/20180408-102900-casia-webface.pt",
        bytes=110_000_000,
        licence="code MIT; CASIA-WebFace images for research only",
        training_set="CASIA-WebFace",
        source=_FACENET,
    ),
    WeightEntry(
        encoder="timm/convnext_atto",
        tag="d2_in1k",
        url="https://huggingface.co/timm/convnext_atto.d2_in1k/resolve/main/model.safetensors",
        bytes=14_800_000,
        licence="apache-2.0",
        training_set="ImageNet-1k",
        source="https://github.com/huggingface/pytorch-image-models",
    ),
)


def find_entry(encoder: str, tag: str) -> WeightEntry | None:
    """The entry of the literal table for `encoder` and `tag`, or None."""
    return next((entry for entry in ENTRIES if (entry.encoder, entry.tag) == (encoder, tag)), None)


def cached_path(entry: WeightEntry) -> Path:
    """Where the file of `entry` lies once it is there; a file put there by hand is taken as well."""
    suffix = PurePosixPath(urlsplit(entry.url).path).suffix or ".pt"
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", f"{entry.encoder}-{entry.tag}")
    return cache_folder() / "weights" / f"{stem}{suffix}"


def fetch(entry: WeightEntry) -> Path:
    """The path of the verified file of `entry`, downloaded if it is not in the cache.

    Where no SHA-256 is published, that of the first file seen is recorded beside it (`FILE.sha256`, in the
    form of sha256sum) and every later use is held to it.

    Raises:
        WeightsError: the file differs from what is published or recorded, or cannot be downloaded.
    """
    path = cached_path(entry)
    expected = entry.sha256 or _recorded(path)
    if path.is_file():
        found = sha256_of(path)
        if expected is not None and found != expected:
            raise _changed(entry, path, found, expected)
    else:
        from siamese.encoders.download import download  # urllib, which reading a record does without

        found = download(entry.url, path, size=entry.bytes, expected=expected)
    if expected is None:
        _record(path, found)
    return path


def record_of(entry: WeightEntry) -> WeightsRecord:
    """The record of weights just fetched by `fetch(entry)`."""
    path = cached_path(entry)
    return WeightsRecord(
        encoder=entry.encoder,
        tag=entry.tag,
        source=entry.url,
        sha256=entry.sha256 or _recorded(path) or sha256_of(path),
        licence=entry.licence,
        training_set=entry.training_set,
    )


def record_of_file(encoder: str, path: Path) -> WeightsRecord:
    """The record of weights that a user gave as a file; its terms are not known.

    Raises:
        WeightsError: there is no such file.
    """
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "no such file"
        raise WeightsError(f"weights {path}: {found}; expected a file of weights, check the path")
    return WeightsRecord(
        encoder=encoder,
        tag=None,
        source=path.name,
        sha256=sha256_of(path),
        licence="unknown: given as a file",
        training_set="unknown: given as a file",
    )


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _record(path: Path, digest: str) -> None:
    sidecar = _sidecar(path)
    try:
        write_text(sidecar, f"{digest}  {path.name}\n")
    except OSError as error:  # a cache that someone filled and made read-only still serves
        log.warning("cannot record SHA-256 %s of %s (%s): later changes go unseen", digest, path, error)
    else:
        log.info("recorded SHA-256 %s of %s in %s", digest, path.name, sidecar)


def _recorded(path: Path) -> str | None:
    """The SHA-256 in the file beside `path`; None where there is no such file."""
    sidecar = _sidecar(path)
    if not sidecar.is_file():
        return None
    digest = sidecar.read_text(encoding="utf-8", errors="replace").strip().split(" ")[0].lower()
    if not re.match(_HEX64, digest):
        raise WeightsError(
            f"{sidecar}: expected a line 'SHA-256  {path.name}'; write it so, or delete the file to record anew"
        )
    return digest


def _changed(entry: WeightEntry, path: Path, found: str, expected: str) -> WeightsError:
    known, delete = "published", str(path)
    if entry.sha256 is None:
        known, delete = f"recorded in {_sidecar(path)}", f"{path} (and the record, if the change is meant)"
    return WeightsError(
        f"weights {path}: SHA-256 is {found}, expected {expected} ({known}): the file was changed or is not whole;"
        f" delete {delete} to download {entry.url} again"
    )
