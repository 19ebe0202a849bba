"""A cold `siamese compare` on an export: what it imports, and that its answer is that of the library."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from siamese.demo.identity import sample_identities
from siamese.demo.render import render
from siamese.demo.variation import Variation
from siamese.images.detector import FaceDetector
from siamese.inference.verifier import Verifier
from siamese_cli.main import run

from .conftest import REPOSITORY

# Seconds each, and what only downloads, other processes and other commands need.
HEAVY = (
    *("torch", "torchvision", "pandas", "lightning", "albumentations", "sklearn", "scipy", "facenet_pytorch"),
    *("timm", "matplotlib", "pyarrow", "ssl", "http.client", "urllib.request", "multiprocessing"),
    *("PIL.JpegImagePlugin", "siamese_cli.train", "siamese_cli.evaluate"),
)
# What was imported is asked in the process that ran the program, after its work; `main` ends it.
ASK = f"""
import json, sys
from siamese_cli.main import main
try:
    main()
finally:
    sys.stderr.write(json.dumps([name for name in {HEAVY!r} if name in sys.modules]))
"""


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "exported"
    assert run(["export", "mobilefacenet@random", "--seed", "1", "-o", str(folder), "--quiet"]) == 0
    return folder


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two rendered people, of a size that no crop has: faces are looked for."""
    FaceDetector()  # its nets are made once, by torch, before anything is asked of a cold start
    folder = tmp_path_factory.mktemp("photographs")
    paths = [folder / "left.jpg", folder / "right.jpg"]
    for path, person in zip(paths, sample_identities(2, seed=0), strict=True):
        Image.fromarray(render(person, Variation(), 160)).save(path, quality=95)
    return paths


def cold(*arguments: object) -> tuple[dict[str, Any], list[str]]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "cli")])}
    command = [sys.executable, "-c", ASK, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout), json.loads(done.stderr.splitlines()[-1])


@pytest.mark.parametrize("aligned", [False, True], ids=["photographs", "crops"])
def test_a_cold_comparison_imports_little_and_answers_as_the_library_does(
    exported: Path, photographs: list[Path], tmp_path: Path, aligned: bool
) -> None:
    images = photographs
    if aligned:
        images = [tmp_path / path.name for path in photographs]
        for path, photograph in zip(images, photographs, strict=True):
            Image.open(photograph).resize((112, 112)).save(path, quality=95)
    found, loaded = cold("compare", *images, "--model", exported, "--threshold", "0.5", "--json")
    assert loaded == []
    assert [face["status"] for face in found["faces"]] == (["not_searched"] if aligned else ["found"]) * 2
    expected = Verifier.load(exported).compare(*images, threshold=0.5)
    assert found["same"] == expected.same
    assert np.isclose(found["similarity"], expected.similarity, atol=1e-6)


def test_a_failure_is_one_line_with_its_exit_code(exported: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "cli")])}
    missing = tmp_path / "missing.jpg"
    command = [sys.executable, "-m", "siamese_cli", "compare", missing, missing, "--model", exported]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"siamese: {missing}: no such file; check the path\n"
