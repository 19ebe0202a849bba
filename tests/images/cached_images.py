"""Images with a cache of their pixels: what the tests of the store and of its folder share."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from siamese.images.cache import PixelCache
from siamese.images.input_spec import InputSpec
from siamese.images.loader import ImageLoader, Outcome
from siamese.images.pixel_store import open_pixel_store

SPEC = InputSpec(size=(16, 24))
ROW = 16 * 24 * 3
PATHS = [f"person {number}/é {number}.png" for number in range(23)]
BROKEN, CUT = 4, 9


class Counting(ImageLoader):
    """A loader that counts what it decodes."""

    decoded = 0

    def load(self, sources: Sequence[Path | bytes]) -> tuple[NDArray[np.uint8], list[Outcome]]:
        self.decoded += len(sources)
        return super().load(sources)


def fill(
    home: Path,
    root: Path,
    paths: Sequence[str] = PATHS,
    spec: InputSpec = SPEC,
    limit: int = 1 << 30,
    **options: float,
) -> tuple[PixelCache, int]:
    """A cache filled by way of the store below `home`, and how many images were decoded for it."""
    loader = Counting(spec)
    store = open_pixel_store(home, options.get("gigabytes", 1.0), loader)
    filled = PixelCache(loader, root, paths, home.parent / "pixels.bin", limit, store)
    filled.close()
    return filled, loader.decoded


def direct(
    root: Path, paths: Sequence[str] = PATHS, spec: InputSpec = SPEC
) -> tuple[NDArray[np.uint8], list[Outcome]]:
    return ImageLoader(spec).load([root / path for path in paths])


def assert_right(filled: PixelCache, root: Path, paths: Sequence[str] = PATHS, spec: InputSpec = SPEC) -> None:
    pixels, outcomes = direct(root, paths, spec)
    np.testing.assert_array_equal(np.asarray(filled.pixels), pixels)
    assert filled.outcomes == outcomes


def only_store(home: Path) -> Path:
    [store] = (home / "pixels").iterdir()
    return store


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
