import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

from siamese.encoders.weights import WeightsRecord
from siamese.errors import DataError
from siamese.training.fingerprints import fingerprint_file, fingerprint_images
from siamese.training.provenance import (
    PROVENANCE,
    describe_data,
    read_provenance,
    resume_provenance,
    write_provenance,
)
from siamese.training.run_start import PACKAGES, GitState, describe_start, git_state

PROJECT = Path(__file__).parents[2]
WEIGHTS = WeightsRecord(
    encoder="mobilefacenet", tag=None, source="w.ckpt", sha256="ab" * 32, licence="unknown", training_set="unknown"
)


def build(root: Path, files: dict[str, bytes]) -> list[str]:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return list(files)


FILES = {"anna/1.jpg": b"one", "anna/2.jpg": b"three", "größe/1.jpg": b"", "ben 2/1.png": b"12345678"}


# images


def test_the_fingerprint_is_that_of_paths_sizes_and_bytes(tmp_path: Path) -> None:
    names = sorted(build(tmp_path, FILES))
    found = fingerprint_images(tmp_path, names)
    sizes = b"".join(len(FILES[name]).to_bytes(8, "little") for name in names)
    assert found.names == hashlib.sha256("\0".join(names).encode() + b"\0" + sizes).hexdigest()
    bodies = b"".join(len(FILES[name]).to_bytes(8, "little") + FILES[name] for name in names)
    assert found.content == hashlib.sha256(bodies).hexdigest()
    assert (found.images, found.missing, found.bytes, found.read) == (4, 0, 16, 4)


def test_order_repetition_place_and_times_do_not_matter(tmp_path: Path) -> None:
    names = build(tmp_path / "here", FILES)
    build(tmp_path / "there", FILES)
    os.utime(tmp_path / "there" / names[0], (1, 1))
    here = fingerprint_images(tmp_path / "here", names)
    assert fingerprint_images(tmp_path / "there", [*reversed(names), names[0]]) == here


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"anna/1.jpg": b"two"}, "content"),
        ({"anna/1.jpg": b"four"}, "names"),
        ({"carl/1.jpg": b""}, "names"),
        # The same bytes in another order are other images.
        ({"anna/1.jpg": b"onethree", "anna/2.jpg": b""}, "content"),
    ],
)
def test_any_change_of_the_images_changes_it(tmp_path: Path, change: dict[str, bytes], field: str) -> None:
    before = fingerprint_images(tmp_path, build(tmp_path, FILES))
    after = fingerprint_images(tmp_path, build(tmp_path, {**FILES, **change}))
    assert getattr(before, field) != getattr(after, field)


def test_a_missing_image_is_counted_and_changes_it(tmp_path: Path) -> None:
    names = build(tmp_path, FILES)
    before = fingerprint_images(tmp_path, names)
    (tmp_path / "anna/2.jpg").unlink()
    after = fingerprint_images(tmp_path, [*names, "nul\0.jpg"])
    assert (after.images, after.missing, after.read, after.bytes) == (5, 2, 3, 11)
    assert before.names != after.names


def test_of_many_bytes_only_every_kth_file_is_read(tmp_path: Path) -> None:
    names = build(tmp_path, {f"{number:03}.jpg": bytes([number]) * 100 for number in range(100)})
    sampled = fingerprint_images(tmp_path, names, limit=1000)
    bodies = b"".join((100).to_bytes(8, "little") + bytes([number]) * 100 for number in range(0, 100, 10))
    assert (sampled.read, sampled.content) == (10, hashlib.sha256(bodies).hexdigest())
    assert fingerprint_images(tmp_path, names, limit=10_000).read == 100
    assert fingerprint_images(tmp_path, names, limit=9_999).read == 50
    assert fingerprint_images(tmp_path, names, limit=1).read == 1
    assert fingerprint_images(tmp_path, names, files_limit=30).read == 25


def test_no_images_have_a_fingerprint_too(tmp_path: Path) -> None:
    found = fingerprint_images(tmp_path, [])
    assert (found.images, found.bytes, found.read, found.missing) == (0, 0, 0, 0)


def test_the_fingerprint_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(b"left,right,same\n")
    assert fingerprint_file(tmp_path / "p.csv") == hashlib.sha256(b"left,right,same\n").hexdigest()
    message = (
        f"{tmp_path / 'no.csv'}: cannot be read (No such file or directory); check that it is there and permitted"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        fingerprint_file(tmp_path / "no.csv")


# git

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "below").mkdir(parents=True)
    git(folder, "init", "-q")
    (folder / "a.txt").write_text("a")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


