"""Carries out what the watchers of collapse and of non-finite numbers decide."""

from collections.abc import Sequence
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from siamese.training.batch_health import BatchHealth, measure_batch
from siamese.training.health import CollapseWatch, HealthEvent, NonFiniteWatch, gradient_norm


class Guard(Callback):
    """Leaves broken batches out, lowers the learning rate, or ends the run, as configured.

    Its place among the callbacks is before those that note steps or write checkpoints.

    Args:
        on_collapse: `warn`, `lower` or `stop`.
        on_nonfinite: `skip`, `lower` or `stop`.
        paths: of the images, by row.

    Attributes:
        health: of the last batch; None before the first.
    """

    def __init__(self, on_collapse: str, on_nonfinite: str, paths: Sequence[str]) -> None:
        self._collapse, self._nonfinite = CollapseWatch(on_collapse), NonFiniteWatch(on_nonfinite)
        self._paths = paths
        self.health: BatchHealth | None = None

    @property
    def events(self) -> dict[str, int]:
        """How often either was noticed."""
        return {"collapse": self._collapse.events, "nonfinite": self._nonfinite.events}

    def figures(self) -> dict[str, float]:
        """What is known of the step in hand, for the log of steps."""
        return {} if self.health is None else {"spread": self.health.spread, "gap": self.health.gap}

    def on_before_optimizer_step(self, trainer: lightning.Trainer, pl_module: Any, optimizer: Any) -> None:
        """Keep numbers that are not finite from the weights: without gradients, an optimiser changes nothing."""
        parameters = [each for group in optimizer.param_groups for each in group["params"]]
        # Under fp16 gradients overflow now and then: the scaler notices, skips the step and scales less.
        norm = None if trainer.precision == "16-mixed" else float(gradient_norm(parameters))
        last = pl_module.last
        event = self._nonfinite.check(
            trainer.global_step, float(last.value.total), norm, lambda: self._files(last.rows.tolist())
        )
        if event is None:
            return
        if norm is not None:
            for each in parameters:
                each.grad = None
        self._answer(event, trainer, pl_module)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at the embeddings of the batch."""
        last = pl_module.last
        if len(last.embeddings) < 2:
            return
        self.health = measure_batch(last.embeddings, last.index, last.value.total, last.value.active)
        event = self._collapse.check(trainer.global_step, self.health, lambda: self._files(last.rows.tolist()))
        if event is not None:
            self._answer(event, trainer, pl_module)

    def _answer(self, event: HealthEvent, trainer: lightning.Trainer, pl_module: Any) -> None:
        if event.action == "lower":
            pl_module.lr_schedulers().reduce(0.5)
        if event.action == "stop":
            trainer.should_stop = True

    def _files(self, rows: list[int]) -> list[str]:
        return [self._paths[row] for row in rows]

    def state_dict(self) -> dict[str, Any]:
        """Counters and what the watchers remember."""
        return {"collapse": self._collapse.state_dict(), "nonfinite": self._nonfinite.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on watching."""
        self._collapse.load_state_dict(state_dict["collapse"])
        self._nonfinite.load_state_dict(state_dict["nonfinite"])
