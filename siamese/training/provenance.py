"""Where a run comes from: everything beside the configuration that one needs to repeat it, as one JSON document."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from siamese.atomic import write_text
from siamese.encoders.weights import WeightsRecord
from siamese.errors import DataError
from siamese.training.fingerprints import ImagesFingerprint, fingerprint_file, fingerprint_images
from siamese.training.run_start import Start, changes_between, printable

PROVENANCE = "provenance.json"


class RunData(BaseModel):
    """The data of a run.

    Attributes:
        root: the folder that images are relative to.
        images: their fingerprint.
        pair_files: SHA-256 of each file of pairs, by its name.
        weights: that the encoder started from; None for random ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: str
    images: ImagesFingerprint
    pair_files: dict[str, str]
    weights: WeightsRecord | None


class Provenance(BaseModel):
    """The content of `provenance.json`.

    Attributes:
        format: version of this layout.
        start: the first start of the run.
        data: what it trains and validates on.
        resumed: every later start, in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    start: Start
    data: RunData
    resumed: tuple[Start, ...] = ()


def describe_data(
    root: Path, images: Sequence[str], pair_files: Mapping[str, Path], weights: WeightsRecord | None
) -> RunData:
    """Fingerprints of the data; a million images take seconds.

    Args:
        root: the folder that image paths are relative to.
        images: paths of all images of training and validation.
        pair_files: the files of pairs, by the name to keep them under.
        weights: that the encoder started from.

    Raises:
        DataError: a file of pairs cannot be read.
    """
    return RunData(
        root=printable(str(root)),
        images=fingerprint_images(root, images),
        pair_files={printable(name): fingerprint_file(path) for name, path in pair_files.items()},
        weights=weights,
    )


def write_provenance(folder: Path, start: Start, data: RunData) -> None:
    """Write `provenance.json` of a run that begins into its run folder."""
    _write(folder, Provenance(start=start, data=data))


def resume_provenance(folder: Path, start: Start, data: RunData) -> list[str]:
    """Note in `provenance.json` that a run goes on, and tell what is not as it was.

    A run that was interrupted before anything was written begins with this start.

    Returns:
        One line for each thing that differs: data, weights, code, versions, device. Where the list is empty, the
        resumed run ends like an undisturbed one.

    Raises:
        DataError: the file is there and cannot be read.
    """
    if not (folder / PROVENANCE).exists():
        write_provenance(folder, start, data)
        return []
    before = read_provenance(folder)
    _write(folder, before.model_copy(update={"resumed": (*before.resumed, start)}))
    last = before.resumed[-1] if before.resumed else before.start
    return [*_data_changes(before.data, data), *changes_between(last, start)]


def read_provenance(folder: Path) -> Provenance:
    """Read `provenance.json` of a run folder.

    Raises:
        DataError: missing, or not as `write_provenance` writes it.
    """
    path = folder / PROVENANCE
    try:
        return Provenance.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise DataError(f"{path}: {where}: {first['msg']}; the file was changed, remove it") from error


def _write(folder: Path, provenance: Provenance) -> None:
    write_text(folder / PROVENANCE, provenance.model_dump_json(indent=2) + "\n")


def _data_changes(before: RunData, now: RunData) -> list[str]:
    changes = []
    if (before.images.names, before.images.content) != (now.images.names, now.images.content):
        changes.append(
            f"the images are not those it began with ({before.images.images:,}, now {now.images.images:,})"
        )
    files = sorted(before.pair_files.keys() | now.pair_files.keys())
    changes += [f"{name} has changed" for name in files if before.pair_files.get(name) != now.pair_files.get(name)]
    if (before.weights and before.weights.sha256) != (now.weights and now.weights.sha256):
        changes.append("the encoder's weights are not those it began with")
    return changes
