"""How the images of a folder lie, recognised by structure: which identity, split and inner folder each has."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import compute

from siamese.errors import DataError
from siamese.images.decode import SUFFIXES
from siamese.images.levels import first_folders, hint_depth, identity_levels, named_fields, parent_of
from siamese.pairing.arrow_columns import equals, text
from siamese.progress import log

LAYOUTS = (
    *("identity folders", "LFW", "train/val folders", "classification_data course layout"),
    *("cls_data course layout", "labels.txt", "manifest", "CelebA identity list"),
)
SPLITS = ("train", "val", "test")
# A manifest may name any number of them.
SPLITS_SHOWN = 5
# The folder of images by identity, and the folder of images to verify beside it.
_COURSES = {"classification_data": "verification_data", "cls_data": "ver_data"}
_SPLIT = re.compile(r"(train|val|valid|validation|dev|test|eval)(?:_data)?", re.IGNORECASE)
LABELS = "labels.txt"
_CELEBA_LISTS = ("identity_CelebA.txt", "identity_CelebA.csv")
_LFW_PAIRS = ("pairs.txt", "pairsDevTrain.txt", "pairsDevTest.txt")
# Lists that lie beside a course's images and hold no pairs.
_NO_PAIRS = ("submission", "readme", "licen", "labels", "classification")


@dataclass(frozen=True)
class Layout:
    """What was recognised in a folder.

    Attributes:
        layout: one of `LAYOUTS`.
        images: text columns `path` and `identity`, then `split` and `folder` where there are such; sorted by path.
        pair_files: pair lists that belong to the layout.
    """

    layout: str
    images: pa.Table
    pair_files: tuple[Path, ...] = ()

    def described(self) -> str:
        """The layout and what there is of it, as `describe_layout` says it."""
        column = self.images["split"].to_pylist() if "split" in self.images.column_names else []
        splits = {name: column.count(name) for name in SPLITS if name in column}
        identities = compute.count_distinct(self.images["identity"]).as_py()
        return describe_layout(self.layout, self.images.num_rows, identities, splits, self.pair_files)


def describe_layout(
    layout: str, images: int, identities: int, splits: Mapping[str, int], pair_files: Iterable[Path]
) -> str:
    """What was recognised, in a line for people.

    Args:
        layout: one of `LAYOUTS`.
        images: how many there are.
        identities: how many there are.
        splits: images of each split, in the order to say them; the first `SPLITS_SHOWN` are.
        pair_files: pair lists that belong to the layout.
    """
    words = f"recognised as {layout}: {images:,} images of {identities:,} identities"
    if splits:
        words += f" ({', '.join(f'{name} {number:,}' for name, number in list(splits.items())[:SPLITS_SHOWN])})"
    names = ", ".join(path.name for path in pair_files)
    return f"{words}; pair files: {names}" if names else words


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
    images = pa.array(paths, pa.string())
    found = _course(data, images, identity_depth) or _split_folders(data, images, identity_depth)
    return found or _labelled_folder(data, images) or _identity_folders(data, images, identity_depth)


def celeba_list(data: Path) -> Path | None:
    """The list of identities of a folder that holds CelebA, as it is distributed."""
    places = (folder / name for folder in (data, data / "Anno") for name in _CELEBA_LISTS)
    return next((place for place in places if _is_file(place)), None)


def _course(data: Path, images: pa.Array, depth: int) -> Layout | None:
    """Splits in a folder of a known name, with a folder of images to verify and lists of pairs beside it."""
    for container, verification in _COURSES.items():
        if data.resolve().name == container:
            inside, prefix, holder = images, "", parent_of(data)
        else:
            inside, prefix, holder = _below(images, f"{container}/"), f"{container}/", data
        table = _by_split(data, prefix, inside, depth)
        if table is None:
            continue
        to_verify = 0 if not prefix else len(_below(images, f"{verification}/"))
        if to_verify:
            log.info("%s: %d images are for the pair lists; their identities are not known", verification, to_verify)
        if outside := len(images) - len(inside) - to_verify:
            log.warning("%s: %d images outside %s left out", data, outside, container)
        pair_files = _lists(holder) + _lists(holder / verification)
        return Layout(f"{container} course layout", table, pair_files)
    return None


def _below(images: pa.Array, prefix: str) -> pa.Array:
    return images.filter(compute.starts_with(images, prefix))


def _split_folders(data: Path, images: pa.Array, depth: int) -> Layout | None:
    table = _by_split(data, "", images, depth)
    return None if table is None else Layout("train/val folders", table)


def _by_split(data: Path, prefix: str, images: pa.Array, depth: int) -> pa.Table | None:
    """The images of split folders; None where the folders that hold images are not all splits, or hold no identities.

    Args:
        data: the root of the paths.
        prefix: of the folder that holds the split folders, below `data`; ended by a slash, or empty.
        images: the paths below `prefix`.
        depth: levels of folders that name an identity, below the split.
    """
    inside = compute.utf8_slice_codeunits(images, len(prefix))
    splits = _splits_of(first_folders(inside))
    if not splits:
        return None
    parts = pa.table({"path": images, **named_fields(inside, r"(?s)^(?P<top>[^/]+)/(?P<below>.*)$")})
    parts = parts.filter(compute.is_valid(parts["top"]))
    labelled = [folder for folder in splits if _is_file(data / prefix / folder / LABELS)]
    if not labelled and not _holds_folders(parts):
        return None  # two people, say, of whom one is called test
    tables, unknown = [], []
    for folder, split in splits.items():
        own = parts.filter(equals(parts["top"], folder))
        table = _of_split(data, f"{prefix}{folder}/", own, depth, labelled=folder in labelled if labelled else None)
        if table is None or not table.num_rows:
            unknown.append((folder, own.num_rows))
            continue
        tables.append(table.append_column("split", pa.array([split] * table.num_rows, pa.string())))
    if not tables:
        raise _no_identities(data / prefix, len(images), depth, labelled)
    for folder, number in unknown:
        log.warning("%s: %d images whose identity is not known left out", data / prefix / folder, number)
    table = pa.concat_tables(tables)
    loose = len(images) - table.num_rows - sum(number for _, number in unknown)
    if loose and not labelled:
        log.warning("%s: %d images outside an identity folder left out", data / prefix, loose)
    if not labelled:
        hint_depth(data / prefix, table["below"], depth)
    return _finished(table)


def _holds_folders(parts: pa.Table) -> bool:
    """Whether most images of some folder at the top lie in a folder below it."""
    nested = compute.cast(compute.match_substring(parts["below"], "/"), pa.float64())
    shares = pa.table({"top": parts["top"], "nested": nested}).group_by("top").aggregate([("nested", "mean")])
    return bool(compute.max(shares["nested_mean"]).as_py() > 0.5)


def _of_split(data: Path, prefix: str, parts: pa.Table, depth: int, *, labelled: bool | None) -> pa.Table | None:
    """The images of one split folder with their identities; None where these are not known.

    Args:
        data: the root of the paths.
        prefix: of the split folder.
        parts: columns `path` and `below` of its images.
        depth: levels of folders that name an identity.
        labelled: whether it has a list of labels; None where no split has one, and folders name the identities.
    """
    if labelled is None:
        return identity_levels(parts["path"].combine_chunks(), parts["below"].combine_chunks(), depth)
    return _labelled(data, prefix, parts["path"].combine_chunks()) if labelled else None


def _no_identities(where: Path, number: int, depth: int, labelled: list[str]) -> DataError:
    if labelled:
        return DataError(f"{where / labelled[0] / LABELS}: holds no labels; expected lines of PATH LABEL")
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


def _labelled_folder(data: Path, images: pa.Array) -> Layout | None:
    """Images in one folder, and their labels in `labels.txt`."""
    alone = compute.match_substring_regex(images, r"(?s)^(?:images/)?[^/]+$")
    if not compute.all(alone).as_py() or not _is_file(data / LABELS):
        return None
    table = _labelled(data, "", images)
    if table is None:
        raise DataError(f"{data / LABELS}: holds no labels; expected lines of PATH LABEL")
    return Layout("labels.txt", _finished(table))


def _labelled(data: Path, prefix: str, images: pa.Array) -> pa.Table | None:
    from siamese.images.labelled import labelled_images  # pandas, which folders alone do without

    return labelled_images(data, prefix, images)


def _identity_folders(data: Path, images: pa.Array, depth: int) -> Layout:
    table = identity_levels(images, images, depth)
    if not table.num_rows:
        kind = "identity folders" if depth == 1 else f"folders {depth} levels deep"
        raise DataError(f"{data}: {len(images)} images but no {kind}; expected {data}/IDENTITY/image.jpg")
    if table.num_rows < len(images):
        log.warning("%s: %d images outside an identity folder left out", data, len(images) - table.num_rows)
    hint_depth(data, table["below"], depth)
    if compute.all(equals(table["identity"], "images")).as_py():
        log.warning(
            "%s: its only identity is 'images'; if the images show several, give %s (lines of PATH LABEL) beside "
            "them, or a manifest",
            *(data, LABELS),
        )
    if depth == 1 and _is_lfw(table):
        pair_files = tuple(
            path for folder in (data, parent_of(data)) for name in _LFW_PAIRS if _is_file(path := folder / name)
        )
        return Layout("LFW", _finished(table), pair_files)
    return Layout("identity folders", _finished(table))


def _is_lfw(table: pa.Table) -> bool:
    """Whether every image is NAME/NAME_0001.jpg."""
    paths, names = table["path"], table["identity"]
    tail = compute.utf8_slice_codeunits(paths, -9)  # _0001.jpg
    if not compute.all(compute.match_substring_regex(tail, r"(?i)^_[0-9]{4}\.(?:jpg|png)$")).as_py():
        return False
    expected = compute.binary_join_element_wise(names, text("/", names.type), names, tail, text("", names.type))
    return bool(compute.all(compute.equal(paths, expected)).as_py())


def _finished(table: pa.Table) -> pa.Table:
    order = [name for name in ("path", "identity", "split", "folder") if name in table.column_names]
    if "folder" in order and compute.all(equals(table["folder"], ".")).as_py():
        order.remove("folder")
    return table.select(order).sort_by("path").combine_chunks()


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
