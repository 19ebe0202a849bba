"""The image files below a folder, and which of them cannot be read."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import cast

from siamese.images.decode import SUFFIXES, probe
from siamese.progress import log, progress

# Files that one thread opens at a go: a task per file would cost as much as a small file does.
_CHUNK = 128


def walk_images(root: Path) -> Iterator[str]:
    """Relative POSIX paths of the image files below a folder, by suffix; hidden files and folders are passed over.

    Links to folders are followed, except back up into a folder that holds them. A folder that cannot be read, and a
    name that no text file could hold, is passed over with a warning.
    """
    top = os.fspath(root)
    # The real folders that each folder lies in.
    above: dict[str, frozenset[object]] = {top: frozenset()}
    for folder, below, files in os.walk(top, followlinks=True, onerror=_warn_of_folder):
        real, holders = _real_folder(folder), above.pop(folder)
        if real in holders:  # a link that leads back up would never end
            below.clear()
            continue
        below[:] = [name for name in below if not name.startswith(".")]
        holders |= {real}
        above.update((os.path.join(folder, name), holders) for name in below)  # noqa: PTH118
        prefix = _prefix(folder, top)
        for name in files:
            image = not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES  # noqa: PTH122
            if image and _is_text(path := f"{prefix}{name}"):
                yield path


def unreadable_images(root: Path, paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Path and reason of each file that cannot be an image, in the order of `paths`; every file is opened once."""
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    bar = progress(cast("tuple[str, ...]", ()), "checking images", len(paths), "img")
    try:
        with ThreadPoolExecutor() as pool:
            for chunk, found in zip(chunks, pool.map(partial(_probe_all, os.fspath(root)), chunks), strict=True):
                bar.update(len(chunk))
                yield from found
    finally:
        bar.close()


def report_left_out(unreadable: Sequence[tuple[str, str]], shown: int = 5) -> None:
    """Warn of files that were left out: how many, and the first of each of the first few kinds of reasons."""
    if not unreadable:
        return
    log.warning("%d unreadable image%s left out:", len(unreadable), "s" if len(unreadable) != 1 else "")
    kinds: dict[str, list[str]] = {}
    for path, reason in unreadable:
        kinds.setdefault(reason.rpartition(f"{path}: ")[2], []).append(reason)
    told = 0
    for reasons in list(kinds.values())[:shown]:
        alike = f" (and {len(reasons) - 1:,} more like it)" if len(reasons) > 1 else ""
        log.warning("  %s%s", reasons[0], alike)
        told += len(reasons)
    if told < len(unreadable):
        log.warning("  and %d more", len(unreadable) - told)


def _prefix(folder: str, top: str) -> str:
    """What the paths of a folder's files begin with: nothing, or POSIX and ended by a slash."""
    below = folder[len(top) :].lstrip(os.sep)
    return f"{below.replace(os.sep, '/')}/" if below else ""


def _real_folder(folder: str) -> object:
    """What is the same for two names of one folder."""
    try:
        status = os.stat(folder)  # noqa: PTH116
    except OSError:
        return folder
    # Some network file systems number nothing.
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(folder)


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        log.warning("%a: the name is not valid UTF-8, left out; rename it", path)
        return False
    return True


def _warn_of_folder(error: OSError) -> None:
    log.warning("%s: the folder cannot be read (%s), left out", error.filename, error.strerror)


def _probe_all(root: str, paths: Sequence[str]) -> list[tuple[str, str]]:
    reasons = ((path, probe(Path(root, path))) for path in paths)
    return [(path, reason) for path, reason in reasons if reason is not None]
