import math
import re
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import (
    ConstantLR,
    CosineAnnealingLR,
    LinearLR,
    LRScheduler,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from siamese.errors import OptionError
from siamese.training.optimise import OPTIMIZERS, SHAPES, RateSchedule, create_optimizer, create_schedule

STEPS, EPOCHS = 7, 6
RATES = (0.1, 0.025)


def two_groups(name: str = "sgd", seed: int = 0) -> torch.optim.Optimizer:
    torch.manual_seed(seed)
    groups = [{"params": nn.Linear(3, 2).parameters(), "lr": rate} for rate in RATES]
    return create_optimizer(groups, name, lr=RATES[0], weight_decay=1e-3, momentum=0.9)


def schedule_of(optimizer: torch.optim.Optimizer, name: str, **options: Any) -> RateSchedule:
    made = create_schedule(optimizer, name, steps_per_epoch=STEPS, epochs=EPOCHS, **options)["scheduler"]
    assert isinstance(made, RateSchedule)
    return made


def course(
    optimizer: torch.optim.Optimizer, *schedules: LRScheduler, steps: int = STEPS * EPOCHS
) -> list[list[float]]:
    rates = []
    for _ in range(steps):
        rates.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()
        for schedule in schedules:
            schedule.step()
    return rates


def same(found: list[list[float]], expected: list[list[float]]) -> None:
    torch.testing.assert_close(torch.tensor(found).double(), torch.tensor(expected).double(), rtol=1e-5, atol=1e-9)


# optimisers


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("adamw", torch.optim.AdamW, {}),
        ("adam", torch.optim.Adam, {}),
        ("sgd", torch.optim.SGD, {"momentum": 0.8}),
    ],
)
def test_an_optimiser_steps_like_torchs_own(name: str, kind: Any, options: dict[str, float]) -> None:
    found, expected = nn.Linear(4, 3), nn.Linear(4, 3)
    expected.load_state_dict(found.state_dict())
    ours = create_optimizer([{"params": found.parameters()}], name, lr=0.02, weight_decay=0.1, momentum=0.8)
    theirs = kind(expected.parameters(), lr=0.02, weight_decay=0.1, **options)
    inputs = torch.randn(5, 4)
    for _ in range(4):
        for module, optimizer in ((found, ours), (expected, theirs)):
            optimizer.zero_grad()
            module(inputs).square().sum().backward()
            optimizer.step()
    assert type(ours) is kind
    assert torch.equal(found.weight, expected.weight)


def test_groups_keep_their_own_rate_and_weight_decay() -> None:
    layers = [nn.Linear(2, 2) for _ in range(2)]
    groups = [{"params": layers[0].parameters()}, {"params": layers[1].parameters(), "lr": 1e-3, "weight_decay": 0.0}]
    made = create_optimizer(groups, "adamw", lr=1e-2, weight_decay=0.1, momentum=0.0)
    assert [(group["lr"], group["weight_decay"]) for group in made.param_groups] == [(1e-2, 0.1), (1e-3, 0.0)]


def test_what_is_frozen_is_left_out() -> None:
    frozen, free = nn.Linear(2, 2).requires_grad_(False), nn.Linear(2, 2)
    groups = [{"params": frozen.parameters()}, {"params": free.parameters()}]
    made = create_optimizer(groups, "sgd", lr=0.1, weight_decay=0.0, momentum=0.0)
    assert [len(group["params"]) for group in made.param_groups] == [2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "adamax"}, "unknown optimizer 'adamax': did you mean 'adam'? known: adam, adamw, sgd"),
        ({"lr": 0.0}, "--lr 0: expected a finite number above 0 in every parameter group"),
        ({"lr": math.nan}, "--lr nan: expected a finite number above 0 in every parameter group"),
        ({"weight_decay": -1.0}, "--weight-decay -1: expected a finite number, 0 or more"),
        ({"momentum": 1.0}, "--momentum 1: expected 0 or more and below 1"),
    ],
)
def test_a_bad_optimiser_option_is_named(options: dict[str, Any], message: str) -> None:
    given = {"name": "sgd", "lr": 0.1, "weight_decay": 0.0, "momentum": 0.9, **options}
    with pytest.raises(OptionError, match=re.escape(message)):
        create_optimizer([{"params": nn.Linear(2, 2).parameters()}], **given)


