import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from siamese.losses.batch import QuadrupletIndex, TripletIndex
from siamese.losses.loss import LossSize
from siamese.losses.quadruplet import Quadruplet
from siamese.losses.triplet import Triplet

SIZE = LossSize(embedding_dim=5, identities=0)


def random_batch(seed: int, count: int = 30) -> tuple[Tensor, QuadrupletIndex]:
    generator = torch.Generator().manual_seed(seed)
    embeddings = F.normalize(torch.randn(9, 5, dtype=torch.float64, generator=generator), dim=1)
    return embeddings, QuadrupletIndex(*torch.randint(9, (4, count), generator=generator))


def columns(index: QuadrupletIndex) -> list[Tensor]:
    return [index.anchor, index.positive, index.negative, index.second_negative]


@pytest.mark.parametrize("seed", range(4))
def test_value_is_the_papers_sum_written_as_a_loop(seed: int) -> None:
    embeddings, index = random_batch(seed)
    x = embeddings.numpy()
    total = 0.0
    for i, j, k, other in np.stack([column.numpy() for column in columns(index)], axis=1):
        near = float(np.sum((x[i] - x[j]) ** 2))
        total += max(0.0, near - float(np.sum((x[i] - x[k]) ** 2)) + 0.8)
        total += max(0.0, near - float(np.sum((x[other] - x[k]) ** 2)) + 0.2)
    loss = Quadruplet(SIZE, margin=0.8, second_margin=0.2)
    assert loss(embeddings, index).item() == pytest.approx(total / len(index.anchor))


def test_it_is_the_triplet_loss_on_squares_where_the_other_negatives_are_opposite() -> None:
    angles = torch.deg2rad(torch.tensor([0.0, 50.0, 90.0, 270.0], dtype=torch.float64))
    embeddings = torch.stack([angles.cos(), angles.sin()], dim=1)
    rows = torch.tensor([[0], [1], [2], [3]])
    triplet = Triplet(SIZE, margin=2.0, form="squared")(embeddings, TripletIndex(*rows[:3]))
    # The negatives are at a squared distance of 4, farther than the pair by more than the second margin.
    assert Quadruplet(SIZE, margin=2.0)(embeddings, QuadrupletIndex(*rows)).item() == pytest.approx(triplet.item())


@pytest.mark.parametrize("seed", range(3))
def test_order_of_quadruplets_does_not_matter(seed: int) -> None:
    embeddings, index = random_batch(seed)
    order = torch.randperm(len(index.anchor), generator=torch.Generator().manual_seed(seed))
    shuffled = QuadrupletIndex(*(column[order] for column in columns(index)))
    expected = Quadruplet(SIZE)(embeddings, index).item()
    assert Quadruplet(SIZE)(embeddings, shuffled).item() == pytest.approx(expected)


def test_identities_far_apart_cost_nothing_and_are_not_active() -> None:
    embeddings = torch.eye(5, dtype=torch.float64)
    index = QuadrupletIndex(*torch.tensor([[0, 1], [0, 1], [1, 2], [2, 3]]))
    loss = Quadruplet(SIZE)
    assert loss(embeddings, index).item() == 0.0
    assert loss.active is not None
    assert loss.active.item() == 0.0


@pytest.mark.parametrize("option", ["margin", "second_margin"])
@pytest.mark.parametrize("value", [0.0, 4.5, math.nan])
def test_margins_beyond_squared_distances_are_refused(option: str, value: float) -> None:
    message = re.escape(f"{option}={value}: expected a squared distance in (0, 4]")
    with pytest.raises(ValueError, match=f"^{message}$"):
        Quadruplet(SIZE, **{option: value})  # type: ignore[arg-type]
