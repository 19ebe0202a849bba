"""A fresh machine without a network: two photographs are compared, face detection and the first export included."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from siamese.demo.identity import sample_identities
from siamese.demo.render import render
from siamese.demo.variation import Variation
from siamese.encoders import bundled

from .conftest import REPOSITORY

# Python imports it before anything else: every way out fails, and is written down.
NO_NETWORK = """
import os, pathlib, socket

def refused(*arguments, **options):
    with open(os.environ["ATTEMPTS"], "a") as stream:
        stream.write(repr(arguments[-1:]) + "\\n")
    raise OSError("no network in this test")

for name in ("connect", "connect_ex", "sendto", "sendmsg"):
    setattr(socket.socket, name, refused)
socket.getaddrinfo = socket.gethostbyname = socket.create_connection = refused

if folder := os.environ.get("STANDIN"):
    import siamese.encoders.bundled
    siamese.encoders.bundled._FOLDER = pathlib.Path(folder)
"""
SHIPPED = (bundled._FOLDER / "model.json").is_file()


def namespaces() -> bool:
    """Whether this user may start a program in a network of its own, which reaches nothing: also not from C++."""
    unshare = shutil.which("unshare")
    return unshare is not None and subprocess.run([unshare, "-rn", "true"], check=False).returncode == 0


@pytest.fixture
def fresh(tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of a user who has just installed the package: nothing at home, nothing in a cache."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook" / "sitecustomize.py").write_text(NO_NETWORK)
    home = tmp_path / "home"
    home.mkdir()
    kept = {
        name: os.environ[name]
        for name in ("PATH", "LANG", "OMP_NUM_THREADS", "OMP_WAIT_POLICY")
        if name in os.environ
    }
    standin = {} if SHIPPED else {"STANDIN": str(request.getfixturevalue("standin"))}
    path = [str(tmp_path / "hook"), str(REPOSITORY), str(REPOSITORY / "cli")]
    return {
        **kept,
        **standin,
        "HOME": str(home),
        "ATTEMPTS": str(tmp_path / "attempts.txt"),
        "PYTHONPATH": os.pathsep.join(path),
    }


def compare(fresh: dict[str, str], left: Path, right: Path) -> tuple[dict[str, Any], str]:
    isolated = ["unshare", "-rn"] if namespaces() else []
    command = [*isolated, sys.executable, "-m", "siamese_cli", "compare", left, right, "--json"]
    done = subprocess.run(
        [*map(str, command)], env=fresh, cwd=fresh["HOME"], capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    attempts = Path(fresh["ATTEMPTS"])
    assert not attempts.exists(), attempts.read_text()
    return json.loads(done.stdout), done.stderr


def test_the_hook_refuses_a_network(fresh: dict[str, str]) -> None:
    script = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9/')"
    done = subprocess.run([sys.executable, "-c", script], env=fresh, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no network in this test" in done.stderr
    assert Path(fresh["ATTEMPTS"]).read_text()


def test_two_drawn_faces_are_compared_at_once_and_again_from_what_was_kept(
    fresh: dict[str, str], tmp_path: Path
) -> None:
    images = [tmp_path / "left.jpg", tmp_path / "right.jpg"]
    for path, person in zip(images, sample_identities(2, seed=0), strict=True):
        Image.fromarray(render(person, Variation(), 160)).save(path, quality=95)
    first, said = compare(fresh, *images)
    assert "model: bundled (the verifier that ships with siamese; --model names another)" in said.splitlines()
    assert "bundled: made ready for OpenVINO, once" in said
    assert first["model"] == "bundled"
    assert [face["status"] for face in first["faces"]] == ["found", "found"]
    assert first["same"] in (True, False)
    assert 0 <= first["probability"] <= 1
    second, said = compare(fresh, *images)
    assert "made ready" not in said
    assert second["similarity"] == pytest.approx(first["similarity"], abs=1e-5)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("right", "same"),
    [("George_W_Bush/George_W_Bush_0002.jpg", True), ("Colin_Powell/Colin_Powell_0001.jpg", False)],
)
def test_two_photographs_are_compared(right: str, same: bool, fresh: dict[str, str], real_data: Path) -> None:
    faces = real_data / "data" / "lfw"
    found, _ = compare(fresh, faces / "George_W_Bush" / "George_W_Bush_0001.jpg", faces / right)
    assert [face["status"] for face in found["faces"]] == ["found", "found"]
    if SHIPPED:
        assert found["same"] is same
        assert (found["probability"] > 0.5) is same
