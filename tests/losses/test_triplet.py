import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from siamese.losses.batch import TripletIndex
from siamese.losses.loss import LossSize
from siamese.losses.triplet import Triplet

SIZE = LossSize(embedding_dim=2, identities=0)


def at_angles(*degrees: float, dtype: torch.dtype = torch.float64) -> Tensor:
    angles = torch.deg2rad(torch.tensor(degrees, dtype=dtype))
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def chord(degrees: float) -> float:
    return 2 * math.sin(math.radians(degrees) / 2)


def triplets(*rows: tuple[int, int, int]) -> TripletIndex:
    return TripletIndex(*torch.tensor(rows).T)


def random_batch(seed: int, images: int = 9, count: int = 40) -> tuple[Tensor, TripletIndex]:
    generator = torch.Generator().manual_seed(seed)
    embeddings = F.normalize(torch.randn(images, 5, dtype=torch.float64, generator=generator), dim=1)
    return embeddings, TripletIndex(*torch.randint(images, (3, count), generator=generator))


@pytest.mark.parametrize(("positive", "negative"), [(0, 180), (10, 40), (40, 10), (90, 90), (180, 1)])
@pytest.mark.parametrize("margin", [0.1, 0.3, 2.0])
def test_value_is_the_papers_at_given_angles(positive: float, negative: float, margin: float) -> None:
    embeddings = at_angles(15, 15 + positive, 15 - negative)
    expected = max(0.0, chord(positive) - chord(negative) + margin)
    assert Triplet(SIZE, margin=margin)(embeddings, triplets((0, 1, 2))).item() == pytest.approx(expected, abs=2e-6)


def test_default_margin_is_three_tenths() -> None:
    assert Triplet(SIZE).margin == 0.3
    assert Triplet(SIZE)(at_angles(0, 50, -50), triplets((0, 1, 2))).item() == pytest.approx(0.3)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("margin", [0.2, 1.0])
def test_agrees_with_torchs_triplet_margin_loss(seed: int, margin: float) -> None:
    embeddings, index = random_batch(seed)
    sides = (embeddings[index.anchor], embeddings[index.positive], embeddings[index.negative])
    expected = F.triplet_margin_loss(*sides, margin=margin, p=2, eps=1e-9)
    # Where an image is its own positive, ours keeps a distance of 1e-6 so that the gradient stays finite.
    assert Triplet(SIZE, margin=margin)(embeddings, index).item() == pytest.approx(expected.item(), abs=2e-6)


def test_loss_is_the_mean_over_all_triplets_the_satisfied_ones_included() -> None:
    embeddings = at_angles(0, 60, 180)
    assert Triplet(SIZE, margin=0.5)(embeddings, triplets((0, 1, 2), (0, 2, 1))).item() == pytest.approx(
        (0.0 + 1.5) / 2
    )


@pytest.mark.parametrize("seed", range(3))
def test_order_of_triplets_and_of_embeddings_does_not_matter(seed: int) -> None:
    embeddings, index = random_batch(seed)
    expected = Triplet(SIZE)(embeddings, index).item()
    order = torch.randperm(len(index.anchor), generator=torch.Generator().manual_seed(seed))
    shuffled = TripletIndex(index.anchor[order], index.positive[order], index.negative[order])
    assert Triplet(SIZE)(embeddings, shuffled).item() == pytest.approx(expected)
    moved = torch.randperm(len(embeddings), generator=torch.Generator().manual_seed(seed))
    place = torch.argsort(moved)
    again = TripletIndex(place[index.anchor], place[index.positive], place[index.negative])
    assert Triplet(SIZE)(embeddings[moved], again).item() == pytest.approx(expected)


@pytest.mark.parametrize("seed", range(3))
def test_swapping_positive_and_negative_mirrors_the_loss_about_the_margin(seed: int) -> None:
    embeddings, index = random_batch(seed, count=200)
    swapped = TripletIndex(index.anchor, index.negative, index.positive)
    # No distance exceeds 2, so with a margin of 2 the hinge is never cut off and the two sum to twice the margin.
    total = Triplet(SIZE, margin=2.0)(embeddings, index) + Triplet(SIZE, margin=2.0)(embeddings, swapped)
    assert total.item() == pytest.approx(4.0)


