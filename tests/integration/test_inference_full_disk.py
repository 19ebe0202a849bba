"""A full disk, whatever is written: one line, no half of a file, and with room the same command gets done."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from siamese.inference.export_manifest import read_manifest

from .conftest import ENCODER, Outcome, Siamese
from .full_disks import NO_SPACE, TOO_LARGE, grow, run_limited, small_disk

pytestmark = pytest.mark.usefixtures("runtime_as_it_comes")

PAIRS = 20_000
ADVICE = "free some or name another place, and give the same command again"


def full(outcome: Outcome, message: str) -> None:
    assert outcome.code == 2, outcome.err
    assert outcome.out == ""
    assert outcome.err == f"siamese: {message}\n"


def content(path: Path) -> dict[str, bytes]:
    """What is in a file, or in the files of a folder."""
    files = [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file())
    return {str(each.relative_to(path.parent)): each.read_bytes() for each in files}


# pictures


@pytest.mark.parametrize("option", ["--save", "--explain"])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_pictures(
    siamese: Siamese, exported: Path, two_images: tuple[Path, Path], tmp_path: Path, option: str, suffix: str
) -> None:
    given = ("compare", *two_images, "--model", exported, "--quiet", option)
    assert siamese(*given, tmp_path / f"whole{suffix}").code == 0
    whole = (tmp_path / f"whole{suffix}").read_bytes()
    with small_disk(tmp_path / "disk", len(whole) // 2) as disk:
        picture = disk / f"a{suffix}"
        full(siamese(*given, picture), f"{picture}: no room to write it ({NO_SPACE}); {ADVICE}")
        assert list(disk.iterdir()) == []
        grow(disk)
        assert siamese(*given, picture).code == 0
        assert picture.read_bytes() == whole
        assert list(disk.iterdir()) == [picture]


def test_a_picture_that_may_not_grow_leaves_the_earlier_one(
    exported: Path, two_images: tuple[Path, Path], tmp_path: Path
) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(b"an earlier picture")
    given = ("compare", *two_images, "--model", exported, "--quiet", "--save", picture)
    full(run_limited(4096, *given), f"{picture}: no room to write it ({TOO_LARGE}); {ADVICE}")
    assert content(tmp_path) == {f"{tmp_path.name}/a.png": b"an earlier picture"}
    assert run_limited(10_000_000, *given).code == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


# tables


@pytest.fixture(scope="module")
def many_pairs(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many pairs of few images, with ids that no format makes smaller: the table is what is too large."""
    images = sorted(path.relative_to(faces).as_posix() for path in faces.rglob("*.jpg"))[:40]
    rng = np.random.default_rng(0)
    sides = {side: rng.choice(images, PAIRS) for side in ("left", "right")}
    file = tmp_path_factory.mktemp("pairs") / "pairs.csv"
    pd.DataFrame({"id": [rng.bytes(16).hex() for _ in range(PAIRS)], **sides}).to_csv(file, index=False)
    return file


@pytest.mark.parametrize(("suffix", "form"), [(".csv", ()), (".parquet", ()), (".csv", ("--submission", "id,score"))])
def test_verify_with_files_that_may_not_grow(
    siamese: Siamese,
    exported: Path,
    faces: Path,
    many_pairs: Path,
    tmp_path: Path,
    suffix: str,
    form: tuple[str, ...],
) -> None:
    given = ("verify", many_pairs, "--root", faces, "--model", exported, "--quiet", *form, "-o")
    whole, output = tmp_path / f"whole{suffix}", tmp_path / f"out{suffix}"
    assert siamese(*given, whole).code == 0
    limit = whole.stat().st_size - 1000
    assert limit > 8 * PAIRS, "what is kept on the way is larger than the table"
    found = run_limited(limit, *given, output)
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1), found.err
    assert found.err.startswith(
        f"siamese: {output}: no room to write it ({TOO_LARGE}); free some, and give the same "
    )
    assert found.err.endswith(f"command again; what was finished is kept in {output}.work\n")
    assert not output.exists()
    assert not list(tmp_path.glob(".out*"))
    done = run_limited(limit + 1001, *given, output)
    assert done.code == 0, done.err
    assert output.read_bytes() == whole.read_bytes()
    assert not output.with_name(f"{output.name}.work").exists()


