import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from siamese.errors import DeviceError
from siamese.training.plans import Share
from siamese.training.processes import (
    answered_by_first,
    any_process,
    first_goes_ahead,
    is_first,
    joined,
    share,
    started_by_torchrun,
)

REPOSITORY = Path(__file__).parents[2]
# Stands in for the program: what `start_processes` calls is a module of this name on the path.
PROGRAM = """
import os, signal, sys, time
from pathlib import Path
rank, folder = int(os.environ["RANK"]), Path(sys.argv[1])
names = ("WORLD_SIZE", "LOCAL_WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR")
(folder / str(rank)).write_text(" ".join(os.environ[name] for name in names))
heard = []
signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
(folder / f"ready {rank}").touch()
what = sys.argv[2]
if what == "fail" and rank == 1:
    sys.exit(2)
if what == "signal" and rank == 1:
    os.kill(os.getpid(), signal.SIGKILL)
if what != "well":
    for _ in range(600):
        time.sleep(0.05)
        if heard:
            (folder / f"heard {rank}").touch()
            sys.exit(0)
"""


def start(folder: Path, what: str) -> "subprocess.Popen[bytes]":
    """`start_processes` in a process of its own, on a program that does as told."""
    package = folder / "siamese_cli"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(PROGRAM, encoding="utf-8")
    start = f"sys.exit(start_processes(2, {[str(folder), what]!r}))"
    code = f"import sys\nfrom siamese.training.processes import start_processes\n{start}"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), str(REPOSITORY)])}
    return subprocess.Popen([sys.executable, "-c", code], env=environment, cwd=folder)


def wait_for(*files: Path) -> None:
    deadline = time.monotonic() + 120
    while not all(file.exists() for file in files):
        assert time.monotonic() < deadline, "it never got there"
        time.sleep(0.02)


def test_a_process_alone_is_the_first_and_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert is_first()
    assert not started_by_torchrun()
    assert share() == Share(0, 1)
    with joined("cpu") as device, first_goes_ahead():
        assert device == "cpu"
        assert answered_by_first(lambda: 7) == 7
        assert any_process(True, torch.device("cpu"))
        assert not any_process(False, torch.device("cpu"))


def test_the_environment_says_which_of_several_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert started_by_torchrun()
    assert not is_first()


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "1"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    message = r"^process 1 of this machine has no GPU of its own: 1 found; start as many processes as there are GPUs$"
    with pytest.raises(DeviceError, match=message), joined("cuda:0"):
        pass


def test_processes_know_each_other_and_end_well(tmp_path: Path) -> None:
    assert start(tmp_path, "well").wait(timeout=120) == 0
    assert [(tmp_path / str(rank)).read_text() for rank in (0, 1)] == ["2 2 0 127.0.0.1", "2 2 1 127.0.0.1"]


@pytest.mark.parametrize(("what", "code"), [("fail", 2), ("signal", 137)])
def test_where_one_fails_the_others_end_and_its_code_is_told(tmp_path: Path, what: str, code: int) -> None:
    assert start(tmp_path, what).wait(timeout=120) == code
    assert not (tmp_path / "heard 0").exists()


def test_a_request_to_end_is_passed_on_to_all(tmp_path: Path) -> None:
    process = start(tmp_path, "wait")
    wait_for(tmp_path / "ready 0", tmp_path / "ready 1")
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=120) == 0
    assert (tmp_path / "heard 0").exists()
    assert (tmp_path / "heard 1").exists()
