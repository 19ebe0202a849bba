"""Learning-rate range test: which rate to start from, found by trying them all (Smith, WACV 2017)."""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from siamese.errors import OptionError

# Fewer finite losses than this make no curve.
_FEWEST = 10
# Width of the smoothing, as a share of the curve: one decade of eight.
_SMOOTHING = 0.04
# The fall must be this many standard errors of the smoothed curve, and this share of the loss at the start.
_CERTAINTY, _WORTHWHILE = 5.0, 0.02
# The steepest point is looked for where the loss has fallen by this share of its fall, and not yet by all but it.
_SURE = 0.1
# The test ends early where the mean of the last losses is this many times the highest of the first ones.
_BLOWN_UP, _WINDOW = 4.0, 5


@dataclass(frozen=True)
class RangeTest:
    """Losses by learning rate.

    Attributes:
        rates: as tried, rising by a constant factor, shape (N,).
        losses: of the batch before the step at that rate, shape (N,); the last may be infinite or NaN.
        smoothed: the same, smoothed over neighbours, shape (N,).
        suggestion: the rate to start from; None where the curve supports none.
        reason: one line that says why.
    """

    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    suggestion: float | None
    reason: str


def find_rate(
    loss: Callable[[], Tensor],
    optimizer: torch.optim.Optimizer,
    modules: Sequence[nn.Module],
    *,
    lowest: float = 1e-7,
    highest: float = 10.0,
    steps: int = 100,
    clip: float = 0.0,
) -> RangeTest:
    """Train `steps` steps at rates that rise from `lowest` to `highest`, put everything back, and suggest a rate.

    The rates are those of the group whose rate is highest; other groups keep their ratio to it. Afterwards
    parameters, buffers, the optimiser's state, gradients and the random states of torch, NumPy and Python are what
    they were, to the last bit, also when the test is interrupted. (Lightning's `Tuner.lr_find` gives every group the
    same rate, and goes through a checkpoint on disk.)

    Args:
        loss: the objective of the next batch, a scalar to differentiate; as in training, with its precision.
        optimizer: over the parameters of `modules`.
        modules: everything with weights or buffers that a step changes: network and objective.
        lowest: first rate, above 0.
        highest: last rate.
        steps: how many rates, 20 or more.
        clip: gradient norm to clip at, as in training; 0 for none.

    Raises:
        OptionError: rates or steps that make no range.
    """
    groups = optimizer.param_groups
    full = max(group["lr"] for group in groups)
    ratios = [group["lr"] / full for group in groups]

    def step(rate: float) -> float:
        for group, ratio in zip(groups, ratios, strict=True):
            group["lr"] = rate * ratio
        optimizer.zero_grad()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        if clip:
            torch.nn.utils.clip_grad_norm_([each for group in groups for each in group["params"]], clip)
        optimizer.step()
        return float(value.detach())

    with _random_states_kept(), restored(modules, optimizer):
        return range_test(step, lowest=lowest, highest=highest, steps=steps)


