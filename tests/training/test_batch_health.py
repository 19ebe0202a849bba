import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from siamese.losses.batch import BatchIndex, PairIndex, QuadrupletIndex, TripletIndex
from siamese.training.batch_health import BatchHealth, measure_batch

LABELS = torch.arange(8).repeat_interleave(4)
ZERO = torch.zeros(())


def unit(*shape: int, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=1)


def health_of(embeddings: Tensor, labels: Tensor | None = LABELS) -> BatchHealth:
    return measure_batch(embeddings, BatchIndex(labels=labels), ZERO)


def test_spread_is_that_of_the_mean_similarity() -> None:
    for cone in (0.0, 0.1, 1.0, 10.0):
        embeddings = F.normalize(unit(32, 64) + cone, dim=1)
        similarity = embeddings.double() @ embeddings.double().T
        mean = (similarity.sum() - similarity.trace()) / (32 * 31)
        assert health_of(embeddings).spread == pytest.approx(math.sqrt(1 - float(mean)), rel=1e-4)


def test_spread_is_one_on_the_even_sphere_and_zero_where_all_are_alike() -> None:
    assert health_of(unit(2000, 64), None).spread == pytest.approx(1.0, abs=0.01)
    assert health_of(unit(1, 64).expand(32, -1)).spread < 1e-6
    assert health_of(torch.zeros(32, 64)).spread == 0.0


def test_a_narrow_spread_is_not_rounded_away() -> None:
    axis = F.one_hot(torch.tensor(0), 64).float()
    noise = torch.randn(32, 64, generator=torch.Generator().manual_seed(0)) * 1e-5
    embeddings = F.normalize(axis + noise, dim=1)
    expected = embeddings.double().var(dim=0).sum().sqrt()
    assert health_of(embeddings).spread == pytest.approx(float(expected), rel=1e-3)


@pytest.mark.parametrize("dimensions", [1, 2, 5])
def test_rank_counts_the_dimensions(dimensions: int) -> None:
    angles = torch.cat((torch.eye(dimensions), -torch.eye(dimensions))).repeat(3, 1)
    assert health_of(F.pad(angles, (0, 9)), None).rank == pytest.approx(dimensions, rel=1e-5)


def test_gap_of_labels_is_the_mean_over_all_pairs() -> None:
    embeddings, labels = unit(32, 8), torch.tensor([3, 9] * 4 + [0] * 5 + [7] * 19)
    similarity = embeddings @ embeddings.T
    same = labels[:, None] == labels[None, :]
    others = ~torch.eye(32, dtype=torch.bool)
    expected = similarity[same & others].mean() - similarity[~same].mean()
    assert health_of(embeddings, labels).gap == pytest.approx(float(expected), abs=1e-5)


def test_gap_of_tuples_is_that_of_their_pairs() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0], [-1.0, 0.0]])
    rows = [torch.tensor([0, 0]), torch.tensor([1, 1]), torch.tensor([2, 3]), torch.tensor([3, 2])]
    pairs = PairIndex(torch.tensor([0, 0, 1]), torch.tensor([1, 2, 3]), torch.tensor([1.0, 0.0, 0.0]))
    tuples = [(pairs, 0.6 - (0.0 - 0.6) / 2), (TripletIndex(*rows[:3]), 1.1), (QuadrupletIndex(*rows), 1.1)]
    for index, gap in tuples:
        assert measure_batch(embeddings, BatchIndex(tuples=index), ZERO).gap == pytest.approx(gap)


@pytest.mark.parametrize("labels", [torch.arange(32), torch.zeros(32, dtype=torch.long), None])
def test_without_either_kind_of_pair_there_is_no_gap(labels: Tensor | None) -> None:
    assert math.isnan(health_of(unit(32, 8), labels).gap)


def test_loss_and_active_share_are_taken_over() -> None:
    loss = torch.tensor(0.25, requires_grad=True)
    health = measure_batch(unit(32, 8), BatchIndex(labels=LABELS), loss, torch.tensor(0.5))
    assert (health.loss, health.active) == (0.25, 0.5)
    assert "loss 0.25, active tuples 50%" in str(health)
    assert "active" not in str(health_of(unit(32, 8)))
