"""Progress of a run: a bar for each epoch, and the mean loss that the history shows."""

import time
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from siamese.progress import progress


class Watch(Callback):
    """Progress of each epoch: loss, images a second, device.

    Attributes:
        images: images shown in training steps.
        seconds: time spent in epochs, validation left out.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self.images = 0
        self.seconds = 0.0
        self._loss, self._batches = 0.0, 0
        self._bar: Any = None
        self._started = 0.0

    @property
    def images_per_second(self) -> float:
        """Of training so far; 0 before the first step."""
        return self.images / self.seconds if self.seconds else 0.0

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """A new mean; of an epoch that is resumed the old one goes on."""
        self._loss, self._batches = 0.0, 0

    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Open the bar at the first batch, of a resumed epoch too."""
        if self._bar is None:
            what = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs} on {self._device}"
            self._bar = progress((), what, int(trainer.num_training_batches), "batch")
            self._bar.update(batch_idx)
            self._started = time.perf_counter()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        self.images += len(pl_module.last.rows)
        now = time.perf_counter()
        self.seconds += now - self._started
        self._started = now
        # A running mean: a single batch's loss says little.
        loss = pl_module.last.value.total
        if bool(loss.isfinite()):
            self._batches += 1
            self._loss += (float(loss) - self._loss) / self._batches
        trainer.callback_metrics["loss"] = loss.new_tensor(self._loss)
        self._bar.set_postfix_str(f"loss {self._loss:.4f}, {self.images_per_second:.0f} images/s", refresh=False)
        self._bar.update()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Close the bar."""
        self._bar.close()
        self._bar = None

    def state_dict(self) -> dict[str, Any]:
        """The mean of the epoch in hand."""
        return {"loss": self._loss, "batches": self._batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with it."""
        self._loss, self._batches = state_dict["loss"], state_dict["batches"]
