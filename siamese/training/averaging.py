"""Exponential moving average of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from siamese.errors import OptionError


def decay_at(updates: int, decay: float) -> float:
    """Decay of the update that follows n others: min(decay, (1 + n) / (10 + n)).

    Without the correction the average would stand near the first weights for the first 1 / (1 - decay) steps; it is
    the one of TensorFlow's `ExponentialMovingAverage`.
    """
    return min(decay, (1 + updates) / (10 + updates))


class WeightAverage:
    """Keeps w' = d w' + (1 - d) w of a module's weights w, after every optimiser step (Polyak and Juditsky 1992).

    Running statistics of BatchNorm are averaged like the weights, since those of the trained weights do not fit the
    averaged ones; buffers of whole numbers (counters) are copied. The first update takes the weights as they are.

    Args:
        module: what is trained; build the average before `torch.compile` or DDP wrap it.
        decay: d at its highest, in (0, 1); 0.999 looks back over some 1,000 steps.

    Raises:
        OptionError: `decay` out of range.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise OptionError(f"--ema {decay:g}: expected above 0 and below 1, for example 0.999")
        self._decay = decay
        self._trained: list[Tensor] | None = None
        self._average = AveragedModel(module, multi_avg_fn=self._blend, use_buffers=True)
        self._average.requires_grad_(False)

    @property
    def updates(self) -> int:
        """How many times the average was updated."""
        return int(self._average.n_averaged)

    def update(self, module: nn.Module) -> None:
        """Take the weights of `module` into the average; call it after every optimiser step.

        Raises:
            RuntimeError: within `applied`, where the module holds the average itself.
        """
        if self._trained is not None:
            raise RuntimeError("update() within applied(): the module holds the averaged weights")
        self._average.update_parameters(module)

    @contextmanager
    def applied(self, module: nn.Module) -> Iterator[None]:
        """Give `module` the averaged weights for the time of a `with` block, then the trained ones back, bit for bit.

        Before the first update the average is the weights that it was built from. Tensors keep their identity, so an
        optimiser of theirs goes on. Checkpoints to resume from are written outside the block.

        Raises:
            RuntimeError: within another such block.
        """
        if self._trained is not None:
            raise RuntimeError("applied() within applied(): the module already holds the averaged weights")
        self._trained = [tensor.detach().clone() for tensor in _tensors(module)]
        try:
            _copy(_tensors(self._average.module), _tensors(module))
            yield
        finally:
            _copy(self._trained, _tensors(module))
            self._trained = None

    def to(self, device: torch.device | str) -> None:
        """Move the average to a device: that of the module, unless memory is short."""
        self._average.module.to(device)

    def state_dict(self) -> dict[str, Any]:
        """The average and its count of updates, for a checkpoint."""
        return dict(self._average.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with an average that was saved.

        Raises:
            RuntimeError: torch's, where it was taken of another module.
        """
        self._average.load_state_dict(state)

    def _blend(self, averaged: Any, current: Any, updates: Tensor | int) -> None:
        if averaged[0].is_floating_point():
            # The count of the average itself lies on the CPU: `updates` on a GPU would wait for it at every step.
            blend = get_ema_multi_avg_fn(decay_at(self.updates, self._decay))  # type: ignore[no-untyped-call]
            blend(averaged, current, updates)
        else:
            _copy(current, averaged)


class Averaging(Callback):
    """Takes the weights into the average after every optimiser step; its place is before what writes checkpoints."""

    def __init__(self) -> None:
        self._step = 0

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        """Count from where the run begins, or goes on."""
        self._step = trainer.global_step

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Batches whose gradients accumulate make one step."""
        if trainer.global_step > self._step:
            self._step = trainer.global_step
            pl_module.average.update(pl_module.trained)


def _tensors(module: nn.Module) -> Iterator[Tensor]:
    return chain(module.parameters(), module.buffers())


@torch.no_grad()
def _copy(sources: Any, targets: Any) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source)
