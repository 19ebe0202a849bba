"""A catalog written out flat, as IDENTITY/name.ext: copies or links, and a record of what came from where."""

import errno
import os
import secrets
import shutil
import stat
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import pandas as pd

from siamese.atomic import atomic_path
from siamese.errors import DataError, unknown_name
from siamese.images.catalog import Catalog
from siamese.images.flat_names import flat_paths
from siamese.images.walk import report_left_out
from siamese.progress import log, progress

How = Literal["copy", "symlink", "hardlink"]
RECORD = "materialised.csv"
# The record under this name says that the folder is ours, and not finished.
_UNFINISHED = ".materialising.csv"
_ORIGINAL = "original_path"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def materialise(catalog: Catalog, folder: Path, *, how: How) -> Catalog:
    """Write the images of a catalog to `folder` as IDENTITY/name.ext; the user's own files are never changed.

    Folders below the identity join the name (`distortion/1.jpg` becomes `distortion_1.jpg`); a name that is taken
    gets a number; identities that no folder can be called by are renamed. `materialised.csv` in the folder says for
    each image the new path, identity, original path and group columns, and is itself a manifest. Every file appears
    whole or not at all; after an interruption the same call goes on, and what is there and complete stays.

    Args:
        catalog: what to write.
        folder: new, empty, or one that this function has written to.
        how: copies, symbolic links, or hard links (on the same file system only).

    Returns:
        The catalog of `folder`: the identities and group columns of `catalog`, new paths; images that cannot be
        found are left out, named in `unreadable`, and counted.

    Raises:
        OptionError: `how` is none of the three.
        DataError: the folder lies among the images or holds something else, the disk is full, links are not possible,
            or no image can be found.
    """
    if how not in get_args(How):
        raise unknown_name("way to materialise", how, get_args(How))
    plan = catalog.images.drop(columns=_ORIGINAL, errors="ignore")
    plan.insert(2, _ORIGINAL, plan["path"])
    plan["path"] = flat = flat_paths(catalog.images)
    _refuse_among_images(catalog, folder)
    _claim(folder, plan)
    unreadable = _place_all(catalog, folder, plan, how)
    report_left_out(unreadable)
    written = ~plan[_ORIGINAL].isin([path for path, _ in unreadable])
    if not written.any():
        raise DataError(f"{folder}: none of {len(plan)} images can be found; first: {unreadable[0][1]}")
    plan = plan[written].sort_values("path", ignore_index=True)
    _write_record(plan, folder / RECORD)
    (folder / _UNFINISHED).unlink(missing_ok=True)
    log.info("%s: %s images of %s identities", folder, f"{len(plan):,}", f"{plan['identity'].nunique():,}")
    images = catalog.images.assign(path=flat)[written].sort_values("path", ignore_index=True)
    layout = "identity folders"
    return replace(catalog, root=folder, images=images, unreadable=unreadable, layout=layout, pair_files=())


def _refuse_among_images(catalog: Catalog, folder: Path) -> None:
    """A copy among the images would be taken for more of them the next time that the folder is scanned."""
    root, target = catalog.root.resolve(), folder.resolve()
    listed = catalog.layout in ("manifest", "CelebA identity list")
    if target == root or (not listed and target.is_relative_to(root)):
        raise DataError(f"{folder}: lies inside the images of {catalog.root}; give a folder outside")
    if target.is_relative_to(root):
        below = target.relative_to(root).as_posix() + "/"
        if catalog.images["path"].str.startswith(below).any():
            raise DataError(f"{folder}: holds images of the catalog itself; give another folder")


def _claim(folder: Path, plan: pd.DataFrame) -> None:
    """Make the folder ours, or see that it is and holds nothing else."""
    if os.path.isfile(folder):  # noqa: PTH113
        raise DataError(f"{folder}: is a file, expected a folder to write images to")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        entries = os.listdir(folder)  # noqa: PTH208
    except OSError as error:
        raise DataError(f"{folder}: cannot be written to ({error.strerror}); give another folder") from error
    if entries and RECORD not in entries and _UNFINISHED not in entries:
        raise DataError(f"{folder}: is not empty and was not written by --materialize; give a new or an empty folder")
    planned = {RECORD, *(unicodedata.normalize("NFC", path) for path in plan["path"])}
    # Some file systems give names back in another form than they were given.
    strangers = sorted(path for path in _files(folder) if unicodedata.normalize("NFC", path) not in planned)
    if strangers:
        found = f"{len(strangers)} files that are not of this catalog, the first is {strangers[0]!r}"
        raise DataError(f"{folder}: holds {found}; remove them or give a new folder")
    _write_record(plan, folder / _UNFINISHED)


