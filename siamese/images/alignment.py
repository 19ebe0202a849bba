"""Aligning a whole folder: a crop per face found, and a row per image saying what happened."""

import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image
from pyarrow import csv

from siamese.atomic import atomic_path
from siamese.device import keep_freed_memory
from siamese.errors import DataError, ImageError, OptionError
from siamese.images.decode import decode
from siamese.images.faces import Face, FaceChoice, align_face, check_face_choice, check_template, choose_face
from siamese.images.walk import walk_images
from siamese.progress import log, progress

if TYPE_CHECKING:
    import pandas as pd

    from siamese.images.detector import FaceDetector

REPORT = "align.csv"
# Images handed to a process at a time; also the largest batch of one detection.
CHUNK = 32
# Seconds between savings of the report: what a killed run does twice at most.
SAVE_EVERY = 30.0
POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
COLUMNS = [
    *("path", "status", "detail", "faces", "score", "left", "top", "right", "bottom"),
    *(f"{point}_{axis}" for point in POINTS for axis in "xy"),
    *("template", "face"),
]
COORDINATES = COLUMNS[COLUMNS.index("left") : COLUMNS.index("template")]
TYPES = dict.fromkeys(COLUMNS, "str") | {"faces": "Int64", **dict.fromkeys(["score", *COORDINATES], "float64")}


@dataclass(frozen=True)
class AlignJob:
    """What to align, where to, and how.

    Attributes:
        source: folder of photographs, of any depth.
        target: folder that gets the crops, under the same relative paths.
        template: `arcface-112` or `mtcnn-160`.
        face: which face, where an image shows several.
        device: where the detector runs.
    """

    source: Path
    target: Path
    template: str = "arcface-112"
    face: FaceChoice = "auto"
    device: str = "cpu"


def align_folder(job: AlignJob, *, workers: int | None = None) -> "pd.DataFrame":
    """Detect, choose, align and write every image below a folder.

    What an earlier, interrupted run finished is kept: rows of its report whose options agree, whose crop is there,
    and whose image has not changed since. Images that could not be read are tried again.

    Args:
        job: what to do.
        workers: processes; None for one a core (one when a GPU detects).

    Returns:
        The report, one row an image, in order of path, with `COLUMNS`; `status` is `ok`, `no_face` or `unreadable`.
        Coordinates are pixels of the source image. It is also written to `target/align.csv`.

    Raises:
        DataError: no images, or target and source overlap.
        OptionError: an unknown template or choice of face, or fewer than one process.
    """
    _check(job, workers)
    paths = sorted(walk_images(job.source))
    if not paths:
        raise DataError(f"{job.source}: no images below it")
    report = job.target / REPORT
    rows = _finished(job, report)
    todo = [path for path in paths if path not in rows]
    if len(todo) < len(paths):
        log.info("%d of %d images were aligned before", len(paths) - len(todo), len(paths))
    chunks = [todo[start : start + CHUNK] for start in range(0, len(todo), CHUNK)]
    saved = time.monotonic()
    try:
        finished = _run(job, chunks, workers or _default_workers(job.device))
        for done in progress(finished, f"aligning {len(todo)} images", len(chunks), f"x{CHUNK}"):
            rows.update((str(row["path"]), row) for row in done)
            if time.monotonic() - saved > SAVE_EVERY:
                _write_report(report, paths, rows)
                saved = time.monotonic()
    finally:  # an interrupted run keeps what it finished
        frame = _write_report(report, paths, rows)
    return frame


def _write_report(report: Path, paths: list[str], rows: dict[str, dict[str, object]]) -> "pd.DataFrame":
    import pandas as pd

    frame = pd.DataFrame([rows[path] for path in paths if path in rows], columns=COLUMNS).astype(TYPES)
    with atomic_path(report) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")
    return frame


def _check(job: AlignJob, workers: int | None) -> None:
    # Before anything is written: the record of an earlier run must survive a slip in an option.
    check_template(job.template)
    check_face_choice(job.face)
    if workers is not None and workers < 1:
        raise OptionError(f"--workers {workers}: expected 1 or more")
    source, target = job.source.resolve(), job.target.resolve()
    if not source.is_dir():
        raise DataError(f"{job.source}: no such folder of images")
    if source == target or source in target.parents:
        raise DataError(f"{job.target}: lies inside the source {job.source}; choose another folder for the crops")
    if target in source.parents:
        raise DataError(f"{job.target}: holds the source {job.source}; choose another folder for the crops")
    if target.exists() and not target.is_dir():
        raise DataError(f"{job.target}: is a file, expected a folder for the crops; choose another")


