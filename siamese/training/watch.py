"""What watches a run: the progress bar, the keeper of the best, and the hand that stops it."""

import csv
import io
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file, save_file

from siamese.atomic import atomic_path, write_text
from siamese.evaluation.operating_points import OperatingPoint
from siamese.model.folder import ValidationFigures
from siamese.model.network import SiameseNetwork
from siamese.progress import log, progress
from siamese.training.validation import Validation

# Seconds within which signals to stop count as the same one.
ONE_WISH = 1.0
LAST, HISTORY = "last.ckpt", "history.csv"


class BestKeeper(Callback):
    """Evaluates after every epoch, keeps the best of all evaluations, and makes the run resumable.

    The baseline is evaluation 0 and competes like any other: what comes out is never worse on the validation pairs
    than what went in. Best means highest AUC, which needs no threshold; of equal ones the earlier.

    Args:
        validation: the pairs to measure on.
        folder: where the best weights, the last checkpoint and the history go.
    """

    def __init__(self, validation: Validation, folder: Path) -> None:
        self._validation = validation
        self._folder = folder
        self.history: list[dict[str, float]] = []
        self.stopped = False

    @property
    def best_epoch(self) -> int:
        """The epoch of highest validation AUC; 0 is the baseline."""
        aucs = [row["auc"] for row in self.history]
        return aucs.index(max(aucs))

    def figures(self, epoch: int) -> ValidationFigures:
        """What was measured after an epoch; 0 is the baseline."""
        row = self.history[epoch]
        return ValidationFigures(auc=row["auc"], accuracy=row["accuracy"], eer=row["eer"])

    def record(self, network: SiameseNetwork, loss: float = float("nan")) -> bool:
        """Measure a network, and keep its weights if it is the best so far; False if its weights are not finite."""
        figures = self._validation.measure(network)
        if figures is None:
            return False
        self.history.append({"epoch": len(self.history), "loss": loss, **figures.model_dump()})
        if self.best_epoch == len(self.history) - 1:
            state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
            with atomic_path(self._best_file()) as temporary:
                save_file(state, temporary)
        table = io.StringIO()
        writer = csv.DictWriter(table, list(self.history[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.history)
        write_text(self._folder / HISTORY, table.getvalue())
        return True

    def operating_points(self, network: SiameseNetwork) -> tuple[OperatingPoint, ...]:
        """Thresholds of a network fitted on the validation pairs."""
        return self._validation.operating_points(network)

    def load_best(self, network: SiameseNetwork) -> None:
        """Give a network, built like the best one, its weights."""
        network.load_state_dict(load_file(self._best_file()))

    def clear(self, *, all_files: bool = False) -> None:
        """Remove the weights that are no longer the best; with `all_files` all that only `--resume` needs."""
        kept = set() if all_files else {self._best_file()}
        for file in self._folder.glob("best-*.safetensors"):
            if file not in kept:
                file.unlink()
        if all_files:
            (self._folder / LAST).unlink(missing_ok=True)

    def _best_file(self) -> Path:
        # Named by epoch: a run that is resumed behind its newest best still finds the one it remembers.
        return self._folder / f"best-{self.best_epoch:04d}.safetensors"

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Measure; then, if the epoch was whole, write the checkpoint that `--resume` continues from."""
        loss = float(trainer.callback_metrics.get("loss", float("nan")))
        if not self.record(pl_module.network, loss):
            log.warning("the weights are no longer finite numbers: training ends with the best so far; lower --lr")
            trainer.should_stop = True
            return
        row, epochs = self.history[-1], trainer.max_epochs
        log.info(
            "epoch %d/%s: loss %.4f, validation AUC %.4f, accuracy %.4f, EER %.4f%s",
            *(row["epoch"], epochs, loss, row["auc"], row["accuracy"], row["eer"]),
            " (best)" if self.best_epoch == row["epoch"] else "",
        )
        if not self.stopped:
            with atomic_path(self._folder / LAST) as temporary:
                trainer.save_checkpoint(temporary)
            self.clear()

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint remembers."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What a resumed run starts from."""
        self.history = list(state_dict["history"])


class Watch(Callback):
    """Progress of each epoch: loss, images a second, device.

    Attributes:
        images: images encoded in training steps.
        seconds: time spent in epochs, validation left out.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self.images = 0
        self.seconds = 0.0
        self._loss = 0.0
        self._bar: Any = None
        self._started = 0.0

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Open the bar."""
        what = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs} on {self._device}"
        self._bar = progress((), what, int(trainer.num_training_batches), "batch")
        self._started, self._loss = time.perf_counter(), 0.0

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar."""
        self.images += len(batch[0])
        now = time.perf_counter()
        self.seconds += now - self._started
        self._started = now
        # A running mean: a single batch's loss says little.
        self._loss += (float(outputs["loss"]) - self._loss) / (batch_idx + 1)
        trainer.callback_metrics["loss"] = outputs["loss"].new_tensor(self._loss)
        self._bar.set_postfix_str(f"loss {self._loss:.4f}, {self.images / self.seconds:.0f} images/s", refresh=False)
        self._bar.update()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Close the bar."""
        self._bar.close()


class _Handlers(Callback):
    """Sets signal handlers anew when training starts: Lightning puts one of its own around that of SIGTERM, which
    ends the process without a model.
    """

    def __init__(self, handlers: dict[signal.Signals, Callable[[int, FrameType | None], None]]) -> None:
        self._handlers = handlers

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Lightning has set its handlers by now."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler)


@contextmanager
def stoppable(trainer: lightning.Trainer, keeper: BestKeeper) -> Iterator[None]:
    """Let the first Ctrl-C or SIGTERM end training after the batch in hand, with the best so far; a second aborts."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    asked: list[float] = []

    def stop(number: int, frame: FrameType | None) -> None:
        asked.append(time.monotonic())
        if len(asked) > 1:
            # `timeout` and some schedulers signal the process and its group: that is one wish, not two.
            if asked[-1] - asked[0] > ONE_WISH:
                raise KeyboardInterrupt
            return
        log.warning("stopping after this batch, with the best so far (Ctrl-C again aborts)")
        keeper.stopped = True
        trainer.should_stop = True

    before = {each: signal.signal(each, stop) for each in (signal.SIGINT, signal.SIGTERM)}
    trainer.callbacks.append(_Handlers(dict.fromkeys(before, stop)))  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