@pytest.mark.parametrize("partitioned", [False, True])
def test_embed_on_a_small_disk(
    siamese: Siamese, exported: Path, faces: Path, tmp_path: Path, partitioned: bool
) -> None:
    given = ("embed", faces, "--model", exported, "--part-size", 16, "--quiet", "--json", "-o")
    name = "out" if partitioned else "out.parquet"
    end = "/" if partitioned else ""
    assert siamese(*given, f"{tmp_path / name}{end}").code == 0
    whole = content(tmp_path / name)
    with small_disk(tmp_path / "disk", sum(map(len, whole.values())) // 2) as disk:
        output = disk / name
        place = output if partitioned else disk / "out.parquet.work"
        found = siamese(*given, f"{output}{end}")
        assert (found.code, found.out, found.err.count("\n")) == (2, "", 1), found.err
        assert found.err.startswith(f"siamese: {place}")
        assert f": {NO_SPACE}; mend that and run again: what is embedded stays in {place}" in found.err
        assert found.err.endswith(", and the same command goes on\n")
        parts = {path.name: path.stat().st_ino for path in place.glob("*.parquet")}
        assert 0 < len(parts) < 9
        assert not list(disk.rglob(".part-*"))
        assert partitioned or not output.exists()
        grow(disk)
        again = siamese(*given, f"{output}{end}")
        assert again.code == 0, again.err
        assert again.json["embedded"] == 144 - 16 * len(parts)
        assert content(output) == whole
        assert list(disk.iterdir()) == [output]


# exports


@pytest.mark.parametrize("kind", ["openvino", "onnx"])
def test_an_export_on_a_small_disk(siamese: Siamese, exported: Path, tmp_path: Path, kind: str) -> None:
    given = ("export", ENCODER, "--format", kind, "--input-size", 32, "--no-timing", "--quiet", "-o")
    size = (exported / "export" / "openvino" / "network.bin").stat().st_size // 2
    for number in range(2 if kind == "openvino" else 1):
        with small_disk(tmp_path / f"disk {number}", size) as disk:
            output = disk / "made"
            full(siamese(*given, output), f"{output}: no room to write it ({NO_SPACE}); {ADVICE}")
            assert list(disk.iterdir()) == []
            grow(disk)
            done = siamese(*given, output)
            assert done.code == 0, done.err
            assert read_manifest(output).kind == kind
            assert list(disk.iterdir()) == [output]
            # Next time enough for the weights, and not for the graph beside them.
            size = next(output.glob("network.[bo]*")).stat().st_size + 8192


@pytest.mark.parametrize("kind", ["openvino", "onnx"])
def test_an_export_whose_files_may_not_grow_leaves_what_is_there(exported: Path, tmp_path: Path, kind: str) -> None:
    model = Path(shutil.copytree(exported, tmp_path / "model"))
    before = content(model)
    found = run_limited(100_000, "export", model, "--format", kind, "--no-timing", "--quiet")
    full(found, f"{model / 'export' / kind}: no room to write it ({TOO_LARGE}); {ADVICE}")
    assert content(model) == before
    assert [path.name for path in (model / "export").iterdir()] == ["openvino"]


# what is kept to start sooner: a disk that is full for it costs time and nothing else


@pytest.mark.parametrize("size", [8_192, 200_000])
def test_compiled_graphs_that_find_no_room_are_done_without(
    siamese: Siamese,
    exported: Path,
    two_images: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    size: int,
) -> None:
    given = ("compare", *two_images, "--model", exported, "--runtime", "openvino", "--json")
    expected = siamese(*given).json["similarity"]
    with small_disk(tmp_path / "disk", size) as disk:
        monkeypatch.setenv("SIAMESE_CACHE", str(disk))
        for _ in range(2):
            found = siamese(*given)
            assert found.code == 0, found.err
            assert found.json["similarity"] == pytest.approx(expected, abs=1e-6)
            assert list(disk.rglob("*.blob")) == [], "half a graph was kept"
        grow(disk)
        assert siamese(*given).json["similarity"] == pytest.approx(expected, abs=1e-6)
        assert len(list(disk.rglob("*.blob"))) == 1
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path / "cache"))
    found = run_limited(size, *given)
    assert found.code == 0, found.err
    assert found.json["similarity"] == pytest.approx(expected, abs=1e-6)
    assert list((tmp_path / "cache").rglob("*.blob")) == []


