import math
import random
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from siamese.errors import OptionError
from siamese.training.lr_finder import (
    find_rate,
    range_test,
    restored,
    smooth,
    suggest_rate,
)

LOGS = np.linspace(-7, 1, 100)
RATES = 10.0**LOGS


def falling(centre: float, noise: float = 0.0, seed: int = 0) -> NDArray[np.float64]:
    """A sigmoid that falls from 1 to .4 around `centre`, and blows up from 10^-.5 on."""
    curve = 1 - 0.6 / (1 + np.exp(-3 * (LOGS - centre))) + 5 * np.maximum(LOGS + 0.5, 0)
    return np.asarray(curve + np.random.default_rng(seed).normal(0, noise, len(curve)))


# the rule


@pytest.mark.parametrize("centre", [-4.0, -3.0, -2.0])
def test_the_suggestion_is_where_the_loss_falls_most_steeply(centre: float) -> None:
    rate, reason = suggest_rate(RATES, falling(centre))
    assert rate is not None
    assert math.log10(rate) == pytest.approx(centre, abs=0.1)
    assert reason.startswith(f"learning rate {rate:.1e}: there the loss falls most steeply, on its way from ")


def test_noise_moves_the_suggestion_by_less_than_a_decade() -> None:
    rates = [suggest_rate(RATES, falling(-3.0, noise=0.1, seed=seed))[0] for seed in range(50)]
    assert all(rate is not None and abs(math.log10(rate) + 3) < 1 for rate in rates)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_the_suggestion_does_not_depend_on_the_unit_of_the_loss(scale: float) -> None:
    losses = falling(-3.0, noise=0.05)
    assert suggest_rate(RATES, scale * losses)[0] == suggest_rate(RATES, losses)[0]


def test_flat_noise_gives_no_suggestion() -> None:
    results = [suggest_rate(RATES, 1 + np.random.default_rng(seed).normal(0, 0.3, 100)) for seed in range(200)]
    assert sum(rate is not None for rate, _ in results) <= 2
    assert results[0][1].startswith("no learning rate to suggest: the loss stays from ")
    assert results[0][1].endswith("try other batches, or unfreeze more of the encoder")


def test_a_constant_loss_gives_no_suggestion() -> None:
    rate, reason = suggest_rate(RATES, np.full(100, 0.3))
    assert rate is None
    assert "the loss stays from 0.3 on; expected a fall of more than 0.006, found " in reason


def test_a_loss_that_only_rises_gives_no_suggestion() -> None:
    rate, reason = suggest_rate(RATES, np.linspace(0.3, 2.0, 100))
    assert rate is None
    assert "the loss only rises from " in reason


def test_a_curve_that_is_not_finite_from_the_start_gives_no_suggestion() -> None:
    losses = np.full(6, 0.5)
    losses[5] = math.nan
    rate, reason = suggest_rate(RATES[:6], losses)
    assert rate is None
    assert reason == (
        "no learning rate to suggest: the loss is not finite after 5 steps, at rate 2.5e-07; expected at least 10 "
        "finite losses; look for bad images or labels, or begin the test at a lower rate"
    )


def test_what_follows_an_infinite_loss_does_not_count() -> None:
    losses = falling(-3.0)
    broken = losses.copy()
    broken[90:] = math.inf
    assert suggest_rate(RATES, broken)[0] == pytest.approx(suggest_rate(RATES, losses)[0] or 0.0, rel=0.5)


def test_smoothing_keeps_a_constant_and_does_not_lag() -> None:
    np.testing.assert_allclose(smooth(np.full(40, 0.7)), 0.7)
    curve = 1 - 0.6 / (1 + np.exp(-3 * LOGS))
    np.testing.assert_allclose(smooth(curve), curve, atol=0.04)
    line = np.linspace(1.0, 0.5, 100)
    np.testing.assert_allclose(smooth(line)[20:-20], line[20:-20], atol=1e-9)


# the test itself


def test_rates_rise_by_a_constant_factor_and_the_blow_up_ends_the_test() -> None:
    seen = []

    def step(rate: float) -> float:
        seen.append(rate)
        return 1.0 if rate < 1e-2 else 1e3 * rate

    result = range_test(step, lowest=1e-6, highest=1.0, steps=61)
    np.testing.assert_allclose(np.diff(np.log10(seen)), 0.1, atol=1e-9)
    assert 1e-2 < seen[-1] < 0.1
    assert len(result.rates) == len(result.losses) == len(result.smoothed) == len(seen)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_test(bad: float) -> None:
    result = range_test(lambda rate: 0.5 if rate < 1e-3 else bad, lowest=1e-6, highest=1.0, steps=61)
    assert len(result.rates) == 31
    assert result.suggestion is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lowest": 0.0}, "learning rates from 0 to 1: expected 0 < lowest < highest"),
        ({"lowest": 2.0}, "learning rates from 2 to 1: expected 0 < lowest < highest"),
        ({"steps": 19}, "learning-rate finder with 19 steps: expected 20 or more"),
    ],
)
def test_a_range_that_is_none_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        range_test(lambda rate: 1.0, **{"lowest": 1e-6, "highest": 1.0, "steps": 50, **options})


