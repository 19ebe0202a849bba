"""How fast the student embeds, and what it costs: ratios to the compared encoder in eager torch, in the same run."""

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import get_num_threads, set_num_threads

from bundled_recipe.records import Record, read_csv, write_csv
from bundled_recipe.workplace import Workplace
from siamese.device import keep_freed_memory
from siamese.errors import ModelError, OptionError
from siamese.inference.export import ExportJob, export_model
from siamese.inference.export_parity import Parity
from siamese.inference.runtime import Runtime
from siamese.inference.runtime_openvino import OpenVinoRuntime
from siamese.inference.runtime_timing import describe_machine
from siamese.inference.verifier import Verifier
from siamese.model.network import SiameseNetwork
from siamese.progress import log

THREADS = 2
BATCH = 32
SECONDS = 40.0
CALIBRATED = 300
REFERENCE = "compared, torch f32"
FEWEST_ROUNDS = 5


def measure_speed(place: Workplace, model: Path, *, seconds: float | None = None, threads: int = THREADS) -> Record:
    """Images per second of the model at every precision that passes the export's check, and of the reference.

    The check is that of `siamese export`, on the validation pairs; eight bits are calibrated on training images.

    Args:
        place: prepared.
        model: model folder.
        seconds: of measuring, for each size of batch; None for 40.
        threads: that every runtime may use.
    """
    keep_freed_memory()
    before = get_num_threads()
    set_num_threads(threads)
    try:
        with tempfile.TemporaryDirectory(prefix=".export-", dir=place.work) as temporary:
            runtimes, checks = _runtimes(place, model, Path(temporary), threads)
            took = SECONDS if seconds is None else seconds
            rates = {batch: images_per_second(runtimes, batch, took) for batch in (1, BATCH)}
    finally:
        set_num_threads(before)
    return {
        "threads": threads,
        "machine": describe_machine(),
        "parity": checks,
        "images_per_second": rates[BATCH][0],
        "ratio": rates[BATCH][1],
        "ms_one_image": {name: 1000 / rate for name, rate in rates[1][0].items()},
        "ms_in_batch": {name: 1000 / rate for name, rate in rates[BATCH][0].items()},
    }


def measure_cost(network: SiameseNetwork) -> Record:
    """Parameters, and megabytes of the weights with parameters of two or more dimensions in 16 bits, the rest in 32.

    That is how `save_model(..., half=True)` writes them.
    """
    parameters = dict(network.named_parameters())
    count = sum(each.numel() for each in parameters.values())
    size = sum(
        tensor.numel() * (2 if name in parameters and tensor.ndim > 1 else tensor.element_size())
        for name, tensor in network.state_dict().items()
    )
    return {"parameters": count, "megabytes_float16": size / 1e6}


def images_per_second(
    runtimes: Mapping[str, Runtime], batch: int, seconds: float, sizes: Mapping[str, tuple[int, int]] | None = None
) -> tuple[dict[str, float], dict[str, float]]:
    """Speed of the median batch by runtime, and the median of the ratios to the first one, turn by turn.

    They take turns, so that other work on the machine slows down all alike; each embeds twice, and the second counts,
    since in the first the threads of the one before still spin.

    Args:
        runtimes: at least one; the first is what the others are compared with.
        batch: images at a time.
        seconds: about how long it may take, at least five turns.
        sizes: height and width that each takes; None to ask it.
    """
    images = {name: _noise(batch, (sizes or {}).get(name) or size_of(each)) for name, each in runtimes.items()}
    spent: dict[str, list[float]] = {name: [] for name in runtimes}
    first = next(iter(runtimes))
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(spent[first]) < FEWEST_ROUNDS:
        for name, runtime in runtimes.items():
            runtime.embed(images[name])
            started = time.perf_counter()
            runtime.embed(images[name])
            spent[name].append(time.perf_counter() - started)
    speeds = {name: batch / statistics.median(own) for name, own in spent.items()}
    ratios = {
        name: statistics.median(one / other for one, other in zip(spent[first], own, strict=True))
        for name, own in spent.items()
    }
    return speeds, ratios


def size_of(runtime: Runtime) -> tuple[int, int]:
    """Height and width of the images that a runtime takes."""
    if isinstance(runtime, OpenVinoRuntime):
        return runtime.manifest.size
    size: tuple[int, int] = runtime.network.input_spec.size  # type: ignore[attr-defined]
    return size


def _runtimes(place: Workplace, model: Path, folder: Path, threads: int) -> tuple[dict[str, Runtime], list[Record]]:
    found = {
        REFERENCE: Verifier.load(place.compared, device="cpu", runtime="torch").runtime,
        "torch f32": Verifier.load(model, device="cpu", runtime="torch").runtime,
    }
    job = ExportJob(str(model), output=folder / "plain", pairs=place.val_pairs, root=place.work)
    checks = [_described(each) for each in export_model(job).parity]
    for check in checks:
        if check["passed"]:
            found[f"openvino {check['precision']}"] = OpenVinoRuntime(
                folder / "plain", check["precision"], threads=threads, cache=False
            )
    eight_bits = ExportJob(
        *(str(model), "openvino", folder / "int8"),
        int8=True,
        calibrate=_calibration_images(place),
        pairs=place.val_pairs,
        root=place.work,
    )
    try:
        checks.append(_described(export_model(eight_bits).parity[0]))
        found["openvino int8"] = OpenVinoRuntime(folder / "int8", "f32", threads=threads, cache=False)
    except (ModelError, OptionError) as error:  # it decides differently, or NNCF is not installed
        log.info("eight bits: %s", error)
        checks.append({"precision": "int8", "passed": False, "reason": str(error).rpartition(": ")[2]})
    return found, checks


def _calibration_images(place: Workplace) -> Path:
    """A manifest of some training images, evenly spread; whom they show does not matter, and every row says so."""
    path = place.work / "calibrate.csv"
    table = read_csv(place.training_images)
    write_csv(path, table.iloc[:: max(1, len(table) // CALIBRATED)].assign(identity="anybody"))
    return path


def _described(parity: Parity) -> Record:
    kept = ("precision", "pairs", "flipped", "allowed", "similarity_max", "passed", "reason")
    return {name: value for name, value in asdict(parity).items() if name in kept}


def _noise(count: int, size: Sequence[int]) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(count, 3, *size)).astype(np.float32)
