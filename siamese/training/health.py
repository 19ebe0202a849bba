"""Watchers of a run: collapse of the embeddings, and numbers that are not finite."""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, astuple, dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from siamese.errors import OptionError
from siamese.progress import log
from siamese.training.batch_health import BatchHealth

Action = Literal["warn", "skip", "lower", "stop"]
Files = Callable[[], Sequence[str]]

# Steps that a sign of collapse must last: longer than a few unlucky batches, short enough to report within 50.
WINDOW = 20
# Halvings of the rate (to 1/32) after which `lower` stops: what still fails has another cause.
HALVINGS = 5
# Batches in a row that `skip` passes over: by then the weights, not the images, are broken.
SKIPS_IN_A_ROW = 20
_NAMED = 8  # files in a message; the event holds them all

# As long the first batch is what the gap is held against: a healthy run loses none of it so soon.
_EARLY = 50
# Below this spread the mean similarity of all embeddings is above .99.
_ALIKE = 0.1
# Share of the spread, within and between identities, that the gap must explain; chance gives 0.
_SEPARATED = 0.05


@dataclass(frozen=True)
class HealthEvent:
    """Something that a watcher noticed, and what the run is to do about it.

    Attributes:
        step: optimiser step, from 0.
        kind: `collapse` or `non-finite`.
        action: `warn`: go on. `skip`: leave this batch's gradients out. `lower`: the same, and halve the learning
            rate. `stop`: end training with the best so far.
        message: one line that names the step, the values measured and the files; it has been logged.
        files: the batch's, all of them.
    """

    step: int
    kind: Literal["collapse", "non-finite"]
    action: Action
    message: str
    files: tuple[str, ...]


@dataclass
class _Answers:
    """Decides and counts answers; `lower` becomes `stop` when the rate was halved often enough."""

    answer: Action
    events: int = 0
    halvings: int = 0

    def respond(
        self, step: int, kind: Literal["collapse", "non-finite"], found: str, files: Files, *, last: str = ""
    ) -> HealthEvent:
        self.events += 1
        action: Action = "stop" if last else self.answer
        what = {"warn": "training goes on", "skip": "the batch is left out", "stop": f"training stops{last}"}
        if action == "lower" and self.halvings >= HALVINGS:
            action = "stop"
            what["stop"] += f": the rate was halved {HALVINGS} times already; start again with a lower --lr"
        elif action == "lower":
            self.halvings += 1
            what["lower"] = (
                f"the batch is left out and the learning rate halved ({self.halvings} of {HALVINGS} times)"
            )
        names = tuple(files())
        message = f"step {step}: {found}; {what[action]}; {_name(names)}"
        log.warning("%s", message)
        return HealthEvent(step, kind, action, message, names)


def _name(files: tuple[str, ...]) -> str:
    more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
    return f"files: {', '.join(files[:_NAMED])}{more}" if files else "files: not known"


class _Watch:
    """What both watchers count, and the answer that both were given."""

    def __init__(self, option: str, answer: str, known: tuple[Action, Action, Action]) -> None:
        if answer not in known:
            raise OptionError(f"{option} {answer!r}: expected {', '.join(known[:-1])} or {known[-1]}")
        self._answers = _Answers(answer)

    @property
    def events(self) -> int:
        """How many times something was reported."""
        return self._answers.events

    @property
    def halvings(self) -> int:
        """How many times the learning rate was halved."""
        return self._answers.halvings


