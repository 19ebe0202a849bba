"""`siamese embed`: resumed after a real kill, whole or not at all, in parts, under Ray; and what it refuses."""

import json
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from siamese.images.loader import ImageLoader

from .conftest import ENCODER, Siamese, start

MODEL = ("--model", ENCODER, "--input-size", "32")
IMAGES = 144  # 24 identities of 6


@pytest.fixture(autouse=True)
def as_many_threads_here_as_in_a_process_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch rounds by how many threads share the work, and other tests may have left this process with one."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every file that is decoded in this process from here on."""
    seen: list[str] = []
    original = ImageLoader.load

    def spy(self: ImageLoader, sources: Sequence[Path]) -> object:
        seen.extend(map(str, sources))
        return original(self, sources)

    monkeypatch.setattr(ImageLoader, "load", spy)
    return seen


def parts_of(folder: Path) -> dict[str, tuple[int, int]]:
    """What tells a part that was written again from one that was left alone."""
    found = folder.glob("part-*.parquet") if folder.is_dir() else ()
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in sorted(found)}


def kill_after(process: subprocess.Popen[str], folder: Path, parts: int) -> None:
    deadline = time.monotonic() + 300
    while len(parts_of(folder)) < parts:
        assert process.poll() is None, f"it was over before the kill: {process.communicate()}"
        assert time.monotonic() < deadline, "it never got there"
        time.sleep(0.002)
    process.kill()
    process.communicate()


def test_a_killed_run_goes_on_to_the_same_bytes_and_does_nothing_twice(
    siamese: Siamese, faces: Path, tmp_path: Path, loaded: list[str]
) -> None:
    whole, killed = tmp_path / "whole.parquet", tmp_path / "killed.parquet"
    work = tmp_path / "killed.parquet.work"
    options = ("embed", faces, *MODEL, "--part-size", 4)
    assert siamese(*options, "-o", whole).code == 0
    assert len(loaded) == IMAGES
    kept = 0
    for turn in range(2):  # a run that goes on can be killed as well
        kill_after(start(*options, "-o", killed), work, 3 + 5 * turn)
        assert not killed.exists()
        assert len(parts_of(work)) > kept
        kept = len(parts_of(work))
    assert kept < IMAGES / 4
    loaded.clear()
    outcome = siamese(*options, "-o", killed, "--json")
    assert killed.read_bytes() == whole.read_bytes()
    assert len(loaded) == outcome.json["embedded"] == IMAGES - 4 * kept
    assert f"going on, {4 * kept} of 144 images are embedded already" in outcome.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.parquet", "whole.parquet"]


