"""Export: a model in a form that runs without torch, held against torch before it is handed over."""

import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import siamese
from siamese.errors import ModelError, OptionError, unknown_name
from siamese.images.faces import FaceChoice
from siamese.images.loader import AlignChoice, ImageLoader
from siamese.inference.export_graphs import check_packages, write_graphs
from siamese.inference.export_int8 import calibration_images, check_nncf, quantise
from siamese.inference.export_manifest import (
    EXPORTS,
    KINDS,
    MANIFEST,
    ExportManifest,
    sha256_of_file,
    write_manifest,
)
from siamese.inference.export_parity import (
    BF16_TOLERANCE,
    FLOAT32_TOLERANCE,
    INT8_TOLERANCE,
    Parity,
    check_parity,
    take_reference,
)
from siamese.inference.export_samples import Samples, embed_samples, open_samples
from siamese.inference.model_identity import weights_digest
from siamese.inference.runtime import OpenVinoRuntime, Runtime, TorchRuntime
from siamese.inference.runtime_onnx import OnnxRuntime
from siamese.inference.verifier import Verifier
from siamese.model.card import CARD
from siamese.openvino_library import cpu_capabilities

_PACKAGES = {"openvino": ("torch", "openvino"), "onnx": ("torch", "onnx", "onnxruntime", "onnxscript")}


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


@dataclass(frozen=True)
class ExportResult:
    """What was written.

    Attributes:
        folder: the export.
        manifest: its manifest.
        parity: the check, one entry per precision; the first is that of the export as it stands.
        bytes: size of its files.
    """

    folder: Path
    manifest: ExportManifest
    parity: tuple[Parity, ...]
    bytes: int


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
    model = Path(job.model) if verifier.card is not None else None
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (
        open_samples(model, job.pairs, job.root, job.same_label) as samples,
        tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as name,
    ):
        made = Path(name) / folder.name
        made.mkdir()
        manifest = _make(job, verifier, loader, made)
        parity = _check_all(job, verifier, loader, samples, made)
        manifest = _with_parity(manifest, parity)
        write_manifest(made, manifest)
        _put(made, folder, Path(name))
    return ExportResult(folder, manifest, parity, sum(path.stat().st_size for path in folder.iterdir()))


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
    model = Path(job.model)
    if job.output is None and not model.is_dir():
        raise OptionError(f"-o: {job.model} is no model folder to put the export in; name a folder to write")
    folder = job.output if job.output is not None else model / EXPORTS / job.kind
    if folder.exists() and not folder.is_dir():
        raise OptionError(f"-o {folder}: is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MANIFEST).is_file():
        raise OptionError(f"-o {folder}: holds other files; name a new folder, or one with an earlier export")
    return folder


def _make(job: ExportJob, verifier: Verifier, loader: ImageLoader, folder: Path) -> ExportManifest:
    """Write the graphs, and say what they are; what was not checked yet is not claimed."""
    network, card = verifier.network, verifier.card
    names = write_graphs(network, folder, job.kind)
    if job.int8 and job.calibrate is not None:
        quantise(folder, job.kind, calibration_images(job.calibrate, loader))
        names = sorted(path.name for path in folder.iterdir())
    weights = network.encoder.weights
    manifest = ExportManifest(
        siamese=siamese.__version__,
        kind=job.kind,
        int8=job.int8,
        model=_short_name(job.model),
        encoder=network.encoder.name,
        weights=None if weights is None else weights.model_dump(mode="json"),
        weights_sha256=_hash_of_weights(verifier),
        card_sha256=None if card is None else sha256_of_file(Path(job.model) / CARD),
        card=None if card is None else {**card.model_dump(mode="json"), "training": None},
        input=network.input_spec.model_dump(mode="json"),
        embedding_dim=network.embedding_dim,
        pair_head=network.pair_head is not None,
        precisions={},
        parity=[],
        files={name: sha256_of_file(folder / name) for name in names},
        versions={name: found for name in _PACKAGES[job.kind] if (found := _version(name))},
    )
    write_manifest(folder, manifest)
    return manifest


def _check_all(
    job: ExportJob, verifier: Verifier, loader: ImageLoader, samples: Samples, folder: Path
) -> tuple[Parity, ...]:
    """Hold the export against torch at each precision that it may run with here.

    Raises:
        ModelError: it may not stand in for the network.
    """
    network = verifier.network
    runtimes = [TorchRuntime(network), *_runtimes(job, folder)]
    vectors, usable = embed_samples(samples, loader, runtimes)
    point = next((each for each in verifier.operating_points if each.name == "accuracy"), None)
    reference = take_reference(
        runtimes[0],
        samples,
        vectors[0],
        usable,
        threshold=None if point is None else point.threshold,
        pair_head=network.pair_head is not None,
    )
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


def _with_parity(manifest: ExportManifest, parity: tuple[Parity, ...]) -> ExportManifest:
    values = {**vars(manifest), "parity": [each.plain() for each in parity]}
    values["precisions"] = {each.precision: each.passed for each in parity}
    return ExportManifest(**values)


def _put(made: Path, folder: Path, beside: Path) -> None:
    """Move the finished export into its place, and one that was there before out of it."""
    if folder.exists():
        folder.replace(beside / "before")
    made.replace(folder)
    shutil.rmtree(beside / "before", ignore_errors=True)


def _hash_of_weights(verifier: Verifier) -> str:
    if verifier.card is not None:
        return verifier.card.sha256
    if verifier.network.encoder.weights is not None:
        return verifier.network.encoder.weights.sha256
    return weights_digest(verifier)  # random weights: those in memory


def _short_name(model: str) -> str:
    """The name without the folders of this machine."""
    if Path(model).is_dir():
        return Path(model).absolute().name
    base, at, rest = model.partition("@")
    return f"{base}{at}{Path(rest).name if at else ''}"


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
