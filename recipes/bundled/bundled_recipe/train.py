"""Step 2: the student learns from its teacher, by `siamese train`; an interrupted run goes on where it stopped.

In two stages, each a run of its own: on images as they are it learns several times sooner what its teacher knows, and
then, from there, to say the same of damaged ones.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from bundled_recipe.prepare import is_prepared
from bundled_recipe.records import Record, read_record, write_record
from bundled_recipe.workplace import CONFIG, ROBUST_CONFIG, Workplace
from siamese.encoders.checksum import sha256_of
from siamese.encoders.model_files import CARD, WEIGHTS
from siamese.errors import DataError
from siamese.progress import log
from siamese.training.checkpoint import LAST
from siamese.training.run_folder import RUN


def train(place: Workplace, options: Sequence[str] = ()) -> None:
    """Train the student of a seed, or go on; nothing is done where a finished run is there as it was left.

    The first Ctrl-C ends the run after the batch in hand, a second one at once; the same call goes on either way.

    Args:
        place: prepared.
        options: further ones of `siamese train`, for both stages, which go before those of the configurations.

    Raises:
        DataError: nothing is prepared, or the run failed; its own message went before.
        KeyboardInterrupt: the run was stopped by hand.
    """
    if is_trained(place):
        log.info("train: done before")
        return
    if not is_prepared(place):
        raise DataError(f"{place.work}: nothing is prepared there, or it was changed since; run --step prepare first")
    if not _is_whole(place.clean_trained, place.clean_model):
        _run(train_command(place, options), place.clean_trained, place.clean_model)
    _run(robust_command(place, options), place.trained, place.model)


def _run(command: Sequence[str], record: Path, model: Path) -> None:
    log.info("train: %s", " ".join(command[1:]))
    result = run_command(command)
    if result["stopped"]:
        raise KeyboardInterrupt
    write_record(record, {**result, "weights_sha256": sha256_of(model / WEIGHTS)})


def is_trained(place: Workplace) -> bool:
    """Whether the model of a finished run is there as it was left."""
    return _is_whole(place.trained, place.model)


def _is_whole(file: Path, model: Path) -> bool:
    record, weights = read_record(file), model / WEIGHTS
    return record is not None and weights.is_file() and sha256_of(weights) == record.get("weights_sha256")


def train_command(place: Workplace, options: Sequence[str] = (), folder: Path | None = None) -> list[str]:
    """The command of the first stage, or what goes on with its run.

    Args:
        place: prepared.
        options: further ones.
        folder: the model folder; None for that of the seed.
    """
    return _command(place, CONFIG, place.clean_model if folder is None else folder, options)


def robust_command(place: Workplace, options: Sequence[str] = ()) -> list[str]:
    """The command of the second stage, which begins with the model of the first, or what goes on with its run.

    Args:
        place: prepared, with a finished first stage.
        options: further ones.
    """
    return _command(place, ROBUST_CONFIG, place.model, ["--encoder", str(place.clean_model), *options])


def _command(place: Workplace, config: Path, model: Path, options: Sequence[str]) -> list[str]:
    return [
        *(sys.executable, "-m", "siamese_cli", "train", str(place.training_images)),
        *("--val-pairs", str(place.val_pairs), "--teacher", place.teacher),
        *("--config", str(config), "--seed", str(place.seed), "-o", str(model), "--json"),
        *how_to_begin(model),
        *options,
    ]


def how_to_begin(model: Path) -> list[str]:
    """`--resume` where a run was interrupted, `--force` where a finished one is not the one that was recorded."""
    run = model / RUN
    if (run / LAST).is_file():
        return ["--resume"]
    if (model / CARD).is_file():
        # A run that was stopped in its first epoch keeps its best weights, and no checkpoint yet.
        return ["--resume"] if any(run.glob("best-*.safetensors")) else ["--force"]
    return []


def run_command(command: Sequence[str]) -> Record:
    """Run a command of `siamese` with `--json`, and return what it printed; its messages pass through.

    Raises:
        DataError: it failed.
        KeyboardInterrupt: it was interrupted before it had anything to return.
    """
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own command
    with process, _signals_left_to(process):
        printed, _ = process.communicate()
    if process.returncode in (130, -signal.SIGINT, -signal.SIGTERM):
        raise KeyboardInterrupt
    if process.returncode:
        raise DataError(f"`siamese {command[3]}` ended with code {process.returncode}; mend that, and run this again")
    found = json.loads(printed)
    assert isinstance(found, dict)  # noqa: S101 - what --json promises
    return found


@contextmanager
def _signals_left_to(process: "subprocess.Popen[str]") -> Iterator[None]:
    """Ctrl-C reaches both processes, and the child ends in order; SIGTERM is handed on to it."""

    def wait(number: int, frame: FrameType | None) -> None:
        return

    def hand_on(number: int, frame: FrameType | None) -> None:
        process.send_signal(number)

    # Functions, not SIG_IGN, which a child that was only just begun would inherit.
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, wait),
        signal.SIGTERM: signal.signal(signal.SIGTERM, hand_on),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
