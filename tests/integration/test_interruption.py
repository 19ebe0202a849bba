"""Real signals on a real run: nothing that was finished is lost."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest

from .conftest import ENCODER, Siamese, start

# Long enough that a signal lands in the middle.
LONG = ["--encoder", ENCODER, "--input-size", "32", "--epochs", "6", "--num-pairs", "256", "--lr", "0.001"]


def wait_for_epochs(folder: Path, epochs: int) -> None:
    """Until the history shows that many epochs beside the baseline."""
    history = folder / "run" / "history.csv"
    deadline = time.monotonic() + 300
    while not history.is_file() or len(history.read_text().splitlines()) < epochs + 2:
        assert time.monotonic() < deadline, "the run never got there"
        time.sleep(0.02)


def finish(process: subprocess.Popen[str]) -> None:
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err


def test_ctrl_c_keeps_the_best_so_far_and_what_resume_needs(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    process = start("train", faces, *LONG, "--epochs", 200, "-o", folder, "--json")
    wait_for_epochs(folder, 1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    result = json.loads(out)
    assert result["stopped"]
    assert 1 <= result["epochs"] < 200
    assert result["best"]["auc"] >= result["baseline"]["auc"]
    assert siamese("evaluate", folder, "--pairs", folder / "run/val.csv", "--root", faces).code == 0
    assert "Traceback" not in err
    assert list((folder / "run").glob("best-*.safetensors"))


def test_a_killed_run_resumes_to_the_very_model_of_an_undisturbed_one(
    siamese: Siamese, faces: Path, tmp_path: Path
) -> None:
    finish(start("train", faces, *LONG, "-o", tmp_path / "whole"))
    killed = tmp_path / "killed"
    process = start("train", faces, *LONG, "-o", killed)
    wait_for_epochs(killed, 2)
    process.kill()
    process.communicate()
    assert not (killed / "model.json").exists(), "the run was over before the kill; make it longer"
    again = siamese("train", faces, *LONG, "-o", killed)
    assert again.code == 2
    assert "--resume goes on with it" in again.err
    finish(start("train", faces, *LONG, "-o", killed, "--resume"))
    histories = [pd.read_csv(tmp_path / name / "run" / "history.csv") for name in ("whole", "killed")]
    pd.testing.assert_frame_equal(*histories)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed")]
    assert weights[0] == weights[1]


def test_resume_refuses_a_finished_run_and_no_run(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    nothing = siamese("train", faces, *LONG, "-o", folder, "--resume")
    assert nothing.code == 2
    assert "holds no run" in nothing.err
    assert siamese("train", faces, *LONG, "--epochs", 1, "-o", folder).code == 0
    finished = siamese("train", faces, *LONG, "--epochs", 1, "-o", folder, "--resume")
    assert finished.code == 2
    assert "complete" in finished.err
    other = siamese("train", faces, *LONG, "--epochs", 2, "-o", folder, "--resume")
    assert other.code == 2


@pytest.mark.parametrize("number", [signal.SIGINT])
def test_ctrl_c_elsewhere_exits_with_130_and_one_line(faces: Path, tmp_path: Path, number: int) -> None:
    process = start("demo", "--out", tmp_path / "demo")
    deadline = time.monotonic() + 300
    while not list(tmp_path.glob("demo/faces-*/person_0*")):  # rendering has begun
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert err.splitlines()[-1] == "siamese: interrupted"
    assert "Traceback" not in err
