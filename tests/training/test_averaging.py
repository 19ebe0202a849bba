import copy
import re

import pytest
import torch
from torch import Tensor, nn

from siamese.errors import OptionError
from siamese.training.averaging import WeightAverage, decay_at


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))


def train(module: nn.Module, average: WeightAverage, steps: int, seed: int = 1) -> list[dict[str, Tensor]]:
    """The state after each step."""
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
    states = []
    for _ in range(steps):
        optimizer.zero_grad()
        module(torch.randn(8, 4, generator=generator)).square().sum().backward()
        optimizer.step()
        average.update(module)
        states.append(copy.deepcopy(module.state_dict()))
    return states


def equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("decay", [0.15, 0.9, 0.999])
def test_the_average_is_the_recursion_of_the_paper(decay: float) -> None:
    module = network()
    average = WeightAverage(module, decay)
    states = train(module, average, 12)
    names = [name for name, tensor in module.state_dict().items() if tensor.is_floating_point()]
    expected = {name: states[0][name].double() for name in names}
    for updates, state in enumerate(states[1:], start=1):
        kept = min(decay, (1 + updates) / (10 + updates))
        expected = {name: kept * expected[name] + (1 - kept) * state[name].double() for name in names}
    with average.applied(module):
        found = {name: tensor.double() for name, tensor in module.state_dict().items() if name in names}
        counters = int(module.get_buffer("1.num_batches_tracked"))
        for name in names:
            torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6)
    assert counters == 12
    assert "1.running_mean" in names
    assert average.updates == 12


def test_the_decay_rises_from_two_elevenths_to_its_highest() -> None:
    assert decay_at(1, 0.999) == pytest.approx(2 / 11)
    assert [decay_at(n, 0.5) for n in (7, 8, 1000)] == pytest.approx([8 / 17, 0.5, 0.5])


def test_trained_weights_come_back_bit_for_bit_and_keep_their_identity() -> None:
    module = network()
    average = WeightAverage(module, 0.99)
    before = train(module, average, 5)[-1]
    parameters = list(module.parameters())
    with average.applied(module):
        assert not torch.equal(module.state_dict()["0.weight"], before["0.weight"])
    assert equal(module.state_dict(), before)
    assert all(one is other for one, other in zip(parameters, module.parameters(), strict=True))


def test_trained_weights_come_back_after_an_error() -> None:
    module = network()
    average = WeightAverage(module, 0.99)
    before = train(module, average, 3)[-1]
    with pytest.raises(KeyboardInterrupt), average.applied(module):
        raise KeyboardInterrupt
    assert equal(module.state_dict(), before)
    with average.applied(module):
        pass  # and the average can be applied again


def test_applying_the_average_does_not_change_the_training_that_follows() -> None:
    runs = []
    for looks in (False, True):
        module = network()
        average = WeightAverage(module, 0.9)
        train(module, average, 3)
        if looks:
            with average.applied(module):
                module.eval()(torch.randn(2, 4))
            module.train()
        runs.append((train(module, average, 3, seed=2)[-1], average.state_dict()))
    assert equal(runs[0][0], runs[1][0])
    assert equal(runs[0][1], runs[1][1])


def test_a_resumed_average_goes_on_exactly() -> None:
    module = network()
    whole = WeightAverage(module, 0.9)
    train(module, whole, 4)
    state, trained = copy.deepcopy(whole.state_dict()), copy.deepcopy(module.state_dict())
    train(module, whole, 4, seed=5)
    other = network(seed=3)
    resumed = WeightAverage(other, 0.9)
    resumed.load_state_dict(state)
    other.load_state_dict(trained)
    train(other, resumed, 4, seed=5)
    assert resumed.updates == 8
    assert equal(resumed.state_dict(), whole.state_dict())


def test_frozen_weights_stay_as_they_are_to_the_last_bit() -> None:
    module = network()
    module[0].requires_grad_(False)  # type: ignore[index]
    before = module.state_dict()["0.weight"].clone()
    average = WeightAverage(module, 0.9)
    train(module, average, 20)
    with average.applied(module):
        assert torch.equal(module.state_dict()["0.weight"], before)


def test_the_average_of_noise_lies_nearer_to_the_middle() -> None:
    layer = nn.Linear(200, 1, bias=False)
    average = WeightAverage(layer, 0.99)
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        with torch.no_grad():
            layer.weight.copy_(1 + torch.randn(1, 200, generator=generator))
        average.update(layer)
    with average.applied(layer):
        assert float((layer.weight - 1).detach().std()) < 0.15


def test_before_the_first_update_the_average_is_the_start() -> None:
    module = network()
    start = copy.deepcopy(module.state_dict())
    average = WeightAverage(module, 0.9)
    with torch.no_grad():
        module[0].weight.zero_()  # type: ignore[index, union-attr, operator]
    with average.applied(module):
        assert equal(module.state_dict(), start)


@pytest.mark.parametrize("decay", [0.0, 1.0, -0.1, float("nan")])
def test_a_decay_out_of_range_is_named(decay: float) -> None:
    with pytest.raises(
        OptionError, match=re.escape(f"--ema {decay:g}: expected above 0 and below 1, for example 0.999")
    ):
        WeightAverage(network(), decay)


def test_the_average_of_the_average_is_refused() -> None:
    module = network()
    average = WeightAverage(module, 0.9)
    with average.applied(module):
        with pytest.raises(RuntimeError, match=re.escape("update() within applied()")):
            average.update(module)
        with pytest.raises(RuntimeError, match=re.escape("applied() within applied()")), average.applied(module):
            pass
