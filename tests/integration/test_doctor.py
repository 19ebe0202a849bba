"""`siamese doctor`, as users and scripts run it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import ENCODER, REPOSITORY, Siamese

KEYS = {"versions", "optional", "devices", "folders", "runtimes", "checks", "seconds"}


@pytest.fixture(autouse=True)
def chosen_freely(monkeypatch: pytest.MonkeyPatch, bundled: Path) -> None:
    monkeypatch.delenv("SIAMESE_RUNTIME", raising=False)


def doctor_without(tmp_path: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program on a machine where `code` ran before everything else."""
    (tmp_path / "sitecustomize.py").write_text(f"import sys\n{code}\n")
    folders = [str(tmp_path), str(REPOSITORY), str(REPOSITORY / "cli")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(folders)}
    command = [sys.executable, "-m", "siamese_cli", "doctor", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_the_environment_is_told_line_by_line(siamese: Siamese) -> None:
    done = siamese("doctor", "--quiet")
    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0].startswith("siamese ")
    marks = {line.split()[0] for line in lines[1:-1] if line}
    assert marks <= {"ok", "warn"}
    assert any(line.startswith("ok    torch: ") for line in lines)
    assert "ok    face detector: finds three drawn faces, and none in a plain image (on openvino)" in lines
    assert lines[-1].startswith("no test failed")


def test_scripts_get_one_object(siamese: Siamese) -> None:
    done = siamese("doctor", "--json", "--quiet")
    assert (done.code, set(done.json)) == (0, KEYS)
    found: dict[str, Any] = done.json
    assert found["versions"]["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["optional"]["ray"]["extra"] == "ray"
    assert found["runtimes"] == {"default": "auto", "model": None}
    assert {each["status"] for each in found["checks"]} == {"ok"}
    assert all(set(each) == {"name", "status", "detail"} for each in found["checks"])


def test_a_model_is_told_how_it_is_run(siamese: Siamese, model: Path, tmp_path: Path) -> None:
    import shutil

    own = shutil.copytree(model, tmp_path / "model", ignore=shutil.ignore_patterns("export"))
    before = siamese("doctor", "--model", own, "--json", "--quiet").json["runtimes"]["model"]
    assert (before["runtime"], before["reason"], before["images_per_second"]) == ("torch", "no export yet", {})
    assert not (own / "export").exists()
    measured = siamese("doctor", "--model", own, "--measure", "--json", "--quiet").json["runtimes"]["model"]
    assert measured["measured"] is True
    assert set(measured["images_per_second"]) == {"torch f32", "openvino f32"}
    assert (own / "export" / "openvino" / "export.json").is_file()
    after = siamese("doctor", "--model", own, "--json", "--quiet").json["runtimes"]["model"]
    assert after["images_per_second"] == measured["images_per_second"]
    assert (after["passed"], after["precision"], after["measured"]) == (
        ["f32"] if after["runtime"] == "openvino" else [],
        "f32",
        False,
    )
    random = siamese("doctor", "--model", ENCODER, "--json", "--quiet").json["runtimes"]["model"]
    assert (random["runtime"], random["reason"]) == ("torch", "its weights are random, and others each time")


def test_a_model_that_cannot_be_run_fails_the_test_and_not_the_diagnosis(siamese: Siamese, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = siamese("doctor", "--model", tmp_path / "empty", "--quiet")
    assert (done.code, done.err) == (1, "")
    assert f"fail  model: {tmp_path / 'empty'}: no model.json; expected a model folder" in done.out
    assert done.out.splitlines()[-1].startswith("1 test failed")


def test_measuring_needs_a_model(siamese: Siamese) -> None:
    done = siamese("doctor", "--measure")
    assert (done.code, done.err) == (
        2,
        "siamese: --measure: times the runtimes of a model; give --model as well\n",
    )


@pytest.mark.parametrize(
    "code",
    [
        "sys.modules.update(dict.fromkeys(('torch', 'torchvision', 'facenet_pytorch', 'timm')))",
        """
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "facenet_pytorch", "timm"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Block())
""",
    ],
    ids=["not installed", "kept away"],
)
def test_without_torch_the_diagnosis_says_what_that_means(tmp_path: Path, code: str) -> None:
    done = doctor_without(tmp_path, code)
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        "warn  torch: missing: training, evaluation, export, models without an export, GPUs; pip install torch"
        in done.stdout.splitlines()
    )
    assert "warn  torch and OpenVINO: not run: torch is missing" in done.stdout
    assert "ok    OpenVINO: a convolution agrees with NumPy's" in done.stdout
    assert "no test failed, " in done.stdout


def test_without_torch_a_model_with_an_export_is_measured(siamese: Siamese, tmp_path: Path) -> None:
    export = tmp_path / "exported"
    assert siamese("export", ENCODER, "-o", export, "--input-size", 32, "--no-timing", "--quiet").code == 0
    code = "sys.modules.update(dict.fromkeys(('torch', 'pandas')))"
    done = doctor_without(tmp_path, code, "--model", str(export), "--measure", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert found["versions"]["torch"] is None
    assert found["devices"]["gpus"] is None
    assert found["runtimes"]["model"]["reason"] == "is an export itself"
    assert set(found["runtimes"]["model"]["images_per_second"]) == {"openvino f32"}


def test_a_failed_test_is_told_by_the_exit_code(tmp_path: Path, siamese: Siamese) -> None:
    with pytest.MonkeyPatch.context() as patch:
        (tmp_path / "file").write_text("")
        patch.setenv("SIAMESE_CACHE", str(tmp_path / "file"))
        done = siamese("doctor", "--quiet")
    assert done.code == 1
    assert "fail  cache folder: " in done.out
