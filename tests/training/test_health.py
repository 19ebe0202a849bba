import json
import logging
import math
import re
from collections.abc import Sequence
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamese.errors import OptionError
from siamese.losses.batch import BatchIndex
from siamese.training.batch_health import BatchHealth, measure_batch
from siamese.training.health import WINDOW, CollapseWatch, HealthEvent, NonFiniteWatch, gradient_norm

LABELS = torch.arange(8).repeat_interleave(4)


# collapse: real networks


def batch_hard(embeddings: Tensor, margin: float = 0.3) -> tuple[Tensor, Tensor]:
    """Triplet loss on the hardest positive and negative of each anchor (Hermans et al. 2017)."""
    distance = (2 - 2 * embeddings @ embeddings.T).clamp_min(1e-12).sqrt()
    same = LABELS[:, None] == LABELS[None, :]
    cost = distance.where(same, -1.0).amax(1) - distance.where(~same, 9.0).amin(1) + margin
    return cost.clamp_min(0).mean(), (cost > 0).float().mean()


class IdentityStart(nn.Module):
    """A residual on unit features that starts at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        for parameter in self.residual[-1].parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor) -> Tensor:
        features = F.normalize(features, dim=1)
        return features + self.residual(features)  # type: ignore[no-any-return]


def mlp(*, ends: bool = False) -> nn.Module:
    layers = [nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 16)]
    return nn.Sequential(*layers, nn.ReLU()) if ends else nn.Sequential(*layers)


def run(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    steps: int,
    identities: float,
    cone: float = 0.0,
    watches: tuple[CollapseWatch, NonFiniteWatch] | None = None,
) -> list[HealthEvent]:
    """Train on noise around `identities` times random centres, all shifted by `cone`; what the watchers report."""
    collapse, nonfinite = watches or (CollapseWatch("warn"), NonFiniteWatch("skip"))
    generator = torch.Generator().manual_seed(5)
    centres = identities * torch.randn(100, 32, generator=generator) + cone * torch.randn(32, generator=generator)
    events = []
    for step in range(steps):
        chosen = torch.randperm(100, generator=generator)[:8]
        images = centres[chosen][LABELS] + 0.7 * torch.randn(32, 32, generator=generator)
        embeddings = F.normalize(network(images), dim=1)
        loss, active = batch_hard(embeddings)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = float(gradient_norm(list(network.parameters())))
        health = measure_batch(embeddings, BatchIndex(labels=LABELS), loss, active)
        event = nonfinite.check(step, loss.item(), norm, lambda: ["a.jpg"]) or collapse.check(
            step, health, lambda: ["a.jpg", "b.jpg"]
        )
        if event:
            events.append(event)
        if event is None or event.action == "warn":
            optimizer.step()
    return events


ABSURD = [
    (name, kind, rate, identities)
    for name in ("identity-start", "mlp", "dead relu")
    for kind in (torch.optim.AdamW, torch.optim.SGD)
    for rate in (1.0, 10.0, 100.0)
    for identities in (0.0, 0.7)
    # Plain SGD at 1 only dents a residual head whose gradients are that small: it keeps three quarters of its gap.
    if (name, kind, rate, identities) != ("identity-start", torch.optim.SGD, 1.0, 0.7)
]


@pytest.mark.parametrize(("name", "kind", "rate", "identities"), ABSURD)
def test_batch_hard_triplet_at_an_absurd_rate_is_reported_within_50_steps(
    name: str, kind: Any, rate: float, identities: float
) -> None:
    torch.manual_seed(0)
    network = IdentityStart(32) if name == "identity-start" else mlp(ends=name == "dead relu")
    events = run(network, kind(network.parameters(), lr=rate), steps=50, identities=identities)
    assert events
    assert events[0].action in ("warn", "skip")


@pytest.mark.parametrize("cone", [0.0, 1.25, 2.0])  # mean similarity 0, .5 and .7
@pytest.mark.parametrize("rate", [1e-5, 1e-3])
def test_a_healthy_run_from_a_pretrained_verifier_is_left_alone(rate: float, cone: float) -> None:
    torch.manual_seed(0)
    network = IdentityStart(32)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate)
    assert run(network, optimizer, steps=300, identities=1.0, cone=cone) == []


def test_an_encoder_whose_features_are_nearly_alike_from_the_start_is_left_alone() -> None:
    watch = CollapseWatch("stop")
    for step in range(100):
        assert watch.check(step, BatchHealth(0.05, 8.0, 0.001, 0.3 - 0.001 * step, 1.0), list) is None


# collapse: the rules one by one

HEALTHY = BatchHealth(spread=0.8, rank=10.0, gap=0.4, loss=0.3, active=0.5)
ALIKE = BatchHealth(spread=0.01, rank=3.0, gap=0.0, loss=0.3, active=1.0)
MIXED = BatchHealth(spread=0.3, rank=8.0, gap=0.001, loss=0.1, active=1.0)
TWO_POINTS = BatchHealth(spread=1.0, rank=1.0, gap=0.01, loss=0.1, active=1.0)
LOST = BatchHealth(spread=0.4, rank=8.0, gap=0.1, loss=0.29, active=1.0)


def feed(watch: CollapseWatch, batches: Sequence[BatchHealth], start: int = 0) -> list[HealthEvent]:
    found = [watch.check(step, health, lambda: ["x.jpg"]) for step, health in enumerate(batches, start)]
    return [event for event in found if event]


@pytest.mark.parametrize(
    ("later", "words"),
    [
        (ALIKE, "for 20 steps all embeddings are nearly alike"),
        (MIXED, "for 20 steps embeddings draw together, and not by identity"),
        (TWO_POINTS, "for 20 steps embeddings draw together, and not by identity"),
        (LOST, "within a few steps most of the similarity gap is lost, and the loss has not fallen for it"),
    ],
)
def test_each_sign_is_reported_after_twenty_steps_of_it(later: BatchHealth, words: str) -> None:
    events = feed(CollapseWatch("warn"), [HEALTHY] + [later] * 30)
    assert len(events) == 1
    assert WINDOW - 1 <= events[0].step <= WINDOW
    assert f"collapse: {words} (spread {later.spread:.3g}, " in events[0].message


@pytest.mark.parametrize("count", [5, WINDOW // 2])
def test_a_passing_dip_is_left_alone(count: int) -> None:
    assert feed(CollapseWatch("stop"), [HEALTHY] * 30 + [ALIKE] * count + [HEALTHY] * 30) == []


def test_a_gap_that_falls_with_the_loss_or_with_its_spread_kept_is_left_alone() -> None:
    learnt = BatchHealth(spread=0.4, rank=8.0, gap=0.1, loss=0.1, active=0.2)
    wide = BatchHealth(spread=0.7, rank=8.0, gap=0.1, loss=0.3, active=1.0)
    for later in (learnt, wide):
        assert feed(CollapseWatch("stop"), [HEALTHY] + [later] * 60) == []


def test_batches_without_a_gap_are_judged_by_their_spread() -> None:
    blind = BatchHealth(spread=0.3, rank=8.0, gap=math.nan, loss=0.3, active=math.nan)
    assert feed(CollapseWatch("stop"), [blind] * 60) == []
    alike = BatchHealth(spread=0.01, rank=8.0, gap=math.nan, loss=0.3, active=math.nan)
    assert feed(CollapseWatch("stop"), [blind] + [alike] * 30)[0].action == "stop"


def test_a_warning_is_given_once_until_the_sign_has_gone() -> None:
    watch = CollapseWatch("warn")
    assert len(feed(watch, [HEALTHY] + [ALIKE] * 100)) == 1
    assert feed(watch, [HEALTHY] * 50, start=101) == []
    assert len(feed(watch, [ALIKE] * 100, start=151)) == 1
    assert watch.events == 2


def test_lower_halves_five_times_and_then_stops() -> None:
    watch = CollapseWatch("lower")
    events = feed(watch, [HEALTHY] + [ALIKE] * 120)
    assert [event.action for event in events] == ["lower"] * 5 + ["stop"]
    assert [event.step for event in events] == [20 * number for number in range(1, 7)]
    assert watch.halvings == 5
    assert "the batch is left out and the learning rate halved (2 of 5 times); files: x.jpg" in events[1].message
    assert "the rate was halved 5 times already; start again with a lower --lr" in events[5].message


def test_a_collapse_is_logged_with_step_values_and_files(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "siamese"):
        event = feed(CollapseWatch("stop"), [HEALTHY] + [ALIKE] * 20)[0]
    assert caplog.messages == [event.message]
    assert event.message == (
        "step 20: collapse: for 20 steps all embeddings are nearly alike (spread 0.01, effective rank 3, similarity "
        "gap 0, loss 0.3, active tuples 100%; at the start spread 0.8, effective rank 10, similarity gap 0.4, loss "
        "0.3, active tuples 50%); lower --lr or mine easier tuples; training stops; files: x.jpg"
    )


@pytest.mark.parametrize("interrupted", [0, 5, 20, 21, 45])
def test_a_resumed_collapse_watch_reports_the_same(interrupted: int) -> None:
    batches = [HEALTHY] + [ALIKE] * 30 + [HEALTHY] * 25 + [LOST] * 30
    whole, first, second = CollapseWatch("lower"), CollapseWatch("lower"), CollapseWatch("lower")
    expected = feed(whole, batches)
    found = feed(first, batches[:interrupted])
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    found += feed(second, batches[interrupted:], start=interrupted)
    assert found == expected
    assert second.state_dict() == whole.state_dict()


# numbers that are not finite


def broken(watch: NonFiniteWatch, count: int, loss: float = math.nan, norm: float | None = 1.0) -> list[HealthEvent]:
    found = [watch.check(step, loss, norm, lambda: ["x.jpg"]) for step in range(count)]
    return [event for event in found if event]


@pytest.mark.parametrize(
    ("loss", "norm", "words"),
    [
        (math.nan, 1.0, "loss nan is not finite"),
        (-math.inf, None, "loss -inf is not finite"),
        (0.25, math.nan, "gradient norm nan at loss 0.25 is not finite"),
        (0.25, math.inf, "gradient norm inf at loss 0.25 is not finite"),
    ],
)
def test_what_is_not_finite_is_named_and_logged(
    loss: float, norm: float | None, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "siamese"):
        event = NonFiniteWatch("skip").check(7, loss, norm, lambda: [f"{n}.jpg" for n in range(11)])
    assert event is not None
    assert event.message == (
        f"step 7: {words} (bad images or labels, or --lr too high); the batch is left out; "
        "files: 0.jpg, 1.jpg, 2.jpg, 3.jpg, 4.jpg, 5.jpg, 6.jpg, 7.jpg and 3 more"
    )
    assert len(event.files) == 11
    assert caplog.messages == [event.message]


def test_what_is_finite_asks_for_no_files() -> None:
    def files() -> Sequence[str]:
        raise AssertionError("asked for")

    watch = NonFiniteWatch("stop")
    assert watch.check(0, 0.3, 2.0, files) is None
    assert watch.check(1, -1e30, None, files) is None
    assert watch.events == 0


def test_skip_stops_when_nothing_but_broken_batches_comes() -> None:
    watch = NonFiniteWatch("skip")
    assert [event.action for event in broken(watch, 20)] == ["skip"] * 20
    assert watch.check(20, 0.3, 1.0, list) is None
    events = broken(watch, 21)
    assert [event.action for event in events] == ["skip"] * 20 + ["stop"]
    assert "20 batches in a row were left out; lower --lr, or look for broken weights" in events[-1].message
    assert watch.events == 41


def test_lower_and_stop_answer_non_finite_batches() -> None:
    assert [event.action for event in broken(NonFiniteWatch("lower"), 7)] == ["lower"] * 5 + ["stop"] * 2
    assert [event.action for event in broken(NonFiniteWatch("stop"), 1)] == ["stop"]


def test_a_resumed_count_goes_on() -> None:
    first, second = NonFiniteWatch("lower"), NonFiniteWatch("lower")
    broken(first, 3)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert (second.events, second.halvings) == (3, 3)
    assert [event.action for event in broken(second, 3)] == ["lower", "lower", "stop"]


def test_the_gradient_norm_is_over_all_that_have_one() -> None:
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(3))]
    assert float(gradient_norm(parameters)) == 0.0
    parameters[0].grad, parameters[1].grad = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    assert float(gradient_norm(parameters)) == pytest.approx(5.0)
    parameters[2].grad = torch.tensor([0.0, math.nan, 0.0])
    assert math.isnan(float(gradient_norm(parameters)))


@pytest.mark.parametrize(
    ("watch", "message"),
    [
        (CollapseWatch, "--on-collapse 'ignore': expected warn, lower or stop"),
        (NonFiniteWatch, "--on-nonfinite 'ignore': expected skip, lower or stop"),
    ],
)
def test_an_unknown_answer_is_named(watch: Any, message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        watch("ignore")
