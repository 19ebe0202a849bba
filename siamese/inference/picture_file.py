"""The file that a picture is written to, refused before the work where it cannot or must not be written."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from siamese.atomic import atomic_path
from siamese.errors import OptionError

# JPEG at high quality and with colour at full resolution, so that small letters stay sharp.
_JPEG = {"quality": 92, "subsampling": 0}
OPTIONS: dict[str, dict[str, Any]] = {".png": {}, ".jpg": _JPEG, ".jpeg": _JPEG}


def check_picture_file(option: str, path: Path, inputs: Sequence[Path] = ()) -> None:
    """Refuse, before the work, a file that cannot be written as a picture.

    Args:
        option: that names the file, for messages.
        path: the file.
        inputs: files that are read or written besides, and must not be replaced.

    Raises:
        OptionError: neither PNG nor JPEG by its suffix, a folder, below something that is no folder, or one of
            `inputs`.
    """
    if path.suffix.lower() not in OPTIONS:
        raise OptionError(f"{option} {path}: a picture ends in .png or .jpg; name it so")
    if path.is_dir():
        raise OptionError(f"{option} {path}: is a folder, expected the name of a file to write")
    blocking = next((parent for parent in path.parents if parent.exists()), None)
    if blocking is not None and not blocking.is_dir():
        raise OptionError(f"{option} {path}: {blocking} is a file, expected a folder; name another file")
    if any(_same_file(path, each) for each in inputs):
        raise OptionError(f"{option} {path}: is read or written as well, and would be replaced; name another file")


def _same_file(path: Path, other: Path) -> bool:
    if path.exists() and other.exists():
        return path.samefile(other)
    return path.resolve() == other.resolve()


def write_picture(path: Path, picture: Image.Image) -> None:
    """Write an RGB picture in the format that the suffix says, whole or not at all.

    Raises:
        OSError: the file cannot be written; it names `path`.
    """
    # In memory first: of a full disk Pillow says only that its encoder failed.
    content = io.BytesIO()
    suffix = path.suffix.lower()
    picture.save(content, "PNG" if suffix == ".png" else "JPEG", **OPTIONS[suffix])
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.getvalue())
