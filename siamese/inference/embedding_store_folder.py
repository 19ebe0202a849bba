"""The folder where a run keeps what it has finished: beside its output, or a temporary one."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from siamese.atomic import write_text
from siamese.errors import DataError
from siamese.inference.embedding_store import FILES, FULL, RECORDS
from siamese.progress import log

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

ABOUT, LOCK = "about.json", "lock"
SUFFIX = ".work"


@contextmanager
def work_folder(output: Path | None, about: Mapping[str, Any]) -> Iterator[Path]:
    """A folder for what a run finishes, held by it alone, and removed when it has succeeded.

    After a failure, an interruption or a kill it stays, if any image was embedded in it, for the same command to go
    on from. One that was made of something else (another model, say) is emptied.

    Args:
        output: the file that the run makes; the folder is `OUTPUT.work` beside it. None: a temporary folder, which
            stays in no case.
        about: what decides the embeddings of images, in values that JSON holds.

    Raises:
        DataError: another run holds it, or there is something else of its name.
    """
    if output is None:
        with TemporaryDirectory(prefix="siamese-verify-") as temporary:
            yield Path(temporary)
        return
    folder = _folder_of(output)
    _check_own(folder, output)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)  # embeddings tell who was there
    lock = _hold(folder, output)
    try:
        _settle(folder, about)
        yield folder
        (folder / RECORDS).unlink(missing_ok=True)  # finished: what is left of it is nobody's
    finally:
        if _empty(folder):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            log.info("%s keeps what was finished; the same command goes on from it", folder)
        os.close(lock)


@contextmanager
def no_room(output: Path | None) -> Iterator[None]:
    """Say in one line that the disk is full, and what is kept.

    Raises:
        DataError: instead of the system's error.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        reason = os.strerror(error.errno)
        if output is None:
            raise DataError(
                f"{gettempdir()}: no room for what has to be kept while pairs are verified ({reason}); free some, "
                "let TMPDIR name another folder, or give -o FILE, which keeps it beside that file"
            ) from error
        folder = _folder_of(output)
        kept = f"; what was finished is kept in {folder}" if folder.exists() else ""
        raise DataError(
            f"{output}: no room to write it ({reason}); free some, and give the same command again{kept}"
        ) from error


def _folder_of(output: Path) -> Path:
    return output.with_name(output.name + SUFFIX)


def _check_own(folder: Path, output: Path) -> None:
    if not folder.exists():
        return
    ours = folder.is_dir() and ((folder / ABOUT).exists() or {path.name for path in folder.iterdir()} <= {LOCK})
    if not ours:
        raise DataError(
            f"{folder}: is in the way of what `-o {output}` keeps while it works, and was made by something else; "
            "rename it, or name another output"
        )


def _hold(folder: Path, output: Path) -> int:
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if fcntl is not None:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise DataError(
            f"{output}: another run is making it; wait until it has ended, or name another file"
        ) from None
    return lock


def _settle(folder: Path, about: Mapping[str, Any]) -> None:
    text = json.dumps(about, indent=2, sort_keys=True) + "\n"
    path = folder / ABOUT
    try:
        same = path.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        same = False
    if same:
        return
    if (folder / RECORDS).exists():
        log.warning("%s is of another model, preprocessing or root; every image is embedded anew", folder)
    for name in FILES:
        (folder / name).unlink(missing_ok=True)
    write_text(path, text)


def _empty(folder: Path) -> bool:
    """Whether not one image was embedded."""
    try:
        return not (folder / RECORDS).stat().st_size
    except OSError:
        return True