@pytest.mark.parametrize("reason", [NO_SPACE, TOO_LARGE])
def test_an_export_at_first_use_that_finds_no_room_is_said_and_torch_taken(
    siamese: Siamese,
    model: Path,
    two_images: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reason: str,
) -> None:
    bare = shutil.ignore_patterns("export")
    source = Path(shutil.copytree(model, tmp_path / "source", ignore=bare))
    expected = siamese("compare", *two_images, "--model", source, "--runtime", "torch", "--json").json
    before = content(source)
    with small_disk(tmp_path / "disk", sum(len(each) + 8192 for each in before.values()) + 200_000) as disk:
        home = disk if reason == NO_SPACE else tmp_path
        copy = Path(shutil.copytree(source, home / "model"))
        monkeypatch.setenv("SIAMESE_CACHE", str(home / "cache"))
        given = ("compare", *two_images, "--model", copy, "--json")
        found = siamese(*given) if reason == NO_SPACE else run_limited(200_000, *given)
        assert found.code == 0, found.err
        assert f"{copy}: not made ready for OpenVINO, runs on torch (" in found.err
        assert reason in found.err
        assert found.json["similarity"] == pytest.approx(expected["similarity"], abs=1e-6)
        assert list(content(copy).values()) == list(before.values())
        assert [path for path in (home / "cache").rglob("*") if path.is_file()] == []
        if reason == NO_SPACE:
            grow(disk)
        again = siamese(*given)
        assert (again.code, "runs on torch" in again.err) == (0, False), again.err
        assert again.json["similarity"] == pytest.approx(expected["similarity"], abs=1e-5)
        assert read_manifest(copy / "export" / "openvino").kind == "openvino"


@pytest.fixture(scope="module")
def aligning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of an encoder that needs faces found."""
    from siamese_cli.main import run

    folder = tmp_path_factory.mktemp("aligning") / "export"
    assert run(["export", "mobilefacenet@random", "--seed", "1", "-o", str(folder), "--no-timing", "--quiet"]) == 0
    return folder


@pytest.mark.real_data
@pytest.mark.parametrize("reason", [NO_SPACE, TOO_LARGE])
def test_the_nets_of_the_face_detector_that_find_no_room_are_said_and_made_each_time(
    siamese: Siamese,
    aligning: Path,
    real_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reason: str,
) -> None:
    images = [real_data / "data/lfw/Tony_Blair" / f"Tony_Blair_00{number}.jpg" for number in (34, 98)]
    given = ("compare", *images, "--model", aligning, "--threshold", 0.5, "--json")
    expected = siamese(*given).json
    size = 300_000
    with small_disk(tmp_path / "disk", size) as disk:
        home = disk if reason == NO_SPACE else tmp_path / "cache"
        monkeypatch.setenv("SIAMESE_CACHE", str(home))
        found = siamese(*given) if reason == NO_SPACE else run_limited(size, *given)
        assert found.code == 0, found.err
        words = "the face detector's nets cannot be kept there and are made anew each time: "
        (line,) = (each for each in found.err.splitlines() if words in each)
        assert line.startswith(f"{home / 'face-detector'}/")
        assert line.endswith(f": {words}{reason}")
        assert [path.name for path in (home / "face-detector").iterdir()] == []
        if reason == NO_SPACE:
            grow(disk)
        again = siamese(*given)
        assert again.code == 0, again.err
        (kept,) = (home / "face-detector").iterdir()
        assert (kept / "about.json").is_file()
        assert "cannot be kept" not in siamese(*given).err
        for result in (found.json, again.json):
            assert result["similarity"] == pytest.approx(expected["similarity"], abs=1e-5)
            assert result["faces"] == expected["faces"]
