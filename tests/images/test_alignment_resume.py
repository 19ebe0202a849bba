import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from siamese.images import alignment
from siamese.images.alignment import COLUMNS, REPORT, AlignJob, align_chunk, align_folder

Write = Callable[[Path, NDArray[np.uint8]], Path]
BLANK = np.full((60, 80, 3), 127, np.uint8)
ALIGN = """
import sys
from pathlib import Path
from siamese.images.alignment import AlignJob, align_folder
if __name__ == "__main__":
    align_folder(AlignJob(Path(sys.argv[1]), Path(sys.argv[2])), workers=int(sys.argv[3]))
"""


@pytest.fixture
def source(tmp_path: Path, portraits: list[NDArray[np.uint8]], write_image: Write) -> Path:
    root = tmp_path / "photographs"
    for number, portrait in enumerate(portraits):
        write_image(root / f"person{number}" / "1.png", portrait)
    write_image(root / "person0" / "blank.png", BLANK)
    (root / "person0" / "empty.png").touch()
    # Files as old as real ones: a photograph newer than the report has changed since.
    for path in root.rglob("*.png"):
        os.utime(path, (1e9, 1e9))
    return root


@pytest.fixture
def aligned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The paths that are aligned anew, in order."""
    paths: list[str] = []

    def watch(job: AlignJob, chunk: list[str]) -> list[dict[str, object]]:
        paths.extend(chunk)
        return align_chunk(job, chunk)

    monkeypatch.setattr(alignment, "align_chunk", watch)
    return paths


def crops(target: Path) -> dict[str, int]:
    return {path.relative_to(target).as_posix(): path.stat().st_mtime_ns for path in target.rglob("*.png")}


def test_a_second_run_keeps_what_the_first_finished(source: Path, tmp_path: Path, aligned: list[str]) -> None:
    job = AlignJob(source, tmp_path / "crops")
    first = align_folder(job, workers=1)
    report, before = (job.target / REPORT).read_bytes(), crops(job.target)
    assert len(before) == 6
    aligned.clear()
    second = align_folder(job, workers=1)
    assert aligned == ["person0/empty.png"]  # an unreadable image may have been replaced
    assert crops(job.target) == before
    assert (job.target / REPORT).read_bytes() == report
    pd.testing.assert_frame_equal(first, second)


def test_a_missing_crop_is_made_again(source: Path, tmp_path: Path, aligned: list[str]) -> None:
    job = AlignJob(source, tmp_path / "crops")
    align_folder(job, workers=1)
    report, before = (job.target / REPORT).read_bytes(), crops(job.target)
    pixels = (job.target / "person3" / "1.png").read_bytes()
    (job.target / "person3" / "1.png").unlink()
    aligned.clear()
    align_folder(job, workers=1)
    assert aligned == ["person0/empty.png", "person3/1.png"]
    assert (job.target / "person3" / "1.png").read_bytes() == pixels
    assert (job.target / REPORT).read_bytes() == report
    after = crops(job.target)
    assert {path for path in before if before[path] != after[path]} == {"person3/1.png"}


@pytest.mark.parametrize("option", [{"template": "mtcnn-160"}, {"face": "center"}])
def test_other_options_start_over(source: Path, tmp_path: Path, aligned: list[str], option: dict[str, str]) -> None:
    align_folder(AlignJob(source, tmp_path / "crops"), workers=1)
    aligned.clear()
    frame = align_folder(AlignJob(source, tmp_path / "crops", **option), workers=1)  # type: ignore[arg-type]
    assert len(aligned) == len(frame) == 8
    name, value = next(iter(option.items()))
    assert set(frame[name]) == {value}


def test_a_replaced_photograph_is_aligned_again(
    source: Path, tmp_path: Path, aligned: list[str], portraits: list[NDArray[np.uint8]], write_image: Write
) -> None:
    job = AlignJob(source, tmp_path / "crops")
    align_folder(job, workers=1)
    aligned.clear()
    later = (job.target / REPORT).stat().st_mtime + 5
    for name, pixels in (("empty.png", portraits[1]), ("blank.png", portraits[2])):
        path = write_image(source / "person0" / name, pixels)
        os.utime(path, (later, later))
    os.utime(source / "person0" / "empty.png", (1e9, 1e9))  # its row is tried again at any age
    frame = align_folder(job, workers=1)
    assert aligned == ["person0/blank.png", "person0/empty.png"]
    assert set(frame["status"]) == {"ok"}


def test_a_removed_photograph_leaves_the_report(source: Path, tmp_path: Path) -> None:
    job = AlignJob(source, tmp_path / "crops")
    align_folder(job, workers=1)
    (source / "person5" / "1.png").unlink()
    assert "person5/1.png" not in set(align_folder(job, workers=1)["path"])


@pytest.mark.parametrize("content", ["", "some,other\ntable,1\n", ",".join(COLUMNS) + "\nnonsense\n", "\x00\xff"])
def test_a_report_of_something_else_is_replaced(
    source: Path, tmp_path: Path, aligned: list[str], content: str
) -> None:
    (tmp_path / "crops").mkdir()
    (tmp_path / "crops" / REPORT).write_bytes(content.encode("latin-1"))
    assert len(align_folder(AlignJob(source, tmp_path / "crops"), workers=1)) == len(aligned) == 8


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_run_that_breaks_off_keeps_what_it_finished(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    job = AlignJob(source, tmp_path / "crops")
    monkeypatch.setattr(alignment, "CHUNK", 3)
    calls: list[list[str]] = []

    def break_off(job: AlignJob, chunk: list[str]) -> list[dict[str, object]]:
        calls.append(chunk)
        if len(calls) == 3:
            raise error
        return align_chunk(job, chunk)

    with monkeypatch.context() as patch, pytest.raises(error):
        patch.setattr(alignment, "align_chunk", break_off)
        align_folder(job, workers=1)
    report = pd.read_csv(job.target / REPORT)
    assert report["path"].tolist() == calls[0] + calls[1]
    before = crops(job.target)
    whole = align_folder(job, workers=1)
    assert len(whole) == 8
    assert crops(job.target).items() >= before.items()
    pd.testing.assert_frame_equal(whole, align_folder(AlignJob(source, tmp_path / "fresh"), workers=1))


@pytest.mark.skipif(not hasattr(os, "killpg"), reason="needs Unix signals")
@pytest.mark.parametrize("workers", [1, 2])
def test_control_c_leaves_a_report_of_what_was_finished(
    tmp_path: Path, portraits: list[NDArray[np.uint8]], write_image: Write, workers: int
) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    first = write_image(source / "0000.bmp", portraits[0])
    for number in range(1, 800):
        (source / f"{number:04d}.bmp").hardlink_to(first)
    (tmp_path / "align.py").write_text(ALIGN)  # a file: spawned processes import the main module
    command = [sys.executable, str(tmp_path / "align.py"), str(source), str(target), str(workers)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, start_new_session=True)
    try:
        while len(list(target.glob("*.bmp"))) < 100:  # more than two processes have in hand
            assert process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)  # the terminal interrupts the whole group
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
    # By the signal, or by 1 where a library runs code at exit: Python forgets the interrupt then.
    assert process.returncode in (-signal.SIGINT, 1)
    assert b"KeyboardInterrupt" in errors
    report = pd.read_csv(target / REPORT)
    assert list(report.columns) == COLUMNS
    assert 32 <= len(report) < 800
    assert set(report["status"]) == {"ok"}
    assert all((target / path).is_file() for path in report["path"])
    assert not list(target.glob(".*"))
