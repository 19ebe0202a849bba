"""Where the figures of a run go: `steps.csv` always; TensorBoard, Weights & Biases and MLflow where asked for."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import Logger
from torch import Tensor

from siamese.config import TrainConfig
from siamese.losses.objective import Objective
from siamese.progress import log
from siamese.training.health import gradient_norm
from siamese.training.loggers import create_loggers, end_logger
from siamese.training.processes import is_first
from siamese.training.step_log import STEPS, StepLog

# Rows that wait in memory: figures stay on their device until then, and no step waits for them.
FLUSH_EVERY = 50
# A logger gets every so many steps: each may be a request to a server.
TRACK_EVERY = 10

Figures = Mapping[str, float | Tensor | None]


class Tracker:
    """Sends the figures of steps and epochs to `steps.csv` and to the loggers of a run.

    Figures may be tensors: they stay where they are, and are read in one transfer every `FLUSH_EVERY` steps. In a run
    of several processes only the first one writes. A logger that fails is reported and gets no more; training goes
    on, and `steps.csv` is complete.

    Args:
        folder: the run folder.
        terms: names of the terms of the objective.
        loggers: from `create_loggers`.

    Example:
        >>> tracker = Tracker(Path("model/run"), ["contrastive"])  # doctest: +SKIP
        >>> tracker.step(1, 1, {"loss": 0.5, "loss/contrastive": 0.5, "lr": 1e-4})  # doctest: +SKIP
    """

    def __init__(self, folder: Path, terms: Sequence[str] = (), loggers: Sequence[Logger] = ()) -> None:
        self._steps = StepLog(folder / STEPS, terms)
        self._loggers = list(loggers)
        self._waiting: list[dict[str, float | Tensor]] = []

    def resume_at(self, step: int) -> None:
        """Go on behind a step, as `StepLog.resume_at` does; to be called before the first step of a resumed run."""
        if is_first():
            self._steps.resume_at(step)

    def step(self, step: int, epoch: int, figures: Figures) -> None:
        """Note a step.

        Args:
            step: counted from 1, rising.
            epoch: counted from 1.
            figures: `loss`, `loss/TERM`, and any of `step_log.FIGURES`: numbers, tensors of one element, or None for
                what was not measured.

        Raises:
            ValueError: a figure of another name.
        """
        if unknown := figures.keys() - set(self._steps.columns):
            raise ValueError(f"figures {sorted(unknown)}: known are {', '.join(self._steps.columns)}")
        if not is_first():
            return
        kept = {
            name: value.detach() if isinstance(value, Tensor) else value
            for name, value in figures.items()
            if value is not None
        }
        self._waiting.append({"step": step, "epoch": epoch, **kept})
        if len(self._waiting) >= FLUSH_EVERY:
            self.flush()

    def epoch(self, step: int, epoch: int, figures: Mapping[str, float]) -> None:
        """Send the figures of an evaluation to the loggers, under `val/NAME`; in a file they are in `history.csv`.

        Args:
            step: the last step before it; 0 for the baseline.
            epoch: 0 for the baseline.
            figures: by name; what is not finite is left out.
        """
        if not is_first():
            return
        self.flush()
        finite = {f"val/{name}": float(value) for name, value in figures.items() if math.isfinite(value)}
        self._send([(step, {**finite, "epoch": float(epoch)})])
        self._each(lambda logger: logger.save())

    def flush(self) -> None:
        """Write what waits; to be called before every checkpoint, so that a run resumed from it misses no row."""
        if not self._waiting:
            return
        rows, self._waiting = _numbers(self._waiting), []
        self._steps.append(rows)
        chosen = [row for row in rows if row["step"] % TRACK_EVERY == 0 or row["step"] == 1]
        self._send([(int(row["step"]), _named(row)) for row in chosen])

    def close(self, *, succeeded: bool = True) -> None:
        """Write what waits, and end the loggers."""
        self.flush()
        self._each(lambda logger: end_logger(logger, succeeded=succeeded))
        self._loggers = []

    def _send(self, items: Sequence[tuple[int, dict[str, float]]]) -> None:
        def send(logger: Logger) -> None:
            for step, figures in items:
                logger.log_metrics(figures, step)

        self._each(send)

    def _each(self, call: Callable[[Logger], None]) -> None:
        for logger in list(self._loggers):
            try:
                call(logger)
            except Exception as error:  # a server that goes away may raise anything, and must not cost the run
                self._loggers.remove(logger)
                reason = " ".join(str(error).split())[:200] or type(error).__name__
                log.warning("%s failed and gets no more figures: %s", type(logger).__name__, reason)


class TrackSteps(Callback):
    """Notes every batch of a run, and keeps `steps.csv` in step with the checkpoints.

    Its place among the callbacks is before the one that writes checkpoints: a batch that is in a checkpoint is noted.

    Attributes:
        steps: batches so far, those before a resumption too.

    Args:
        tracker: where the figures go.
        more: figures that others know of the step in hand (`spread`, `gap`), asked for at the end of each batch.
    """

    def __init__(self, tracker: Tracker, more: Callable[[], Figures] | None = None) -> None:
        self._tracker, self._more = tracker, more
        self._of_update: dict[str, float | Tensor] = {}
        self._started = 0.0
        self.steps = 0

    def on_train_batch_start(self, trainer: lightning.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """The clock of a step runs from the end of the last one, so that waiting for data counts."""
        self._of_update = {}  # where batches accumulate, most have none
        if batch_idx == 0 or not self._started:
            self._started = time.perf_counter()

    def on_before_optimizer_step(self, trainer: lightning.Trainer, pl_module: Any, optimizer: Any) -> None:
        """The gradients are whole and unscaled, and not clipped yet; the rate is that of this update."""
        groups = optimizer.param_groups  # the heads' first
        left = [each for group in groups for each in group["params"] if each.grad is not None]
        self._of_update = {"lr": groups[0]["lr"]}
        if left:  # of a batch that was left out for its numbers there is no norm, and 0 would be a lie
            self._of_update["grad_norm"] = gradient_norm(left)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note the batch."""
        self.steps += 1
        now = time.perf_counter()
        last = pl_module.last
        figures: dict[str, float | Tensor | None] = {
            "loss": last.value.total,
            **{f"loss/{name}": value for name, value in last.value.terms.items()},
            **self._of_update,
            "images_per_second": len(last.rows) / (now - self._started),
            "active": last.value.active,
        }
        self._started = now
        self._tracker.step(self.steps, trainer.current_epoch + 1, {**figures, **(self._more() if self._more else {})})

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint remembers; the rows up to it are written before it is."""
        self._tracker.flush()
        return {"steps": self.steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on behind the last batch of the checkpoint."""
        self.steps = state_dict["steps"]
        self._tracker.resume_at(self.steps)


