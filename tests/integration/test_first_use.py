"""The export that is made at first use, and the times that choose the runtime, through the real commands."""

import json
import shutil
from pathlib import Path

import pytest

from .conftest import ENCODER, Siamese

READY = "made ready for OpenVINO, once; --runtime torch leaves it out"


@pytest.fixture(autouse=True)
def chosen_freely(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SIAMESE_RUNTIME", raising=False)
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def fresh(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "model", ignore=shutil.ignore_patterns("export")))


def test_the_first_comparison_says_what_it_does_and_the_second_is_silent(
    siamese: Siamese, fresh: Path, two_images: tuple[Path, Path]
) -> None:
    first = siamese("compare", *two_images, "--model", fresh, "--device", "cpu", "--json")
    assert (first.code, first.err) == (0, f"{fresh}: {READY}\n")
    second = siamese("compare", *two_images, "--model", fresh, "--device", "cpu", "--json", "--runtime", "openvino")
    assert (second.code, second.err) == (0, "")
    torch = siamese("compare", *two_images, "--model", fresh, "--device", "cpu", "--json", "--runtime", "torch")
    assert torch.json["similarity"] == pytest.approx(second.json["similarity"], abs=1e-4)
    manifest = json.loads((fresh / "export" / "openvino" / "export.json").read_text())
    assert manifest["precisions"] == {"f32": True}
    assert manifest["parity"][0]["samples"] == "validation pairs of the run"


@pytest.mark.parametrize("quietly", [("--runtime", "torch"), ()])
def test_torch_leaves_it_out(
    siamese: Siamese,
    fresh: Path,
    two_images: tuple[Path, Path],
    quietly: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not quietly:
        monkeypatch.setenv("SIAMESE_RUNTIME", "torch")
    done = siamese("compare", *two_images, "--model", fresh, "--device", "cpu", *quietly)
    assert (done.code, done.err) == (0, "")
    assert not (fresh / "export").exists()


def test_evaluating_makes_no_export(siamese: Siamese, fresh: Path, pairs: Path, faces: Path) -> None:
    done = siamese("evaluate", fresh, "--pairs", pairs / "test.csv", "--root", faces, "--device", "cpu", "--quiet")
    assert done.code == 0
    assert not (fresh / "export").exists()


def test_an_export_says_how_fast_it_is_and_what_is_taken(siamese: Siamese, fresh: Path, tmp_path: Path) -> None:
    done = siamese("export", fresh, "--json", "--quiet")
    speeds = done.json["images_per_second"]
    passed = [precision for precision, passed in done.json["precisions"].items() if passed]
    assert set(speeds) == {"torch f32", *(f"openvino {precision}" for precision in passed)}
    assert all(speed > 0 for speed in speeds.values())
    text = siamese("export", fresh, "--quiet").out.splitlines()[-1]
    assert text.startswith("images/s here, ")
    assert "torch float32 " in text
    assert text.endswith(("; --runtime auto takes OpenVINO float32", "; --runtime auto takes torch float32"))
    assert len(list((tmp_path / "cache" / "runtimes").iterdir())) == 1


def test_an_export_is_not_timed_where_that_is_not_wanted(siamese: Siamese, tmp_path: Path) -> None:
    given = ("--input-size", 32, "--no-timing", "--quiet")
    done = siamese("export", ENCODER, "-o", tmp_path / "made", *given, "--json")
    assert (done.code, done.json["images_per_second"]) == (0, None)
    assert "images/s" not in siamese("export", ENCODER, "-o", tmp_path / "made", *given).out
    assert not (tmp_path / "cache" / "runtimes").exists()


def test_the_times_of_an_onnx_export_decide_nothing(siamese: Siamese, tmp_path: Path) -> None:
    given = ("--format", "onnx", "-o", tmp_path / "made", "--input-size", 32, "--quiet")
    out = siamese("export", ENCODER, *given).out.splitlines()[-1]
    assert out.startswith("images/s here, ")
    assert "ONNX Runtime float32 " in out
    assert "--runtime auto" not in out
    assert not (tmp_path / "cache" / "runtimes").exists()
