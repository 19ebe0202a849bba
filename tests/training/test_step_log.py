import csv
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from siamese.errors import DataError
from siamese.training.step_log import StepLog

COLUMNS = ["step", "epoch", "loss", "loss/triplet", "lr", "grad_norm", "images_per_second", "active", "spread", "gap"]


def rows(first: int, last: int) -> list[dict[str, float]]:
    return [{"step": step, "epoch": 1, "loss": step / 3, "lr": 1e-4} for step in range(first, last + 1)]


def steps_in(path: Path) -> list[int]:
    with path.open(newline="") as stream:
        return [int(row["step"]) for row in csv.DictReader(stream)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "steps.csv"


def test_rows_have_every_column_and_float32_comes_back_exactly(path: Path) -> None:
    loss = float(np.float32(1) / np.float32(3))
    StepLog(path, ["triplet"]).append(
        [{"step": 1, "epoch": 1, "loss": loss, "loss/triplet": float("nan"), "lr": 1e-05, "gap": float("inf")}]
    )
    table = pd.read_csv(path)
    assert list(table.columns) == COLUMNS
    assert np.float32(table.loc[0, "loss"]) == np.float32(loss)
    assert (table.loc[0, "lr"], table.loc[0, "gap"]) == (1e-05, np.inf)
    # What was measured and is no number is told from what was not measured.
    assert path.read_text().splitlines()[1] == "1,1,0.333333343,nan,1e-05,,,,,inf"


def test_a_new_run_replaces_the_file_of_another(path: Path) -> None:
    StepLog(path).append(rows(1, 9))
    StepLog(path, ["other"]).append([{"step": 1, "epoch": 1}])
    assert steps_in(path) == [1]


@pytest.mark.parametrize("step", [0, 1, 2, 57, 99, 100])
def test_a_resumed_run_has_every_step_once(path: Path, step: int) -> None:
    before = StepLog(path)
    before.append(rows(1, 60))
    before.append(rows(61, 100))
    after = StepLog(path)
    after.resume_at(step)
    assert steps_in(path) == list(range(1, step + 1))
    after.append(rows(step + 1, 120))
    assert steps_in(path) == list(range(1, 121))


@pytest.mark.parametrize("torn", [b"101,1,0.5", b"10", b"\0" * 300, b"101,1,0.5\n\0\0\0\n", b"\n\n"])
def test_what_a_crash_left_half_written_is_cut_off(path: Path, torn: bytes) -> None:
    StepLog(path).append(rows(1, 100))
    with path.open("ab") as stream:
        stream.write(torn)
    after = StepLog(path)
    after.resume_at(100)
    after.append(rows(101, 105))
    assert steps_in(path) == list(range(1, 106))


def test_a_header_half_written_is_another_run_s(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("step,ep")
    with pytest.raises(DataError, match="has the columns step,ep, expected step,epoch,loss,"):
        StepLog(path).resume_at(5)


def test_columns_of_another_run_are_refused(path: Path) -> None:
    StepLog(path, ["contrastive"]).append(rows(1, 3))
    found = ",".join(COLUMNS).replace("triplet", "contrastive")
    message = (
        f"{path}: has the columns {found}, expected {','.join(COLUMNS)}; "
        "it is of another run: remove it, or resume with the same --loss"
    )
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        StepLog(path, ["triplet"]).resume_at(2)
    assert steps_in(path) == [1, 2, 3]


def test_rows_that_are_lost_are_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    StepLog(path).append(rows(1, 60))
    after = StepLog(path)
    after.resume_at(100)
    assert caplog.messages == [f"{path}: the rows of steps 61 to 100 are lost"]
    after.append(rows(101, 102))
    assert steps_in(path) == [*range(1, 61), 101, 102]


def test_a_missing_or_empty_file_begins_behind_the_step(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path.parent.mkdir()
    path.touch()
    for _ in range(2):
        log = StepLog(path)
        log.resume_at(7)
        log.append(rows(8, 9))
        assert steps_in(path) == [8, 9]
        path.unlink()
    assert caplog.messages == [f"{path}: the rows of steps 1 to 7 are lost"] * 2


def test_steps_must_rise(path: Path) -> None:
    log = StepLog(path)
    log.append(rows(1, 3))
    with pytest.raises(ValueError, match=r"^step 3 after step 3: steps must rise$"):
        log.append(rows(3, 4))
    log = StepLog(path)
    log.resume_at(2)
    with pytest.raises(ValueError, match=r"^step 2 after step 2: steps must rise$"):
        log.append(rows(2, 2))


def test_a_name_that_is_no_column_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="'los'"):
        StepLog(path).append([{"step": 1, "epoch": 1, "los": 1.0}])
    assert not path.exists()


WRITER = """
import sys
from pathlib import Path
from siamese.training.step_log import StepLog

log = StepLog(Path(sys.argv[1]))
if int(sys.argv[2]):
    log.resume_at(int(sys.argv[2]))
step = int(sys.argv[2])
while True:
    log.append([{"step": step + each, "epoch": 1, "loss": 0.5} for each in range(1, 8)])
    step += 7
    print(step, flush=True)
"""


def test_it_survives_kill_minus_nine_again_and_again(path: Path) -> None:
    # Each process resumes from what the one before is known to have written, as from a checkpoint.
    checkpoint = 0
    for writes in (3, 11, 1, 23):
        command = [sys.executable, "-c", WRITER, str(path), str(checkpoint)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(writes):
                checkpoint = int(process.stdout.readline())
            os.kill(process.pid, signal.SIGKILL)
    assert steps_in(path)[:checkpoint] == list(range(1, checkpoint + 1))
    after = StepLog(path)
    after.resume_at(checkpoint)
    assert steps_in(path) == list(range(1, 7 * (3 + 11 + 1 + 23) + 1))
