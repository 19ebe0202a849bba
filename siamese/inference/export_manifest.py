"""The manifest of an export: what its files are, what they were made from, and how to use them without torch.

An export is a folder with `export.json` and the graphs that it names. Plain JSON, read with the standard library.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from siamese.atomic import write_text
from siamese.errors import ModelError

MANIFEST = "export.json"
FORMAT = 1
KINDS = ("openvino", "onnx")
NETWORK, PAIR_HEAD, IDENTITY_HEAD = "network", "pair_head", "identity_head"
SUFFIX = {"openvino": ".xml", "onnx": ".onnx"}
# Where a model folder keeps its exports, and the card that they were made with.
EXPORTS, CARD = "export", "model.json"


@dataclass(frozen=True)
class ExportManifest:
    """The content of `export.json`.

    Attributes:
        siamese: version of the package that made the export.
        kind: `openvino` or `onnx`.
        int8: whether its arithmetic was quantised to eight bits.
        model: how the model was named, without the folders above it.
        encoder: name of the architecture.
        weights: record of the encoder's weights; None for random ones.
        weights_sha256: of the weights that it was made from: a model folder's, a file's, or those in memory.
        card_sha256: of the model folder's `model.json`; None for an untouched encoder.
        card: the model folder's card without its training; None for an untouched encoder.
        input: the encoder's `InputSpec` in plain values.
        embedding_dim: width of an embedding.
        pair_head: whether a pair head scores embeddings (`pair_head.*`), instead of their cosine.
        precisions: by precision of the arithmetic, whether its decisions passed the check against torch.
        parity: the check itself, one entry per precision.
        files: SHA-256 of every file of the export.
        versions: of the packages that made it.
        format: version of this layout.
    """

    siamese: str
    kind: str
    int8: bool
    model: str
    encoder: str
    weights: dict[str, Any] | None
    weights_sha256: str
    card_sha256: str | None
    card: dict[str, Any] | None
    input: dict[str, Any]
    embedding_dim: int
    pair_head: bool
    precisions: dict[str, bool]
    parity: list[dict[str, Any]]
    files: dict[str, str]
    versions: dict[str, str]
    format: int = FORMAT

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input in pixels."""
        height, width = self.input["size"]
        return int(height), int(width)

    @property
    def operating_points(self) -> list[dict[str, Any]]:
        """Thresholds of the model folder; none for an untouched encoder."""
        return [] if self.card is None else list(self.card["operating_points"])

    @property
    def calibration(self) -> dict[str, Any] | None:
        """From similarity to P(same); None where the model has none."""
        return None if self.card is None else self.card["calibration"]

    @property
    def identities(self) -> int:
        """How many identities `identity_head.*` tells apart; 0 without it, as in exports that were made before it."""
        if self.card is None or self.file(IDENTITY_HEAD) not in self.files:
            return 0
        return len(self.card.get("identities") or ())

    def file(self, part: str) -> str:
        """Name of the graph of `network`, `pair_head` or `identity_head`."""
        return part + SUFFIX[self.kind]


def write_manifest(folder: Path, manifest: ExportManifest) -> None:
    """Write `export.json`, with a digest of its own content."""
    content = asdict(manifest)
    write_text(folder / MANIFEST, json.dumps({**content, "sha256": _digest(content)}, indent=2) + "\n")


def read_manifest(folder: Path) -> ExportManifest:
    """Read an export and hold every file of it, and the model folder around it, to what the manifest says.

    Raises:
        ModelError: no export, one that was changed or is not whole, one of a newer version, or one that was made
            from a model that has changed since.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder}: holds no export ({MANIFEST} is missing); make one with `siamese export`"
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read as JSON ({error}); export the model again") from error
    manifest = _parsed(content, path)
    for name, expected in manifest.files.items():
        _check_file(folder / name, expected)
    _check_fresh(folder, manifest)
    return manifest


def find_export(model: Path, kind: str = "openvino") -> Path | None:
    """The export of a model folder, or the folder itself where it is an export; None where there is none."""
    for folder in (model, model / EXPORTS / kind):
        if (folder / MANIFEST).is_file():
            return folder
    return None


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file, in lower-case hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _parsed(content: Any, path: Path) -> ExportManifest:
    if not isinstance(content, dict):
        raise ModelError(f"{path}: holds no JSON object; export the model again")
    if (found := content.get("format")) != FORMAT:
        raise ModelError(f"{path}: format is {found!r}, expected {FORMAT}; export the model again with this version")
    digest = content.pop("sha256", None)
    names = {field.name for field in fields(ExportManifest)}
    if digest != _digest(content) or set(content) != names:
        raise ModelError(f"{path}: changed since it was exported; export the model again")
    return ExportManifest(**content)


def _check_file(path: Path, expected: str) -> None:
    try:
        found = sha256_of_file(path)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); export the model again") from error
    if found != expected:
        raise ModelError(
            f"{path}: changed since it was exported (SHA-256 {found[:12]}..., expected {expected[:12]}...); "
            "export the model again"
        )


def _check_fresh(folder: Path, manifest: ExportManifest) -> None:
    """An export inside a model folder must be of the model that is there now."""
    around = folder.absolute().parent
    card = around.parent / CARD
    if around.name != EXPORTS or not card.is_file():
        return
    if sha256_of_file(card) != manifest.card_sha256:
        raise ModelError(
            f"{folder}: made from another state of the model ({card} has changed since); run `siamese export` again"
        )


def _digest(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