def _files(folder: Path) -> list[str]:
    """Relative POSIX paths of all files; hidden ones are passed over, as leftovers of a killed run are."""
    found = []
    for holder, _, names in os.walk(folder):
        prefix = Path(holder).relative_to(folder).as_posix()
        prefix = "" if prefix == "." else f"{prefix}/"
        found += [f"{prefix}{name}" for name in names if not name.startswith(".")]
    return found


def _write_record(plan: pd.DataFrame, path: Path) -> None:
    try:
        with atomic_path(path) as temporary:
            plan.to_csv(temporary, index=False, encoding="utf-8", lineterminator="\n")
    except OSError as error:
        raise _explained(error, path, "copy") from error


def _place_all(catalog: Catalog, folder: Path, plan: pd.DataFrame, how: How) -> tuple[tuple[str, str], ...]:
    """Write every image that can be found; path and reason of the others."""
    root, place, complete = os.path.abspath(catalog.root), _PLACE[how], _COMPLETE[how]  # noqa: PTH100
    unreadable: list[tuple[str, str]] = []
    rows = zip(plan[_ORIGINAL], plan["path"], strict=True)
    for original, path in progress(rows, "writing images", len(plan), "img"):
        source, target = os.path.join(root, original), folder / path  # noqa: PTH118
        problem = _source_problem(source)
        if problem is not None:
            unreadable.append((original, f"{catalog.root / original}: {problem}"))
            continue
        try:
            if not complete(source, target):
                place(source, target)
        except OSError as error:
            raise _explained(error, target, how) from error
    return tuple(unreadable)


def _source_problem(source: str) -> str | None:
    try:
        status = os.stat(source)  # noqa: PTH116
    except FileNotFoundError:
        return "no such file; check the path"
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    if not stat.S_ISREG(status.st_mode):
        return "is no file, expected an image"
    return None if os.access(source, os.R_OK) else "cannot be read (Permission denied)"


def _copy(source: str, target: Path) -> None:
    status = os.stat(source)  # noqa: PTH116
    with atomic_path(target) as temporary:
        shutil.copyfile(source, temporary)
        os.utime(temporary, ns=(status.st_atime_ns, status.st_mtime_ns))


def _copied(source: str, target: Path) -> bool:
    try:
        there, wanted = target.lstat(), os.stat(source)  # noqa: PTH116
    except FileNotFoundError:
        return False
    # Some file systems keep the time to two seconds.
    alike = there.st_size == wanted.st_size and abs(there.st_mtime - wanted.st_mtime) <= 2
    return stat.S_ISREG(there.st_mode) and alike and not os.path.samestat(there, wanted)  # a hard link is no copy


def _symlink(source: str, target: Path) -> None:
    _link(target, lambda temporary: os.symlink(source, temporary))  # noqa: PTH211


def _symlinked(source: str, target: Path) -> bool:
    return target.is_symlink() and os.readlink(target) == source  # noqa: PTH115


def _hardlink(source: str, target: Path) -> None:
    # A link to a symbolic link would be one itself on Linux.
    _link(target, lambda temporary: os.link(os.path.realpath(source), temporary))


def _hardlinked(source: str, target: Path) -> bool:
    return not target.is_symlink() and target.exists() and os.path.samefile(source, target)  # noqa: PTH121


def _link(target: Path, make: Callable[[Path], None]) -> None:
    # Not by atomic_path: it makes the file first, and sets the mode of what a link leads to.
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{secrets.token_hex(8)}")
    try:
        make(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


_PLACE: dict[str, Callable[[str, Path], None]] = {"copy": _copy, "symlink": _symlink, "hardlink": _hardlink}
_COMPLETE: dict[str, Callable[[str, Path], bool]] = {
    "copy": _copied,
    "symlink": _symlinked,
    "hardlink": _hardlinked,
}


def _explained(error: OSError, target: Path, how: How) -> DataError:
    if error.errno in _FULL:
        return DataError(f"{target}: the disk is full; free space and run again: what is written stays")
    if error.errno == errno.EXDEV:
        return DataError(f"{target}: on another device than the image, where no hard link can lead; copy or symlink")
    if how != "copy" and error.errno in _NO_LINKS:
        return DataError(f"{target}: no {how} can be made here ({error.strerror}); copy instead")
    return DataError(f"{target}: cannot be written ({error.strerror or error}); give another folder")
