"""Which runtime is the fastest for a network on this machine: measured once, and remembered."""

import hashlib
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from siamese.atomic import write_text
from siamese.cache_folder import cache_folder
from siamese.device import usable_processors
from siamese.errors import OptionError
from siamese.inference.runtime import Runtime
from siamese.installed import installed_version
from siamese.progress import log

BATCH, ROUNDS = 16, 5
SECONDS = 2.0
# Torch is taken only where it is faster by more than what such a short measurement is good for.
MARGIN = 1.1
TORCH = "torch f32"


@dataclass(frozen=True)
class RuntimeTimes:
    """What was measured.

    Attributes:
        machine: its name, and see `describe_machine`.
        batch: images at a time.
        images_per_second: by runtime, as `runtime_label` names it; of the median batch.
    """

    machine: dict[str, Any]
    batch: int
    images_per_second: dict[str, float]


def describe_machine() -> dict[str, Any]:
    """What the speed of a runtime depends on: processor, how many of them may be used, and versions of packages."""
    versions = {package: installed_version(package) for package in ("torch", "openvino", "onnxruntime")}
    return {"processor": _processor(), "processors": usable_processors(), **versions}


def runtime_label(runtime: Runtime) -> str:
    """The name under which the speed of a runtime is remembered: `torch f32`, `openvino bf16`."""
    return f"{runtime.name} {runtime.precision}"


def measure_runtimes(
    runtimes: Sequence[Runtime],
    size: tuple[int, int],
    model_sha256: str,
    *,
    batch: int = BATCH,
    rounds: int = ROUNDS,
    seconds: float = SECONDS,
    keep: bool = True,
) -> RuntimeTimes:
    """Time runtimes of one network on this machine, and keep the answer in the cache folder.

    All of them get the same batch in turn, so that other work on the machine slows down all alike, and each twice, of
    which the second counts. Slow networks get smaller batches and fewer of them, at least one that counts.

    Args:
        runtimes: of the same network.
        size: height and width of the input in pixels.
        model_sha256: of the network's weights.
        batch: images at a time, at most.
        rounds: batches that count, at most.
        seconds: about how long it may take.
        keep: write it to the cache folder.

    Raises:
        OptionError: no runtime, or no round.
    """
    if not runtimes or rounds < 1 or batch < 1:
        raise OptionError(
            f"{len(runtimes)} runtimes, {rounds} rounds of {batch} images: expected one or more of each"
        )
    started = time.perf_counter()
    batch = _batch_within(runtimes, size, batch, seconds)
    images = _noise(batch, size)
    spent: list[list[float]] = [[] for _ in runtimes]
    while len(spent[0]) < rounds and not (spent[0] and time.perf_counter() - started > seconds):
        for own, runtime in zip(spent, runtimes, strict=True):
            own.append(_seconds(runtime, images))
    speeds = {
        runtime_label(runtime): batch / max(float(np.median(own)), 1e-9)
        for own, runtime in zip(spent, runtimes, strict=True)
    }
    times = RuntimeTimes({"name": platform.node(), **describe_machine()}, batch, speeds)
    if keep:
        _keep(times, _path(model_sha256, size))
    return times


def stored_times(model_sha256: str, size: tuple[int, int]) -> RuntimeTimes | None:
    """What was measured before for these weights on this machine, with these packages; None where nothing was."""
    try:
        content = json.loads(_path(model_sha256, size).read_text(encoding="utf-8"))
        speeds = {str(name): float(speed) for name, speed in content["images_per_second"].items()}
        return RuntimeTimes(dict(content["machine"]), int(content["batch"]), speeds)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):  # not there, or damaged: measured again
        return None


def torch_is_faster(times: RuntimeTimes, label: str) -> bool:
    """Whether torch was measured faster than another runtime by more than a tenth; False where either was not."""
    speeds = times.images_per_second
    return TORCH in speeds and label in speeds and speeds[TORCH] > MARGIN * speeds[label]


def _batch_within(runtimes: Sequence[Runtime], size: tuple[int, int], batch: int, seconds: float) -> int:
    """How many images at a time let one batch warm up and one count, by the pace of one image."""
    one = _noise(1, size)
    pace = sum(_seconds(runtime, one) for runtime in runtimes)
    while batch > 1 and batch * pace > seconds / 2:
        batch //= 2
    return batch


def _noise(count: int, size: tuple[int, int]) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(count, 3, *size)).astype(np.float32)


def _seconds(runtime: Runtime, images: NDArray[np.float32]) -> float:
    """Of the second of two batches: in the first a runtime allocates, and the threads of another still spin."""
    runtime.embed(images)
    started = time.perf_counter()
    runtime.embed(images)
    return time.perf_counter() - started


def _keep(times: RuntimeTimes, path: Path) -> None:
    try:
        write_text(path, json.dumps(asdict(times), indent=2) + "\n")
    except OSError as error:
        log.warning("%s: the times of the runtimes are not kept (%s)", path, error.strerror)


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
