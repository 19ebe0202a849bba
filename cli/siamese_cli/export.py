"""`siamese export`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from siamese_cli.options import (
    Align,
    Device,
    FaceOption,
    InputSize,
    Json,
    Quiet,
    Root,
    SameLabel,
    Seed,
    choose_model,
    parse_size,
)
from siamese_cli.output import count, emit, percent, table, talking

if TYPE_CHECKING:
    from siamese.inference.export import ExportResult
    from siamese.inference.export_parity import Parity

RUNTIME_NAMES = {"torch": "torch", "openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}
_NAMES = {"f32": "float32", "bf16": "bfloat16", "int8": "int8"}


def export(
    model: Annotated[
        str | None, typer.Argument(help="Model folder, NAME, NAME@TAG or NAME@FILE [the one that ships].")
    ] = None,
    kind: Annotated[str, typer.Option("--format", help="openvino or onnx.")] = "openvino",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write [export/FORMAT in the model folder].")
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Quantise to eight bits; needs --calibrate.")] = False,
    calibrate: Annotated[
        Path | None, typer.Option("--calibrate", metavar="DATA", help="Images to calibrate --int8 on.")
    ] = None,
    tolerance: Annotated[
        float | None, typer.Option("--tolerance", help="Share of the decisions that --int8 may flip [0.01].")
    ] = None,
    pairs: Annotated[
        Path | None, typer.Option("--pairs", help="Pair file to check on [validation pairs of the run, else noise].")
    ] = None,
    root: Root = None,
    same_label: SameLabel = None,
    input_size: InputSize = None,
    align: Align = "auto",
    face: FaceOption = "auto",
    seed: Seed = 0,
    timing: Annotated[bool, typer.Option("--timing/--no-timing", help="Measure how fast both are here.")] = True,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a model in a form that runs without torch, once it was seen to decide as torch does.

    The check embeds the same images by both, and compares embeddings, similarities and decisions. Decisions that flip
    beyond 1 in 5,000 (with --int8 beyond --tolerance) are an error, and nothing is written. Everything is computed on
    the CPU, whatever --device; --seed is that of NAME@random. At the end torch and the export are timed for a few
    seconds; what --runtime auto takes from then on follows from it.

    Example: siamese export model/ --format openvino
    """
    started = time.perf_counter()
    with talking(quiet=quiet):
        from siamese.inference.export import ExportJob, export_model

        model = choose_model(model)
        job = ExportJob(
            model=model,
            kind=kind,
            output=output,
            int8=int8,
            calibrate=calibrate,
            tolerance=tolerance,
            pairs=pairs,
            root=root,
            same_label=same_label,
            input_size=parse_size(input_size),
            align=align,  # type: ignore[arg-type]
            face=face,  # type: ignore[arg-type]
            seed=seed,
            timing=timing,
        )
        result = export_model(job)
    seconds = time.perf_counter() - started
    found = {
        "output": str(result.folder),
        "format": kind,
        "int8": int8,
        "files": sorted(result.manifest.files),
        "bytes": result.bytes,
        "embedding_dim": result.manifest.embedding_dim,
        "pair_head": result.manifest.pair_head,
        "precisions": result.manifest.precisions,
        "parity": [each.plain() for each in result.parity],
        "images_per_second": None if result.times is None else result.times.images_per_second,
        "model": model,
        "seconds": seconds,
    }
    emit(found, _as_text(result, seconds), as_json=json)


def _as_text(result: "ExportResult", seconds: float) -> str:
    manifest, parity = result.manifest, result.parity
    first = parity[0]
    compared = f"checked on {first.samples}: {count(first.images, 'image')}, {count(first.pairs, 'pair')}"
    lines = [
        f"{result.folder}: {', '.join(sorted(manifest.files))} ({result.bytes / 1e6:.1f} MB), {seconds:.1f} s",
        compared + (f"; {first.failed:,} could not be embedded" if first.failed else ""),
        table(("against float32 on torch", *(_NAMES[each.precision] for each in parity)), _rows(parity)),
    ]
    if first.threshold is not None:
        lines.append(f"decisions at threshold {first.threshold:.4f} ({first.threshold_of})")
    elif first.samples == "synthetic noise":
        lines.append("noise shows no decisions; --pairs FILE checks them on images of yours")
    lines += [
        f"{_NAMES[each.precision]}: not used unless asked for, {each.reason}" for each in parity if not each.passed
    ]
    if result.times is not None:
        lines.append(_speeds(result))
    return "\n".join(lines)


def _speeds(result: "ExportResult") -> str:
    """Images per second of each runtime, and which of them is run where nothing else is asked for."""
    from siamese.inference.runtime_timing import TORCH, torch_is_faster

    times, export = result.times, f"openvino {result.parity[0].precision}"
    if times is None:
        return ""
    speeds = ", ".join(f"{_runtime_name(label)} {speed:.0f}" for label, speed in times.images_per_second.items())
    said = f"images/s here, {times.batch} at a time: {speeds}"
    if export not in times.images_per_second:
        return said
    return f"{said}; --runtime auto takes {_runtime_name(TORCH if torch_is_faster(times, export) else export)}"


def _runtime_name(label: str) -> str:
    runtime, precision = label.split()
    return f"{RUNTIME_NAMES[runtime]} {_NAMES[precision]}"


def _rows(parity: "tuple[Parity, ...]") -> list[tuple[str, ...]]:
    rows = [
        ("embedding difference, largest", *(f"{each.embedding_max:.1e}" for each in parity)),
        ("embedding difference, mean", *(f"{each.embedding_mean:.1e}" for each in parity)),
        ("similarity difference, largest", *(f"{each.similarity_max:.1e}" for each in parity)),
    ]
    if parity[0].flipped is not None:
        rows.append(("decisions flipped", *(f"{each.flipped:,}" for each in parity)))
        rows.append(("  allowed", *(f"{each.allowed:,}" for each in parity)))
    if parity[0].top1_changed is not None:
        rows.append(("probability of an identity, largest", *(f"{each.probability_max:.1e}" for each in parity)))
        rows.append(("identities of images changed", *(f"{each.top1_changed:,}" for each in parity)))
    for far, (before, _) in parity[0].tar.items():
        changes = (f"{100 * (after - before):+.2f}" for each in parity for before, after in [each.tar[far]])
        rows.append((f"TAR at FAR {far}, {percent(before)}", *changes))
    return rows
