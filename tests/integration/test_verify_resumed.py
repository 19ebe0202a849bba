"""`siamese verify` killed, interrupted and on a full disk: what was finished is there, and the end is the same."""

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from siamese.inference.embedding_store_files import RECORD
from siamese.inference.verifier import Verifier

from . import full_disks
from .conftest import Siamese, start
from .full_disks import grow, run_limited

COPIES, PAIRS = 12, 300_000


@pytest.fixture(scope="module")
def many(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some thousand images, each a file of its own."""
    folder = tmp_path_factory.mktemp("many") / "Bilder ü"
    for copy in range(COPIES):
        shutil.copytree(faces, folder / f"copy {copy:02}")
    return folder


@pytest.fixture(scope="module")
def file(many: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pairs that name every image, among them two that are not there."""
    images = sorted(path.relative_to(many).as_posix() for path in many.rglob("*.jpg"))
    rng = np.random.default_rng(0)
    sides = {side: np.concatenate([images, rng.choice(images, PAIRS - len(images))]) for side in ("left", "right")}
    sides["right"][[7, 200_000]] = ["no.jpg", "nowhere.jpg"]
    path = tmp_path_factory.mktemp("pairs") / "pairs.parquet"
    pd.DataFrame(sides | {"same": rng.integers(0, 2, PAIRS) == 1}).to_parquet(path)
    return path


@pytest.fixture(scope="module")
def images(file: Path) -> int:
    """Images that are there."""
    frame = pd.read_parquet(file)
    return len({*frame["left"], *frame["right"]}) - 2


@pytest.fixture
def arguments(many: Path, model: Path, file: Path) -> tuple[object, ...]:
    return ("verify", file, "--root", many, "--model", model, "-o")


@pytest.fixture
def embedded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Images that are embedded from now on."""
    seen: list[Path] = []
    embed = Verifier.embed

    def counting(self: Verifier, sources: list[Path], **options: object) -> object:
        seen.extend(sources)
        return embed(self, sources, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Verifier, "embed", counting)
    return seen


@pytest.fixture(scope="module")
def undisturbed(many: Path, model: Path, file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What runs write that nothing befalls."""
    folder = tmp_path_factory.mktemp("whole")
    for suffix in (".csv", ".parquet"):
        process = start("verify", file, "--root", many, "--model", model, "-o", folder / f"out{suffix}")
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    assert sorted(path.name for path in folder.iterdir()) == ["out.csv", "out.parquet"]
    return {path.suffix: path.read_bytes() for path in folder.iterdir()}


def records_in(work: Path) -> int:
    """How many rows of embeddings the folder of a run holds."""
    try:
        return (work / "records").stat().st_size // RECORD.itemsize
    except FileNotFoundError:
        return 0


def size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def end(process: subprocess.Popen[str], when: str, work: Path, suffix: str, images: int, number: int) -> None:
    """Send a signal in the middle of embedding, or of writing."""
    deadline = time.monotonic() + 300
    while (records_in(work) < images // 3) if when == "embedding" else not size_of(work / f"output{suffix}"):
        assert process.poll() is None, "the run was over before it could be ended; make it longer"
        assert time.monotonic() < deadline, "the run never got there"
        time.sleep(0.001)
    process.send_signal(number)
    process.wait(60)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("when", ["embedding", "writing"])
def test_a_killed_run_is_gone_on_with_to_the_very_bytes_of_an_undisturbed_one(
    siamese: Siamese,
    arguments: tuple[object, ...],
    undisturbed: dict[str, bytes],
    images: int,
    embedded: list[Path],
    many: Path,
    tmp_path: Path,
    when: str,
    suffix: str,
) -> None:
    output = tmp_path / f"out{suffix}"
    work = tmp_path / f"out{suffix}.work"
    end(start(*arguments, output, "--quiet"), when, work, suffix, images, signal.SIGKILL)
    before = records_in(work)
    assert not output.exists()
    assert (images // 3 <= before < images) if when == "embedding" else before == images + 2
    outcome = siamese(*arguments, output)
    assert outcome.code == 0, outcome.err
    # Once in both runs together, but for the two that are not there: those are looked for again.
    again = [path for path in embedded if path.exists()]
    there = before if when == "embedding" else images
    missing = 1 if when == "embedding" else 0
    assert len(again) == len(set(again))
    assert images - there <= len(again) <= images - there + missing
    assert f" of {images + 2} images were embedded before" in outcome.err
    assert output.read_bytes() == undisturbed[suffix]
    assert list(tmp_path.iterdir()) == [output]


def test_ctrl_c_says_that_the_same_command_goes_on(
    arguments: tuple[object, ...], images: int, tmp_path: Path
) -> None:
    output, work = tmp_path / "out.csv", tmp_path / "out.csv.work"
    process = start(*arguments, output)
    end(process, "embedding", work, ".csv", images, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "siamese: interrupted"
    assert f"{work} keeps what was finished; the same command goes on from it" in err
    assert "Traceback" not in err
    assert records_in(work) > 0
    assert not output.exists()


def test_a_changed_pair_file_keeps_the_embeddings_of_its_images(
    siamese: Siamese, arguments: tuple[object, ...], file: Path, images: int, embedded: list[Path], tmp_path: Path
) -> None:
    changed = tmp_path / "changed.csv"
    frame = pd.read_parquet(file)
    frame.to_csv(changed, index=False)
    output, work = tmp_path / "out.csv", tmp_path / "out.csv.work"
    given = ("verify", changed, *arguments[2:], output)
    end(start(*given, "--quiet"), "writing", work, ".csv", images, signal.SIGKILL)
    fewer = frame.iloc[::-1].head(1000)
    fewer.to_csv(changed, index=False)
    outcome = siamese(*given, "--json")
    assert outcome.code == 0, outcome.err
    assert embedded == []
    named = {*fewer["left"], *fewer["right"]}
    assert (outcome.json["pairs"], outcome.json["images"]) == (1000, len(named))
    assert pd.read_csv(output)["left"].tolist() == fewer["left"].tolist()


def test_another_model_begins_anew_and_says_so(
    siamese: Siamese, arguments: tuple[object, ...], images: int, embedded: list[Path], tmp_path: Path
) -> None:
    output, work = tmp_path / "out.csv", tmp_path / "out.csv.work"
    end(start(*arguments, output, "--quiet"), "embedding", work, ".csv", images, signal.SIGKILL)
    outcome = siamese(*arguments, output, "--flip")
    assert outcome.code == 0, outcome.err
    assert f"{work} is of another model, preprocessing or root; every image is embedded anew" in outcome.err
    assert len(embedded) == images + 2


# a full disk


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    with full_disks.small_disk(tmp_path / "disk", 2_000_000) as folder:
        yield folder


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_disk_that_fills_up_is_one_line_and_loses_nothing(
    siamese: Siamese,
    arguments: tuple[object, ...],
    undisturbed: dict[str, bytes],
    images: int,
    embedded: list[Path],
    small_disk: Path,
    suffix: str,
) -> None:
    output = small_disk / f"out{suffix}"
    # For embeddings and pairs, not for the table.
    grow(small_disk, 3_900_000 + len(undisturbed[suffix]) // 2)
    outcome = siamese(*arguments, output)
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1] == (
        f"siamese: {output}: no room to write it (No space left on device); free some, and give the same command "
        f"again; what was finished is kept in {output}.work"
    )
    assert "Traceback" not in outcome.err
    assert not output.exists()
    assert not (small_disk / f"out{suffix}.work" / f"output{suffix}").exists()
    assert len(embedded) == images + 2
    embedded.clear()
    grow(small_disk)
    assert siamese(*arguments, output).code == 0
    assert sorted(path.name for path in embedded) == ["no.jpg", "nowhere.jpg"]
    assert output.read_bytes() == undisturbed[suffix]
    assert list(small_disk.iterdir()) == [output]


def test_a_disk_without_room_for_the_embeddings_is_said_before_anything_is_embedded(
    siamese: Siamese, arguments: tuple[object, ...], images: int, embedded: list[Path], small_disk: Path
) -> None:
    grow(small_disk, 2_600_000)  # for the pairs, of eight bytes each, and little more
    outcome = siamese(*arguments, small_disk / "out.csv")
    assert outcome.code == 2
    assert "siamese: " in outcome.err.splitlines()[-1]
    assert (
        f" GB for the embeddings of {images + 2:,} images (No space left on device); free some, or give -o a "
        in (outcome.err.splitlines()[-1])
    )
    assert embedded == []
    assert list(small_disk.iterdir()) == []


def test_a_file_that_may_not_grow_is_one_line_and_loses_nothing(
    siamese: Siamese,
    arguments: tuple[object, ...],
    undisturbed: dict[str, bytes],
    embedded: list[Path],
    tmp_path: Path,
) -> None:
    output = tmp_path / "out.csv"
    limited = run_limited(5_000_000, *arguments, output)
    assert limited.code == 2, limited.err
    assert f"siamese: {output}: no room to write it (File too large); free some" in limited.err.splitlines()[-1]
    assert siamese(*arguments, output).code == 0
    assert [path for path in embedded if path.exists()] == []
    assert output.read_bytes() == undisturbed[".csv"]


def test_without_an_output_nothing_is_left_behind(
    siamese: Siamese, arguments: tuple[object, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    outcome = siamese(*arguments[:-1])
    assert outcome.code == 0, outcome.err
    assert f"and {PAIRS - 20:,} more pairs; -o FILE.csv writes them all" in outcome.out
    assert list(tmp_path.iterdir()) == []
