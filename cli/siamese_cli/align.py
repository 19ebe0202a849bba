"""`siamese align`."""

import time
from pathlib import Path
from typing import Annotated

import typer

from siamese_cli.options import Device, FaceOption, Json, Quiet, Seed
from siamese_cli.output import count, emit, talking


def align(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="Folder of photographs, of any depth.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="Folder for the crops; relative paths are kept.")],
    template: Annotated[str, typer.Option("--template", help="arcface-112 or mtcnn-160.")] = "arcface-112",
    face: FaceOption = "auto",
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Processes [one a core].")] = None,
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Detect faces, choose one per image, align it by five points and write the crop.

    DST/align.csv says for each image what happened: status, box, landmarks, score. An interrupted run goes on where
    it stopped. Nothing here is random, whatever --seed.

    Example: siamese align photos/ aligned/ --face center
    """
    started = time.perf_counter()
    with talking(quiet=quiet):
        from siamese.device import resolve_device
        from siamese.images.alignment import REPORT, AlignJob, align_folder

        job = AlignJob(source, target, template, face, resolve_device(device))  # type: ignore[arg-type]
        report = align_folder(job, workers=workers)
    status = report["status"].value_counts()
    counts = {name: int(status.get(name, 0)) for name in ("ok", "no_face", "unreadable")}
    several = int((report["faces"] > 1).sum())
    text = (
        f"{count(counts['ok'], 'crop')} in {target}, {counts['no_face']} images without a face, "
        f"{counts['unreadable']} unreadable; {several} images with several faces ({face} taken)\n"
        f"what happened to each image: {target / REPORT}"
    )
    result = {
        "images": len(report),
        **counts,
        "several_faces": several,
        "report": str(target / REPORT),
        "template": template,
        "device": job.device,
        "seconds": time.perf_counter() - started,
    }
    emit(result, text, as_json=json)