class NonFiniteWatch(_Watch):
    """Notices a loss or gradients that are not finite, before they reach the weights.

    Args:
        answer: `skip`, `lower` or `stop`. `skip` stops after 20 such batches in a row.

    Raises:
        OptionError: another answer.
    """

    def __init__(self, answer: str) -> None:
        super().__init__("--on-nonfinite", answer, ("skip", "lower", "stop"))
        self._in_a_row = 0

    def check(self, step: int, loss: float, gradient_norm: float | None, files: Files) -> HealthEvent | None:
        """Look at one batch; None where all is finite.

        Call it once a batch: after the backward pass, with both, or at once with the loss when that is not finite.

        Args:
            step: optimiser step, from 0.
            loss: of the batch.
            gradient_norm: of all gradients, unscaled (`gradient_norm`); None to leave them unchecked, as under fp16,
                whose scaler looks for overflows itself and expects some.
            files: gives the names of the batch's files; called only when something is wrong.
        """
        if math.isfinite(loss) and (gradient_norm is None or math.isfinite(gradient_norm)):
            self._in_a_row = 0
            return None
        self._in_a_row += 1
        what = f"loss {loss}" if not math.isfinite(loss) else f"gradient norm {gradient_norm} at loss {loss:.4g}"
        last = ""
        if self._in_a_row > SKIPS_IN_A_ROW:
            last = f": {SKIPS_IN_A_ROW} batches in a row were left out; lower --lr, or look for broken weights"
        found = f"{what} is not finite (bad images or labels, or --lr too high)"
        return self._answers.respond(step, "non-finite", found, files, last=last)

    def state_dict(self) -> dict[str, Any]:
        """Counters, as plain numbers."""
        return {"events": self.events, "halvings": self.halvings, "in_a_row": self._in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on counting where `state` was taken."""
        self._answers.events, self._answers.halvings = state["events"], state["halvings"]
        self._in_a_row = state["in_a_row"]


def gradient_norm(parameters: Sequence[Tensor]) -> Tensor:
    """Euclidean norm of all gradients, a scalar: not finite where any of them is not; 0 where there are none."""
    gradients = [each.grad for each in parameters if each.grad is not None]
    return torch.nn.utils.get_total_norm(gradients) if gradients else torch.zeros(())


@dataclass
class _History:
    start: BatchHealth | None = None
    count: int = 0
    batches: list[BatchHealth] = field(default_factory=list)


class CollapseWatch(_Watch):
    """Notices that the embeddings lose what tells identities apart.

    The first batch, measured before any step, is the start. One of these signs over the last 20 batches is reported:

    - *alike*: in each of them the spread is below .1 (a mean similarity above .99) and below a quarter of the
      start's. An encoder whose features lie in a narrow cone from the start is thus not taken for a collapse.
    - *not separated*: the mean spread is below half of the start's, or the mean rank below a quarter, and the gap
      explains less than 5 % of the squared spread: embeddings draw together, and not by identity.
    - *gap lost*: against the start, or from batch 50 on against the 20 batches before, the mean gap has fallen below
      a third, by more than three standard deviations of a batch's gap, and the mean spread below .6, while the loss
      stands above three quarters (that of triplets near its margin). A rate that is far too high does that within a
      few steps; the slow contraction that hard triplets may begin with (Hermans et al. 2017) does not.

    Args:
        answer: `warn` (once, until the sign has gone), `lower` or `stop`.

    Raises:
        OptionError: another answer.
    """

    def __init__(self, answer: str) -> None:
        super().__init__("--on-collapse", answer, ("warn", "lower", "stop"))
        self._history = _History()
        self._reported = False

    def check(self, step: int, health: BatchHealth, files: Files) -> HealthEvent | None:
        """Look at one batch; None where all is well.

        Args:
            step: optimiser step, from 0.
            health: `measure_batch` of it; of embeddings gathered from all devices, so that all decide alike.
            files: gives the names of the batch's files; called only when something is wrong.
        """
        if not math.isfinite(health.spread) or not math.isfinite(health.loss):
            return None  # `NonFiniteWatch` has it
        history = self._history
        if history.start is None:
            history.start = health
        history.count += 1
        history.batches = [*history.batches, health][-2 * WINDOW :]
        if len(history.batches) < WINDOW:
            return None
        sign = _sign(history.start, history.batches, history.count)
        known, self._reported = self._reported, sign is not None
        if sign is None or known:
            return None
        found = f"collapse: {sign} ({health}; at the start {history.start}); lower --lr or mine easier tuples"
        event = self._answers.respond(step, "collapse", found, files)
        if event.action != "warn":
            self._reported = False
            history.batches = []  # a lower rate gets time to show
        return event

    def state_dict(self) -> dict[str, Any]:
        """Counters and the last batches, as plain numbers."""
        start = self._history.start
        return {
            "events": self.events,
            "halvings": self.halvings,
            "reported": self._reported,
            "count": self._history.count,
            "start": None if start is None else asdict(start),
            "batches": [asdict(each) for each in self._history.batches],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on watching where `state` was taken."""
        self._answers.events, self._answers.halvings = state["events"], state["halvings"]
        self._reported = state["reported"]
        start = None if state["start"] is None else BatchHealth(**state["start"])
        self._history = _History(start, state["count"], [BatchHealth(**each) for each in state["batches"]])


def _sign(start: BatchHealth, batches: list[BatchHealth], count: int) -> str | None:
    """What the last batches show, in words; None where they show nothing."""
    spread, rank, gap, _ = (recent := _columns(batches[-WINDOW:])).T
    if (spread < min(_ALIKE, start.spread / 4)).all():
        return f"for {WINDOW} steps all embeddings are nearly alike"
    if np.isnan(gap).sum() > WINDOW // 2:
        return None
    drawn_together = spread.mean() < start.spread / 2 or rank.mean() < start.rank / 4
    if drawn_together and np.nanmean(gap) < _SEPARATED * spread.mean() ** 2:
        return f"for {WINDOW} steps embeddings draw together, and not by identity"
    earlier = _columns([start] if count <= _EARLY else batches[:-WINDOW])
    if count > WINDOW and len(earlier) and not np.isnan(earlier[:, 2]).all() and _gap_is_lost(earlier, recent):
        return "within a few steps most of the similarity gap is lost, and the loss has not fallen for it"
    return None


def _gap_is_lost(earlier: NDArray[np.float64], recent: NDArray[np.float64]) -> bool:
    before, now = np.nanmean(earlier, axis=0), np.nanmean(recent, axis=0)
    deviation = np.nanstd(recent[:, 2], ddof=1)
    lost = now[2] < before[2] / 3 and before[2] - now[2] > 3 * deviation
    return bool(lost and now[0] < 0.6 * before[0] and now[3] > 0.75 * before[3])


def _columns(batches: list[BatchHealth]) -> NDArray[np.float64]:
    """Spread, rank, gap and loss, shape (N, 4)."""
    rows = [astuple(each)[:4] for each in batches]
    return np.array(rows, dtype=np.float64).reshape(-1, 4)
