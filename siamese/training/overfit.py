"""The overfit check: can training drive the objective down on a handful of pairs?

A network that cannot even learn N pairs by heart has a fault that more data will not mend: a rate that is far off,
frozen weights, wrong labels, a wrong preprocessing (Goodfellow et al., "Deep Learning", 2016, section 11.5).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamese.evaluation.metrics import accuracy_at
from siamese.evaluation.thresholds import best_accuracy_threshold

# At the end at most this share of the loss at the start, and at least this share of the pairs decided rightly.
_LOSS_LEFT, _RIGHT = 0.5, 0.98
# Each end of the curve is the median over this share of it: a single batch says little.
_END = 0.05


@dataclass(frozen=True)
class OverfitVerdict:
    """Outcome of the overfit check.

    Attributes:
        passed: whether the pairs were learnt.
        start: loss at the start of the curve.
        end: loss at its end.
        right: share of pairs decided rightly, in [0, 1].
        line: one line that says what was found, what was expected, and, when it failed, what to do.
    """

    passed: bool
    start: float
    end: float
    right: float
    line: str


def share_decided_rightly(similarities: ArrayLike, same: ArrayLike) -> float:
    """Share of the pairs that the best threshold decides rightly, in [0, 1].

    Args:
        similarities: of the trained network on the pairs that it learnt, without augmentation; shape (N,).
        same: labels, shape (N,), of both kinds.
    """
    return accuracy_at(similarities, same, best_accuracy_threshold(similarities, same))


def judge_overfit(losses: Sequence[float], right: float, pairs: int) -> OverfitVerdict:
    """Decide whether training learnt the pairs by heart.

    It did where at least 98 % of them are decided rightly, and the loss has fallen by half of its size at the start
    or more; a loss that is 0 from the start has nothing to fall to, and passes while it stays there.

    Args:
        losses: of every step, in order, at least two.
        right: share of the pairs decided rightly at the end (`share_decided_rightly`), in [0, 1].
        pairs: how many there are.

    Raises:
        ValueError: fewer than two losses: nothing can be said.
    """
    if len(losses) < 2:
        raise ValueError(f"{len(losses)} losses: expected at least two, of the first step and of the last")
    curve = np.asarray(losses, dtype=np.float64)
    end_length = max(1, math.floor(_END * len(curve)))
    start, end = float(np.median(curve[:end_length])), float(np.median(curve[-end_length:]))
    failure = _failure(curve, start, end, right)
    hits = round(right * pairs)
    found = f"loss {start:.4g} -> {end:.4g} in {len(curve)} steps, {hits} of {pairs} pairs decided rightly"
    if failure is None:
        return OverfitVerdict(True, start, end, right, f"--overfit {pairs}: passed: {found}")
    expected = f"expected {_allowed(start):.4g} or less and {math.ceil(_RIGHT * pairs)} or more"
    return OverfitVerdict(False, start, end, right, f"--overfit {pairs}: failed: {found}; {expected}; {failure}")


def _failure(curve: NDArray[np.float64], start: float, end: float, right: float) -> str | None:
    """What to do about a curve that fails; None where it passes."""
    finite = np.isfinite(curve)
    if not finite.all():
        return f"the loss is {curve[np.argmin(finite)]} at step {int(np.argmin(finite)) + 1}: lower --lr"
    learnt = right >= _RIGHT
    if learnt and end <= _allowed(start):
        return None
    if end > start:
        return "the loss rises: lower --lr"
    if end > start - 0.05 * abs(start):
        return "the loss hardly moves: raise --lr, or unfreeze more with --freeze"
    if learnt:
        return "it falls too slowly: raise --lr or --epochs"
    return "it falls, but not for every pair: check the labels with `siamese audit`, or raise --epochs"


def _allowed(start: float) -> float:
    """The highest loss at the end that passes; some losses start below 0."""
    return start - (1.0 - _LOSS_LEFT) * abs(start)
