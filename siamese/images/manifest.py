"""Manifests: files that list images and the identity of each, as a table (CSV, TSV, Parquet) or as lines of text."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from siamese.errors import DataError
from siamese.images.labels import TEXT, is_labels, parse_labels
from siamese.images.levels import parent_of
from siamese.images.manifest_table import (
    IDENTITY_NAMES,
    PARQUET_MAGIC,
    PATH_NAMES,
    manifest_bytes,
    manifest_text,
    read_delimited,
    read_parquet,
    separator_of,
)
from siamese.progress import log

# The identity of an image whose identity is not known.
UNKNOWN = ""
# Where CelebA's photographs lie, below the folder of their list or the one above it.
_CELEBA_FOLDERS = ("img_align_celeba", "img_celeba", "Img/img_align_celeba", "Img/img_celeba")
_PACKED_TWICE = "img_align_celeba/img_align_celeba"


@dataclass(frozen=True)
class Manifest:
    """What a manifest lists.

    Attributes:
        root: the folder that paths are relative to.
        images: columns `path` and `identity`, then every other column of the file as text; sorted by path, each
            path once.
        layout: "manifest", or "CelebA identity list".
    """

    root: Path
    images: pd.DataFrame
    layout: Literal["manifest", "CelebA identity list"]


def read_manifest(path: Path, *, unlabelled: bool = False) -> Manifest:
    """Read a manifest, recognised by content: a table with a header (CSV, TSV, Parquet), or lines of `PATH LABEL`.

    A table has the columns `path` and `identity`, or one column of `PATH_NAMES` and one of `IDENTITY_NAMES` in any
    case. In lines, the last field is the label, and paths may hold spaces; a first line with their number and a
    header line are passed over. Paths are relative to the manifest's folder; those of CelebA's list, and bare names
    whose files lie in `images/`, are found where they are. Images need not exist.

    Args:
        path: of the manifest.
        unlabelled: let a row of a table have no identity; it then is `UNKNOWN`.

    Raises:
        DataError: names the file and the line or row: nothing in it, not text, no such columns, a row without path
            or identity, or one image of two identities.

    Example:
        >>> read_manifest(Path("identity_CelebA.txt")).images.columns  # doctest: +SKIP
        Index(['path', 'identity'], dtype='str')
    """
    data = manifest_bytes(path)
    if data.startswith(PARQUET_MAGIC):
        frame, word, header = read_parquet(path), "row", True
    else:
        text = manifest_text(data, path)
        header = separator_of(text) is not None or not is_labels(text, (PATH_NAMES, IDENTITY_NAMES))
        frame = read_delimited(text, path) if header else _labels(text, path)
        word = "row" if header else "line"
    if unlabelled:
        frame = frame.assign(identity=frame["identity"].astype(object).fillna(UNKNOWN))
    images = one_identity_each(_filled(frame, path, word), str(path), word)
    celeba = is_celeba(path) or (not header and _numbered_like_celeba(images))
    root, prefix = _whereabouts(path, images["path"], celeba=celeba, bare=not header)
    if prefix:
        images = images.assign(path=prefix + images["path"])
    layout: Literal["manifest", "CelebA identity list"] = "CelebA identity list" if celeba else "manifest"
    return Manifest(root, images.sort_values("path", ignore_index=True), layout)


def read_labels(path: Path) -> pd.DataFrame | None:
    """Read the labels of a folder: columns `path` and `identity`, indexed by line; None where no line has a label.

    Raises:
        DataError: as `read_manifest`, for lines of `PATH LABEL`.
    """
    text = manifest_text(manifest_bytes(path), path)
    if separator_of(text) is not None:
        return _filled(read_delimited(text, path), path, "row")[["path", "identity"]]
    return parse_labels(text, str(path), (PATH_NAMES, IDENTITY_NAMES))


def is_celeba(path: Path) -> bool:
    """Whether a file bears the name of CelebA's list of identities."""
    return path.name.lower().startswith("identity_celeba")


def one_identity_each(frame: pd.DataFrame, where: str, word: str) -> pd.DataFrame:
    """Keep the first row of each path.

    Args:
        frame: columns `path` and `identity`; the index is the number of the row or line in the file.
        where: the file, for messages.
        word: what the index counts, "row" or "line".

    Raises:
        DataError: a path is listed under two identities.
    """
    twice = frame["path"].duplicated()
    if not twice.any():
        return frame
    listed = frame[["path", "identity"]].drop_duplicates()
    again = listed["path"].duplicated()
    if again.any():
        image = listed["path"][again].iloc[0]
        rows = listed[listed["path"] == image].head(2)
        names = " and ".join(map(repr, rows["identity"]))
        lines = " and ".join(map(str, rows.index))
        raise DataError(
            f"{where}: {image!r} is listed under the identities {names}; keep the right one ({word}s {lines})"
        )
    differing = len(frame.drop_duplicates()) - len(listed)
    if differing:
        log.warning("%s: %d rows repeat an image with other values; the first row of each is kept", where, differing)
    return frame[~twice]


def _labels(text: str, path: Path) -> pd.DataFrame:
    frame = parse_labels(text, str(path), (PATH_NAMES, IDENTITY_NAMES))
    if frame is None:
        raise DataError(f"{path}: a list of images without labels; expected lines of PATH LABEL")
    return frame


def _filled(frame: pd.DataFrame, path: Path, word: str) -> pd.DataFrame:
    if frame.empty:
        raise DataError(f"{path}: the manifest has no rows")
    empty = frame[["path", "identity"]].isna().any(axis=1)
    if empty.any():
        raise DataError(f"{path}, {word} {frame.index[int(empty.argmax())]}: empty path or identity")
    return frame.astype(TEXT)


def _numbered_like_celeba(images: pd.DataFrame) -> bool:
    numbered = images["path"].str.fullmatch(r"[0-9]{6}\.(?:jpg|png)")
    return bool(numbered.all() and images["identity"].str.fullmatch(r"[0-9]+").all())


def _whereabouts(path: Path, images: "pd.Series[str]", *, celeba: bool, bare: bool) -> tuple[Path, str]:
    """The root, and what goes before the paths, so that some image is found; else the manifest's folder."""
    here, sample = path.parent, images.head(20).tolist()
    places = [(here, "")]
    if celeba:
        folders = [_PACKED_TWICE, *_CELEBA_FOLDERS]
        places += [(base, f"{folder}/") for base in (here, parent_of(here)) for folder in folders]
    elif bare:
        places += [(here, "images/")]
    for base, prefix in places:
        # Not of pathlib, which raises where a name is too long.
        if any(os.path.exists(base / f"{prefix}{image}") for image in sample):  # noqa: PTH110
            return base, prefix
    return here, ""
