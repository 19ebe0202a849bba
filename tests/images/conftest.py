"""Faces without real data: MTCNN finds the rendered portraits of `siamese.demo`."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from siamese.demo.identity import sample_identities
from siamese.demo.render import render
from siamese.demo.variation import Variation
from siamese.images import cache, fingerprint
from siamese.images.detector import FaceDetector

from .cached_images import BROKEN, CUT, PATHS

# No template's size: a portrait that looks aligned already would not be searched.
PORTRAIT_SIDE = 144


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Small networks lose more than they gain by threads where tests share the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def portraits() -> list[NDArray[np.uint8]]:
    """One frontal face an image, each of somebody else."""
    return [render(person, Variation(), PORTRAIT_SIDE) for person in sample_identities(6, seed=0)]


@pytest.fixture(scope="session")
def detector() -> FaceDetector:
    return FaceDetector()


@pytest.fixture
def write_image() -> Callable[[Path, NDArray[np.uint8]], Path]:
    """Write pixels in the format that the suffix names, making folders as needed."""

    def write(path: Path, pixels: NDArray[np.uint8]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        return path

    return write


@pytest.fixture
def root(tmp_path: Path, write_image: Callable[[Path, NDArray[np.uint8]], Path]) -> Path:
    """The images of `cached_images.PATHS`, one of them broken and one cut off."""
    rng = np.random.default_rng(0)
    for path in PATHS:
        write_image(tmp_path / "data" / path, rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    (tmp_path / "data" / PATHS[BROKEN]).write_bytes(b"no image")
    (tmp_path / "data" / PATHS[CUT]).write_bytes((tmp_path / "data" / PATHS[CUT]).read_bytes()[:-40])
    return tmp_path / "data"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Where caches are kept; it is not there yet."""
    return tmp_path / "cache with spaces"


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files written a moment ago count as unchanged, and additions are small."""
    monkeypatch.setattr(fingerprint, "SETTLED", -1e9)
    monkeypatch.setattr(cache, "STEP", 5)
