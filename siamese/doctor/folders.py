"""The folders that siamese writes to beside what it is asked for."""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any

from siamese.cache_folder import cache_folder
from siamese.doctor.finding import Finding
from siamese.images.openvino_detector_files import ABOUT, nets_folder
from siamese.inference.runtime_choice import is_installed, torch_is_there

# Decoded images of a data set, weights and exports come to this quickly.
LITTLE = 1 << 30


def describe_folders() -> tuple[dict[str, Any], list[Finding]]:
    """The cache folder and the face detector's nets in it, as values and in words; nothing is written."""
    cache = cache_folder()
    free = _free(cache)
    try:
        nets = nets_folder()
    except ImportError:  # an import hook that keeps facenet-pytorch away
        nets = cache / "face-detector"
    at_hand = (nets / ABOUT).is_file()
    can_be_made = torch_is_there() and is_installed("facenet_pytorch")
    values = {
        "cache": {"path": str(cache), "exists": cache.is_dir(), "free_bytes": free},
        "face_detector": {"path": str(nets), "at_hand": at_hand, "can_be_made": can_be_made},
    }
    return values, [_cache_finding(cache, free), _nets_finding(nets, at_hand, can_be_made)]


def _free(folder: Path) -> int | None:
    """Room on the disk that the folder lies on, or will lie on."""
    for place in (folder, *folder.parents):
        with suppress(OSError):
            return shutil.disk_usage(place).free
    return None


def _cache_finding(cache: Path, free: int | None) -> Finding:
    if free is None:
        return Finding("cache folder", "warn", f"{cache}: no such disk; set SIAMESE_CACHE to a folder")
    room = f"{cache}, {free / 1e9:.1f} GB free"
    if free < LITTLE:
        return Finding("cache folder", "warn", f"{room}: little; make room, or set SIAMESE_CACHE to another folder")
    return Finding("cache folder", "ok", room)


def _nets_finding(nets: Path, at_hand: bool, can_be_made: bool) -> Finding:
    name = "face detector's nets"
    if at_hand:
        return Finding(name, "ok", f"at hand in {nets}")
    if can_be_made:
        return Finding(name, "ok", "made for OpenVINO at first use")
    return Finding(
        name,
        "warn",
        f"missing: photographs cannot be aligned; copy {nets} from a machine where faces were aligned, or pip "
        "install torch facenet-pytorch, which make it",
    )
