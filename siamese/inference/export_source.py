"""What an export would be made from, and where it lies: told by content, without torch."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import siamese
from siamese.cache_folder import cache_folder
from siamese.encoders.bundled import BUNDLED
from siamese.encoders.model_files import WEIGHTS
from siamese.encoders.openvino_source import PREFIX as OPENVINO
from siamese.encoders.openvino_source import parse_openvino, record_of_openvino
from siamese.encoders.registry import ALIASES, RANDOM, TIMM
from siamese.encoders.weights import ENTRIES, cached_path, fetch, find_entry
from siamese.inference.export_manifest import EXPORTS, FORMAT, sha256_of_file
from siamese.inference.runtime_choice import KIND
from siamese.installed import installed_version
from siamese.model.card import CARD, read_card

Size = tuple[int, int] | None


@dataclass(frozen=True)
class ExportSource:
    """A model whose export depends on nothing but what is named here.

    Attributes:
        model: how the model was named.
        weights_sha256: of its weights: as the card of a model folder has it, or of an encoder's file.
        bytes: size of the file of weights.
        places: where its export is looked for, and where one is made: the first that can be written.
        folder: the model folder; None for an untouched encoder.
    """

    model: str
    weights_sha256: str
    bytes: int
    places: tuple[Path, ...]
    folder: Path | None

    @property
    def refused(self) -> Path:
        """A file that says why no export of this content can be made with these versions."""
        return self.places[-1].with_suffix(".refused")


def source_of_folder(folder: Path, name: str | None = None) -> ExportSource:
    """A model folder: its export lies in it, or in the cache where nothing may be written into it.

    Nothing is ever written into the folder that ships with the package: it would stay behind when that is removed.

    Args:
        folder: with a model card.
        name: how it was named; None for its path.

    Raises:
        ModelError: the card is missing or changed.
    """
    card = read_card(folder)
    key = _key("", card.sha256, sha256_of_file(folder / CARD), None)
    path = folder / WEIGHTS
    size = path.stat().st_size if path.is_file() else 0
    places = (_cached(key),) if name == BUNDLED else (folder / EXPORTS / KIND, _cached(key))
    return ExportSource(name or str(folder), card.sha256, size, places, folder)


def source_of_encoder(name: str, input_size: Size, *, download: bool) -> ExportSource | None:
    """An untouched encoder; None where its weights are random, not here, or can only be told by loading it.

    Args:
        name: `NAME@FILE`, or `NAME` or `NAME@TAG` of the weights that `siamese models` lists, or `openvino:PATH.xml`.
        input_size: height and width; None for the encoder's own.
        download: fetch published weights that are not here yet.

    Raises:
        WeightsError: the weights were changed, or cannot be downloaded, or files of an OpenVINO graph are missing.
    """
    if name.startswith(OPENVINO):
        return _source_of_graph(name, input_size)
    base, _, rest = name.partition("@")
    path = _weights(base, rest, download=download)
    if path is None:
        return None
    digest = sha256_of_file(path)
    cached = _cached(_key(ALIASES.get(base, base), digest, None, input_size))
    return ExportSource(name, digest, path.stat().st_size, (cached,), None)


def _source_of_graph(name: str, input_size: Size) -> ExportSource:
    """A graph of OpenVINO, which an export makes ready for batches, and for whoever has no torch."""
    files = parse_openvino(name)
    xml, constants, about = files.read_xml(), files.read_bin().tobytes(), files.read_spec(None)
    digest = record_of_openvino("", files, about, xml, constants).sha256
    described = hashlib.sha256(about.model_dump_json().encode()).hexdigest()
    cached = _cached(_key("openvino", digest, described, input_size))
    return ExportSource(name, digest, len(xml) + len(constants), (cached,), None)


def _weights(base: str, rest: str, *, download: bool) -> Path | None:
    """The file of an encoder's weights: what follows the @, or what is kept of the published ones."""
    if rest == RANDOM:
        return None
    if rest and (path := Path(rest).expanduser()).is_file():
        return path
    encoder, _, preset = ALIASES.get(base, base).removeprefix(TIMM).partition(".")
    encoder = TIMM + encoder if ALIASES.get(base, base).startswith(TIMM) else encoder
    tag = rest or preset or next((entry.tag for entry in ENTRIES if entry.encoder == encoder), "")
    entry = find_entry(encoder, tag)
    if entry is None or not (download or cached_path(entry).is_file()):
        return None
    return fetch(entry)


def _key(name: str, weights_sha256: str, card_sha256: str | None, size: Size) -> str:
    versions = [siamese.__version__, installed_version("openvino"), FORMAT]
    text = json.dumps([name, weights_sha256, card_sha256, size, versions])
    return hashlib.sha256(text.encode()).hexdigest()[:24]


def _cached(key: str) -> Path:
    return cache_folder() / "exports" / key
