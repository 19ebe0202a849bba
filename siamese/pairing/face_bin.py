"""The `.bin` files of the face-recognition community: pairs and their images in one file.

AgeDB-30, CFP-FP, LFW, CALFW, CPLFW and others are passed around in this form, which comes from InsightFace: the
pickle of (encoded images, truth values), where pair i is images 2i and 2i + 1. Evaluations divide the pairs into ten
equal consecutive folds. Nothing is unpickled, see `face_pickle`.
"""

import mmap
import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from siamese.atomic import atomic_path
from siamese.errors import PairFileError
from siamese.pairing.face_pickle import PickleRefusedError, read_plain_pickle
from siamese.pairing.rows import row_name
from siamese.progress import progress

if TYPE_CHECKING:
    import pandas as pd

_FOLDS = 10
_START = re.compile(rb"\x80[\x02-\x05]|\(?\(lp[0-9]+\n|\(?\]q[\x00-\xff]\(")
_MAGIC = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG\r\n\x1a\n", ".png"), (b"BM", ".bmp"))
_EXPECTED = "expected the pickle of a list of encoded images and a list of truth values, half as many"


def is_bin(path: str | Path) -> bool:
    """Whether a file begins like a pickle, as the `.bin` files of packed pairs do; False where it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return starts_like_bin(file.read(16))
    except (OSError, ValueError):
        return False


def starts_like_bin(data: bytes) -> bool:
    """Whether the first bytes of a file are those of a pickle."""
    return _START.match(data) is not None


def unpack_bin(path: str | Path, folder: str | Path, *, max_bytes: int = 4 * 2**30) -> "pd.DataFrame":
    """Write the images of a `.bin` file into a folder and return its pairs.

    An image is `00000.jpg` (or `.png`, `.bmp`, `.webp`, by its content), numbered by where it stands first in the
    file; one that stands there several times is written once. Every file appears whole or not at all.

    Args:
        path: the file, written by Python 2 or 3.
        folder: where the images go; it is made where it is missing.
        max_bytes: refuse a file larger than this; it is held in memory once.

    Returns:
        The pair table, paths relative to `folder`; with `fold`, ten equal consecutive ones, if ten divides the number
        of pairs.

    Raises:
        PairFileError: the file is missing, too large, broken, or holds anything but lists of images and truth values.
    """
    import pandas as pd

    from siamese.pairing.table import check_pairs

    path, folder = Path(path), Path(folder)
    images, labels = _read(path, max_bytes)
    by_image = _names(images, path)
    names = np.array([by_image[image] for image in images], dtype=object)
    for image, name in progress(by_image.items(), "unpacking images", len(by_image), "img"):
        with atomic_path(folder / name) as temporary:
            temporary.write_bytes(image)
    frame = pd.DataFrame({"left": names[::2], "right": names[1::2], "same": pd.array(labels, dtype="boolean")})
    folds = _tenths(len(frame))
    if folds is not None:
        frame["fold"] = folds
    return check_pairs(frame, str(path))


def read_bin_images(path: str | Path, *, max_bytes: int = 4 * 2**30) -> dict[str, bytes]:
    """The encoded images of a `.bin` file, by the names that `unpack_bin` gives them.

    Args:
        path: the file.
        max_bytes: refuse a file larger than this; it is held in memory once.

    Raises:
        PairFileError: as `unpack_bin`.
    """
    path = Path(path)
    images, _ = _read(path, max_bytes)
    return {name: image for image, name in _names(images, path).items()}


def write_bin(table: "pd.DataFrame", root: str | Path, path: str | Path) -> None:
    """Write a pair table and its images as a `.bin` file, whole or not at all.

    Images go in as they are on disk, byte for byte. The file is pickled in protocol 2, which every reader of the
    field understands.

    Args:
        table: `left, right, same`, every pair labelled; `fold` only as ten equal consecutive ones.
        root: the folder that the paths are relative to.
        path: the file to write.

    Raises:
        PairFileError: a pair has no label, a column has no place, or an image cannot be read.
    """
    from siamese.pairing.table import check_pairs, unique_images

    path, root = Path(path), Path(root)
    frame = check_pairs(table.reset_index(drop=True), str(path))
    _check_columns(frame, path)
    images = {
        name: _image(root / name, path) for name in progress(unique_images(frame), "packing images", unit="img")
    }
    sides = np.column_stack([frame[side].to_numpy(dtype=object) for side in ("left", "right")])
    packed = [images[name] for name in sides.reshape(-1)]
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        pickle.dump((packed, frame["same"].to_numpy(dtype=bool).tolist()), file, protocol=2)


def _read(path: Path, max_bytes: int) -> tuple[list[bytes], list[bool]]:
    try:
        size = path.stat().st_size
        if size > max_bytes:
            raise PairFileError(f"{path}: {size:,} bytes, expected {max_bytes:,} at most; it would be held in memory")
        if not is_bin(path):
            raise PairFileError(f"{path}: does not begin like a pickle, {_EXPECTED}")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            value = read_plain_pickle(data)
    except FileNotFoundError:
        raise PairFileError(f"{path}: no such file, {_EXPECTED}") from None
    except OSError as error:
        raise PairFileError(f"{path}: cannot be read: {error.strerror or error}") from None
    except PickleRefusedError as error:
        numpy = "numpy." in str(error)
        advice = "save it again with each image as bytes(image) and each label as bool(label)" if numpy else _EXPECTED
        raise PairFileError(f"{path}: {error}; {advice}") from None
    return _checked(value, path)


def _checked(value: Any, path: Path) -> tuple[list[bytes], list[bool]]:
    sequences = (list, tuple)
    if not isinstance(value, sequences) or len(value) != 2 or not all(isinstance(part, sequences) for part in value):
        raise PairFileError(f"{path}: holds something else than two lists, {_EXPECTED}")
    images, labels = value
    if len(images) != 2 * len(labels) or not labels:
        raise PairFileError(f"{path}: {len(images)} images and {len(labels)} labels, expected two images a label")
    for number, image in enumerate(images):
        if not isinstance(image, bytes):
            raise PairFileError(f"{path}: image {number} is of type {type(image).__name__}, expected bytes")
    for number, label in enumerate(labels):
        if not isinstance(label, int) or label not in (0, 1):
            raise PairFileError(f"{path}: label {number} is no truth value, expected True or False")
    return list(images), [bool(label) for label in labels]


def _names(images: list[bytes], path: Path) -> dict[bytes, str]:
    """The file name of each different image, numbered by where it stands first."""
    names: dict[bytes, str] = {}
    for number, image in enumerate(images):
        suffix = _suffix(image, number, path)
        names.setdefault(image, f"{number:05d}{suffix}")
    return names


def _suffix(image: bytes, number: int, path: Path) -> str:
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return ".webp"
    for magic, suffix in _MAGIC:
        if image.startswith(magic):
            return suffix
    raise PairFileError(
        f"{path}: image {number} ({len(image):,} bytes, beginning {image[:8].hex(' ')!r}) is no JPEG, PNG, BMP, WebP"
    )


def _tenths(pairs: int) -> list[int] | None:
    """The fold of each pair; None where ten does not divide their number."""
    return None if pairs % _FOLDS else (np.arange(pairs) // (pairs // _FOLDS)).tolist()


def _check_columns(frame: "pd.DataFrame", path: Path) -> None:
    extra = [name for name in frame.columns if name not in ("left", "right", "same", "fold")]
    if extra:
        raise PairFileError(f"{path}: a .bin file has no place for column {extra[0]!r}; leave it out")
    if frame.empty:
        raise PairFileError(f"{path}: the table has no rows, nothing to write")
    missing = frame["same"].isna().to_numpy(dtype=bool)
    if missing.any():
        row = row_name(frame, int(missing.argmax()))
        raise PairFileError(f"{path}: {row} has no label, and a .bin file holds only labelled pairs")
    if "fold" in frame.columns and frame["fold"].tolist() != _tenths(len(frame)):
        raise PairFileError(
            f"{path}: a .bin file stands for ten equal consecutive folds, and column fold says otherwise; "
            "leave it out, or sort the rows by it"
        )


def _image(file: Path, path: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise PairFileError(f"{path}: image {file} cannot be read: {error.strerror or error}") from None