@contextmanager
def restored(modules: Sequence[nn.Module], optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Put back, at the end of a `with` block, what training changes: weights, buffers and the optimiser's state.

    What a module keeps in plain attributes stays changed.
    """
    tensors = [tensor for module in modules for tensor in (*module.parameters(), *module.buffers())]
    before = [tensor.detach().clone() for tensor in tensors]
    state = deepcopy(optimizer.state_dict())
    try:
        yield
    finally:
        optimizer.zero_grad()
        optimizer.load_state_dict(state)
        with torch.no_grad():
            for tensor, value in zip(tensors, before, strict=True):
                tensor.copy_(value)


@contextmanager
def _random_states_kept() -> Iterator[None]:
    """As Lightning's `isolate_rng`, which does not put them back after an exception."""
    python, array = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng():  # every GPU's too
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(array)  # noqa: NPY002


def range_test(step: Callable[[float], float], *, lowest: float, highest: float, steps: int) -> RangeTest:
    """Call `step` with rising rates, and read the losses that it returns.

    It ends early at a loss that is not finite, or where the losses have grown to four times those at the start.

    Raises:
        OptionError: rates or steps that make no range.
    """
    if not 0 < lowest < highest < math.inf:
        raise OptionError(f"learning rates from {lowest:g} to {highest:g}: expected 0 < lowest < highest")
    if steps < 2 * _FEWEST:
        raise OptionError(f"learning-rate finder with {steps} steps: expected {2 * _FEWEST} or more")
    rates, losses = np.geomspace(lowest, highest, steps), []
    for rate in rates:
        losses.append(step(float(rate)))
        if not math.isfinite(losses[-1]) or _has_blown_up(losses):
            break
    tried = np.asarray(losses, dtype=np.float64)
    rates = rates[: len(tried)]
    suggestion, reason = suggest_rate(rates, tried)
    return RangeTest(rates, tried, smooth(tried), suggestion, reason)


def _has_blown_up(losses: list[float]) -> bool:
    recent = sum(losses[-_WINDOW:]) / _WINDOW
    return len(losses) > _FEWEST and recent > _BLOWN_UP * max(map(abs, losses[:_WINDOW]))


def smooth(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over neighbours with Gaussian weights, which a running mean's lag does not shift to higher rates.

    What is not finite counts for nothing; where nothing finite is near, NaN. A loss above twice the highest of the
    first ones counts as twice that: the blow-up at the end would else reach far back into the fall before it.
    """
    weights = _weights(len(losses))
    finite = np.isfinite(losses)
    near = weights @ finite
    ceiling = 2.0 * max(float(np.abs(losses[:_WINDOW]).max()), np.finfo(np.float64).tiny)
    sums = weights @ np.where(finite, np.minimum(losses, ceiling), 0.0)
    return np.where(near > 0, sums / np.where(near > 0, near, 1.0), np.nan)


def _weights(count: int) -> NDArray[np.float64]:
    """Weights of all losses in the smoothed value of each; rows sum to 1."""
    width = max(1.0, _SMOOTHING * count)
    steps = np.arange(count)
    weights = np.exp(-0.5 * ((steps[:, None] - steps[None, :]) / width) ** 2)
    weights[weights < 1e-4] = 0.0
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def suggest_rate(rates: NDArray[np.float64], losses: NDArray[np.float64]) -> tuple[float | None, str]:
    """The rate at which the smoothed loss falls most steeply against the logarithm of the rate, and why.

    Only the fall from the start to the lowest loss counts. There is no suggestion where the curve supports none:
    fewer than ten finite losses, or a fall that is less than 2 % of the loss at the start or than five standard
    errors of the smoothed curve, be it that the loss does not react or that it only rises.

    Args:
        rates: shape (N,), rising by a constant factor.
        losses: shape (N,); what comes after the first that is not finite is left out.

    Returns:
        The rate, or None; and one line that says why.
    """
    finite = np.isfinite(losses)
    count = len(losses) if finite.all() else int(np.argmin(finite))
    if count < _FEWEST:
        return None, (
            f"no learning rate to suggest: the loss is not finite after {count} steps, at rate {rates[count]:.1e}; "
            "expected at least 10 finite losses; look for bad images or labels, or begin the test at a lower rate"
            if count < len(losses)
            else f"no learning rate to suggest: {count} losses make no curve; expected at least 10"
        )
    rates, losses = rates[:count], losses[:count]
    curve = smooth(losses)
    lowest = int(np.argmin(curve))
    start, fall = curve[0], curve[0] - curve[lowest]
    needed = max(_WORTHWHILE * abs(start), _CERTAINTY * _standard_error(losses, curve))
    if fall <= needed:
        rises = curve[-1] - start > needed or count < len(finite)
        return None, (
            f"no learning rate to suggest: the loss {'only rises' if rises else 'stays'} from {start:.4g} on; "
            f"expected a fall of more than {needed:.2g}, found {fall:.2g}; "
            "try other batches, or unfreeze more of the encoder"
        )
    rate = float(rates[_steepest(curve[: lowest + 1], start - fall * _SURE, curve[lowest] + fall * _SURE)])
    return rate, (
        f"learning rate {rate:.1e}: there the loss falls most steeply, on its way from {start:.4g} to "
        f"{curve[lowest]:.4g} at rate {rates[lowest]:.1e}"
    )


def _steepest(curve: NDArray[np.float64], high: float, low: float) -> int:
    """Where a curve falls most steeply, between the last time that it is at `high` and the first that it is at `low`.

    Outside of that a wiggle of noise may well be steeper than the fall.
    """
    below = int(np.argmax(curve <= low))
    above = int(np.flatnonzero(curve[: below + 1] >= high)[-1])
    slope = np.gradient(smooth(curve))  # smoothed again: a derivative is noisier than its curve
    return above + int(np.argmin(slope[above : below + 1]))


def _standard_error(losses: NDArray[np.float64], curve: NDArray[np.float64]) -> float:
    """Of the smoothed value at an end of the curve, where the fewest losses meet."""
    # From neighbours, so that the curve's own course does not count; the median, so that a late blow-up does not.
    noise = 1.4826 * float(np.median(np.abs(np.diff(losses)))) / math.sqrt(2.0)
    return noise * float(np.sqrt(np.square(_weights(len(curve))[0]).sum()))