# on a real network


def problem(seed: int = 0) -> tuple[nn.Module, Callable[[], Tensor]]:
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 5))
    target = torch.randn(20, 5)

    def loss() -> Tensor:
        images = torch.randn(64, 20)
        return nn.functional.cross_entropy(network(images), (images @ target).argmax(1))

    return network, loss


def optimizer_of(network: nn.Module) -> torch.optim.Optimizer:
    parameters = list(network.parameters())
    return torch.optim.AdamW([{"params": parameters[:2], "lr": 1e-4}, {"params": parameters[2:], "lr": 1e-3}])


def test_the_suggested_rate_trains_better_than_a_hundredth_and_a_hundredfold_of_it() -> None:
    network, loss = problem()
    rate = find_rate(loss, optimizer_of(network), [network]).suggestion
    assert rate is not None
    ends = []
    for tried in (rate / 100, rate, rate * 100):
        network, loss = problem()
        optimizer = torch.optim.AdamW(network.parameters(), lr=tried)
        for _ in range(40):
            value = loss()
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        ends.append(value.item())
    assert ends[1] == min(ends)


def snapshot(network: nn.Module, optimizer: torch.optim.Optimizer) -> list[Any]:
    state = optimizer.state_dict()
    numbers = [value for each in state["state"].values() for value in each.values()]
    tensors = [each.clone() for each in (*network.state_dict().values(), *map(torch.as_tensor, numbers))]
    randoms = [torch.get_rng_state(), torch.tensor(np.random.get_state()[1].astype(np.int64))]  # noqa: NPY002
    return [*tensors, *randoms, [group["lr"] for group in state["param_groups"]], random.getstate()]


def test_everything_is_as_before_to_the_last_bit() -> None:
    network, loss = problem()
    optimizer = optimizer_of(network)
    for _ in range(3):
        optimizer.zero_grad()
        loss().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    before = snapshot(network, optimizer)
    parameters = list(network.parameters())
    find_rate(loss, optimizer, [network], steps=30, clip=1.0)
    after = snapshot(network, optimizer)
    assert len(before) == len(after)
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one, other) if isinstance(one, Tensor) else one == other
    assert all(each.grad is None for each in network.parameters())
    assert all(one is other for one, other in zip(parameters, network.parameters(), strict=True))


def test_an_optimiser_that_has_not_stepped_is_left_without_a_state() -> None:
    network, loss = problem()
    optimizer = optimizer_of(network)
    find_rate(loss, optimizer, [network], steps=20)
    assert not optimizer.state_dict()["state"]


def test_groups_keep_their_ratio_during_the_test() -> None:
    network, loss = problem()
    optimizer = optimizer_of(network)
    seen = []

    def spied() -> Tensor:
        seen.append([group["lr"] for group in optimizer.param_groups])
        return loss()

    find_rate(spied, optimizer, [network], lowest=1e-6, highest=1e-2, steps=20)
    assert [rates[0] / rates[1] for rates in seen] == pytest.approx([0.1] * 20)
    assert [seen[0][1], seen[-1][1]] == pytest.approx([1e-6, 1e-2])


def test_an_interrupted_test_leaves_nothing_behind() -> None:
    network, loss = problem()
    optimizer = optimizer_of(network)
    before = snapshot(network, optimizer)
    calls = iter(range(5))

    def interrupted() -> Tensor:
        if next(calls) == 4:
            raise KeyboardInterrupt
        return loss()

    with pytest.raises(KeyboardInterrupt):
        find_rate(interrupted, optimizer, [network])
    after = snapshot(network, optimizer)
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True) if isinstance(one, Tensor))
    assert after[-2:] == before[-2:]


def test_buffers_that_no_checkpoint_keeps_are_restored_too() -> None:
    layer = nn.Linear(2, 2)
    layer.register_buffer("bank", torch.zeros(3), persistent=False)
    with restored([layer], torch.optim.SGD(layer.parameters(), lr=0.1)):
        layer.get_buffer("bank").fill_(7)
    assert torch.equal(layer.get_buffer("bank"), torch.zeros(3))
