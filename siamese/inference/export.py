"""Export: a model in a form that runs without torch, held against torch before it is handed over."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from siamese.encoders.bundled import BUNDLED, path_of_model
from siamese.errors import ModelError, OptionError, unknown_name
from siamese.full_disk import writing
from siamese.images.faces import FaceChoice
from siamese.images.loader import AlignChoice, ImageLoader
from siamese.inference.export_files import reference_of, write_export, write_parity
from siamese.inference.export_graphs import check_packages
from siamese.inference.export_int8 import calibration_images, check_nncf, quantise
from siamese.inference.export_manifest import EXPORTS, KINDS, MANIFEST, ExportManifest
from siamese.inference.export_parity import (
    BF16_TOLERANCE,
    FLOAT32_TOLERANCE,
    INT8_TOLERANCE,
    Parity,
    check_parity,
)
from siamese.inference.export_samples import Samples, embed_samples, open_samples
from siamese.inference.runtime import Runtime
from siamese.inference.runtime_onnx import OnnxRuntime
from siamese.inference.runtime_openvino import OpenVinoRuntime
from siamese.inference.runtime_timing import RuntimeTimes, measure_runtimes
from siamese.inference.verifier import Verifier
from siamese.openvino_library import cpu_capabilities


@dataclass(frozen=True)
class ExportJob:
    """What to export, and what to check it on.

    Attributes:
        model: model folder, or NAME, NAME@TAG, NAME@FILE of an untouched encoder.
        kind: `openvino` or `onnx`.
        output: the folder to write; None for `export/KIND` in the model folder.
        int8: quantise to eight bits.
        calibrate: images to calibrate the quantisation on: a folder, a manifest or an image.
        tolerance: share of the decisions that may flip with `int8`; None for 0.01.
        pairs: pair file to check on; None for the validation pairs of the run, or noise without them.
        root: what its paths are relative to; None for its own folder.
        same_label: value of its label column that means same; None for 1 or true.
        input_size: height and width, for an untouched encoder only.
        align: whether images are aligned before they are checked or calibrated on.
        face: which face of an image with several.
        seed: of the weights of `NAME@random`.
        timing: measure how fast torch and the export are on this machine, and remember it: `choose_runtime` goes by
            it.
    """

    model: str
    kind: str = "openvino"
    output: Path | None = None
    int8: bool = False
    calibrate: Path | None = None
    tolerance: float | None = None
    pairs: Path | None = None
    root: Path | None = None
    same_label: str | None = None
    input_size: tuple[int, int] | None = None
    align: AlignChoice = "auto"
    face: FaceChoice = "auto"
    seed: int = 0
    timing: bool = False


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        folder: the export.
        manifest: its manifest.
        parity: the check, one entry per precision; the first is that of the export as it stands.
        bytes: size of its files.
        times: how fast torch and the export are; None where it was not measured.
    """

    folder: Path
    manifest: ExportManifest
    parity: tuple[Parity, ...]
    bytes: int
    times: RuntimeTimes | None


def export_model(job: ExportJob) -> ExportResult:
    """Export a model; nothing is written unless it decides as the network on torch does.

    An earlier export in the same folder is replaced.

    Raises:
        OptionError: options that do not go together, or a package that is not installed.
        ModelError: the network cannot be converted, or the export decides differently.
        SiameseError: the model, the pairs or the images are not to be had.
    """
    _check(job)
    folder = _target(job)
    verifier = Verifier.load(
        job.model,
        device="cpu",
        runtime="torch",
        align=job.align,
        face=job.face,
        input_size=job.input_size,
        seed=job.seed,
    )
    loader = ImageLoader(verifier.network.input_spec, align=job.align, face=job.face)
    model = path_of_model(job.model) if verifier.card is not None else None
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        writing(folder),
        open_samples(model, job.pairs, job.root, job.same_label) as samples,
        tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name,
    ):
        made = Path(name) / folder.name
        made.mkdir()
        manifest = write_export(verifier, made, job.kind, _quantiser(job, loader))
        runtimes = [verifier.runtime, *_runtimes(job, made)]
        parity = _check_all(job, verifier, loader, samples, runtimes)
        manifest = write_parity(made, manifest, parity)
        times = _measure(job, runtimes, parity, manifest)
        _put(made, folder, Path(name))
    size = sum(path.stat().st_size for path in folder.iterdir())
    return ExportResult(folder, manifest, parity, size, times)


