"""Where stores of pixels lie: one folder for each way of preparing images, and a bound for all of them together."""

import errno
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

from siamese import __version__
from siamese.atomic import write_text
from siamese.images.loader import ImageLoader
from siamese.installed import installed_version

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

# Names of stores; nothing else in the folder is ever removed, except what a killed removal left.
STORE = re.compile(r"[0-9a-f]{24}")
REMOVED = ".removed-"
# Sources that decide what pixels come out: with any change to them a new store begins.
SOURCES = ("decode.py", "opencv_decode.py", "heif.py", "input_spec.py", "loader.py", "source.py")
FACE_SOURCES = (
    *("faces.py", "detector.py", "torch_detector.py", "openvino_detector.py", "openvino_detector_areas.py"),
    *("openvino_detector_boxes.py", "openvino_detector_conversion.py", "openvino_detector_nets.py"),
)
FACE_PACKAGES = ("facenet-pytorch", "openvino")


def preparation(loader: ImageLoader) -> dict[str, Any]:
    """Everything that decides which pixels a loader makes of a file's content.

    Colour order, mean and deviation do not: they are applied to a batch, and the store holds RGB.
    """
    spec = loader.spec
    faces = spec.alignment != "none" and loader.align != "no"
    packages = ("pillow", "opencv-python-headless", "opencv-python", "pillow-heif")
    return {
        "size": spec.size,
        "fit": spec.fit,
        "interpolation": spec.interpolation,
        "faces": {"template": spec.alignment, "align": loader.align, "face": loader.face} if faces else None,
        "packages": {name: installed_version(name) for name in (*packages, *(FACE_PACKAGES if faces else ()))},
        "code": _digest((*SOURCES, *(FACE_SOURCES if faces else ()))),
    }


def _digest(names: tuple[str, ...]) -> str:
    try:
        return sha256(b"".join((Path(__file__).parent / name).read_bytes() for name in names)).hexdigest()
    except OSError:  # installed without its sources
        return __version__


class StoreFolder:
    """The folder of one store, held against removal as long as this object is open.

    Args:
        home: the folder of all stores.
        prepared: what `preparation` says; it names the store.
        limit: bytes that all stores may take.

    Attributes:
        path: the store's folder.
        complaint: why nothing can be written there; empty if it can.

    Raises:
        OSError: there is no such store, and none can be made.
    """

    def __init__(self, home: Path, prepared: dict[str, Any], limit: int) -> None:
        about = json.dumps(prepared, indent=2, sort_keys=True) + "\n"
        self.path = home / sha256(about.encode()).hexdigest()[:24]
        self.complaint = ""
        self._limit = limit
        if fcntl is None:
            raise OSError(errno.ENOTSUP, "needs file locks, which this system lacks")
        if (self.path / "full").exists():
            # The last run found no room for what it needed, beside much that it did not.
            _remove(self.path)
        try:
            # Crops show people: other users of the machine have no business there.
            home.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._users = _hold(self.path)
            if not (self.path / "about.json").exists():
                write_text(self.path / "about.json", about)
        except OSError as error:
            if not self.path.is_dir():
                raise
            self.complaint = error.strerror or str(error)
            self._users = -1

    @property
    def pixels(self) -> Path:
        """The file with the rows."""
        return self.path / "pixels"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the store for writing, alone among all processes.

        Raises:
            OSError: the lock cannot be had.
        """
        file = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def make_room(self, more: int) -> bool:
        """Remove the stores that were not used for longest, and not in use, until `more` bytes fit the limit.

        Returns:
            Whether they fit.
        """
        for left in self.path.parent.glob(f"{REMOVED}*"):
            shutil.rmtree(left, ignore_errors=True)
        used = _size(self.path) + more
        others = [path for path in self.path.parent.iterdir() if STORE.fullmatch(path.name) and path != self.path]
        sizes = {path: _size(path) for path in sorted(others, key=_last_used)}
        for path in list(sizes):
            if used + sum(sizes.values()) > self._limit and _remove(path):
                del sizes[path]
        return used + sum(sizes.values()) <= self._limit

    def start_anew_next_time(self) -> None:
        """Leave word that the next run shall begin with an empty store."""
        with suppress(OSError):
            (self.path / "full").touch()

    def close(self) -> None:
        """Let go of the folder."""
        if self._users >= 0:
            os.close(self._users)
            self._users = -1


def _hold(path: Path) -> int:
    """Make a folder if need be, and hold its file `users`: nobody removes it before that is closed."""
    while True:
        path.mkdir(exist_ok=True)
        file = os.open(path / "users", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_SH)
            os.utime(file)
            if os.path.samestat(os.fstat(file), (path / "users").stat()):
                return file
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(file)
            raise
        os.close(file)  # of a folder that was removed meanwhile


def _remove(path: Path) -> bool:
    """Remove a store, unless somebody uses it."""
    try:
        users = os.open(path / "users", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Moved first: whoever comes now makes a new one, and a removal that is killed leaves no half of a store.
            away = path.with_name(f"{REMOVED}{secrets.token_hex(6)}")
            path.rename(away)
        finally:
            os.close(users)
    except OSError:
        return False
    shutil.rmtree(away, ignore_errors=True)
    return True


def _last_used(path: Path) -> float:
    try:
        return (path / "users").stat().st_mtime
    except OSError:
        return 0.0


def _size(path: Path) -> int:
    try:
        return sum(file.stat().st_size for file in path.iterdir())
    except OSError:
        return 0