def test_gradient_is_that_of_finite_differences() -> None:
    embeddings = at_angles(0, 25, 35, 170).requires_grad_()
    index = triplets((0, 1, 2), (2, 0, 1), (1, 3, 0), (0, 1, 3))
    assert torch.autograd.gradcheck(
        lambda rows: Triplet(SIZE, margin=0.4)(F.normalize(rows, dim=1), index), embeddings
    )


# At 0 degrees the distance is zero exactly, at 70 up to rounding.
@pytest.mark.parametrize("angle", [0, 70])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_is_finite_where_embeddings_coincide(dtype: torch.dtype, angle: float) -> None:
    embeddings = at_angles(angle, angle, angle, dtype=dtype).requires_grad_()
    loss = Triplet(SIZE, margin=0.3)(embeddings, triplets((0, 1, 2), (0, 0, 1), (1, 2, 2)))
    (gradient,) = torch.autograd.grad(loss, embeddings)
    assert loss.item() == pytest.approx(0.3, abs=1e-3)
    assert torch.isfinite(gradient).all()


def test_satisfied_triplets_have_no_gradient_and_others_move_the_right_way() -> None:
    embeddings = at_angles(0, 10, 90, 30).requires_grad_()
    (gradient,) = torch.autograd.grad(Triplet(SIZE, margin=0.3)(embeddings, triplets((0, 1, 2))), embeddings)
    assert torch.count_nonzero(gradient) == 0
    (gradient,) = torch.autograd.grad(Triplet(SIZE, margin=0.3)(embeddings, triplets((0, 2, 3))), embeddings)
    stepped = F.normalize(embeddings.detach() - 0.05 * gradient, dim=1)
    assert stepped[0] @ stepped[2] > embeddings[0] @ embeddings[2] + 0.01
    assert stepped[0] @ stepped[3] < embeddings[0] @ embeddings[3] - 0.01


@pytest.mark.parametrize("margin", [0.0, -0.3, 2.5, math.inf, math.nan])
def test_margin_outside_the_reach_of_unit_embeddings_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match=rf"^margin={margin}: expected a distance in \(0, 2\]$"):
        Triplet(SIZE, margin=margin)


@pytest.mark.parametrize("seed", range(3))
def test_squared_form_is_facenets(seed: int) -> None:
    embeddings, index = random_batch(seed)
    rows = embeddings.numpy()
    costs = [
        max(0.0, float(((rows[a] - rows[p]) ** 2).sum() - ((rows[a] - rows[n]) ** 2).sum()) + 0.2)
        for a, p, n in zip(*(part.tolist() for part in (index.anchor, index.positive, index.negative)), strict=True)
    ]
    loss = Triplet(SIZE, margin=0.2, form="squared")
    assert loss(embeddings, index).item() == pytest.approx(sum(costs) / len(costs))


def test_soft_form_is_the_softplus_of_the_difference_and_never_inactive() -> None:
    loss = Triplet(SIZE, soft=True)
    value = loss(at_angles(0, 60, 180), triplets((0, 1, 2))).item()
    assert value == pytest.approx(math.log1p(math.exp(1.0 - 2.0)))
    assert loss.active is None


def test_mean_over_the_active_triplets_and_their_share() -> None:
    embeddings, index = at_angles(0, 60, 180), triplets((0, 1, 2), (0, 2, 1))
    loss = Triplet(SIZE, margin=0.5, reduce="active")
    assert loss(embeddings, index).item() == pytest.approx(1.5)
    assert loss.active is not None
    assert loss.active.item() == 0.5


def test_no_triplets_cost_nothing() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    for reduce in ("all", "active"):
        assert Triplet(SIZE, reduce=reduce)(at_angles(0, 60), TripletIndex(none, none, none)).item() == 0.0