def test_nothing_to_train_says_what_to_do() -> None:
    groups = [{"params": nn.Linear(2, 2).requires_grad_(False).parameters()}]
    with pytest.raises(OptionError, match=r"no parameter is left to train: freeze fewer stages \(--freeze\), or"):
        create_optimizer(groups, "adamw", lr=0.1, weight_decay=0.0, momentum=0.9)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimiser_lowers_a_loss(name: str) -> None:
    layer, inputs = nn.Linear(4, 1), torch.randn(8, 4)
    made = create_optimizer([{"params": layer.parameters()}], name, lr=0.01, weight_decay=0.0, momentum=0.9)
    losses = []
    for _ in range(20):
        loss = (layer(inputs) - 1).square().mean()
        made.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        made.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


# schedules against torch's own


@pytest.mark.parametrize("warmup", [0, 2])
def test_cosine_is_torchs_cosine_after_a_linear_ramp(warmup: int) -> None:
    ours, theirs = two_groups(), two_groups()
    found = course(ours, schedule_of(ours, "cosine", warmup=float(warmup)))
    ramp = warmup * STEPS
    cosine = CosineAnnealingLR(theirs, T_max=STEPS * EPOCHS - ramp)
    if warmup:
        linear = LinearLR(theirs, start_factor=1 / (ramp + 1), total_iters=ramp)
        cosine = SequentialLR(theirs, [linear, cosine], milestones=[ramp])  # type: ignore[assignment]
    same(found, course(theirs, cosine))


@pytest.mark.parametrize(("warmup", "rise"), [(0.0, 0.3), (2.0, 2 / EPOCHS)])
def test_one_cycle_is_torchs_one_cycle(warmup: float, rise: float) -> None:
    ours, theirs = two_groups(), two_groups()
    found = course(ours, schedule_of(ours, "one-cycle", warmup=warmup))
    total = STEPS * EPOCHS
    reference = OneCycleLR(theirs, max_lr=list(RATES), total_steps=total, pct_start=rise, cycle_momentum=False)
    expected = course(theirs, reference, steps=total - 1)  # torch's raises at the last step
    same(found, [*expected, [rate / 25e4 for rate in RATES]])


@pytest.mark.parametrize("warmup", [0, 2])
def test_step_is_torchs_step_times_a_linear_ramp(warmup: int) -> None:
    ours, theirs = two_groups(), two_groups()
    found = course(ours, schedule_of(ours, "step", warmup=float(warmup), step_epochs=2, gamma=0.3))
    ramp = warmup * STEPS
    schedules: list[LRScheduler] = [StepLR(theirs, step_size=2 * STEPS, gamma=0.3)]
    if ramp:
        schedules.append(LinearLR(theirs, start_factor=1 / (ramp + 1), total_iters=ramp))
    same(found, course(theirs, *schedules))


@pytest.mark.parametrize("warmup", [0, 3])
def test_constant_is_constant_after_a_linear_ramp(warmup: int) -> None:
    ours, theirs = two_groups(), two_groups()
    found = course(ours, schedule_of(ours, "constant", warmup=float(warmup)))
    ramp = warmup * STEPS
    reference: LRScheduler = ConstantLR(theirs, factor=1.0)
    if ramp:
        reference = LinearLR(theirs, start_factor=1 / (ramp + 1), total_iters=ramp)
    same(found, course(theirs, reference))


AUCS = [0.5, 0.6, 0.60005, 0.6, math.nan, 0.7, 0.69, 0.7, 0.7, 0.7, 0.7, 0.65]