def test_a_killed_run_into_a_folder_leaves_its_parts_alone(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    options = ("embed", faces, *MODEL, "--part-size", 4)
    assert siamese(*options, "-o", f"{tmp_path}/whole/").code == 0
    kill_after(start(*options, "-o", f"{tmp_path}/killed/"), tmp_path / "killed", 4)
    before = parts_of(tmp_path / "killed")
    assert json.loads((tmp_path / "killed" / "_manifest.json").read_text())["complete"] is False
    assert siamese(*options, "-o", tmp_path / "killed").code == 0
    after = parts_of(tmp_path / "killed")
    assert {name: after[name] for name in before} == before
    assert len(after) == IMAGES / 4
    for name in after:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert json.loads((tmp_path / "killed" / "_manifest.json").read_text())["complete"] is True
    again = siamese(*options, "-o", tmp_path / "killed", "--json")
    assert (again.json["embedded"], again.json["images"]) == (0, IMAGES)
    assert parts_of(tmp_path / "killed") == after


def test_a_folder_of_parts_reads_as_the_one_file(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    assert siamese("embed", faces, *MODEL, "--part-size", 50, "-o", f"{tmp_path}/parts/").code == 0
    assert siamese("embed", faces, *MODEL, "--part-size", 50, "-o", tmp_path / "one.parquet").code == 0
    one, parts = pq.read_table(tmp_path / "one.parquet"), pq.read_table(tmp_path / "parts")
    assert one.equals(parts)
    assert one.column("path").to_pylist() == sorted(one.column("path").to_pylist())
    file = pq.ParquetFile(tmp_path / "one.parquet")
    assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [50, 50, 44]
    about = json.loads(file.schema_arrow.metadata[b"siamese.model"])
    assert about["preprocessing"]["encoder"] == "timm/test_resnet"
    assert not list(tmp_path.glob("*.work"))


def test_parts_of_another_size_hold_the_same_vectors(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    for size in (7, 144):
        assert siamese("embed", faces, *MODEL, "--part-size", size, "-o", tmp_path / f"{size}.parquet").code == 0
    vectors = [np.stack(pq.read_table(tmp_path / f"{size}.parquet").to_pandas()["embedding"]) for size in (7, 144)]
    np.testing.assert_allclose(*vectors, atol=1e-5)


def test_another_model_or_list_begins_anew_and_says_so(
    siamese: Siamese, faces: Path, tmp_path: Path, loaded: list[str]
) -> None:
    output = tmp_path / "out.parquet"
    work = tmp_path / "out.parquet.work"
    copy = tmp_path / "faces"
    shutil.copytree(faces, copy)
    kill_after(start("embed", copy, *MODEL, "--part-size", 4, "-o", output), work, 3)
    (copy / "person_001" / "001.jpg").unlink()
    changed = siamese("embed", copy, *MODEL, "--part-size", 4, "--seed", 5, "-o", output)
    assert changed.code == 0
    assert (
        f"{work}: the model or its preprocessing and the list of images changed since an earlier run" in changed.err
    )
    assert len(loaded) == IMAGES - 1


def test_an_image_that_changed_since_is_embedded_again_with_its_part(
    siamese: Siamese, faces: Path, tmp_path: Path, loaded: list[str]
) -> None:
    copy = tmp_path / "faces"
    shutil.copytree(faces, copy)
    options = ("embed", copy, *MODEL, "--part-size", 6, "-o", f"{tmp_path}/out/")
    assert siamese(*options).code == 0
    loaded.clear()
    shutil.copyfile(copy / "person_003" / "001.jpg", copy / "person_002" / "004.jpg")
    outcome = siamese(*options)
    assert "is of images that have changed since: its images are embedded again" in outcome.err
    assert sorted({Path(file).parent.name for file in loaded}) == ["person_002"]
    table = pq.read_table(tmp_path / "out").to_pandas().set_index("path")["embedding"]
    np.testing.assert_allclose(table["person_002/004.jpg"], table["person_003/001.jpg"], atol=1e-5)


def test_a_damaged_part_is_made_again(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    options = ("embed", faces, *MODEL, "--part-size", 36, "-o", f"{tmp_path}/out/")
    assert siamese(*options).code == 0
    part = tmp_path / "out" / "part-00002.parquet"
    whole = part.read_bytes()
    part.write_bytes(whole[:700] + bytes(50) + whole[750:])
    outcome = siamese(*options, "--json")
    assert outcome.json["embedded"] == 36
    assert f"{part} is damaged: its images are embedded again" in outcome.err
    assert part.read_bytes() == whole


def test_a_list_of_paths_is_embedded_in_its_order(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    names = ["person_003/002.jpg", "person_001/001.jpg", "gone.jpg"]
    (tmp_path / "list.txt").write_text("\n".join(str(faces / name) for name in names))
    outcome = siamese("embed", tmp_path / "list.txt", *MODEL, "-o", tmp_path / "out.parquet", "--json")
    assert (outcome.json["images"], outcome.json["failed"], outcome.json["parts"]) == (3, 1, 1)
    table = pq.read_table(tmp_path / "out.parquet").to_pandas()
    assert list(table["path"]) == [str(faces / name) for name in names]
    assert list(table["status"]) == ["ok", "ok", "unreadable"]
    assert table["identity"].isna().all()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As if the disk were full: the system refuses to write files beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_for_the_result_costs_no_embedding(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    options = ("embed", faces, *MODEL, "--part-size", 16)
    assert siamese(*options, "-o", tmp_path / "whole.parquet").code == 0
    output = tmp_path / "out.parquet"
    with files_of_at_most((tmp_path / "whole.parquet").stat().st_size // 2):
        full = siamese(*options, "-o", output)
    assert full.code == 2
    line = full.err.splitlines()[-1]
    assert "File too large" in line
    kept = f"what is embedded stays in {output}.work, and the same command goes on"
    assert line.endswith(f"mend that and run again: {kept}"), line
    assert not output.exists()
    assert not list(tmp_path.glob(".out-*"))
    again = siamese(*options, "-o", output, "--json")
    assert again.json["embedded"] == 0
    assert output.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_a_disk_that_is_full_at_once_is_one_line(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    with files_of_at_most(4096):
        full = siamese("embed", faces, *MODEL, "--part-size", 144, "-o", f"{tmp_path}/out/", "--quiet")
    assert full.code == 2
    assert len(full.err.splitlines()) == 1
    assert "File too large; mend that and run again" in full.err
    assert not list((tmp_path / "out").glob("*.parquet"))
    assert not list((tmp_path / "out").glob(".part-*"))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("out.csv", "-o {}: embeddings are Parquet; name a file that ends in .parquet, or a folder: {}/"),
        ("out", "-o {}: embeddings are Parquet; name a file that ends in .parquet, or a folder: {}/"),
        ("file/", "-o {}: there is a file of that name; name a new or an empty folder"),
        ("mine/", "{}: holds 'notes.txt' and no _manifest.json, so it is not of an earlier run"),
    ],
)
def test_an_output_that_cannot_be_written_is_refused_before_the_work(
    siamese: Siamese, faces: Path, tmp_path: Path, output: str, message: str, loaded: list[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    outcome = siamese("embed", faces, *MODEL, "-o", f"{tmp_path}/{output}", "--quiet")
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    where = f"{tmp_path}/{output}"
    where = where.rstrip("/") if output == "mine/" else where
    assert outcome.err.startswith(f"siamese: {message.replace('{}', where)}")
    assert not loaded
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["notes.txt"]


def test_a_file_where_a_folder_is_needed_is_one_line(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    below = siamese("embed", faces, *MODEL, "-o", tmp_path / "file" / "out.parquet", "--quiet")
    assert below.code == 2
    assert len(below.err.splitlines()) == 1
    assert "Not a directory" in below.err
    (tmp_path / "out.parquet.work").write_text("mine")
    beside = siamese("embed", faces, *MODEL, "-o", tmp_path / "out.parquet", "--quiet")
    assert (beside.code, len(beside.err.splitlines())) == (2, 1)
    assert "out.parquet.work: is a file, expected a folder for what is done so far" in beside.err


def test_the_input_is_never_replaced(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    first = tmp_path / "manifest.parquet"
    assert siamese("embed", faces, *MODEL, "-o", first).code == 0
    before = first.read_bytes()
    outcome = siamese("embed", first, *MODEL, "-o", first)
    assert outcome.code == 2
    assert "is read as well, and would be replaced; name another file" in outcome.err
    assert first.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--part-size", 0), "--part-size 0: expected the images of a part, 1 or more"),
        (("--engine", "rya"), "unknown value of --engine 'rya': did you mean 'ray'? known: local, ray"),
        (("--workers", 2), "--workers 2: goes with --engine ray; give that too, or leave --workers out"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    siamese: Siamese, faces: Path, tmp_path: Path, options: tuple[object, ...], message: str
) -> None:
    outcome = siamese("embed", faces, *MODEL, "-o", tmp_path / "out.parquet", *options)
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1] == f"siamese: {message}"
    assert not list(tmp_path.iterdir())


def test_nothing_to_embed_is_one_line(siamese: Siamese, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    outcome = siamese("embed", tmp_path / "bare", *MODEL, "-o", tmp_path / "out.parquet", "--quiet")
    assert outcome.code == 2
    assert outcome.err == f"siamese: {tmp_path / 'bare'}: no images below it\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bare"]


@pytest.mark.skipif(os.name != "posix", reason="needs a signal")
def test_ctrl_c_says_what_is_kept(faces: Path, tmp_path: Path) -> None:
    process = start("embed", faces, *MODEL, "--part-size", 4, "-o", tmp_path / "out.parquet")
    deadline = time.monotonic() + 300
    while len(parts_of(tmp_path / "out.parquet.work")) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(2)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "siamese: interrupted"
    assert "of 144 images are embedded; the same command goes on from there" in err
    assert "Traceback" not in err
