"""Which images there are, and whom each shows."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from siamese.errors import DataError
from siamese.images.decode import SUFFIXES, probe
from siamese.progress import log, progress


@dataclass(frozen=True)
class Catalog:
    """Images grouped by identity.

    Attributes:
        root: the folder that paths are relative to.
        images: columns `path` (POSIX, relative to `root`) and `identity`, sorted by path.
        unreadable: path and reason of every file that was left out.
    """

    root: Path
    images: pd.DataFrame
    unreadable: tuple[tuple[str, str], ...] = ()

    @property
    def identities(self) -> int:
        """How many identities there are."""
        return int(self.images["identity"].nunique())

    def restricted_to(self, listing: Path) -> "Catalog":
        """Keep only the identities named in a text file.

        One identity a line; a tab and what follows it is ignored, and so is a line that names no identity, so
        LFW's `people*.txt` files, which hold counts as well, serve as they are.

        Raises:
            DataError: the file is missing or names no identity of this catalog.
        """
        try:
            lines = listing.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{listing}: cannot be read as a list of identities ({error})") from error
        names = {line.split("\t")[0].strip() for line in lines} - {""}
        kept = self.images[self.images["identity"].isin(names)].reset_index(drop=True)
        if kept.empty:
            raise DataError(f"{listing}: none of its {len(names)} lines names an identity of {self.root}")
        return Catalog(self.root, kept, self.unreadable)


def read_catalog(data: Path, *, identity_depth: int = 1, check: bool = True) -> Catalog:
    """Catalog a folder of identity folders, or a manifest.

    In a folder, the first `identity_depth` levels of folders name the identity; whatever lies deeper belongs to it
    (a `distortion/` folder, sessions, videos). Files that are no images by suffix are ignored; files that cannot be
    images (empty, another format) are left out, named and counted.

    A manifest is a CSV or Parquet file with columns `path` and `identity`, paths relative to its own folder; its
    images need not exist.

    Args:
        data: the folder or the manifest.
        identity_depth: levels of folders that name an identity, at least 1.
        check: open every file of a folder to see that it is an image (header only).

    Raises:
        DataError: nothing there, no identity folders, no images, or a manifest without its columns.
    """
    if identity_depth < 1:
        raise DataError(f"--identity-depth {identity_depth}: expected 1 or more")
    if data.is_file():
        return _read_manifest(data)
    if not data.is_dir():
        raise DataError(f"{data}: no such folder or manifest; expected a folder of identity folders")
    paths = sorted(walk_images(data))
    inside = [path for path in paths if path.count("/") >= identity_depth]
    if not inside:
        raise DataError(_nothing_found(data, paths, identity_depth))
    if len(inside) < len(paths):
        log.warning("%s: %d images outside an identity folder left out", data, len(paths) - len(inside))
    unreadable = tuple(_probe_all(data, inside)) if check else ()
    bad = {path for path, _ in unreadable}
    frame = pd.DataFrame({"path": [path for path in inside if path not in bad]}, dtype=str)
    if frame.empty:
        raise DataError(f"{data}: none of {len(inside)} image files can be read; first: {unreadable[0][1]}")
    frame["identity"] = _first_levels(frame["path"], identity_depth)
    _hint_depth(data, frame["path"], identity_depth)
    report_left_out(unreadable)
    return Catalog(data, frame, unreadable)


def report_left_out(unreadable: tuple[tuple[str, str], ...], shown: int = 5) -> None:
    """Warn of files that were left out: how many, and the first few with their reasons."""
    if not unreadable:
        return
    log.warning("%d unreadable image%s left out:", len(unreadable), "s" if len(unreadable) != 1 else "")
    for _, reason in unreadable[:shown]:
        log.warning("  %s", reason)
    if len(unreadable) > shown:
        log.warning("  and %d more", len(unreadable) - shown)


def walk_images(root: Path) -> Iterator[str]:
    """Relative POSIX paths of the image files below a folder, by suffix; hidden files and folders are passed over.

    Links to folders are followed, except back up into a folder that holds them. A folder that cannot be read, and a
    name that no text file could hold, is passed over with a warning.
    """
    # The real folders that each folder lies in.
    above: dict[str, frozenset[str]] = {os.fspath(root): frozenset()}
    for folder, below, files in os.walk(root, followlinks=True, onerror=_warn_of_folder):
        real, holders = os.path.realpath(folder), above.pop(folder)
        if real in holders:  # a link that leads back up would never end
            below.clear()
            continue
        below[:] = [name for name in below if not name.startswith(".")]
        above |= {os.path.join(folder, name): holders | {real} for name in below}  # noqa: PTH118
        prefix = Path(folder).relative_to(root).as_posix()
        prefix = "" if prefix == "." else f"{prefix}/"
        for name in files:
            image = not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122
            if image and _is_text(path := f"{prefix}{name}"):
                yield path


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        log.warning("%a: the name is not valid UTF-8, left out; rename it", path)
        return False
    return True


def _warn_of_folder(error: OSError) -> None:
    log.warning("%s: the folder cannot be read (%s), left out", error.filename, error.strerror)


def _probe_all(root: Path, paths: list[str]) -> Iterator[tuple[str, str]]:
    with ThreadPoolExecutor() as pool:
        reasons = pool.map(probe, (root / path for path in paths))
        for path, reason in zip(paths, progress(reasons, "checking images", len(paths), "img"), strict=True):
            if reason is not None:
                yield path, reason


def _nothing_found(root: Path, paths: list[str], depth: int) -> str:
    if not paths:
        return f"{root}: no images below it; expected identity folders with {', '.join(sorted(SUFFIXES))}"
    kind = "identity folders" if depth == 1 else f"folders {depth} levels deep"
    return f"{root}: {len(paths)} images but no {kind}; expected {root}/IDENTITY/image.jpg"


def _first_levels(paths: "pd.Series[str]", levels: int) -> "pd.Series[str]":
    return paths.str.extract(rf"^((?:[^/]+/){{{levels}}})", expand=False).str[:-1]


def _hint_depth(root: Path, paths: "pd.Series[str]", depth: int) -> None:
    """Warn when no image lies directly in an identity folder: then the identities may be one level deeper."""
    if paths.str.count("/").min() <= depth:
        return
    log.warning(
        "%s: no image lies directly in its %d identity folders; if the %d folders below them are the identities, "
        "give --identity-depth %d",
        *(root, _first_levels(paths, depth).nunique(), _first_levels(paths, depth + 1).nunique(), depth + 1),
    )


def _read_manifest(path: Path) -> Catalog:
    try:
        # Only an empty field is missing: somebody may be called NA.
        options: dict[str, Any] = {"dtype": str, "keep_default_na": False, "na_values": [""]}
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, **options)
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: cannot be read as a CSV or Parquet manifest ({reason})") from error
    missing = [name for name in ("path", "identity") if name not in frame.columns]
    if missing:
        found = ", ".join(map(str, frame.columns))
        raise DataError(f"{path}: no column {missing[0]!r}; found {found}; a manifest has path, identity")
    empty = frame[["path", "identity"]].isna().any(axis=1)
    if empty.any():
        raise DataError(f"{path}, row {int(empty.argmax()) + 2}: empty path or identity")
    if frame.empty:
        raise DataError(f"{path}: the manifest has no rows")
    images = frame[["path", "identity"]].astype(str).drop_duplicates()
    twice = images["path"].duplicated()
    if twice.any():
        image = images["path"][twice].iloc[0]
        names = " and ".join(map(repr, images["identity"][images["path"] == image].head(2)))
        raise DataError(f"{path}: {image!r} is listed under the identities {names}; keep the right one")
    return Catalog(path.parent, images.sort_values("path", ignore_index=True))
