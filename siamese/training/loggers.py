"""Lightning's own loggers for TensorBoard, Weights & Biases and MLflow, set up to work without an account."""

import importlib.util
import json
import logging
import netrc
import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from lightning.pytorch.loggers.logger import Logger

from siamese.atomic import write_text
from siamese.errors import OptionError, unknown_name
from siamese.progress import log
from siamese.training.processes import is_first

# Names under which a resumed run finds itself again.
IDS = "track.json"
_PROJECT = "siamese"


def create_loggers(
    names: Sequence[str], folder: Path, config: Mapping[str, Any], *, resumed_at: int | None = None
) -> list[Logger]:
    """Start the trackers called `names` and give them the configuration.

    TensorBoard writes to `folder/tensorboard`. Weights & Biases works offline in `folder/wandb` unless a key is
    there or `WANDB_MODE` says otherwise, and never asks. MLflow writes to `folder/mlruns` unless
    `MLFLOW_TRACKING_URI` names a server.

    Args:
        names: any of `tensorboard`, `wandb`, `mlflow`; a name given twice counts once.
        folder: the run folder.
        config: the resolved configuration, as plain values.
        resumed_at: the last step that a resumed run does not do again; None for a run that begins.

    Returns:
        One logger for each name; none in any but the first of several processes.

    Raises:
        OptionError: an unknown name, a package that is not installed, or a tracker that does not start.
    """
    for name in names:
        if name not in _MAKERS:
            raise unknown_name("value of --track", name, _MAKERS)
        if importlib.util.find_spec(name) is None:
            raise OptionError(
                f'--track {name}: the package {name} is not installed; pip install "siamese[{name}]", or leave it out'
            )
    if not is_first():
        return []
    known = {} if resumed_at is None else _read_ids(folder / IDS)
    loggers = [_start(name, folder, config, known, resumed_at) for name in dict.fromkeys(names)]
    if known:
        write_text(folder / IDS, json.dumps(known, indent=2) + "\n")
    return loggers


def end_logger(logger: Logger, *, succeeded: bool) -> None:
    """Let a logger write what waits and end its run."""
    logger.finalize("success" if succeeded else "failed")
    if type(logger).__name__ == "WandbLogger":
        # Lightning leaves its end to the end of the process.
        logger.experiment.finish(exit_code=0 if succeeded else 1)  # type: ignore[attr-defined]


def _start(
    name: str, folder: Path, config: Mapping[str, Any], known: dict[str, str], resumed_at: int | None
) -> Logger:
    begins = name not in known
    try:
        logger = _MAKERS[name](folder, known, resumed_at)
        # Started now: what is wrong shows before hours of training.
        _ = logger.experiment  # type: ignore[attr-defined]
        if begins:  # MLflow refuses another value, and a run may be resumed on another device
            logger.log_hyperparams(dict(config))
    except OptionError:
        raise
    except Exception as error:  # packages, files and servers: each has errors of its own
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise OptionError(f"--track {name}: does not start ({reason}); {_ADVICE[name]}, or leave it out") from error
    return logger


def _tensorboard(folder: Path, known: dict[str, str], resumed_at: int | None) -> Logger:
    from lightning.pytorch.loggers import TensorBoardLogger

    if resumed_at is None:
        # Of a run that this one replaces: TensorBoard would draw both as one.
        shutil.rmtree(folder / "tensorboard", ignore_errors=True)
    purge = None if resumed_at is None else resumed_at + 1
    return TensorBoardLogger(folder, name="", version="tensorboard", default_hp_metric=False, purge_step=purge)


def _wandb(folder: Path, known: dict[str, str], resumed_at: int | None) -> Logger:
    mode = os.environ.get("WANDB_MODE") or ("online" if _has_wandb_key() else "offline")
    if mode == "online" and not _has_wandb_key():
        raise OptionError(
            "--track wandb: WANDB_MODE is online and there is no key; `wandb login` once, or WANDB_MODE=offline"
        )
    if mode != "online":
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    quiet = not log.isEnabledFor(logging.INFO)
    return WandbLogger(
        project=os.environ.get("WANDB_PROJECT", _PROJECT),
        name=os.environ.get("WANDB_NAME", _run_name(folder)),
        save_dir=folder,
        id=known.setdefault("wandb", secrets.token_hex(4)),
        mode=mode,
        # Its capture of stdout would get between the program and who reads its JSON.
        settings=wandb.Settings(console="off", silent=quiet),
    )


def _mlflow(folder: Path, known: dict[str, str], resumed_at: int | None) -> Logger:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from lightning.pytorch.loggers import MLFlowLogger

    server = os.environ.get("MLFLOW_TRACKING_URI")
    home = (folder / "mlruns").absolute()
    if not server:
        home.mkdir(parents=True, exist_ok=True)
    logger = MLFlowLogger(
        experiment_name=os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT),
        run_name=_run_name(folder),
        # A database, because newer versions refuse plain files.
        tracking_uri=server or f"sqlite:///{(home / 'mlflow.db').as_posix()}",
        artifact_location=None if server else (home / "artifacts").as_uri(),
        run_id=known.get("mlflow"),
    )
    known["mlflow"] = str(logger.run_id)
    return logger


_MAKERS: dict[str, Callable[[Path, dict[str, str], int | None], Logger]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
}
_ADVICE = {
    "tensorboard": "check that the run folder can be written",
    "wandb": "WANDB_MODE=offline keeps the run on this machine",
    "mlflow": "check MLFLOW_TRACKING_URI",
}


def _run_name(folder: Path) -> str:
    # The run folder lies in the model folder, whose name the user chose.
    return folder.absolute().parent.name or _PROJECT


def _has_wandb_key() -> bool:
    """Whether W&B would find a key without asking; the key itself is left to W&B."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, netrc.NetrcParseError):
        return False


def _read_ids(path: Path) -> dict[str, str]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # tracked for the first time: then it begins here
    return {str(name): str(value) for name, value in values.items()} if isinstance(values, dict) else {}
