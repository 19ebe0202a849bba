"""Which runtime a model would be run with, and how fast the runtimes are."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from siamese.device import resolve_device
from siamese.doctor.finding import Finding
from siamese.encoders.bundled import path_of_model
from siamese.inference.export_manifest import MANIFEST, ExportManifest, read_manifest
from siamese.inference.runtime import AUTO, Runtime
from siamese.inference.runtime_choice import choose_runtime, torch_is_there
from siamese.inference.runtime_openvino import OpenVinoRuntime
from siamese.inference.runtime_timing import measure_runtimes

TORCH: Literal["torch"] = "torch"
OPENVINO: Literal["openvino"] = "openvino"


@dataclass(frozen=True)
class ModelRuntime:
    """How a model is run here where nothing is asked for.

    Attributes:
        model: how it was named.
        runtime: `torch` or `openvino`.
        reason: why, in words.
        export: the export that is run; None for torch.
        precision: of the arithmetic: `f32`, or `int8` for a quantised export.
        passed: precisions in which the export was shown to decide as torch does; `--precision auto` takes of them.
        images_per_second: by runtime; empty where nothing was measured.
        measured: whether that was now.
    """

    model: str
    runtime: str
    reason: str
    export: str | None
    precision: str
    passed: list[str]
    images_per_second: dict[str, float]
    measured: bool

    def plain(self) -> dict[str, Any]:
        """All of it in values that JSON holds."""
        return asdict(self)


def describe_model(model: str, *, device: str = "auto", measure: bool = False) -> ModelRuntime:
    """The choice for a model; nothing is made or written unless it is to be measured.

    Args:
        model: model folder, export, or `NAME`, `NAME@TAG`, `NAME@FILE` of an untouched encoder.
        device: where it is to run: `auto`, `cpu`, `cuda` or `cuda:N`.
        measure: time torch and the export on the CPU, and remember it; a missing export is made for it.

    Raises:
        SiameseError: the model cannot be loaded, or a device that is not there.
    """
    if device not in (AUTO, "cpu") and torch_is_there():
        resolve_device(device)
    speeds = _measure(model) if measure else None
    chosen = choose_runtime(model, device, make=False)
    manifest = None if chosen.export is None else read_manifest(chosen.export)
    return ModelRuntime(
        model=model,
        runtime=TORCH if chosen.export is None else OPENVINO,
        reason=chosen.reason,
        export=None if chosen.export is None else str(chosen.export),
        precision="int8" if manifest is not None and manifest.int8 else "f32",
        passed=[] if manifest is None else _passed(manifest),
        images_per_second=chosen.images_per_second if speeds is None else speeds,
        measured=measure,
    )


def check_model(found: ModelRuntime) -> Finding:
    """The choice in words."""
    words = f"runs on {found.runtime} in {found.precision}, {found.reason}"
    if found.passed:
        words += f"; decides as torch in {', '.join(found.passed)}"
    if found.images_per_second:
        speeds = ", ".join(f"{name} {speed:.0f}" for name, speed in found.images_per_second.items())
        return Finding(found.model, "ok", f"{words}; images/s {'now' if found.measured else 'as stored'}: {speeds}")
    return Finding(found.model, "ok", f"{words}; not measured yet (--measure)")


def _measure(model: str) -> dict[str, float]:
    """Time whatever can run the model on the CPU; remembered where it is torch against an export."""
    from siamese.inference.verifier import Verifier

    choose_runtime(model, "cpu")  # makes the export, if it can be made
    export = choose_runtime(model, "cpu", OPENVINO, make=False).export
    runtimes: list[Runtime] = []
    if torch_is_there() and not (path_of_model(model) / MANIFEST).is_file():
        network = Verifier.load(model, device="cpu", runtime=TORCH)
        runtimes.append(network.runtime)
        size, weights = network.input_spec.size, ""
    if export is not None:
        manifest = read_manifest(export)
        runtimes += [OpenVinoRuntime(export, "f32" if each == "int8" else each) for each in _passed(manifest)]
        size, weights = manifest.size, manifest.weights_sha256
    both = len({runtime.name for runtime in runtimes}) > 1
    return measure_runtimes(runtimes, size, weights, keep=both).images_per_second


def _passed(manifest: ExportManifest) -> list[str]:
    return [precision for precision, passed in manifest.precisions.items() if passed]
