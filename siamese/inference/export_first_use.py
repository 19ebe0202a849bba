"""The export that is made when a model is first used on the CPU, and found again by every later use.

Imports torch only to make one.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EEXIST
from pathlib import Path
from typing import TYPE_CHECKING

from siamese.atomic import write_text
from siamese.encoders.bundled import path_of_model
from siamese.encoders.registry import RANDOM
from siamese.errors import ModelError, SiameseError
from siamese.inference.export_manifest import MANIFEST, read_manifest
from siamese.inference.export_source import ExportSource, source_of_encoder, source_of_folder
from siamese.inference.runtime import AUTO
from siamese.inference.runtime_choice import FIRST_USE, KIND
from siamese.inference.runtime_openvino import OpenVinoRuntime
from siamese.inference.runtime_timing import measure_runtimes
from siamese.progress import log

if TYPE_CHECKING:
    from siamese.inference.export_manifest import ExportManifest
    from siamese.inference.verifier import Verifier

ABOUT = (
    "Made by siamese when the model was first used on the processor, and checked briefly against it. It is made "
    "anew when the model changes, and may be deleted. `siamese export` makes one that is checked in full.\n"
)
# Graphs are written in float32 like the weights; beside them little.
SLACK = 4 << 20
# For the self-benchmark: somebody waits for the answer.
SECONDS = 1.0


@dataclass(frozen=True)
class Found:
    """An export, or why there is none.

    Attributes:
        folder: the export; None where there is none.
        reason: where it is, or why there is none, in words.
    """

    folder: Path | None
    reason: str


def find_or_make(model: str, input_size: tuple[int, int] | None, *, precision: str, make: bool) -> Found:
    """The export of a model that was made at first use; one is made where there is none.

    What goes wrong with making one is told in a warning, and is no error.

    Args:
        model: model folder, or `NAME`, `NAME@TAG`, `NAME@FILE` of an untouched encoder.
        input_size: height and width, for an untouched encoder only.
        precision: that was asked for, as of `OpenVinoRuntime`.
        make: make a missing one; it needs torch.

    Raises:
        SiameseError: the model itself cannot be loaded.
    """
    source = _source(model, input_size, download=make)
    if source is None:
        return Found(None, _unknown(model))
    if (found := _kept(source)) is not None:
        return found
    if reason := _refusal(source):
        log.info("%s: runs on torch (%s)", model, reason)
        return Found(None, reason)
    if not make:
        return Found(None, "no export yet")
    return _make_one(source, input_size, precision)


def _source(model: str, input_size: tuple[int, int] | None, *, download: bool) -> ExportSource | None:
    path = path_of_model(model)
    if not path.is_dir():
        return source_of_encoder(model, input_size, download=download)
    return source_of_folder(path, model)


def _unknown(model: str) -> str:
    if model.endswith(f"@{RANDOM}"):
        return "its weights are random, and others each time"
    return "its weights are not here, or of a name that torch's libraries alone know"


def _refusal(source: ExportSource) -> str:
    """Why an earlier use could not make this export; empty where none tried, or none was told."""
    try:
        return source.refused.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _kept(source: ExportSource) -> Found | None:
    """The export that an earlier use left, if it is whole and of these very weights."""
    for place in source.places:
        if _usable(place, source):
            where = "cache" if place == source.places[-1] else "model folder"
            return Found(place, f"the export made at first use, in the {where}")
    return None


def _usable(place: Path, source: ExportSource) -> bool:
    if not (place / MANIFEST).is_file():
        return False
    try:
        return read_manifest(place).weights_sha256 == source.weights_sha256
    except ModelError as error:
        log.debug("%s", error)
        return False


def _make_one(source: ExportSource, input_size: tuple[int, int] | None, precision: str) -> Found:
    from siamese.inference.verifier import Verifier

    note = "; float32, until `siamese export` has shown bfloat16 to decide alike" if precision == AUTO else ""
    log.info("%s: made ready for OpenVINO, once; --runtime torch leaves it out%s", source.model, note)
    verifier = Verifier.load(source.model, device="cpu", runtime="torch", input_size=input_size)
    try:
        return _make_somewhere(source, verifier)
    except Exception as error:  # a convenience that fails must not take the command with it, whatever the reason
        if isinstance(error, ModelError):
            with suppress(OSError):
                write_text(source.refused, f"{error}\n")
        log.warning("%s: not made ready for OpenVINO, runs on torch (%s)", source.model, reason := _reason(error))
        return Found(None, reason)


def _make_somewhere(source: ExportSource, verifier: "Verifier") -> Found:
    """Make the export in the first place that can be written.

    Raises:
        OSError: there is none.
        SiameseError: the network cannot be converted, or decides differently.
    """
    failed: OSError | None = None
    for place in source.places:
        try:
            _make_in(place, source, verifier)
        except OSError as error:
            failed = error
        else:
            found = _kept(source)
            if found is not None:
                return found
    raise failed or ModelError(f"{source.model}: its export is gone as soon as it is made")


def _make_in(place: Path, source: ExportSource, verifier: "Verifier") -> None:
    from siamese.inference.export_files import hash_of_weights, write_export

    if hash_of_weights(verifier) != source.weights_sha256:
        raise SiameseError("its weights changed while they were read")
    with _folder_beside(place) as made:
        _need_room(made / "room", source.bytes + SLACK)
        _check(made, write_export(verifier, made, KIND), source, verifier)
        write_text(made / FIRST_USE, ABOUT)
        _put(made, place, source)


@contextmanager
def _folder_beside(place: Path) -> Iterator[Path]:
    """A new folder of the same name in a temporary one beside it; what was made only for this is gone afterwards."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{place.name}-", dir=place.parent) as name:
            made = Path(name) / place.name
            made.mkdir()
            yield made
    finally:
        with suppress(OSError):
            place.parent.rmdir()  # only where nothing is in it


def _check(made: Path, manifest: "ExportManifest", source: ExportSource, verifier: "Verifier") -> None:
    """Hold the export against torch, and measure both; on return nothing keeps its files open."""
    from siamese.inference.export_files import quick_parity, write_parity

    runtime = OpenVinoRuntime(made, "f32", cache=False)
    write_parity(made, manifest, [quick_parity(verifier, runtime, source.folder)])
    measure_runtimes((verifier.runtime, runtime), manifest.size, manifest.weights_sha256, seconds=SECONDS)


def _need_room(path: Path, size: int) -> None:
    """Find out before the work that a disk is full: converters report it as anything or not at all.

    Raises:
        OSError: so many bytes cannot be written.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, size)
    path.unlink()


def _put(made: Path, place: Path, source: ExportSource) -> None:
    """Move a finished export into its place; one that another process put there meanwhile stays."""
    with suppress(OSError):
        made.rename(place)
        return
    if _usable(place, source):
        return
    if place != source.places[-1] and not (place / FIRST_USE).is_file():
        raise FileExistsError(EEXIST, "holds other files", str(place))
    place.rename(made.with_name("before"))  # removed with the rest of the temporary folder
    with suppress(OSError):
        made.rename(place)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}"
    return " ".join(str(error).split())[:300] or type(error).__name__
