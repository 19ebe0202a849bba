"""Which runtime is the fastest for a network on this machine: measured once, and remembered."""

import hashlib
import json
import platform
import statistics
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from siamese.atomic import write_text
from siamese.cache_folder import cache_folder
from siamese.errors import OptionError
from siamese.inference.runtime import Runtime, usable_processors
from siamese.progress import log

BATCH, ROUNDS = 16, 5


@dataclass(frozen=True)
class RuntimeTimes:
    """What was measured.

    Attributes:
        machine: see `describe_machine`.
        batch: images at a time.
        images_per_second: by runtime; of the median batch.
    """

    machine: dict[str, Any]
    batch: int
    images_per_second: dict[str, float]


def describe_machine() -> dict[str, Any]:
    """What the speed of a runtime depends on: processor, how many of them may be used, and versions of packages."""
    versions = {package: _version(package) for package in ("torch", "openvino", "onnxruntime")}
    return {"processor": _processor(), "processors": usable_processors(), **versions}


def measure_runtimes(
    runtimes: Mapping[str, Runtime],
    size: tuple[int, int],
    model_sha256: str,
    *,
    batch: int = BATCH,
    rounds: int = ROUNDS,
) -> RuntimeTimes:
    """Time runtimes of one network on this machine, and keep the answer in the cache folder.

    All of them get the same batch in turn, so that other work on the machine slows down all alike; the first batch of
    each is not counted.

    Args:
        runtimes: by the name under which they are remembered, such as `torch f32`.
        size: height and width of the input in pixels.
        model_sha256: of the network's weights.
        batch: images at a time.
        rounds: batches that count.

    Raises:
        OptionError: no runtime, or no round.
    """
    if not runtimes or rounds < 1 or batch < 1:
        raise OptionError(
            f"{len(runtimes)} runtimes, {rounds} rounds of {batch} images: expected one or more of each"
        )
    images = np.random.default_rng(0).normal(size=(batch, 3, *size)).astype(np.float32)
    seconds: dict[str, list[float]] = {name: [] for name in runtimes}
    for round_ in range(rounds + 1):
        for name, runtime in runtimes.items():
            started = time.perf_counter()
            runtime.embed(images)
            if round_:
                seconds[name].append(time.perf_counter() - started)
    speeds = {name: batch / max(statistics.median(spent), 1e-9) for name, spent in seconds.items()}
    times = RuntimeTimes(describe_machine(), batch, speeds)
    path = _path(model_sha256, size)
    try:
        write_text(path, json.dumps(asdict(times), indent=2) + "\n")
    except OSError as error:
        log.warning("%s: the times of the runtimes are not kept (%s)", path, error.strerror)
    return times


def stored_times(model_sha256: str, size: tuple[int, int]) -> RuntimeTimes | None:
    """What was measured before for these weights on this machine, with these packages; None where nothing was."""
    try:
        content = json.loads(_path(model_sha256, size).read_text(encoding="utf-8"))
        return RuntimeTimes(**content)
    except (OSError, ValueError, TypeError):  # not there, or damaged: it is measured again
        return None


def fastest(times: RuntimeTimes) -> str:
    """Name of the runtime that embeds the most images per second."""
    return max(times.images_per_second, key=lambda name: times.images_per_second[name])


def _path(model_sha256: str, size: tuple[int, int]) -> Path:
    key = json.dumps([describe_machine(), model_sha256, *size], sort_keys=True)
    return cache_folder() / "runtimes" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


def _processor() -> str:
    """The processor's own name where the system tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
