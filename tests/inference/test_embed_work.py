"""The folder in which parts gather: whose it is, what is done, and who may work on it."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from siamese.errors import DataError, OptionError
from siamese.images.loader import Outcome
from siamese.inference.embed_part import PartDone, embed_part
from siamese.inference.embed_work import LOCK, MANIFEST, WorkFolder, has_parts, held

NAMES = [f"{number}.png" for number in range(7)]
IMAGES = pa.table({"path": NAMES, "file": NAMES, "identity": pa.nulls(7, pa.string())})
ABOUT: dict[str, Any] = {"model": {"size": (32, 32)}, "images": "digest", "part_size": 3}


def embed(files: Sequence[Path], advance: Callable[[int], object]) -> tuple[NDArray[np.float32], list[Outcome]]:
    return np.ones((len(files), 2), np.float32), [Outcome("ok") for _ in files]


def opened(folder: Path, *, lasting: bool = False, **changes: object) -> WorkFolder:
    return WorkFolder(folder, {**ABOUT, **changes}, IMAGES, lasting=lasting)


def fill(work: WorkFolder, *numbers: int) -> None:
    for number in numbers:
        embed_part(embed, work.images(number), work.folder, number, work.run)


def test_parts_divide_the_list(tmp_path: Path) -> None:
    work = opened(tmp_path / "new" / "x.work")
    assert work.parts == 3
    assert [work.images(number).column("path").to_pylist() for number in range(3)] == [
        NAMES[:3],
        NAMES[3:6],
        NAMES[6:],
    ]
    assert [path.name for path in work.paths()] == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]


def test_what_is_done_counts_for_the_same_run_again(tmp_path: Path) -> None:
    fill(opened(tmp_path), 0, 2)
    assert has_parts(tmp_path)
    assert opened(tmp_path).finished() == {0: PartDone(0, 3, 0), 2: PartDone(2, 1, 0)}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": {"size": (48, 48)}}, "the model or its preprocessing"),
        ({"images": "another"}, "the list of images"),
        ({"part_size": 2}, "the part size"),
        ({"model": {}, "images": "another"}, "the model or its preprocessing and the list of images"),
    ],
)
def test_another_model_or_list_begins_anew_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, changes: dict[str, object], words: str
) -> None:
    fill(opened(tmp_path), 0, 1)
    work = opened(tmp_path, **changes)
    assert [record.message for record in caplog.records] == [
        f"{tmp_path}: {words} changed since an earlier run, which is given up: everything is embedded anew"
    ]
    assert work.finished() == {}
    assert not has_parts(tmp_path)


def test_a_finished_result_is_never_thrown_away_for_another(tmp_path: Path) -> None:
    work = opened(tmp_path, lasting=True)
    fill(work, 0, 1, 2)
    work.mark(complete=True)
    with pytest.raises(OptionError) as failure:
        opened(tmp_path, lasting=True, images="another")
    assert str(failure.value) == (
        f"-o {tmp_path}/: holds finished embeddings, and the list of images changed since; name another folder, or "
        "remove this one"
    )
    assert len(opened(tmp_path, lasting=True).finished()) == 3


def test_a_damaged_part_is_named_and_does_not_count(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    work = opened(tmp_path)
    fill(work, 0, 1, 2)
    for number in (0, 2):
        path = tmp_path / f"part-0000{number}.parquet"
        path.write_bytes(path.read_bytes()[:-3])
    assert opened(tmp_path).finished() == {1: PartDone(1, 3, 0)}
    assert [record.message for record in caplog.records] == [
        f"{tmp_path / 'part-00000.parquet'} is damaged (and 1 more parts): its images are embedded again"
    ]


def test_what_a_killed_writer_left_is_cleared_away_and_nothing_else(tmp_path: Path) -> None:
    fill(opened(tmp_path), 0)
    half = [tmp_path / f".part-00001-{'0f' * 6}.parquet", tmp_path / f"._manifest-{'a1' * 6}.json"]
    others = [tmp_path / "notes.txt", tmp_path / ".part-00001-mine.parquet"]
    for path in [*half, *others]:
        path.write_text("x")
    assert list(opened(tmp_path).finished()) == [0]
    assert not any(path.exists() for path in half)
    assert all(path.exists() for path in others)


@pytest.mark.parametrize("name", ["notes.txt", "part-00000.parquet"])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(DataError) as failure:
        opened(tmp_path)
    assert str(failure.value) == (
        f"{tmp_path}: holds {name!r} and no _manifest.json, so it is not of an earlier run; name a new or an empty "
        "folder, or move it away and run again"
    )
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"_manifest\.json: is damaged \(Expecting value"),
        ('{"format": 1, "about":', r"_manifest\.json: is damaged \("),
        ("[1]", r"_manifest\.json: is no manifest of format 1"),
        ('{"format": 2, "about": {}}', r"_manifest\.json: is no manifest of format 1"),
        ('{"format": 1, "about": 3}', r"_manifest\.json: is no manifest of format 1"),
    ],
)
def test_a_damaged_manifest_is_one_line_and_nothing_is_removed(tmp_path: Path, text: str, words: str) -> None:
    fill(opened(tmp_path), 0)
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(DataError, match=words) as failure:
        opened(tmp_path)
    assert "\n" not in str(failure.value)
    assert str(failure.value).endswith(f"remove {tmp_path}, or move it away and run again")
    assert has_parts(tmp_path)


def test_the_manifest_says_whether_all_parts_are_there(tmp_path: Path) -> None:
    work = opened(tmp_path, lasting=True)
    assert json.loads((tmp_path / MANIFEST).read_text())["complete"] is False
    work.mark(complete=True)
    found = json.loads((tmp_path / MANIFEST).read_text())
    assert (found["complete"], found["parts"]) == (True, 3)


def test_removing_takes_its_own_files_only(tmp_path: Path) -> None:
    work = opened(tmp_path / "a.work")
    fill(work, 0, 1, 2)
    work.remove()
    assert not (tmp_path / "a.work").exists()
    work = opened(tmp_path / "b.work")
    (tmp_path / "b.work" / "notes.txt").write_text("mine")
    work.remove()
    assert [path.name for path in (tmp_path / "b.work").iterdir()] == ["notes.txt"]


HOLD = """
import sys
from pathlib import Path
from siamese.inference.embed_work import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_do_not_work_on_one_folder(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    folder = tmp_path / "x.work"
    command = [sys.executable, "-c", HOLD, str(folder)]
    other = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(OptionError, match="another `siamese embed` is at work on it; wait for it, or name"):
            held(folder).__enter__()
    finally:
        other.kill()
        other.communicate()
    with held(folder):  # the lock of a process that was killed is free
        assert (folder / LOCK).exists()
    assert not folder.exists()


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.work").write_text("mine")
    with pytest.raises(DataError, match=r"x\.work: is a file, expected a folder"), held(tmp_path / "x.work"):
        pass
    assert (tmp_path / "x.work").read_text() == "mine"
