"""How the images of a folder lie, recognised by structure: which identity, split and inner folder each has."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from siamese.errors import DataError
from siamese.images.decode import SUFFIXES
from siamese.images.labels import TEXT
from siamese.images.levels import first_folders, hint_depth, identity_levels, named_fields
from siamese.images.manifest import one_identity_each, parent_of, read_labels
from siamese.progress import log

LAYOUTS = (
    *("identity folders", "LFW", "train/val folders", "classification_data course layout"),
    *("cls_data course layout", "labels.txt", "manifest", "CelebA identity list"),
)
# The folder of images by identity, and the folder of images to verify beside it.
_COURSES = {"classification_data": "verification_data", "cls_data": "ver_data"}
_SPLIT = re.compile(r"(train|val|valid|validation|dev|test|eval)(?:_data)?", re.IGNORECASE)
_LABELS = "labels.txt"
_CELEBA_LISTS = ("identity_CelebA.txt", "identity_CelebA.csv")
_LFW_PAIRS = ("pairs.txt", "pairsDevTrain.txt", "pairsDevTest.txt")
# Lists that lie beside a course's images and hold no pairs.
_NO_PAIRS = ("submission", "readme", "licen", "labels", "classification")


@dataclass(frozen=True)
class Layout:
    """What was recognised in a folder.

    Attributes:
        layout: one of `LAYOUTS`.
        images: columns `path` and `identity`, then `split` and `folder` where there are such; sorted by path.
        pair_files: pair lists that belong to the layout.
    """

    layout: str
    images: pd.DataFrame
    pair_files: tuple[Path, ...] = ()


def recognise(data: Path, paths: Sequence[str], identity_depth: int) -> Layout:
    """Tell the layout of the image files below a folder; what is left out of it is warned of.

    Args:
        data: the folder.
        paths: of the image files, POSIX, relative to `data`, sorted.
        identity_depth: levels of folders that name an identity.

    Raises:
        DataError: no images, none in an identity folder, or a list of labels that is wrong.
    """
    if not paths:
        raise DataError(f"{data}: no images below it; expected identity folders with {', '.join(sorted(SUFFIXES))}")
    images = pd.Series(paths, dtype=TEXT)
    found = _course(data, images, identity_depth) or _split_folders(data, images, identity_depth)
    return found or _labelled_folder(data, images) or _identity_folders(data, images, identity_depth)


def celeba_list(data: Path) -> Path | None:
    """The list of identities of a folder that holds CelebA, as it is distributed."""
    places = (folder / name for folder in (data, data / "Anno") for name in _CELEBA_LISTS)
    return next((place for place in places if _is_file(place)), None)


def _course(data: Path, images: "pd.Series[str]", depth: int) -> Layout | None:
    """Splits in a folder of a known name, with a folder of images to verify and lists of pairs beside it."""
    for container, verification in _COURSES.items():
        if data.resolve().name == container:
            inside, prefix, holder = images, "", parent_of(data)
        else:
            inside, prefix, holder = images[images.str.startswith(f"{container}/")], f"{container}/", data
        table = _by_split(data, prefix, inside, depth)
        if table is None:
            continue
        outside = images.drop(inside.index)
        to_verify = outside.str.startswith(f"{verification}/")
        if to_verify.any():
            log.info(
                "%s: %d images are for the pair lists; their identities are not known", verification, to_verify.sum()
            )
        if not to_verify.all():
            log.warning("%s: %d images outside %s left out", data, (~to_verify).sum(), container)
        pair_files = _lists(holder) + _lists(holder / verification)
        return Layout(f"{container} course layout", table, pair_files)
    return None


def _split_folders(data: Path, images: "pd.Series[str]", depth: int) -> Layout | None:
    table = _by_split(data, "", images, depth)
    return None if table is None else Layout("train/val folders", table)


def _by_split(data: Path, prefix: str, images: "pd.Series[str]", depth: int) -> pd.DataFrame | None:
    """The images of split folders; None where the folders that hold images are not all splits, or hold no identities.

    Args:
        data: the root of the paths.
        prefix: of the folder that holds the split folders, below `data`; ended by a slash, or empty.
        images: the paths below `prefix`.
        depth: levels of folders that name an identity, below the split.
    """
    inside = images.str.slice(len(prefix))
    splits = _splits_of(first_folders(inside))
    if not splits:
        return None
    parts = named_fields(inside, r"(?s)^(?P<top>[^/]+)/(?P<below>.*)$").dropna()
    labelled = [folder for folder in splits if _is_file(data / prefix / folder / _LABELS)]
    nested = parts["below"].str.contains("/", regex=False)
    if not labelled and not (nested.groupby(parts["top"]).mean() > 0.5).any():
        return None  # two people, say, of whom one is called test
    tables, unknown = [], []
    for folder, split in splits.items():
        below = parts["below"][parts["top"] == folder]
        where = f"{prefix}{folder}/"
        table = _labelled(data, where, images[below.index]) if folder in labelled else None
        if table is None and not labelled:
            table = identity_levels(where + below, below, depth)
        if table is None or table.empty:
            unknown.append((folder, len(below)))
            continue
        tables.append(table.assign(split=split))
    if not tables:
        raise _no_identities(data / prefix, len(images), depth, labelled)
    for folder, number in unknown:
        log.warning("%s: %d images whose identity is not known left out", data / prefix / folder, number)
    table = pd.concat(tables)
    loose = len(images) - len(table) - sum(number for _, number in unknown)
    if loose and not labelled:
        log.warning("%s: %d images outside an identity folder left out", data / prefix, loose)
    if not labelled:
        hint_depth(data / prefix, parts["below"][table.index], depth)
    return _finished(table)


def _no_identities(where: Path, number: int, depth: int, labelled: list[str]) -> DataError:
    if labelled:
        return DataError(f"{where / labelled[0] / _LABELS}: holds no labels; expected lines of PATH LABEL")
    return DataError(
        f"{where}: {number} images but no folders {depth} levels deep below its split folders; "
        "--identity-depth counts from the split"
    )


def _splits_of(folders: Iterable[str]) -> dict[str, str]:
    """The split that each folder is; empty where one of them is none."""
    matches = {folder: _SPLIT.fullmatch(folder) for folder in folders}
    stems = {folder: match[1].lower() for folder, match in matches.items() if match}
    if len(stems) < len(matches):
        return {}
    names = {"train": "train", "test": "test"}
    # Beside a validation set, what is evaluated on is the test set.
    if set(stems.values()) & {"val", "valid", "validation", "dev"}:
        names["eval"] = "test"
    return {folder: names.get(stem, "val") for folder, stem in stems.items()}


def _labelled_folder(data: Path, images: "pd.Series[str]") -> Layout | None:
    """Images in one folder, and their labels in `labels.txt`."""
    if not images.str.fullmatch(r"(?s)(?:images/)?[^/]+").all() or not _is_file(data / _LABELS):
        return None
    table = _labelled(data, "", images)
    if table is None:
        raise DataError(f"{data / _LABELS}: holds no labels; expected lines of PATH LABEL")
    return Layout("labels.txt", _finished(table))


def _labelled(data: Path, prefix: str, images: "pd.Series[str]") -> pd.DataFrame | None:
    """The images below `prefix` and the identities that its `labels.txt` gives them; None where it gives none."""
    where = data / prefix / _LABELS
    labels = read_labels(where)
    if labels is None:
        return None
    given = labels["path"].str.removeprefix("./")
    resolved = pd.Series(pd.NA, index=labels.index, dtype=object)
    # A name alone is of images/; other paths start at the folder of the list, or at the one above it.
    for start in (f"{prefix}images/", prefix, prefix.rpartition("/")[0].rpartition("/")[0] + "/"):
        candidates = start.lstrip("/") + given
        resolved = resolved.where(resolved.notna() | ~candidates.isin(images), candidates)
    lost = resolved.isna()
    if lost.all():
        first = labels["path"].iloc[0]
        raise DataError(f"{where}: none of its {len(labels)} paths is an image beside it; the first is {first!r}")
    if lost.any():
        first = labels["path"][lost].iloc[0]
        log.warning("%s: %d paths name no image, the first is %r", where, int(lost.sum()), first)
    table = labels.assign(path=resolved)[~lost].astype(TEXT)
    table = one_identity_each(table, str(where), "line")
    if len(table) < len(images):
        log.warning("%s: %d images have no label, left out", where.parent, len(images) - len(table))
    return table


def _identity_folders(data: Path, images: "pd.Series[str]", depth: int) -> Layout:
    table = identity_levels(images, images, depth)
    if table.empty:
        kind = "identity folders" if depth == 1 else f"folders {depth} levels deep"
        raise DataError(f"{data}: {len(images)} images but no {kind}; expected {data}/IDENTITY/image.jpg")
    if len(table) < len(images):
        log.warning("%s: %d images outside an identity folder left out", data, len(images) - len(table))
    hint_depth(data, table["path"], depth)
    if table["identity"].unique().tolist() == ["images"]:
        log.warning(
            "%s: its only identity is 'images'; if the images show several, give %s (lines of PATH LABEL) beside "
            "them, or a manifest",
            *(data, _LABELS),
        )
    if depth == 1 and _is_lfw(table):
        pair_files = tuple(
            path for folder in (data, parent_of(data)) for name in _LFW_PAIRS if _is_file(path := folder / name)
        )
        return Layout("LFW", _finished(table), pair_files)
    return Layout("identity folders", _finished(table))


def _is_lfw(table: pd.DataFrame) -> bool:
    """Whether every image is NAME/NAME_0001.jpg."""
    tail = table["path"].str.slice(-9)  # _0001.jpg
    if not tail.str.fullmatch(r"_[0-9]{4}\.(?:jpg|png)", case=False).all():
        return False
    return bool((table["path"] == table["identity"] + "/" + table["identity"] + tail).all())


def _finished(table: pd.DataFrame) -> pd.DataFrame:
    if "folder" in table.columns and (table["folder"] == ".").all():
        table = table.drop(columns="folder")
    order = [name for name in ("path", "identity", "split", "folder") if name in table.columns]
    return table[order].sort_values("path", ignore_index=True)


def _lists(folder: Path) -> tuple[Path, ...]:
    """The text and CSV files of a folder that may hold pairs."""
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in (".txt", ".csv", ".tsv"))
    except OSError:
        return ()
    return tuple(path for path in files if not any(word in path.name.lower() for word in _NO_PAIRS))


def _is_file(path: Path) -> bool:
    # Not of pathlib, which raises where a folder above may not be entered.
    return os.path.isfile(path)  # noqa: PTH113
