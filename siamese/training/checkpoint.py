"""Checkpoints that a run goes on from as if nothing had happened, whenever it was killed."""

import random
import time
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

from siamese.atomic import atomic_path
from siamese.training.averaging import WeightAverage
from siamese.training.processes import any_process, is_first

LAST = "last.ckpt"
# Seconds between two checkpoints within an epoch, unless steps are counted.
_INTERVAL = 300.0


class Checkpoints(Callback):
    """Writes the checkpoint that `--resume` goes on from: after every epoch, and within one as often as asked for.

    Lightning keeps weights, loss parameters, optimiser, schedule, scaler and counters; this adds the random states
    and the average of the weights. Batches need no state: they follow from seed, epoch and number.

    Args:
        folder: of the run.
        every: steps between two checkpoints; None for five minutes.
        accumulate: batches a step; gradients in the making are in no checkpoint, so none is written among them.
        average: of the weights, where there is one.
    """

    def __init__(self, folder: Path, every: int | None, accumulate: int, average: WeightAverage | None) -> None:
        self._file, self._every, self._accumulate, self._average = folder / LAST, every, accumulate, average
        self._written = time.monotonic()
        self._random: dict[str, Any] | None = None

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Take up the random states of the checkpoint, now that nothing is left that draws from them."""
        if self._random is not None:
            _restore(self._random)
            self._random = None

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write one where it is time; not after the last batch, since the epoch's end writes its own."""
        if batch_idx + 1 == trainer.num_training_batches or (batch_idx + 1) % self._accumulate:
            return
        # Clocks differ between processes, and what one writes all must take part in.
        if trainer.should_stop or any_process(self._due(trainer.global_step), pl_module.device):
            self.write(trainer)

    def _due(self, step: int) -> bool:
        if self._every is not None:
            return step % self._every == 0
        return time.monotonic() - self._written > _INTERVAL

    def write(self, trainer: lightning.Trainer) -> None:
        """Write one now, whole or not at all."""
        if is_first():
            with atomic_path(self._file) as temporary:
                trainer.save_checkpoint(temporary)
        else:  # the others take part in gathering what is written, and write nothing
            trainer.save_checkpoint(self._file)
        self._written = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """The random states, and the average of the weights."""
        average = {} if self._average is None else self._average.state_dict()
        return {"random": _random_states(), "average": average}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the average up at once, the random states when training starts."""
        self._random = state_dict["random"]
        if self._average is not None:
            self._average.load_state_dict(state_dict["average"])


def _random_states() -> dict[str, Any]:
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)  # noqa: NPY002 - libraries draw from it
    version, state, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(np.asarray(keys, np.int64)), position, has_gauss, gauss],
        "python": [version, list(state), gauss_next],
    }


def _restore(states: dict[str, Any]) -> None:
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] and torch.cuda.is_available() and len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])
    name, keys, position, has_gauss, gauss = states["numpy"]
    np.random.set_state((name, keys.cpu().numpy().astype(np.uint32), position, has_gauss, gauss))  # noqa: NPY002
    version, state, gauss_next = states["python"]
    random.setstate((version, tuple(state), gauss_next))
