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
from siamese.images.detector import FaceDetector

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
