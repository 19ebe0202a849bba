"""The converted nets of the face detector: kept in the user's cache, made where they are missing."""

import json
import secrets
import shutil
from collections.abc import Mapping
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from siamese.cache_folder import cache_folder
from siamese.errors import WeightsError
from siamese.images.openvino_detector_conversion import CONVERSION, WEIGHT_FILES, convert
from siamese.openvino_files import save_graph
from siamese.progress import log

ABOUT = "about.json"
# SHA-256 of the weights in facenet-pytorch 2.5.3: where the package is absent, nets that were made of these elsewhere
# are looked for.
PUBLISHED = {
    "proposal": "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f",
    "refinement": "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86",
    "output": "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d",
}
Nets = Mapping[str, Any]


def detector_nets() -> Nets:
    """The three nets for `DetectorNets`: the files kept earlier or, where there are none, made now and kept.

    Files that were changed since they were written are made anew. Where the cache cannot be written, the nets are
    made in memory each time.

    Raises:
        WeightsError: there are none, and torch and facenet-pytorch, which make them, are not both installed; or the
            weights in facenet-pytorch's folder are not MTCNN's.
    """
    folder = nets_folder()
    if kept := _kept(folder):
        return kept
    files = _weight_files()
    if not files or find_spec("torch") is None:
        raise WeightsError(
            f"face detection: no converted nets in {folder}; install torch and facenet-pytorch, which make them at "
            "first use, or copy this folder from a machine where faces were aligned"
        )
    log.info("converting the face detector for OpenVINO, once, into %s", folder)
    made = {name: convert(name, path) for name, path in files.items()}
    try:
        _keep(folder, made)
    except (OSError, RuntimeError) as error:
        log.warning(
            "%s: the face detector's nets cannot be kept there and are made anew each time: %s",
            *(folder, error.strerror or error if isinstance(error, OSError) else error),
        )
        return made
    return _kept(folder) or made


def nets_folder() -> Path:
    """Where the nets are kept: below the user's cache folder, under the hash of all that they are made of."""
    files = _weight_files()
    hashes = {name: _hash(path) for name, path in files.items()} if files else PUBLISHED
    key = json.dumps({"conversion": CONVERSION, "weights": hashes}, sort_keys=True)
    return cache_folder() / "face-detector" / sha256(key.encode()).hexdigest()[:24]


def _weight_files() -> dict[str, Path]:
    """facenet-pytorch's files of weights, found without importing the package; empty where it is not installed."""
    spec = find_spec("facenet_pytorch")
    for folder in (spec and spec.submodule_search_locations) or []:
        files = {name: Path(folder) / "data" / file for name, file in WEIGHT_FILES.items()}
        if all(path.is_file() for path in files.values()):
            return files
    return {}


def _kept(folder: Path) -> Nets | None:
    """The nets in a folder, if they are there as they were written."""
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        if any(_hash(folder / name) != about["files"][name] for name in _file_names()):
            log.warning("%s: changed since it was written", folder)
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {name: folder / f"{name}.xml" for name in WEIGHT_FILES}


def _keep(folder: Path, nets: Nets) -> None:
    """Write the nets beside their place and move them there: whole or not at all, whoever else does the same."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = folder.with_name(f".{folder.name}-{secrets.token_hex(6)}")
    try:
        beside.mkdir()
        for name, net in nets.items():
            save_graph(net, beside / f"{name}.xml")
        about = {"conversion": CONVERSION, "files": {name: _hash(beside / name) for name in _file_names()}}
        (beside / ABOUT).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
        if folder.exists() and not _kept(folder):
            folder.rename(beside / "changed")  # removed with the rest
        try:
            beside.rename(folder)
        except OSError:
            if not _kept(folder):  # else another process was first
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _file_names() -> list[str]:
    return [f"{name}.{suffix}" for name in WEIGHT_FILES for suffix in ("xml", "bin")]


def _hash(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