def _check(job: ExportJob) -> None:
    if job.kind not in KINDS:
        raise unknown_name("value of --format", job.kind, KINDS)
    if job.int8 and job.calibrate is None:
        raise OptionError(
            "--int8: needs images to calibrate on; give --calibrate DATA, some hundred like those to come"
        )
    for option, value in (("--calibrate", job.calibrate), ("--tolerance", job.tolerance)):
        if value is not None and not job.int8:
            raise OptionError(f"{option} {value}: is for --int8; give it as well, or leave {option} out")
    if job.tolerance is not None and not 0 <= job.tolerance <= 1:
        raise OptionError(f"--tolerance {job.tolerance:g}: expected a share of the decisions, from 0 to 1")
    check_packages(job.kind)
    if job.int8:
        check_nncf()


def _target(job: ExportJob) -> Path:
    """The folder to write; refused where it holds anything else than an export."""
    model = path_of_model(job.model)
    if job.output is None and job.model == BUNDLED:
        raise OptionError(f"-o: {BUNDLED} lies inside the package, which is left as it is; name a folder to write")
    if job.output is None and not model.is_dir():
        raise OptionError(f"-o: {job.model} is no model folder to put the export in; name a folder to write")
    folder = job.output if job.output is not None else model / EXPORTS / job.kind
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"-o {folder}: is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise OptionError(f"-o {folder}: holds other files; name a new folder, or one with an earlier export")
    return folder


def _quantiser(job: ExportJob, loader: ImageLoader) -> Callable[[Path], None] | None:
    if not job.int8 or job.calibrate is None:
        return None
    images = calibration_images(job.calibrate, loader)
    return lambda folder: quantise(folder, job.kind, images)


def _check_all(
    job: ExportJob, verifier: Verifier, loader: ImageLoader, samples: Samples, runtimes: Sequence[Runtime]
) -> tuple[Parity, ...]:
    """Hold the export against torch, the first of the runtimes, at each precision that it may run with here.

    Raises:
        ModelError: it may not stand in for the network.
    """
    vectors, usable = embed_samples(samples, loader, runtimes)
    reference = reference_of(verifier, samples, vectors[0], usable)
    tolerances = {"f32": FLOAT32_TOLERANCE, "bf16": BF16_TOLERANCE}
    tolerances["int8"] = INT8_TOLERANCE if job.tolerance is None else job.tolerance
    parity = tuple(
        check_parity(reference, runtime, given, tolerances[runtime.precision])
        for runtime, given in zip(runtimes[1:], vectors[1:], strict=True)
    )
    if not parity[0].passed:
        raise ModelError(f"{job.model}: not exported, on {samples.name} {parity[0].reason}")
    return parity


def _runtimes(job: ExportJob, folder: Path) -> list[Runtime]:
    if job.kind == "onnx":
        return [OnnxRuntime(folder)]
    runtimes: list[Runtime] = [OpenVinoRuntime(folder, "f32", cache=False)]
    if not job.int8 and "BF16" in cpu_capabilities():
        runtimes.append(OpenVinoRuntime(folder, "bf16", cache=False))
    return runtimes


def _measure(
    job: ExportJob, runtimes: Sequence[Runtime], parity: Sequence[Parity], manifest: ExportManifest
) -> RuntimeTimes | None:
    """Torch, and the export at the precisions that passed; only those of OpenVINO are remembered and chosen from."""
    if not job.timing:
        return None
    passed = [runtime for runtime, each in zip(runtimes[1:], parity, strict=True) if each.passed]
    given = (runtimes[0], *passed)
    return measure_runtimes(given, manifest.size, manifest.weights_sha256, keep=job.kind == "openvino")


def _put(made: Path, folder: Path, beside: Path) -> None:
    """Move the finished export into its place, and one that was there before out of it."""
    if folder.exists():
        folder.replace(beside / "before")
    made.replace(folder)
    shutil.rmtree(beside / "before", ignore_errors=True)