def test_plateau_is_torchs_plateau() -> None:
    ours, theirs = two_groups(), two_groups()
    schedule = schedule_of(ours, "plateau", step_epochs=2, gamma=0.5)
    reference = ReduceLROnPlateau(
        theirs, mode="max", factor=0.5, patience=1, threshold=1e-4, threshold_mode="abs", cooldown=0, eps=0.0
    )
    found, expected = [], []
    for auc in AUCS:
        found += course(ours, schedule, steps=STEPS)[-1:]
        expected += course(theirs, steps=STEPS)[-1:]
        schedule.observe(auc)
        reference.step(auc)
    same(found, expected)
    assert found[-1][0] < found[0][0] / 4


def test_plateau_says_when_it_lowers_the_rate() -> None:
    schedule = schedule_of(two_groups(), "plateau", step_epochs=2, gamma=0.5)
    assert [schedule.observe(auc) for auc in (0.5, 0.5, 0.5, 0.5, 0.6, 0.6)] == [
        False,
        False,
        True,
        False,
        False,
        False,
    ]


def test_plateau_does_not_blame_the_warm_up() -> None:
    optimizer = two_groups()
    schedule = schedule_of(optimizer, "plateau", warmup=3.0, step_epochs=1, gamma=0.5)
    lowered = []
    for _ in range(EPOCHS):
        course(optimizer, schedule, steps=STEPS)
        lowered.append(schedule.observe(0.5))
    assert lowered == [False, False, True, True, True, True]
    assert schedule.get_last_lr() == pytest.approx([rate / 16 for rate in RATES])


@pytest.mark.parametrize("name", [name for name in SHAPES if name != "plateau"])
def test_other_schedules_take_no_notice_of_validation(name: str) -> None:
    schedule = schedule_of(two_groups(), name, step_epochs=1)
    assert not any(schedule.observe(0.5) for _ in range(30))
    assert schedule.reduction == 1.0


# properties of every schedule


