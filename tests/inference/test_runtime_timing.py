"""The self-benchmark: what it measures, how long it takes, and what is remembered of it."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from siamese.errors import OptionError
from siamese.inference.runtime_timing import (
    RuntimeTimes,
    measure_runtimes,
    stored_times,
    torch_is_faster,
)

WEIGHTS = "a" * 64


class Slow:
    """A runtime that takes its time for every image, to be found out."""

    embedding_dim, identities, pair_head = 4, 0, False

    def __init__(self, name: str, seconds: float = 0.0) -> None:
        self.name, self.precision, self.seconds = name, "f32", seconds
        self.batches: list[int] = []

    def embed(self, given: NDArray[np.float32]) -> NDArray[np.float32]:
        time.sleep(self.seconds * len(given))
        self.batches.append(len(given))
        return np.zeros((len(given), 4), np.float32)

    def similarity(self, left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
        raise NotImplementedError

    def identity_probabilities(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        raise NotImplementedError


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path))
    return tmp_path / "runtimes"


def test_the_fastest_runtime_is_found_by_measuring_and_remembered() -> None:
    slow, quick = Slow("torch", 0.02), Slow("openvino")
    assert stored_times(WEIGHTS, (8, 8)) is None
    times = measure_runtimes((slow, quick), (8, 8), WEIGHTS, rounds=3, batch=4)
    assert set(times.images_per_second) == {"torch f32", "openvino f32"}
    assert times.images_per_second["openvino f32"] > times.images_per_second["torch f32"]
    assert times.images_per_second["torch f32"] <= 50  # at 0.02 s an image it cannot be more
    assert stored_times(WEIGHTS, (8, 8)) == times
    assert stored_times("b" * 64, (8, 8)) is None
    assert stored_times(WEIGHTS, (8, 9)) is None
    # Two single images to tell the pace, and three batches that count, each behind one that does not.
    assert slow.batches == quick.batches == [1, 1, 4, 4, 4, 4, 4, 4]
    assert times.batch == 4
    assert times.machine["processors"] >= 1
    assert {"name", "processor", "torch", "openvino"} <= set(times.machine)


def test_slow_networks_get_smaller_batches_and_fewer_of_them() -> None:
    slow = Slow("torch", 0.02)
    times = measure_runtimes((slow, Slow("openvino")), (8, 8), WEIGHTS, batch=64, rounds=1000, seconds=0.2)
    assert times.batch in (1, 2, 4)  # half of the time is 0.1 s, five images
    assert sum(slow.batches) * 0.02 < 1.0
    hopeless = Slow("torch", 0.05)
    found = measure_runtimes((hopeless,), (8, 8), WEIGHTS, batch=64, seconds=0.001)
    assert (found.batch, hopeless.batches) == (1, [1, 1, 1, 1]), "one that counts is taken however long it takes"


def test_a_measurement_may_be_kept_to_oneself(cache: Path) -> None:
    measure_runtimes((Slow("onnxruntime"),), (8, 8), WEIGHTS, rounds=1, keep=False)
    assert not cache.exists()


def test_times_of_another_machine_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    measure_runtimes((Slow("torch"),), (8, 8), WEIGHTS, rounds=1)
    assert stored_times(WEIGHTS, (8, 8)) is not None
    monkeypatch.setattr("siamese.inference.runtime_timing.describe_machine", lambda: {"processor": "another"})
    assert stored_times(WEIGHTS, (8, 8)) is None


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"machine": {}}', '{"machine": {}, "batch": 1, "images_per_second": {"torch f32": "x"}}']
)
def test_damaged_times_are_not_taken(cache: Path, content: str) -> None:
    measure_runtimes((Slow("torch"),), (8, 8), WEIGHTS, rounds=1)
    (path,) = cache.iterdir()
    assert set(json.loads(path.read_text())) == {"machine", "batch", "images_per_second"}
    path.write_text(content)
    assert stored_times(WEIGHTS, (8, 8)) is None


def test_times_that_cannot_be_kept_are_a_warning(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache.write_text("a file where the folder should be")
    times = measure_runtimes((Slow("torch"),), (8, 8), WEIGHTS, rounds=1)
    assert times.images_per_second["torch f32"] > 0
    assert "the times of the runtimes are not kept (" in caplog.text


@pytest.mark.parametrize(
    ("torch", "openvino", "expected"), [(100.0, 100.0, False), (109.0, 100.0, False), (111.0, 100.0, True)]
)
def test_torch_is_faster_by_more_than_a_tenth_or_not_at_all(torch: float, openvino: float, expected: bool) -> None:
    times = RuntimeTimes({}, 16, {"torch f32": torch, "openvino f32": openvino})
    assert torch_is_faster(times, "openvino f32") is expected
    assert torch_is_faster(times, "openvino bf16") is False, "what was not measured is not beaten"


@pytest.mark.parametrize(("count", "rounds", "batch"), [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_nothing_to_measure_is_refused(count: int, rounds: int, batch: int) -> None:
    message = f"^{count} runtimes, {rounds} rounds of {batch} images: expected one or more of each$"
    with pytest.raises(OptionError, match=message):
        measure_runtimes([Slow("torch")] * count, (8, 8), WEIGHTS, rounds=rounds, batch=batch)
