"""Aligning a whole folder: a crop per face found, and a row per image saying what happened."""

import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from siamese.atomic import atomic_path
from siamese.errors import DataError, ImageError
from siamese.images.catalog import walk_images
from siamese.images.decode import decode
from siamese.images.faces import TEMPLATE_SIZES, Face, FaceChoice, align_face, choose_face
from siamese.progress import log, progress

REPORT = "align.csv"
# Images handed to a process at a time; also the largest batch of one detection.
CHUNK = 32
POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
COLUMNS = [
    *("path", "status", "detail", "faces", "score", "left", "top", "right", "bottom"),
    *(f"{point}_{axis}" for point in POINTS for axis in "xy"),
    *("template", "face"),
]


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
    face: FaceChoice = "largest"
    device: str = "cpu"


def align_folder(job: AlignJob, *, workers: int | None = None) -> pd.DataFrame:
    """Detect, choose, align and write every image below a folder.

    What an earlier, interrupted run finished is kept: rows of its report whose options agree and whose crop is there.

    Args:
        job: what to do.
        workers: processes; None for one a core (one when a GPU detects).

    Returns:
        The report, one row an image, in order of path, with `COLUMNS`; `status` is `ok`, `no_face` or `unreadable`.
        Coordinates are pixels of the source image. It is also written to `target/align.csv`.

    Raises:
        DataError: no images, or target and source overlap.
    """
    source, target = job.source.resolve(), job.target.resolve()
    if not source.is_dir():
        raise DataError(f"{job.source}: no such folder of images")
    if source == target or source in target.parents:
        raise DataError(f"{job.target}: lies inside the source {job.source}; choose another folder for the crops")
    paths = sorted(walk_images(job.source))
    if not paths:
        raise DataError(f"{job.source}: no images below it")
    report = job.target / REPORT
    rows = _finished(job, report)
    todo = [path for path in paths if path not in rows]
    if len(todo) < len(paths):
        log.info("%d of %d images were aligned before", len(paths) - len(todo), len(paths))
    chunks = [todo[start : start + CHUNK] for start in range(0, len(todo), CHUNK)]
    try:
        finished = _run(job, chunks, workers or _default_workers(job.device))
        for done in progress(finished, f"aligning {len(todo)} images", len(chunks), f"x{CHUNK}"):
            rows.update((str(row["path"]), row) for row in done)
    finally:  # an interrupted run keeps what it finished
        frame = pd.DataFrame([rows[path] for path in paths if path in rows], columns=COLUMNS)
        with atomic_path(report) as temporary:
            frame.to_csv(temporary, index=False, lineterminator="\n")
    return frame


def _default_workers(device: str) -> int:
    return 1 if device.startswith("cuda") else len(os.sched_getaffinity(0))


def _run(job: AlignJob, chunks: list[list[str]], workers: int) -> Iterator[list[dict[str, object]]]:
    if workers == 1 or len(chunks) < 2:
        for chunk in chunks:
            yield align_chunk(job, chunk)
        return
    # Spawned, not forked: a fork of a process that holds torch's threads can hang.
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_one_thread)
    try:
        yield from pool.map(align_chunk, [job] * len(chunks), chunks)
    finally:
        pool.shutdown(cancel_futures=True)


def _one_thread() -> None:
    import signal

    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told, and stops its workers in order
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def align_chunk(job: AlignJob, paths: list[str]) -> list[dict[str, object]]:
    """Align some images of a job; returns their rows of the report."""
    from siamese.images.detector import FaceDetector

    rows: list[dict[str, object]] = [{"path": path, "template": job.template, "face": job.face} for path in paths]
    images: list[NDArray[np.uint8]] = []
    readable: list[dict[str, object]] = []
    for row, path in zip(rows, paths, strict=True):
        try:
            images.append(decode(job.source / path))
            readable.append(row)
        except ImageError as error:
            row |= {"status": "unreadable", "detail": str(error)}
    for row, image, faces in zip(readable, images, FaceDetector(job.device).detect(images), strict=True):
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

    Grey formats stay grey; JPEG is written at quality 95 without colour subsampling, so that the crop loses little.
    """
    image = Image.fromarray(crop)
    suffix = path.suffix.lower()
    if suffix in (".pgm", ".pbm"):
        image = image.convert("L" if suffix == ".pgm" else "1")
    options: dict[str, Any] = {"quality": 95, "subsampling": 0} if suffix in (".jpg", ".jpeg") else {}
    with atomic_path(path) as temporary:
        image.save(temporary, **options)


def _columns(face: Face) -> dict[str, object]:
    values = [*face.box.round(2).tolist(), *face.landmarks.round(2).ravel().tolist()]
    names = COLUMNS[COLUMNS.index("left") : COLUMNS.index("template")]
    return {"score": round(face.score, 4), **dict(zip(names, values, strict=True))}


def _finished(job: AlignJob, report: Path) -> dict[str, dict[str, object]]:
    """Rows of an earlier report that still hold: same options, and the crop is where it says."""
    if job.template not in TEMPLATE_SIZES or not report.is_file():
        return {}
    try:
        frame = pd.read_csv(
            report, dtype={"path": str, "detail": str}, keep_default_na=False, na_values={"faces": [""]}
        )
    except (ValueError, OSError):
        return {}
    if list(frame.columns) != COLUMNS:
        return {}
    same = frame[(frame["template"] == job.template) & (frame["face"] == job.face)]
    records = {str(row["path"]): {str(k): v for k, v in row.items()} for row in same.to_dict("records")}
    return {path: row for path, row in records.items() if row["status"] != "ok" or (job.target / path).is_file()}


def failed_alignments(root: Path) -> dict[str, str]:
    """Images that the report in an aligned folder says have no crop, with the reason; empty without a report."""
    report = root / REPORT
    if not report.is_file():
        return {}
    try:
        frame = pd.read_csv(report, usecols=["path", "status", "detail"], dtype=str)
    except (ValueError, OSError):
        return {}  # some other file of that name
    failed = frame[frame["status"] != "ok"]
    return dict(zip(failed["path"], failed["detail"].fillna(""), strict=True))