@pytest.mark.parametrize("warmup", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("name", SHAPES)
def test_groups_keep_their_ratio_and_rates_stay_in_range(name: str, warmup: float) -> None:
    optimizer = two_groups()
    schedule = schedule_of(optimizer, name, warmup=warmup, step_epochs=2)
    for first, second in course(optimizer, schedule, steps=STEPS * EPOCHS + 5):
        assert second == pytest.approx(first / 4, rel=1e-12)
        assert 0 <= first <= RATES[0]


@pytest.mark.parametrize("name", SHAPES)
def test_warm_up_rises_from_a_small_rate_to_the_whole_one(name: str) -> None:
    optimizer = two_groups()
    schedule = schedule_of(optimizer, name, warmup=2.0, step_epochs=10)
    rates = [row[0] for row in course(optimizer, schedule)]
    rise = rates[: 2 * STEPS]
    assert rise == sorted(rise)
    assert 0 < rise[0] < RATES[0] / 10
    assert max(rates) == pytest.approx(RATES[0])


def test_one_cycle_falls_even_where_its_rise_is_a_single_step() -> None:
    optimizer = two_groups()
    rates = [row[0] for row in course(optimizer, schedule_of(optimizer, "one-cycle", warmup=1 / STEPS))]
    assert rates[0] == pytest.approx(RATES[0])
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(RATES[0] / 25e4)


@pytest.mark.parametrize("name", SHAPES)
def test_a_run_of_one_step_takes_it_at_a_rate_above_zero(name: str) -> None:
    optimizer = two_groups()
    create_schedule(optimizer, name, steps_per_epoch=1, epochs=1)
    assert optimizer.param_groups[0]["lr"] > 0


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("interrupted", [1, 9, 30])
def test_a_resumed_schedule_gives_the_same_rates_to_the_last_bit(name: str, interrupted: int) -> None:
    def run(optimizer: torch.optim.Optimizer, schedule: RateSchedule, start: int, end: int) -> list[Any]:
        rates = []
        for step in range(start, end):
            rates += course(optimizer, schedule, steps=1)
            if step % STEPS == STEPS - 1:
                schedule.observe(0.5)
            if step == 4:
                schedule.reduce(0.5)
        return rates

    options = {"warmup": 1.5, "step_epochs": 2, "gamma": 0.7}
    whole, first, second = two_groups(), two_groups(), two_groups()
    expected = run(whole, schedule_of(whole, name, **options), 0, STEPS * EPOCHS)
    schedule = schedule_of(first, name, **options)
    found = run(first, schedule, 0, interrupted)
    state = schedule.state_dict()
    resumed = schedule_of(second, name, **options)
    second.load_state_dict(first.state_dict())
    resumed.load_state_dict(state)
    found += run(second, resumed, interrupted, STEPS * EPOCHS)
    assert found == expected
    assert resumed.get_last_lr() == [group["lr"] for group in second.param_groups]


def test_the_state_of_a_schedule_is_plain_numbers(tmp_path: Any) -> None:
    schedule = schedule_of(two_groups(), "plateau", warmup=1.0)
    torch.save(schedule.state_dict(), tmp_path / "state.pt")
    assert torch.load(tmp_path / "state.pt", weights_only=True) == schedule.state_dict()


def test_a_reduction_holds_at_once_and_to_the_end() -> None:
    ours, theirs = two_groups(), two_groups()
    schedule, reference = schedule_of(ours, "cosine"), schedule_of(theirs, "cosine")
    course(ours, schedule, steps=10)
    course(theirs, reference, steps=10)
    schedule.reduce(0.5)
    schedule.reduce(0.5)
    same(
        course(ours, schedule, steps=20), [[rate / 4 for rate in row] for row in course(theirs, reference, steps=20)]
    )
    assert schedule.reduction == 0.25


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "cosin",
            {},
            "unknown schedule 'cosin': did you mean 'cosine'? known: constant, cosine, one-cycle, plateau, step",
        ),
        ("cosine", {"warmup": 6.0}, "--warmup 6: expected 0 or more epochs and fewer than --epochs 6"),
        ("cosine", {"warmup": -0.5}, "--warmup -0.5: expected 0 or more epochs and fewer than --epochs 6"),
        ("step", {"step_epochs": 0}, "--step-epochs 0: expected 1 or more"),
        ("step", {"gamma": 1.0}, "--gamma 1: expected above 0 and below 1"),
    ],
)
def test_a_bad_schedule_option_is_named(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=re.escape(message)):
        schedule_of(two_groups(), name, **options)


def test_lightning_takes_the_entry_and_steps_it_with_the_optimiser(tmp_path: Any) -> None:
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)
            self.rates: list[float] = []

        def training_step(self, batch: torch.Tensor, number: int) -> torch.Tensor:
            self.rates.append(self.optimizers().param_groups[0]["lr"])  # type: ignore[union-attr]
            return torch.as_tensor(self.layer(batch).square().mean())

        def configure_optimizers(self) -> Any:
            groups = [{"params": self.layer.parameters()}]
            optimizer = create_optimizer(groups, "sgd", lr=0.1, weight_decay=0.0, momentum=0.0)
            entry = create_schedule(optimizer, "cosine", steps_per_epoch=2, epochs=2, warmup=0.5)
            return {"optimizer": optimizer, "lr_scheduler": entry}

    trainer = lightning.Trainer(
        max_epochs=2,
        accumulate_grad_batches=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    module = Module()
    trainer.fit(module, torch.utils.data.DataLoader(torch.randn(4, 2), batch_size=1))
    half = [0.05, 0.1, 0.1 * (1 + math.cos(math.pi / 3)) / 2, 0.1 * (1 + math.cos(2 * math.pi / 3)) / 2]
    assert module.rates == pytest.approx([rate for rate in half for _ in range(2)])