def _default_workers(device: str) -> int:
    if device.startswith("cuda"):
        return 1
    # Only Linux tells which cores this process may use.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(job: AlignJob, chunks: list[list[str]], workers: int) -> Iterator[list[dict[str, object]]]:
    if workers == 1 or len(chunks) < 2:
        for chunk in chunks:
            yield align_chunk(job, chunk)
        return
    # Spawned, not forked: a fork of a process that holds torch's threads can hang.
    pool = ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_one_thread, initargs=(job.device,)
    )
    try:
        # As they finish, not in order: an interrupt must not lose chunks that wait for a slower one before them.
        for future in as_completed([pool.submit(align_chunk, job, chunk) for chunk in chunks]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _one_thread(device: str) -> None:
    import signal

    from siamese.images.detector import choose_engine

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and stops its workers in order
    if choose_engine("auto", device) == "torch":
        import torch

        torch.set_num_threads(1)
    keep_freed_memory()
    cv2.setNumThreads(1)


@cache
def _detector(device: str) -> "FaceDetector":
    """One for the life of the process: chunks are many, and reading the networks takes as long as a few images."""
    from siamese.images.detector import FaceDetector

    return FaceDetector(device)


def align_chunk(job: AlignJob, paths: list[str]) -> list[dict[str, object]]:
    """Align some images of a job; returns their rows of the report."""
    rows: list[dict[str, object]] = [{"path": path, "template": job.template, "face": job.face} for path in paths]
    images: list[NDArray[np.uint8]] = []
    readable: list[dict[str, object]] = []
    for row, path in zip(rows, paths, strict=True):
        (job.target / path).unlink(missing_ok=True)  # a crop that is there afterwards is of this run
        try:
            images.append(decode(job.source / path))
            readable.append(row)
        except ImageError as error:
            row |= {"status": "unreadable", "detail": str(error)}
    for row, image, faces in zip(readable, images, _detector(job.device).detect(images), strict=True):
        chosen = choose_face(faces, image.shape, job.face)
        row["faces"] = len(faces)
        if chosen is None:
            row |= {"status": "no_face", "detail": "no face found"}
            continue
        crop = align_face(image, chosen, job.template)
        write_crop(job.target / str(row["path"]), crop)
        row |= {"status": "ok", "detail": "", **_columns(chosen)}
    return rows


def write_crop(path: Path, crop: NDArray[np.uint8]) -> None:
    """Write a crop under its image's own name, in the format that the name says.

    Grey formats stay grey; lossy formats are written at quality 95, JPEG without colour subsampling, so that the crop
    loses little.
    """
    image = Image.fromarray(crop)
    suffix = path.suffix.lower()
    if suffix in (".pgm", ".pbm"):
        image = image.convert("L" if suffix == ".pgm" else "1")
    options: dict[str, Any] = {"quality": 95} if suffix in (".jpg", ".jpeg", ".webp", ".avif") else {}
    if suffix in (".jpg", ".jpeg"):
        options["subsampling"] = 0
    with atomic_path(path) as temporary:
        image.save(temporary, **options)


def _columns(face: Face) -> dict[str, object]:
    values = [*face.box.round(2).tolist(), *face.landmarks.round(2).ravel().tolist()]
    return {"score": round(face.score, 4), **dict(zip(COORDINATES, values, strict=True))}


def _finished(job: AlignJob, report: Path) -> dict[str, dict[str, object]]:
    """Rows of an earlier report that still hold: same options, same image, and the crop is where it says."""
    if not report.is_file():
        return {}
    import pandas as pd

    numbers = [name for name in COLUMNS if TYPES[name] != "str"]
    try:
        frame = pd.read_csv(report, dtype=TYPES, keep_default_na=False, na_values={name: [""] for name in numbers})
    except (ValueError, OSError):
        return {}  # some other file of that name
    if list(frame.columns) != COLUMNS:
        return {}
    same = frame[
        (frame["template"] == job.template) & (frame["face"] == job.face) & (frame["status"] != "unreadable")
    ]
    records = {str(row["path"]): {str(k): v for k, v in row.items()} for row in same.to_dict("records")}
    written = report.stat().st_mtime
    return {path: row for path, row in records.items() if _holds(job, row, written)}


def _holds(job: AlignJob, row: dict[str, object], written: float) -> bool:
    path = str(row["path"])
    try:
        changed = (job.source / path).stat().st_mtime > written
    except OSError:
        return False
    return not changed and (row["status"] != "ok" or (job.target / path).is_file())


def failed_alignments(root: Path) -> dict[str, str]:
    """Images that the report in an aligned folder says have no crop, with the reason; empty without a report."""
    report = root / REPORT
    if not report.is_file():
        return {}
    columns = ["path", "status", "detail"]
    try:
        table = csv.read_csv(
            report,
            parse_options=csv.ParseOptions(newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                include_columns=columns, column_types=dict.fromkeys(columns, pa.string()), strings_can_be_null=False
            ),
        )
    except (pa.ArrowException, OSError):
        return {}  # some other file of that name
    failed = table.filter(pc.not_equal(table["status"], pa.scalar("ok", pa.string())))
    return dict(zip(failed["path"].to_pylist(), failed["detail"].to_pylist(), strict=True))
