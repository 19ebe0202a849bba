"""Evaluates after every epoch and keeps the best of all evaluations, the baseline included."""

import csv
import io
import math
from pathlib import Path
from typing import Any, Literal

import lightning
from lightning.pytorch.callbacks import Callback
from safetensors.torch import load_file, save_file

from siamese.atomic import atomic_path, write_text
from siamese.evaluation.calibration import Calibration
from siamese.evaluation.operating_points import OperatingPoint
from siamese.model.card import ValidationFigures
from siamese.model.network import SiameseNetwork
from siamese.progress import log
from siamese.training.checkpoint import Checkpoints
from siamese.training.processes import answered_by_first, is_first
from siamese.training.validation import Validation

HISTORY = "history.csv"
Select = Literal["auc", "top1"]


class BestKeeper(Callback):
    """Evaluates after every epoch, keeps the best of all evaluations, and ends a run that gets no better.

    The baseline is evaluation 0 and competes like any other: what comes out is never worse on the validation data
    than what went in. Best means highest AUC on the validation pairs, which needs no threshold, or highest top-1
    accuracy of the identity head and of equal ones the highest AUC; of equal ones the earlier.

    Args:
        validation: what to measure on.
        folder: where the best weights and the history go.
        checkpoints: writes what `--resume` needs.
        select: what makes an evaluation the best.
        patience: epochs without a better evaluation before the run ends; None for never.
    """

    def __init__(
        self,
        validation: Validation,
        folder: Path,
        checkpoints: Checkpoints | None = None,
        *,
        select: Select = "auc",
        patience: int | None = None,
    ) -> None:
        self._validation = validation
        self._folder = folder
        self._checkpoints = checkpoints
        self._select: Select = select
        self._patience = patience
        self.history: list[dict[str, float]] = []
        self.stopped = False

    @property
    def best_epoch(self) -> int:
        """The epoch of the best evaluation; 0 is the baseline."""
        merits = [(row["top1"], row["auc"]) if self._select == "top1" else (row["auc"],) for row in self.history]
        return merits.index(max(merits))

    def figures(self, epoch: int) -> ValidationFigures:
        """What was measured after an epoch; 0 is the baseline."""
        row = self.history[epoch]
        return ValidationFigures(**{name: row[name] for name in ValidationFigures.model_fields if name in row})

    def record(self, network: SiameseNetwork, **figures: float) -> bool:
        """Measure a network, and keep its weights if it is the best so far; False if its weights are not finite.

        Args:
            network: with its identity head filled, where validation judges that.
            figures: what else the history shows of the epoch.
        """
        measured = answered_by_first(lambda: self._validation.measure(network))
        if measured is None:
            return False
        row = {"epoch": len(self.history), "loss": math.nan, **figures, **measured.model_dump(exclude_none=True)}
        self.history.append(row)
        if is_first() and self.best_epoch == len(self.history) - 1:
            state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
            with atomic_path(self._best_file()) as temporary:
                save_file(state, temporary)
        if is_first():
            self._write_history()
        return True

    def fit_decisions(self, network: SiameseNetwork) -> tuple[tuple[OperatingPoint, ...], Calibration | None]:
        """Thresholds and calibration of a network, as of `Validation.fit_decisions`."""
        return self._validation.fit_decisions(network)

    def load_best(self, network: SiameseNetwork) -> None:
        """Give a network, built like the best one, its weights."""
        network.load_state_dict(load_file(self._best_file()))

    def clear(self, *, all_files: bool = False) -> None:
        """Remove the weights that are no longer the best; with `all_files` all that only `--resume` needs."""
        if not is_first():
            return
        kept = set() if all_files else {self._best_file()}
        for file in self._folder.glob("best-*.safetensors"):
            if file not in kept:
                file.unlink()

    def _best_file(self) -> Path:
        # Named by epoch: a run that is resumed behind its newest best still finds the one it remembers.
        return self._folder / f"best-{self.best_epoch:04d}.safetensors"

    def _write_history(self) -> None:
        table = io.StringIO()
        names = list(dict.fromkeys(name for row in self.history for name in row))
        writer = csv.DictWriter(table, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.history)
        write_text(self._folder / HISTORY, table.getvalue())

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Measure; then, if the epoch was whole, write the checkpoint that `--resume` continues from."""
        loss = float(trainer.callback_metrics.get("loss", math.nan))
        rate = float(trainer.optimizers[0].param_groups[0]["lr"])
        with pl_module.evaluated() as network:
            finite = self.record(network, loss=loss, lr=rate)
        if not finite:
            log.warning("the weights are no longer finite numbers: training ends with the best so far; lower --lr")
            trainer.should_stop = True
            return
        row = self.history[-1]
        log.info(
            "epoch %d/%s: loss %.4f, validation %s%s",
            *(row["epoch"], trainer.max_epochs, loss, word_figures(self.figures(-1))),
            " (best)" if self.best_epoch == row["epoch"] else "",
        )
        if self.stopped:
            return
        if pl_module.lr_schedulers().observe(row["auc"]):
            log.info("no progress: the learning rate falls")
        self._end_without_progress(trainer)
        if self._checkpoints is not None:
            self._checkpoints.write(trainer)
        self.clear()

    def _end_without_progress(self, trainer: lightning.Trainer) -> None:
        epoch = len(self.history) - 1
        if self._patience is not None and epoch - self.best_epoch >= self._patience:
            log.info("no better evaluation in %d epochs: training ends", epoch - self.best_epoch)
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint remembers."""
        return {"history": self.history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What a resumed run starts from."""
        self.history = list(state_dict["history"])


def word_figures(figures: ValidationFigures) -> str:
    """Validation figures in words, for a line of the log."""
    text = f"AUC {figures.auc:.4f}, accuracy {figures.accuracy:.4f}, EER {figures.eer:.4f}"
    if figures.top1 is None or figures.top5 is None:
        return text
    return f"{text}, top-1 {figures.top1:.4f}, top-5 {figures.top5:.4f}"
