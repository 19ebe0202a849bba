"""The run folder: what a run keeps beside its model, and whether a run may begin or go on there."""

from pathlib import Path

from siamese.config import TrainConfig, make_train_config
from siamese.config_file import read_config_file
from siamese.errors import OptionError
from siamese.model.card import CARD
from siamese.training.checkpoint import LAST

RUN, CONFIG = "run", "config.yaml"
# What may change between the beginning of a run and its resumption: none of it changes the result.
_FREE = ("device", "workers", "cache", "cache_limit", "checkpoint_every", "track", "devices")


def check_folder(folder: Path, config: TrainConfig, *, resume: bool, force: bool) -> None:
    """Whether a run may begin in a model folder, or go on there.

    Raises:
        OptionError: there is a model or an interrupted run already; or, to be resumed, none, or one of another
            configuration.
    """
    if resume:
        _check_resumable(folder, config)
    elif (folder / CARD).exists() and not force:
        raise OptionError(f"-o {folder}: holds a model already; choose another folder, or --force to replace it")
    elif (folder / RUN / LAST).exists() and not force:
        raise OptionError(f"-o {folder}: holds an interrupted run; --resume goes on with it, --force starts anew")
    elif folder.exists() and not folder.is_dir():
        raise OptionError(f"-o {folder}: is a file; choose a folder")


def _check_resumable(folder: Path, config: TrainConfig) -> None:
    kept = folder / RUN / CONFIG
    if not kept.is_file():
        raise OptionError(f"--resume: {folder} holds no run ({RUN}/{CONFIG} is missing); leave the option out")
    # A finished run clears its weights away; one stopped in its first epoch has them, but no checkpoint yet.
    if (folder / CARD).is_file() and not any((folder / RUN).glob("best-*.safetensors")):
        raise OptionError(f"--resume: the run in {folder} is complete; nothing is left to do")
    before = make_train_config(read_config_file(kept), str(kept))
    for key, value in config.model_dump().items():
        was = getattr(before, key)
        if value != was and key not in _FREE:
            option = "--" + key.replace("_", "-")
            raise OptionError(f"--resume: the run in {folder} has {option} {was}, now {value}; give the same")
