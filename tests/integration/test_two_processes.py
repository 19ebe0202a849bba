"""Two processes as one run: the figures of one, one model folder, one voice."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from safetensors.torch import load_file

from siamese_cli.main import run

from .conftest import REPOSITORY, Outcome, Siamese

# No BatchNorm: statistics of a process's share are not those of the batch. Batches of an odd number of tuples, and a
# last one of a single triplet, of which the second process has nothing.
COMMON = [
    *(
        "--encoder",
        "timm/test_convnext@random",
        "--input-size",
        "32",
        "--head",
        "none",
        "--lr",
        "0.1",
        "--device",
        "cpu",
    ),
    *("--val-share", "0.3", "--cache", "off", "--seed", "5", "--weight-decay", "0", "--optimizer", "sgd"),
]
TUPLES = ["--loss", "triplet", "--num-pairs", "127", "--batch-size", "21", "--epochs", "3"]
IDENTITIES = ["--loss", "arcface:1.0+triplet:0.5+mining=semihard", "--batch-size", "15", "--epochs", "1"]


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "cli")])
    return os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"} | more


def begin(*arguments: object, world: int = 1, by_torchrun: bool = False) -> "subprocess.Popen[str]":
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launcher = ["-m", "torch.distributed.run", f"--nproc-per-node={world}", f"--master-port={port}"]
    command = [sys.executable, *(launcher if by_torchrun else []), "-m", "siamese_cli", "train"]
    devices = ["--devices", str(world)] if world > 1 and not by_torchrun else []
    return subprocess.Popen(
        [*command, *(str(argument) for argument in arguments), *devices],
        env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def train(*arguments: object, world: int = 1, by_torchrun: bool = False) -> Outcome:
    process = begin(*arguments, world=world, by_torchrun=by_torchrun)
    out, err = process.communicate(timeout=500)
    return Outcome(process.returncode, out, err)


def same_history(folder: Path, other: Path) -> None:
    ours, theirs = (pd.read_csv(each / "run" / "history.csv") for each in (folder, other))
    assert list(ours) == list(theirs)
    exact = ["epoch", "loss", "lr"]
    pd.testing.assert_frame_equal(ours[exact], theirs[exact], rtol=0, atol=1e-5)
    # Of some 40,000 comparisons of a genuine with an impostor pair one or two hang on the last bit of a similarity.
    pd.testing.assert_frame_equal(ours.drop(columns=exact), theirs.drop(columns=exact), rtol=0, atol=1e-4)


def same_weights(folder: Path, other: Path) -> None:
    ours, theirs = (load_file(each / "model.safetensors") for each in (folder, other))
    assert ours.keys() == theirs.keys()
    for name, weights in ours.items():
        assert float((weights - theirs[name]).abs().max()) < 1e-5, name


@pytest.fixture(scope="module")
def alone(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone") / "model"
    assert run([str(each) for each in ("train", faces, *COMMON, *TUPLES, "-o", folder)]) == 0
    card = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert card["training"]["best_epoch"] > 0  # what is compared below was trained
    return folder


def test_two_processes_by_torchrun_come_to_what_one_comes_to(faces: Path, tmp_path: Path, alone: Path) -> None:
    found = train(*(faces, *COMMON, *TUPLES, "-o", tmp_path / "model", "--json"), world=2, by_torchrun=True)
    assert found.code == 0, found.err
    same_history(tmp_path / "model", alone)
    same_weights(tmp_path / "model", alone)
    assert found.json["model_folder"] == str(tmp_path / "model")  # one object: only one process prints
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == ["model.json", "model.safetensors", "run"]
    for said in ("training on", "baseline: validation", "epoch 1/3: loss", "epoch 3/3: loss"):
        assert found.err.count(said) == 1, found.err


def test_batches_of_identities_with_a_classifier_come_to_the_same(
    siamese: Siamese, faces: Path, tmp_path: Path
) -> None:
    arguments = [faces, *COMMON, *IDENTITIES, "--lr", "0.01"]
    assert siamese("train", *arguments, "-o", tmp_path / "1").code == 0
    found = train(*arguments, "-o", tmp_path / "2", world=2)
    assert found.code == 0, found.err
    same_history(tmp_path / "2", tmp_path / "1")
    same_weights(tmp_path / "2", tmp_path / "1")


def test_two_processes_that_were_killed_go_on_to_the_same_end(faces: Path, tmp_path: Path, alone: Path) -> None:
    folder = tmp_path / "model"
    options = [faces, *COMMON, *TUPLES, "--checkpoint-every", "1", "-o", folder]
    process = begin(*options, world=2)
    last, deadline = folder / "run" / "last.ckpt", time.monotonic() + 400
    while not last.is_file():
        assert process.poll() is None and time.monotonic() < deadline, "it never wrote a checkpoint"
        time.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="utf-8").split()
    assert len(children) == 2
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    process.communicate(timeout=100)
    assert process.returncode == 137
    assert not (folder / "model.json").exists()
    found = train(*options, "--resume", world=2)
    assert found.code == 0, found.err
    same_history(folder, alone)
    same_weights(folder, alone)


def test_a_mistake_is_told_as_of_one_process(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "model.json").write_text(json.dumps({}), encoding="utf-8")
    found = train(faces, *COMMON, *TUPLES, "-o", tmp_path / "model", world=2)
    assert found.code == 2
    lines = [line for line in found.err.splitlines() if line.startswith("siamese: ")]
    assert lines == [
        f"siamese: -o {tmp_path / 'model'}: holds a model already; choose another folder, or --force to replace it"
    ]
    assert "Traceback" not in found.err
