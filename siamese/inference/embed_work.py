"""The folder in which parts of a corpus gather: what they belong to, which are done, and who is at work on it."""

import errno
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa

from siamese.atomic import atomic_path
from siamese.errors import DataError, OptionError
from siamese.inference.embed_part import PartDone, check_part, force_to_disk, part_name
from siamese.progress import log, progress

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Readers of folders of Parquet pass over names that begin so.
MANIFEST, LOCK = "_manifest.json", "_lock"
_PART = re.compile(r"part-[0-9]{5,}\.parquet")
# What a writer that was killed leaves behind, see `siamese.atomic`.
_HALF = re.compile(r"\.(?:part-[0-9]{5,}-[0-9a-f]{12}\.parquet|_manifest-[0-9a-f]{12}\.json)")
_WORDS = {"model": "the model or its preprocessing", "images": "the list of images", "part_size": "the part size"}


class WorkFolder:
    """A folder of parts, held by this process.

    Args:
        folder: made if need be.
        about: what decides every part: `model`, `images` (a digest of the list), `part_size`, and more.
        images: the whole list; columns `path`, `file`, `identity`.
        lasting: whether the parts are the result themselves, which is never thrown away for another run.

    Attributes:
        folder: where it is.
        all_images: the whole list.
        part_size: images to a part; the last may have fewer.
        run: what tells this run from others.

    Raises:
        DataError: the folder holds something else, or its manifest is damaged.
        OptionError: the finished result of another run is in it; or another process is at work on it.
        OSError: it cannot be made or written.
    """

    def __init__(self, folder: Path, about: dict[str, Any], images: pa.Table, *, lasting: bool) -> None:
        # As it is read again: JSON knows no tuples.
        about = json.loads(json.dumps(about))
        self.folder, self._about, self._lasting = folder, about, lasting
        self.all_images, self.part_size = images, int(about["part_size"])
        text = json.dumps(about, sort_keys=True)
        self.run = sha256(text.encode()).hexdigest()[:32]
        folder.mkdir(parents=True, exist_ok=True)
        found = _read_manifest(folder)
        if found is not None and found["about"] != about:
            self._give_way(found)
            found = None
        for path in folder.iterdir():
            if _HALF.fullmatch(path.name) or (found is None and _PART.fullmatch(path.name)):
                path.unlink()
        if found is None:
            self._write_manifest(complete=False)

    @property
    def parts(self) -> int:
        """How many there will be."""
        total: int = self.all_images.num_rows
        return -(-total // self.part_size)

    def images(self, number: int) -> pa.Table:
        """The images of a part."""
        return self.all_images.slice(number * self.part_size, self.part_size)

    def paths(self) -> Iterator[Path]:
        """The files of the parts, in order."""
        return (self.folder / part_name(number) for number in range(self.parts))

    def finished(self) -> dict[int, PartDone]:
        """The parts that are done, by number; what is damaged or out of date is warned of and does not count."""
        there = {path.name for path in self.folder.iterdir()}
        numbers = [number for number in range(self.parts) if part_name(number) in there]
        done, lost = {}, []
        for number in progress(numbers, "checking what is done", unit="part") if numbers else ():
            found = check_part(self.folder, number, self.run, self.images(number))
            if isinstance(found, PartDone):
                done[number] = found
            else:
                lost.append(f"{self.folder / part_name(number)} {found}")
        if lost:
            more = f" (and {len(lost) - 1:,} more parts)" if len(lost) > 1 else ""
            log.warning("%s%s: its images are embedded again", lost[0], more)
        return done

    def mark(self, *, complete: bool) -> None:
        """Note whether every part is there."""
        self._write_manifest(complete=complete)

    def remove(self) -> None:
        """Remove the parts and, if nothing else is in it, the folder."""
        for path in [*self.paths(), self.folder / MANIFEST, self.folder / LOCK]:
            path.unlink(missing_ok=True)
        with suppress(OSError):  # somebody else's file: the folder stays
            self.folder.rmdir()

    def _give_way(self, found: dict[str, Any]) -> None:
        """Say what changed since a run that was not finished; refuse to replace one that was."""
        before = found["about"]
        changed = [words for key, words in _WORDS.items() if before.get(key) != self._about[key]]
        what = " and ".join(changed) or "the version of siamese"
        if self._lasting and found["complete"]:
            raise OptionError(
                f"-o {self.folder}{os.sep}: holds finished embeddings, and {what} changed since; name another "
                "folder, or remove this one"
            )
        log.warning(
            "%s: %s changed since an earlier run, which is given up: everything is embedded anew",
            *(self.folder, what),
        )

    def _write_manifest(self, *, complete: bool) -> None:
        found = {"format": 1, "complete": complete, "parts": self.parts, "about": self._about}
        with atomic_path(self.folder / MANIFEST) as temporary:
            temporary.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
            force_to_disk(temporary)


def has_parts(folder: Path) -> bool:
    """Whether there is a part in a folder, or what may be one."""
    try:
        return any(_PART.fullmatch(path.name) for path in folder.iterdir())
    except OSError:
        return False


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes; where the system has no locks, nothing happens.

    Raises:
        OptionError: another process holds it.
        DataError: there is a file of its name.
        OSError: it cannot be made.
    """
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{folder}: is a file, expected a folder for what is done so far; move it away and run again")
    folder.mkdir(parents=True, exist_ok=True)
    if fcntl is None:
        yield
        return
    lock = _lock(folder)
    try:
        yield
    finally:
        (folder / LOCK).unlink(missing_ok=True)
        os.close(lock)
        with suppress(OSError):  # it holds something, as it should
            folder.rmdir()


def _lock(folder: Path) -> int:
    while True:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                os.close(lock)
                raise OptionError(
                    f"{folder}: another `siamese embed` is at work on it; wait for it, or name another output"
                ) from None
            return lock  # a network file system without locks: the run goes on without one
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock), (folder / LOCK).stat()):
                return lock
        os.close(lock)  # of a run that has just ended, and took its file along


def _read_manifest(folder: Path) -> dict[str, Any] | None:
    """What the folder holds the parts of; None where it is empty but for what a killed writer left."""
    path = folder / MANIFEST
    remedy = "move it away and run again"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        others = sorted(
            each.name for each in folder.iterdir() if each.name != LOCK and not _HALF.fullmatch(each.name)
        )
        if others:
            raise DataError(
                f"{folder}: holds {others[0]!r} and no {MANIFEST}, so it is not of an earlier run; name a new or an "
                f"empty folder, or {remedy}"
            ) from None
        return None
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: is damaged ({' '.join(str(error).split())}); remove {folder}, or {remedy}"
        ) from None
    if not isinstance(found, dict) or found.get("format") != 1 or not isinstance(found.get("about"), dict):
        raise DataError(f"{path}: is no manifest of format 1 of `siamese embed`; remove {folder}, or {remedy}")
    return {"complete": found.get("complete") is True, "about": found["about"]}
