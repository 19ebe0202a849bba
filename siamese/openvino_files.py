"""Files that OpenVINO writes: graphs, and what it compiles of them.

Its own errors say of a disk without room that a stream failed, and compiled graphs it takes back unseen: with a bit
lost on the disk they run, and give other numbers.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import file_digest
from pathlib import Path
from typing import Any

from siamese.atomic import write_text
from siamese.openvino_library import openvino

# Of the files in a folder of compiled graphs, their SHA-256.
CHECKSUMS = "checksums.json"
# How far a file is written on to hear from the system why OpenVINO could not: more than one block of any disk.
_MORE = 1 << 24


def save_graph(model: Any, path: Path) -> None:
    """Write a graph in float32.

    Args:
        model: OpenVINO's.
        path: the `.xml` file; the weights lie beside it in `.bin`.

    Raises:
        OSError: it cannot be written; names the file.
        RuntimeError: any other failure, as OpenVINO puts it.
    """
    try:
        openvino().save_model(model, path, compress_to_fp16=False)
    except RuntimeError:
        for file in (path.with_suffix(".bin"), path):
            _write_on(file)
        raise


def _write_on(path: Path) -> None:
    """Write more into a file that was given up: the system says why that cannot be."""
    try:
        with path.open("ab") as file:
            file.write(bytes(_MORE))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    path.unlink(missing_ok=True)


@contextmanager
def checked_cache(folder: Path) -> Iterator[None]:
    """Guard a folder of compiled graphs (OpenVINO's `CACHE_DIR`) while one is compiled or taken from it.

    What is not as it was when it was written is removed first, so that it is compiled anew. It is a guard against
    damage, not against somebody who may write into the folder: who can change a graph can change its checksum.

    Raises:
        OSError: what is damaged cannot be removed; the folder is not to be used.
    """
    known = _read(folder)
    for blob in _blobs(folder):
        if known.get(blob.name) != _hash(blob):
            known.pop(blob.name, None)
            blob.unlink(missing_ok=True)
    yield
    with suppress(OSError):  # no room: what is not recorded is compiled again
        new = {blob.name: _hash(blob) for blob in _blobs(folder) if blob.name not in known}
        if new:
            write_text(folder / CHECKSUMS, json.dumps(known | new, indent=2) + "\n")


def _blobs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.blob"))


def _read(folder: Path) -> dict[str, str]:
    try:
        found = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