@needs_git
def test_the_commit_is_that_of_the_repository_around_the_folder(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    assert git_state(repository / "below") == GitState(commit=commit, dirty=False)
    (repository / "new.txt").write_text("not tracked")
    assert git_state(repository) == GitState(commit=commit, dirty=False)
    (repository / "a.txt").write_text("b")
    assert git_state(repository / "below") == GitState(commit=commit, dirty=True)


@needs_git
def test_without_repository_or_commit_there_is_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_state(tmp_path) is None
    git(tmp_path, "init", "-q")
    assert git_state(tmp_path) is None
    assert git_state(tmp_path / "nowhere") is None


@needs_git
def test_a_monitor_chosen_by_the_repository_is_not_run(repository: Path, tmp_path: Path) -> None:
    monitor = tmp_path / "monitor.sh"
    monitor.write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\n")
    monitor.chmod(0o755)
    git(repository, "config", "core.fsmonitor", str(monitor))
    git(repository, "status")
    assert (tmp_path / "ran").exists()  # git as it is would have
    (tmp_path / "ran").unlink()
    assert git_state(repository) is not None
    assert not (tmp_path / "ran").exists()


def test_without_git_there_is_no_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_state(PROJECT) is None


# start


def test_a_start_says_when_how_and_where() -> None:
    start = describe_start("cpu", ["siamese", "train", "faces/"])
    assert start.command == ("siamese", "train", "faces/")
    assert (start.device, start.threads, start.cuda) == ("cpu", torch.get_num_threads(), torch.version.cuda)
    assert start.python == sys.version.split()[0]
    assert start.directory == str(Path.cwd())
    assert start.versions["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert start.device_name != ""
    age = datetime.now(UTC) - datetime.fromisoformat(start.time)
    assert timedelta(0) <= age + timedelta(seconds=1) < timedelta(minutes=1)
    assert start.time.endswith("+00:00")
    assert describe_start("cpu").command == tuple(sys.argv)


def test_a_command_that_is_no_text_is_kept_readable() -> None:
    start = describe_start("cpu", ["train", os.fsdecode(b"caf\xe9")])
    assert start.command == ("train", "caf\\xe9")
    assert json.loads(start.model_dump_json())["command"] == ["train", "caf\\xe9"]


def test_the_versions_of_all_that_the_project_needs_are_kept() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    needed = {re.split(r"[<>=!~ \[;]", text, maxsplit=1)[0].lower() for text in project["dependencies"]}
    assert set(PACKAGES) == needed | {"siamese"}


# the document


def run_folder(tmp_path: Path) -> tuple[Path, Path, list[str]]:
    root, run = tmp_path / "data", tmp_path / "model" / "run"
    names = build(root, FILES)
    build(run, {"train.csv": b"t", "val.csv": b"v"})
    return root, run, names


def test_the_document_survives_writing_and_reading(tmp_path: Path) -> None:
    root, run, names = run_folder(tmp_path)
    start = describe_start("cpu", ["siamese", "train"])
    data = describe_data(root, names, {"train": run / "train.csv", "val": run / "val.csv"}, WEIGHTS)
    write_provenance(run, start, data)
    kept = read_provenance(run)
    assert (kept.format, kept.start, kept.data, kept.resumed) == (1, start, data, ())
    document = json.loads((run / PROVENANCE).read_text())
    assert document["data"]["pair_files"] == {
        "train": hashlib.sha256(b"t").hexdigest(),
        "val": hashlib.sha256(b"v").hexdigest(),
    }
    assert document["data"]["weights"]["sha256"] == WEIGHTS.sha256
    assert document["data"]["images"] == fingerprint_images(root, names).model_dump()
    assert sorted(path.name for path in run.iterdir()) == [PROVENANCE, "train.csv", "val.csv"]


def test_a_run_that_goes_on_unchanged_has_nothing_to_tell(tmp_path: Path) -> None:
    root, run, names = run_folder(tmp_path)
    data = describe_data(root, names, {"train": run / "train.csv"}, None)
    first, second, third = (describe_start("cpu", ["siamese", str(number)]) for number in range(3))
    assert resume_provenance(run, first, data) == []
    assert resume_provenance(run, second, data) == []
    assert resume_provenance(run, third, data) == []
    kept = read_provenance(run)
    assert (kept.start, kept.resumed) == (first, (second, third))


def test_what_is_not_as_it_was_is_told(tmp_path: Path) -> None:
    root, run, names = run_folder(tmp_path)
    start = describe_start("cpu", ["siamese"]).model_copy(update={"git": GitState(commit="a", dirty=False)})
    write_provenance(run, start, describe_data(root, names, {"train.csv": run / "train.csv"}, WEIGHTS))
    build(root, {"anna/1.jpg": b"other"})
    build(run, {"train.csv": b"other"})
    versions = {**start.versions, "torch": "1.0", "new": "2"}
    now = start.model_copy(
        update={
            "git": GitState(commit="b", dirty=False),
            "versions": versions,
            "device_name": "abacus",
            "threads": start.threads + 1,
        }
    )
    assert resume_provenance(run, now, describe_data(root, names[:3], {"train.csv": run / "train.csv"}, None)) == [
        "the images are not those it began with (4, now 3)",
        "train.csv has changed",
        "the encoder's weights are not those it began with",
        f"the code in {start.directory} has changed",
        "new was none, now 2",
        f"torch was {start.versions['torch']}, now 1.0",
        f"device was {start.device_name}, now abacus",
        f"threads was {start.threads}, now {start.threads + 1}",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "cannot be read ("),
        ("{", "the file: Invalid JSON: "),
        ("{}", "start: Field required; the file was changed, remove it"),
    ],
)
def test_a_document_that_is_none_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / PROVENANCE).write_text(text)
    with pytest.raises(DataError, match=f"^{re.escape(f'{tmp_path / PROVENANCE}: {message}')}") as caught:
        read_provenance(tmp_path)
    assert "\n" not in str(caught.value)
