"""When `ImageLoader` decodes in threads: where there is enough to decode to pay for starting them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from siamese.images import loader
from siamese.images.input_spec import InputSpec
from siamese.images.loader import THREADED_BYTES, ImageLoader
from siamese.images.source import ImageSource

Write = Callable[[Path, NDArray[np.uint8]], Path]


def noise(side: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


@pytest.fixture
def pools(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """One entry for every pool of threads that was started."""
    started: list[int | None] = []

    def start(workers: int | None = None) -> ThreadPoolExecutor:
        started.append(workers)
        return ThreadPoolExecutor(workers)

    monkeypatch.setattr(loader, "ThreadPoolExecutor", start)
    return started


def load(sources: list[ImageSource], workers: int | None = None) -> NDArray[np.uint8]:
    pixels, outcomes = ImageLoader(InputSpec(size=(16, 16)), workers=workers).load(sources)
    assert [outcome.status for outcome in outcomes] == ["ok"] * len(sources)
    return pixels


def test_two_small_files_start_no_threads(tmp_path: Path, write_image: Write, pools: list[int | None]) -> None:
    paths = [write_image(tmp_path / f"{seed}.png", noise(16, seed)) for seed in range(2)]
    for sources in ([*paths], [str(path) for path in paths], [path.read_bytes() for path in paths]):
        assert np.array_equal(load([*sources]), np.stack([noise(16, 0), noise(16, 1)]))
    assert pools == []


def test_pixels_need_no_threads_however_many(pools: list[int | None]) -> None:
    images = [noise(200, seed) for seed in range(3)]
    assert sum(image.nbytes for image in images) > THREADED_BYTES
    load([*images])
    assert pools == []


@pytest.mark.parametrize("kind", ["path", "str", "bytes", "pillow"])
def test_large_images_are_decoded_in_threads(
    tmp_path: Path, write_image: Write, pools: list[int | None], kind: str
) -> None:
    paths = [write_image(tmp_path / f"{seed}.png", noise(150, seed)) for seed in range(2)]
    assert sum(path.stat().st_size for path in paths) > THREADED_BYTES
    made: dict[str, list[ImageSource]] = {
        "path": [*paths],
        "str": [str(path) for path in paths],
        "bytes": [path.read_bytes() for path in paths],
        "pillow": [Image.open(path) for path in paths],
    }
    threaded = load(made[kind], workers=2)
    assert pools == [2]
    assert np.array_equal(threaded, load([*paths], workers=1)), "the same pixels without"
    assert pools == [2]


def test_files_that_cannot_be_read_are_told_as_ever(tmp_path: Path, pools: list[int | None]) -> None:
    sources: list[ImageSource] = [tmp_path / "missing.jpg", "nul\0.jpg", b""]
    _, outcomes = ImageLoader(InputSpec(size=(8, 8))).load(sources)
    assert [outcome.status for outcome in outcomes] == ["unreadable"] * 3
    assert outcomes[0].detail == f"{tmp_path / 'missing.jpg'}: no such file; check the path"
    assert pools == []
