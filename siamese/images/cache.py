"""Pixels decoded once and kept, in memory or, when they are many, in a file mapped into it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from siamese.images.loader import ImageLoader, Outcome
from siamese.progress import progress

# Up to here pixels live in memory; beyond, in a file that the system pages in and out.
MEMORY_LIMIT = 2 << 30
# Images decoded at a time: bounds what full-size photographs take before they are reduced.
BATCH = 16


class PixelCache:
    """The prepared pixels of a list of images, each decoded and aligned once.

    Args:
        loader: prepares the pixels.
        root: what `paths` are relative to.
        paths: the images; their order is the order of rows.
        file: where the pixels go when they need more than `limit` bytes; removed by `close`.
        limit: bytes kept in memory.

    Attributes:
        pixels: shape (N, H, W, 3), uint8, RGB; black rows where the outcome is not `ok`.
        outcomes: one for each image.
    """

    def __init__(
        self, loader: ImageLoader, root: Path, paths: Sequence[str], file: Path, limit: int = MEMORY_LIMIT
    ) -> None:
        shape = (len(paths), *loader.spec.size, 3)
        self._file: Path | None = None
        self.pixels: NDArray[np.uint8]
        if int(np.prod(shape, dtype=np.int64)) <= limit:
            self.pixels = np.zeros(shape, np.uint8)
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._file = file
            self.pixels = np.memmap(file, np.uint8, "w+", shape=shape)
        self.spec = loader.spec
        self.outcomes: list[Outcome] = []
        try:
            self._fill(loader, root, paths)
        except BaseException:  # an interrupt too must not leave gigabytes behind
            self.close()
            raise

    def _fill(self, loader: ImageLoader, root: Path, paths: Sequence[str]) -> None:
        for start in progress(range(0, len(paths), BATCH), "reading images", unit="batch"):
            chunk = [root / path for path in paths[start : start + BATCH]]
            self.pixels[start : start + len(chunk)], outcomes = loader.load(chunk)
            self.outcomes.extend(outcomes)

    @property
    def usable(self) -> NDArray[np.bool_]:
        """Which rows hold an image, shape (N,)."""
        return np.array([outcome.status == "ok" for outcome in self.outcomes], dtype=bool)

    def close(self) -> None:
        """Remove the file, if there is one."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)