class TrackEvaluations(Callback):
    """Sends every evaluation to the loggers, the baseline too; its place is behind the callback that evaluates.

    Args:
        tracker: where the figures go.
        steps: counts the batches; its place is before any callback that writes checkpoints.
        history: the evaluations so far, the baseline first.
    """

    def __init__(
        self, tracker: Tracker, steps: TrackSteps, history: Callable[[], Sequence[Mapping[str, float]]]
    ) -> None:
        self._tracker, self._steps, self._history = tracker, steps, history
        self._sent = 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Send the baseline; of a resumed run everything was sent before."""
        if self._steps.steps:
            self._sent = len(self._history())
        self._send()

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Send what is new."""
        self._send()

    def _send(self) -> None:
        for row in self._history()[self._sent :]:
            figures = {name: value for name, value in row.items() if name != "epoch"}
            self._tracker.epoch(self._steps.steps, int(row["epoch"]), figures)
        self._sent = len(self._history())


def start_tracker(config: TrainConfig, run: Path, objective: Objective, checkpoint: Path | None) -> Tracker:
    """The tracker of a run that begins, or goes on from a checkpoint.

    Args:
        config: of the run.
        run: the run folder.
        objective: whose terms are noted.
        checkpoint: to go on from; None for a run that begins.

    Raises:
        OptionError: a tracker that does not start.
    """
    resumed_at = None if checkpoint is None else _steps_in(checkpoint)
    loggers = create_loggers(config.track, run, config.model_dump(mode="json"), resumed_at=resumed_at)
    return Tracker(run, list(objective.losses), loggers)


def _steps_in(checkpoint: Path) -> int:
    callbacks = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)["callbacks"]
    return int(callbacks[TrackSteps.__qualname__]["steps"])


def _named(row: Mapping[str, float]) -> dict[str, float]:
    figures = {f"train/{name}": value for name, value in row.items() if name not in ("step", "epoch")}
    return {**figures, "epoch": row["epoch"]}


def _numbers(rows: Sequence[Mapping[str, float | Tensor]]) -> list[dict[str, float]]:
    """Rows with numbers for tensors: one transfer from each device, not one for each tensor."""
    found: dict[torch.device, list[tuple[int, str, Tensor]]] = {}
    numbers: list[dict[str, float]] = []
    for place, row in enumerate(rows):
        numbers.append({})
        for name, value in row.items():
            if isinstance(value, Tensor):
                found.setdefault(value.device, []).append((place, name, value))
                numbers[place][name] = math.nan  # keeps its place
            else:
                numbers[place][name] = value
    for items in found.values():
        values = torch.stack([tensor.reshape(()).float() for _, _, tensor in items]).tolist()
        for (place, name, _), value in zip(items, values, strict=True):
            numbers[place][name] = value
    return numbers
