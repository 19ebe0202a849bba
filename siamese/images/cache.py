"""The pixels of a run: each image prepared once, in memory or, when they are many, in a file mapped into it."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from siamese.errors import DataError
from siamese.images.loader import ImageLoader, Outcome
from siamese.images.pixel_store import BATCH, PixelStore
from siamese.progress import progress

# Up to here pixels live in memory; beyond, in a file that the system pages in and out.
MEMORY_LIMIT = 2 << 30
# Images prepared between two additions to the store, which wait for the disk.
STEP = 128


class PixelCache:
    """The prepared pixels of a list of images, each decoded and aligned once: once a run, or with a store only once.

    Args:
        loader: prepares the pixels.
        root: what `paths` are relative to.
        paths: the images; their order is the order of rows.
        file: where the pixels go when they need more than `limit` bytes and no store has them; removed by `close`.
        limit: bytes kept in memory.
        store: keeps pixels from run to run; closed by `close`. None to decode everything now.

    Attributes:
        pixels: shape (N, H, W, 3), uint8, RGB; black rows where the outcome is not `ok`. An array or, mapped from a
            store, what is one to whoever takes its length, its shape, or rows by slice or array.
        outcomes: one for each image.

    Raises:
        DataError: the disk has no room for `file`.
    """

    def __init__(
        self,
        loader: ImageLoader,
        root: Path,
        paths: Sequence[str],
        file: Path,
        limit: int = MEMORY_LIMIT,
        store: PixelStore | None = None,
    ) -> None:
        self.spec = loader.spec
        self.outcomes: list[Outcome] = []
        self.pixels: NDArray[np.uint8]
        self._shape = (len(paths), *loader.spec.size, 3)
        self._wanted, self._store = file, store
        self._file: Path | None = None
        files = [root / path for path in paths]
        fits = int(np.prod(self._shape, dtype=np.int64)) <= limit
        try:
            if fits:
                self.pixels = np.zeros(self._shape, np.uint8)
            elif store is None:
                self.pixels = self._make_file()
            if store is None:
                self._fill(loader, files)
            else:
                self._fill_from(store, files, mapped=not fits)
        except BaseException:  # an interrupt too must not leave gigabytes behind
            self.close()
            raise

    def _fill(self, loader: ImageLoader, files: list[Path]) -> None:
        for start in progress(range(0, len(files), BATCH), "reading images", unit="batch"):
            chunk = files[start : start + BATCH]
            self.pixels[start : start + len(chunk)], outcomes = loader.load(chunk)
            self.outcomes.extend(outcomes)

    def _fill_from(self, store: PixelStore, files: list[Path], *, mapped: bool) -> None:
        rows = np.full(len(files), -1, np.int64)
        for start in progress(range(0, len(files), STEP), "reading images", unit=f"x{STEP}"):
            part = slice(start, start + STEP)
            pixels, outcomes, rows[part] = store.prepare(files[part])
            self.outcomes.extend(outcomes)
            lost = any(outcome.status == "ok" and row < 0 for outcome, row in zip(outcomes, rows[part], strict=True))
            if mapped and lost:  # the store takes nothing more: go on in a file of the run's own
                self.pixels = self._make_file()
                for before in range(0, start, STEP):
                    self.pixels[before : before + STEP] = store.mapped(rows[before : before + STEP])[:]
                mapped = False
            if not mapped:
                self.pixels[part] = pixels
        if mapped:
            self.pixels = cast("NDArray[np.uint8]", store.mapped(rows))

    def _make_file(self) -> NDArray[np.uint8]:
        file, size = self._wanted, int(np.prod(self._shape, dtype=np.int64))
        self._file = file
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("wb") as opened:
                reserve(opened.fileno(), size)
            return np.memmap(file, np.uint8, "r+", shape=self._shape)
        except OSError as error:
            need = f"{size / 1e9:.1f} GB for {self._shape[0]} decoded images"
            raise DataError(f"{file}: no room for {need} ({error.strerror}); free some, or use fewer") from error

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Which rows hold an image, shape (N,)."""
        return np.array([outcome.status == "ok" for outcome in self.outcomes], dtype=bool)

    def close(self) -> None:
        """Remove the file, if there is one, and let go of the store."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)
        if self._store is not None:
            self._store.close()


def reserve(file: int, size: int) -> None:
    """Take room on the disk at once: a process that finds it full behind a mapped file is ended by the system."""
    try:
        os.posix_fallocate(file, 0, size)
    except (AttributeError, OSError) as error:
        # AttributeError: not on this system; the numbers: not on this file system.
        if isinstance(error, OSError) and error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        os.truncate(file, size)
