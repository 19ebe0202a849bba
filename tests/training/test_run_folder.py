import re
from pathlib import Path
from typing import Any

import pytest

from siamese.config import TrainConfig, make_train_config
from siamese.config_file import write_config_file
from siamese.errors import OptionError
from siamese.training.run_folder import check_folder

BEFORE: dict[str, Any] = {"data": "faces", "loss": "triplet", "track": ["tensorboard"], "input_size": [32, 48]}


def config(**values: Any) -> TrainConfig:
    return make_train_config(BEFORE | values)


@pytest.fixture
def interrupted(tmp_path: Path) -> Path:
    """A run that was stopped after its first checkpoint."""
    folder = tmp_path / "model"
    write_config_file(folder / "run" / "config.yaml", config().model_dump(mode="json"))
    (folder / "run" / "last.ckpt").touch()
    (folder / "run" / "best-0001.safetensors").touch()
    return folder


def refused(folder: Path, message: str, found: TrainConfig | None = None, **choices: bool) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        check_folder(folder, found or config(), **{"resume": False, "force": False} | choices)


def test_a_run_may_begin_where_nothing_is(tmp_path: Path) -> None:
    check_folder(tmp_path / "new" / "model", config(), resume=False, force=False)
    check_folder(tmp_path, config(), resume=False, force=False)


def test_a_model_or_an_interrupted_run_is_replaced_by_force_only(interrupted: Path) -> None:
    said = f"-o {interrupted}: holds an interrupted run; --resume goes on with it, --force starts anew"
    refused(interrupted, said)
    (interrupted / "model.json").touch()
    refused(interrupted, f"-o {interrupted}: holds a model already; choose another folder, or --force to replace it")
    check_folder(interrupted, config(), resume=False, force=True)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "model").touch()
    refused(tmp_path / "model", f"-o {tmp_path / 'model'}: is a file; choose a folder")


def test_an_interrupted_run_goes_on_with_the_same_options(interrupted: Path) -> None:
    check_folder(interrupted, config(), resume=True, force=False)


@pytest.mark.parametrize(
    "change",
    [
        {"device": "cuda"}, {"workers": 4}, {"cache": "off"}, {"cache_limit": 1}, {"checkpoint_every": 5},
        {"track": []}, {"devices": 2},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_what_changes_nothing_of_the_result_may_change(interrupted: Path, change: dict[str, Any]) -> None:
    check_folder(interrupted, config(**change), resume=True, force=False)


@pytest.mark.parametrize(
    ("change", "option", "was", "now"),
    [
        ({"lr": 0.5}, "--lr", "0.0001", "0.5"),
        ({"loss": "quadruplet"}, "--loss", "triplet", "quadruplet"),
        ({"images_per_identity": 2}, "--images-per-identity", "4", "2"),
        ({"input_size": [32, 32]}, "--input-size", "(32, 48)", "(32, 32)"),
        ({"ema": 0.9}, "--ema", "None", "0.9"),
    ],
)
def test_any_other_option_must_be_the_same(
    interrupted: Path, change: dict[str, Any], option: str, was: str, now: str
) -> None:
    said = f"--resume: the run in {interrupted} has {option} {was}, now {now}; give the same"
    refused(interrupted, said, config(**change), resume=True)


def test_there_must_be_a_run_to_go_on_with(tmp_path: Path, interrupted: Path) -> None:
    said = f"--resume: {tmp_path / 'none'} holds no run (run/config.yaml is missing); leave the option out"
    refused(tmp_path / "none", said, resume=True)
    (interrupted / "model.json").touch()
    check_folder(interrupted, config(), resume=True, force=False)  # stopped by hand: it has a model, and goes on
    (interrupted / "run" / "best-0001.safetensors").unlink()
    refused(interrupted, f"--resume: the run in {interrupted} is complete; nothing is left to do", resume=True)
