"""Optimisers and learning-rate schedules by name."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from siamese.errors import OptionError, unknown_name

OPTIMIZERS = ("adamw", "adam", "sgd")

# Smith and Topin's cycle as torch and fastai run it: rises from 1/25 of the rate over three tenths of the run, falls
# to 1/10,000 of where it began.
_CYCLE_START, _CYCLE_END, _CYCLE_RISE = 1 / 25, 1 / 25e4, 0.3
# A validation AUC that is higher by less than this is no progress.
_PLATEAU_THRESHOLD = 1e-4


def create_optimizer(
    groups: Iterable[dict[str, Any]], name: str, *, lr: float, weight_decay: float, momentum: float
) -> torch.optim.Optimizer:
    """Build the optimiser called `name`.

    Args:
        groups: parameter groups as torch takes them; `lr` and `weight_decay` of a group override the common ones.
        name: `adamw` (decoupled weight decay, Loshchilov and Hutter 2019), `adam` (weight decay as an L2 term in the
            gradient) or `sgd` (the same, with momentum).
        lr: learning rate, above 0.
        weight_decay: 0 or more.
        momentum: of `sgd`, in [0, 1); the others do not use it.

    Raises:
        OptionError: an unknown name, a value out of range, or nothing that trains.
    """
    kept = [{**group, "params": [each for each in group["params"] if each.requires_grad]} for group in groups]
    kept = [group for group in kept if group["params"]]
    if not kept:
        raise OptionError("no parameter is left to train: freeze fewer stages (--freeze), or choose another --head")
    rates = (lr, *(group.get("lr", lr) for group in kept))
    if not all(0 < rate < math.inf for rate in rates):
        raise OptionError(f"--lr {min(rates):g}: expected a finite number above 0 in every parameter group")
    if not 0 <= weight_decay < math.inf:
        raise OptionError(f"--weight-decay {weight_decay:g}: expected a finite number, 0 or more")
    if not 0 <= momentum < 1:
        raise OptionError(f"--momentum {momentum:g}: expected 0 or more and below 1")
    if name == "adamw":
        return torch.optim.AdamW(kept, lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=weight_decay)
    if name == "adam":
        return torch.optim.Adam(kept, lr=lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=weight_decay)
    if name == "sgd":
        return torch.optim.SGD(kept, lr=lr, momentum=momentum, weight_decay=weight_decay, nesterov=False)
    raise unknown_name("optimizer", name, OPTIMIZERS)


@dataclass(frozen=True)
class Course:
    """The length of a run and the marks on it, in optimiser steps.

    Attributes:
        total: steps of the whole run.
        warmup: steps of the linear warm-up, fewer than `total`; 0 for none.
        drop_every: steps between two drops of the step schedule.
        gamma: what a drop multiplies the rate by, in (0, 1).
    """

    total: int
    warmup: int
    drop_every: int
    gamma: float


Shape = Callable[[int, Course], float]


def _ramp(step: int, course: Course) -> float:
    """Linear from 1 / (W + 1) at the first step to 1 after W steps: the first step is never lost to a rate of 0."""
    return min(1.0, (step + 1) / (course.warmup + 1))


def _constant(step: int, course: Course) -> float:
    return _ramp(step, course)


def _cosine(step: int, course: Course) -> float:
    if step < course.warmup:
        return _ramp(step, course)
    done = min(1.0, (step - course.warmup) / (course.total - course.warmup))
    return (1.0 + math.cos(math.pi * done)) / 2


def _one_cycle(step: int, course: Course) -> float:
    # Counted to the last step of either phase, which reaches the top and the bottom.
    top = max(0.0, (course.warmup or _CYCLE_RISE * course.total) - 1)
    if step < top:
        return _between(_CYCLE_START, 1.0, step / top)
    fall = course.total - 1 - top
    return _between(1.0, _CYCLE_END, min(1.0, (step - top) / fall) if fall > 0 else 0.0)


def _between(start: float, end: float, done: float) -> float:
    return end + (start - end) * (1.0 + math.cos(math.pi * done)) / 2


def _step(step: int, course: Course) -> float:
    return float(_ramp(step, course) * course.gamma ** (step // course.drop_every))


SHAPES: dict[str, Shape] = {
    "cosine": _cosine,
    "one-cycle": _one_cycle,
    "plateau": _constant,
    "step": _step,
    "constant": _constant,
}


class RateSchedule(LRScheduler):
    """Learning rate of each parameter group: its own, times a function of the step, times what reductions left of it.

    The rate is computed anew from the number of the step, never from the rate before it: groups keep their ratios
    exactly, and a resumed run has the same rates to the last bit. `step` is called after every optimiser step,
    whatever the schedule; `observe` after every validation, before the checkpoint is written.

    Args:
        optimizer: whose groups' rates are at their full value.
        shape: share of the full rate by step.
        course: the run.
        patience: validations without progress after which `observe` multiplies the rate by the course's gamma; None
            for never.

    Attributes:
        reduction: product of all reductions so far, in (0, 1].
    """

    def __init__(
        self, optimizer: torch.optim.Optimizer, shape: Shape, course: Course, patience: int | None = None
    ) -> None:
        self.reduction = 1.0
        self._shape, self._course, self._patience = shape, course, patience
        self._best, self._stale = -math.inf, 0
        super().__init__(optimizer)

    def get_lr(self) -> list[float | Tensor]:
        """Rate of each group at the step that comes next."""
        factor = self._shape(self.last_epoch, self._course) * self.reduction
        return [base * factor for base in self.base_lrs]

    def observe(self, auc: float) -> bool:
        """Take note of a validation AUC, and lower the rate after `patience` of them without progress.

        Progress is an AUC higher than the best by more than 1e-4. While the rate warms up, nothing counts as a lack
        of it. Other schedules than `plateau` take no notice.

        Returns:
            Whether the rate was lowered.
        """
        if self._patience is None:
            return False
        if auc > self._best + _PLATEAU_THRESHOLD:
            self._best, self._stale = auc, 0
        elif self.last_epoch >= self._course.warmup:
            self._stale += 1
        if self._stale < self._patience:
            return False
        self._stale = 0
        self.reduce(self._course.gamma)
        return True

    def reduce(self, factor: float) -> None:
        """Multiply the rate of every group by `factor` from the next step to the end of the run."""
        self.reduction *= factor
        for group in self.optimizer.param_groups:
            group["lr"] = group["lr"] * factor
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers; the shape of the schedule is the configuration's, not the checkpoint's."""
        return {
            "step": self.last_epoch,
            "count": self._step_count,
            "base_lrs": list(self.base_lrs),
            "last_lr": list(self._last_lr),
            "reduction": self.reduction,
            "best": self._best,
            "stale": self._stale,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue where `state_dict` was taken; the optimiser loads its own rates."""
        self.last_epoch, self._step_count = state_dict["step"], state_dict["count"]
        self.base_lrs, self._last_lr = list(state_dict["base_lrs"]), list(state_dict["last_lr"])
        self.reduction = state_dict["reduction"]
        self._best, self._stale = state_dict["best"], state_dict["stale"]


def create_schedule(
    optimizer: torch.optim.Optimizer,
    name: str,
    *,
    steps_per_epoch: int,
    epochs: int,
    warmup: float = 0.0,
    step_epochs: int = 10,
    gamma: float = 0.1,
) -> dict[str, Any]:
    """Build the schedule called `name`, as Lightning's `lr_scheduler` entry.

    | name | rate, as a share of the full one, over T steps of which W are warm-up |
    |---|---|
    | `constant` | 1 |
    | `cosine` | (1 + cos(pi (t - W) / (T - W))) / 2, Loshchilov and Hutter 2017, without restarts |
    | `one-cycle` | half a cosine up from 1/25 to 1, half a cosine down to 1/250,000, Smith and Topin 2018 |
    | `step` | times `gamma` after every `step_epochs` epochs, counted from the start of the run |
    | `plateau` | times `gamma` after `step_epochs` validations in a row without a higher AUC |

    Each but `one-cycle` is preceded by, or multiplied with, a linear warm-up, (t + 1) / (W + 1). `one-cycle` is a
    warm-up of its own: `warmup` is the length of its rise, three tenths of the run where it is 0. Momentum is not
    cycled.

    Args:
        optimizer: whose groups' rates are at their full value; their ratios stay as they are.
        name: of the schedule.
        steps_per_epoch: optimiser steps in an epoch: batches over accumulated batches, rounded up.
        epochs: of the whole run.
        warmup: epochs of linear warm-up, 0 or more and fewer than `epochs`; fractions are of an epoch's steps.
        step_epochs: as above, 1 or more.
        gamma: as above, in (0, 1).

    Returns:
        `scheduler` (a `RateSchedule`), `interval` (always "step"), `frequency` and `name`. Not torch's own plateau
        under Lightning's `monitor`: Lightning steps that one after the checkpoint of an epoch is written and not
        again on resumption, so that a resumed run would go on with another rate.

    Raises:
        OptionError: an unknown name or a value out of range.
    """
    if name not in SHAPES:
        raise unknown_name("schedule", name, SHAPES)
    if steps_per_epoch < 1 or epochs < 1:
        raise ValueError(f"steps_per_epoch={steps_per_epoch}, epochs={epochs}: expected 1 or more of each")
    if not 0 <= warmup < epochs:
        raise OptionError(f"--warmup {warmup:g}: expected 0 or more epochs and fewer than --epochs {epochs}")
    if step_epochs < 1:
        raise OptionError(f"--step-epochs {step_epochs}: expected 1 or more")
    if not 0 < gamma < 1:
        raise OptionError(f"--gamma {gamma:g}: expected above 0 and below 1")
    total = steps_per_epoch * epochs
    course = Course(total, min(round(warmup * steps_per_epoch), total - 1), step_epochs * steps_per_epoch, gamma)
    schedule = RateSchedule(optimizer, SHAPES[name], course, step_epochs if name == "plateau" else None)
    return {"scheduler": schedule, "interval": "step", "frequency": 1, "name": "lr"}
