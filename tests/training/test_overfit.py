import math

import numpy as np
import pytest
import torch

from siamese.training.overfit import judge_overfit, share_decided_rightly

FALLING = list(np.geomspace(0.4, 0.01, 100))


def test_a_curve_that_falls_with_every_pair_right_passes() -> None:
    verdict = judge_overfit(FALLING, 1.0, 100)
    assert verdict.passed
    assert verdict.start == pytest.approx(np.median(FALLING[:5]))
    assert verdict.end == pytest.approx(np.median(FALLING[-5:]))
    assert (
        verdict.line == "--overfit 100: passed: loss 0.3713 -> 0.01077 in 100 steps, 100 of 100 pairs decided rightly"
    )


@pytest.mark.parametrize(
    ("losses", "right", "advice"),
    [
        ([0.4] * 100, 1.0, "the loss hardly moves: raise --lr, or unfreeze more with --freeze"),
        (list(np.linspace(0.4, 0.39, 50)), 0.5, "the loss hardly moves: raise --lr, or unfreeze more with --freeze"),
        (list(np.linspace(0.4, 0.9, 50)), 1.0, "the loss rises: lower --lr"),
        (list(np.linspace(0.4, 0.3, 50)), 1.0, "it falls too slowly: raise --lr or --epochs"),
        (FALLING, 0.9, "it falls, but not for every pair: check the labels with `siamese audit`, or raise --epochs"),
        ([0.4, 0.3, math.nan, math.nan], 0.5, "the loss is nan at step 3: lower --lr"),
        ([0.4, math.inf, 0.1, 0.01], 1.0, "the loss is inf at step 2: lower --lr"),
    ],
)
def test_a_failure_says_what_to_do(losses: list[float], right: float, advice: str) -> None:
    verdict = judge_overfit(losses, right, 50)
    assert not verdict.passed
    assert verdict.line.startswith("--overfit 50: failed: loss ")
    assert verdict.line.endswith(advice)


def test_a_failure_says_what_was_expected() -> None:
    line = judge_overfit([0.4, 0.3], 0.614, 99).line
    assert line.startswith(
        "--overfit 99: failed: loss 0.4 -> 0.3 in 2 steps, 61 of 99 pairs decided rightly; "
        "expected 0.2 or less and 98 or more; "
    )


@pytest.mark.parametrize(("end", "passed"), [(0.0, True), (0.01, False)])
def test_a_loss_of_zero_need_not_fall(end: float, passed: bool) -> None:
    assert judge_overfit([0.0, end], 1.0, 10).passed is passed


@pytest.mark.parametrize(("end", "passed"), [(-1.6, True), (-1.2, False)])
def test_a_loss_below_zero_falls_further(end: float, passed: bool) -> None:
    assert judge_overfit([-1.0, end], 1.0, 10).passed is passed


def test_one_odd_batch_does_not_decide() -> None:
    assert judge_overfit([*FALLING[:-1], 5.0], 1.0, 100).passed


def test_a_single_loss_says_nothing() -> None:
    with pytest.raises(ValueError, match="1 losses: expected at least two, of the first step and of the last"):
        judge_overfit([0.3], 1.0, 10)


def test_the_share_is_that_of_the_best_threshold() -> None:
    similarities, same = [0.1, 0.2, 0.9, 0.8, 0.15], [False, False, True, True, True]
    assert share_decided_rightly(similarities, same) == pytest.approx(0.8)


@pytest.mark.parametrize(("rate", "passed"), [(0.05, True), (1e-7, False)])
def test_a_real_network_learns_random_labels_by_heart_unless_its_rate_is_far_off(rate: float, passed: bool) -> None:
    torch.manual_seed(0)
    left, right = torch.randn(40, 16), torch.randn(40, 16)
    same = torch.arange(40) % 2 == 0
    network = torch.nn.Sequential(torch.nn.Linear(16, 64), torch.nn.ReLU(), torch.nn.Linear(64, 32))
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    losses = []
    for _ in range(60):
        similarity = torch.cosine_similarity(network(left), network(right))
        loss = torch.where(same, 1 - similarity, similarity.clamp_min(0)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    share = share_decided_rightly(similarity.detach().numpy(), same.numpy())
    assert judge_overfit(losses, share, 40).passed is passed
