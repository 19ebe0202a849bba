"""A small data set of rendered faces, a model trained on it, and the program run in this process."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from siamese.demo.folder import write_identities
from siamese_cli.main import run

REPOSITORY = Path(__file__).parents[2]
# Small enough to train in seconds; nothing here depends on how good it gets.
ENCODER = "timm/test_resnet@random"
TRAIN = ["--encoder", ENCODER, "--input-size", "32", "--epochs", "2", "--num-pairs", "64", "--lr", "0.001"]


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The one JSON object on stdout; anything beside it fails to parse."""
        return json.loads(self.out)


Siamese = Callable[..., Outcome]


@pytest.fixture
def siamese(capsys: pytest.CaptureFixture[str]) -> Siamese:
    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """The program in a process of its own, for what signals do to it."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "cli")])}
    command = [sys.executable, "-m", "siamese_cli", *(str(argument) for argument in arguments)]
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "faces with spaces and ünïcode"
    write_identities(folder, identities=24, images=6, seed=1, size=64)
    return folder


@pytest.fixture(scope="session")
def pairs(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pairs")
    assert run(["make-pairs", str(faces), "--split", "0.6,0.2,0.2", "-o", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture(scope="session")
def model(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "model"
    assert run(["train", str(faces), *TRAIN, "-o", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture(scope="session")
def exported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model with its export in the folder; to be copied by who changes it."""
    folder = Path(shutil.copytree(model, tmp_path_factory.mktemp("exported") / "model é"))
    assert run(["export", str(folder), "--no-timing", "--quiet"]) == 0
    return folder


@pytest.fixture
def runtime_as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment prefers: the export where there is one."""
    monkeypatch.setenv("SIAMESE_RUNTIME", "auto")


@pytest.fixture
def two_images(faces: Path) -> tuple[Path, Path]:
    return faces / "person_001" / "001.jpg", faces / "person_002" / "001.jpg"


@pytest.fixture(scope="session")
def lfw_crops(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LFW aligned; `SIAMESE_LFW_CROPS` names crops that `siamese align` made before, which takes half an hour."""
    from siamese.images.alignment import AlignJob, align_folder

    made = os.environ.get("SIAMESE_LFW_CROPS")
    if made:
        return Path(made)
    folder = tmp_path_factory.mktemp("lfw") / "crops"
    align_folder(AlignJob(real_data / "data" / "lfw", folder))
    return folder
