import importlib.util
import json
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from siamese.errors import OptionError
from siamese.training import loggers
from siamese.training.loggers import IDS, create_loggers, end_logger
from siamese.training.track import Tracker

CONFIG = {"loss": "triplet+margin=0.2", "lr": 1e-4, "input_size": [112, 96], "pairs": None, "data": "Bilder/größe"}


def needs(package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        importlib.util.find_spec(package) is None,
        reason=f'{package} is not installed: pip install "siamese[{package}]"',
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "my model ß" / "run"


@pytest.fixture(autouse=True)
def no_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """The machine of someone without accounts, whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith(("WANDB_", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    # Set by what is tested; so that they are undone.
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    yield


def track(run: Path, name: str, steps: range, resumed_at: int | None = None) -> None:
    """A run of some steps, as training does it."""
    config = {**CONFIG, "device": "cpu" if resumed_at is None else "cuda:0"}
    tracker = Tracker(run, ["triplet"], create_loggers([name, name], run, config, resumed_at=resumed_at))
    if resumed_at is not None:
        tracker.resume_at(resumed_at)
    for step in steps:
        tracker.step(step, 1, {"loss": 1 / step, "loss/triplet": 2 / step, "gap": float("nan")})
    tracker.epoch(steps[-1], 1, {"auc": 0.75})
    tracker.close()


# names


def test_no_names_are_no_loggers(run: Path) -> None:
    assert create_loggers([], run, CONFIG) == []
    assert not run.exists()


def test_an_unknown_name_offers_the_nearest(run: Path) -> None:
    message = "unknown value of --track 'tensorbord': did you mean 'tensorboard'? known: mlflow, tensorboard, wandb"
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        create_loggers(["tensorbord"], run, CONFIG)


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_package_that_is_missing_is_named_with_its_extra(
    run: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers.importlib.util, "find_spec", lambda package: None)
    message = f'--track {name}: the package {name} is not installed; pip install "siamese[{name}]", or leave it out'
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        create_loggers([name], run, CONFIG)


def test_every_extra_that_the_message_names_is_there() -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert {"tensorboard", "wandb", "mlflow"} <= project["optional-dependencies"].keys()


def test_other_processes_start_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "2")
    assert create_loggers(["tensorboard"], run, CONFIG) == []
    assert not run.exists()


@needs("tensorboard")
def test_a_tracker_that_cannot_start_says_so_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file where the run folder should be")
    with pytest.raises(OptionError) as caught:
        create_loggers(["tensorboard"], tmp_path / "run", CONFIG)
    assert re.fullmatch(
        r"--track tensorboard: does not start \(.+\); check that the run folder can be written, or leave it out",
        str(caught.value),
    )


def test_importing_training_imports_no_tracker() -> None:
    script = (
        "import sys, siamese.training.track; print(*sorted({'wandb', 'mlflow', 'tensorboard'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


# TensorBoard


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), purge_orphaned_data=True)
    found.Reload()
    return {name: [(event.step, event.value) for event in found.Scalars(name)] for name in found.Tags()["scalars"]}


@needs("tensorboard")
def test_tensorboard_reads_what_a_run_wrote(run: Path) -> None:
    track(run, "tensorboard", range(1, 26))
    found = events(run / "tensorboard")
    assert found["train/loss"] == [(1, 1.0), (10, pytest.approx(0.1)), (20, pytest.approx(0.05))]
    assert found["train/loss/triplet"][0] == (1, 2.0)
    assert found["val/auc"] == [(25, 0.75)]
    assert not (run / IDS).exists()


@needs("tensorboard")
def test_tensorboard_shows_no_step_of_a_resumed_run_twice(run: Path) -> None:
    track(run, "tensorboard", range(1, 41))
    track(run, "tensorboard", range(16, 61), resumed_at=15)
    steps = [step for step, _ in events(run / "tensorboard")["train/loss"]]
    assert steps == [1, 10, 20, 30, 40, 50, 60]


@needs("tensorboard")
def test_tensorboard_forgets_a_run_that_was_replaced(run: Path) -> None:
    track(run, "tensorboard", range(1, 41))
    track(run, "tensorboard", range(1, 11))
    assert [step for step, _ in events(run / "tensorboard")["train/loss"]] == [1, 10]


# Weights & Biases


@needs("wandb")
def test_wandb_works_offline_without_an_account_and_keeps_stdout_clean(run: Path) -> None:
    # In a process of its own, without a terminal: whoever asks for a key fails.
    script = f"""
from pathlib import Path
import sys
from siamese.training.loggers import create_loggers
from siamese.training.track import Tracker

tracker = Tracker(Path({str(run)!r}), [], create_loggers(["wandb"], Path({str(run)!r}), {CONFIG!r}))
for step in range(1, 21):
    tracker.step(step, 1, {{"loss": 1 / step}})
tracker.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    name = json.loads((run / IDS).read_text())["wandb"]
    assert [path.suffix for path in (run / "wandb").glob(f"offline-run-*-{name}/*.wandb")] == [".wandb"]


@needs("wandb")
def test_a_resumed_wandb_run_keeps_its_name_and_a_new_one_has_another(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    names = []
    for resumed_at in (None, 5, None):
        for logger in create_loggers(["wandb"], run, CONFIG, resumed_at=resumed_at):
            end_logger(logger, succeeded=True)
        names.append(json.loads((run / IDS).read_text())["wandb"])
    assert names[0] == names[1] != names[2]


@needs("wandb")
def test_wandb_online_without_a_key_is_refused_instead_of_asking(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    message = "--track wandb: WANDB_MODE is online and there is no key; `wandb login` once, or WANDB_MODE=offline"
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        create_loggers(["wandb"], run, CONFIG)


def test_a_key_is_looked_for_where_wandb_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not loggers._has_wandb_key()
    listing = tmp_path / "netrc"
    listing.write_text("machine api.wandb.ai\n  login user\n  password none\n")
    listing.chmod(0o600)
    assert loggers._has_wandb_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org:8080/")
    assert not loggers._has_wandb_key()
    monkeypatch.setenv("WANDB_API_KEY", "none")
    assert loggers._has_wandb_key()


# MLflow


def metrics(database: Path) -> list[Any]:
    with sqlite3.connect(database) as connection:
        return connection.execute("SELECT run_uuid, key, step, value FROM metrics ORDER BY key, step").fetchall()


@needs("mlflow")
def test_mlflow_keeps_a_run_and_its_resumption_in_the_run_folder(run: Path) -> None:
    track(run, "mlflow", range(1, 26))
    name = json.loads((run / IDS).read_text())["mlflow"]
    track(run, "mlflow", range(26, 31), resumed_at=25)
    assert json.loads((run / IDS).read_text())["mlflow"] == name
    found = metrics(run / "mlruns" / "mlflow.db")
    assert {row[0] for row in found} == {name}
    losses = [(step, value) for _, key, step, value in found if key == "train/loss"]
    assert losses == [(1, 1.0), (10, 0.1), (20, 0.05), (30, pytest.approx(1 / 30))]
    with sqlite3.connect(run / "mlruns" / "mlflow.db") as connection:
        parameters = dict(connection.execute("SELECT key, value FROM params").fetchall())
        assert connection.execute("SELECT name, status FROM runs").fetchall() == [("my model ß", "FINISHED")]
    assert (parameters["loss"], parameters["data"]) == ("triplet+margin=0.2", "Bilder/größe")


@needs("mlflow")
def test_an_mlflow_server_that_is_not_there_is_reported_before_training(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(OptionError) as caught:
        create_loggers(["mlflow"], run, CONFIG)
    assert re.fullmatch(
        r"--track mlflow: does not start \(.+\); check MLFLOW_TRACKING_URI, or leave it out", str(caught.value)
    )
