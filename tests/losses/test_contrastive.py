import math
import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from siamese.losses.batch import PairIndex
from siamese.losses.contrastive import Contrastive, Form
from siamese.losses.loss import LossSize

SIZE = LossSize(embedding_dim=2, identities=0)


def at_angles(*degrees: float, dtype: torch.dtype = torch.float64) -> Tensor:
    """Unit embeddings in the plane; two of them lie 2 sin(half their angle) apart."""
    angles = torch.deg2rad(torch.tensor(degrees, dtype=dtype))
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def pairs(*rows: tuple[int, int, int]) -> PairIndex:
    left, right, same = torch.tensor(rows).T
    return PairIndex(left, right, same.double())


def random_batch(seed: int, images: int = 9, count: int = 40) -> tuple[Tensor, PairIndex]:
    generator = torch.Generator().manual_seed(seed)
    embeddings = F.normalize(torch.randn(images, 5, dtype=torch.float64, generator=generator), dim=1)
    left, right = torch.randint(images, (2, count), generator=generator)
    return embeddings, PairIndex(left, right, torch.randint(2, (count,), generator=generator).double())


@pytest.mark.parametrize("angle", [0, 10, 60, 90, 135, 180])
@pytest.mark.parametrize("margin", [0.25, 1.0, 2.0])
def test_value_is_the_papers_at_a_given_angle(angle: float, margin: float) -> None:
    distance = 2 * math.sin(math.radians(angle) / 2)
    loss = Contrastive(SIZE, margin=margin)
    embeddings = at_angles(20, 20 + angle)
    assert loss(embeddings, pairs((0, 1, 1))).item() == pytest.approx(distance**2, abs=1e-9)
    assert loss(embeddings, pairs((0, 1, 0))).item() == pytest.approx(max(0.0, margin - distance) ** 2, abs=5e-6)


def test_default_margin_lets_orthogonal_embeddings_be() -> None:
    assert Contrastive(SIZE).margin == 1.4
    embeddings = at_angles(0, 30, 90, 120)
    near = Contrastive(SIZE)(embeddings, pairs((0, 1, 0))).item()
    assert near == pytest.approx((1.4 - 2 * math.sin(math.pi / 12)) ** 2)
    # At 90 degrees two unit vectors are sqrt(2) apart.
    assert Contrastive(SIZE)(embeddings, pairs((0, 2, 0), (0, 3, 0))).item() == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("margin", [0.5, 1.0, 1.7])
def test_agrees_with_torchs_hinge_embedding_loss_squared(seed: int, margin: float) -> None:
    embeddings, index = random_batch(seed)
    distance = F.pairwise_distance(embeddings[index.left], embeddings[index.right], eps=0.0)
    # torch's loss is d for a genuine and max(0, m - d) for an impostor pair; ours is the square of either.
    hinge = F.hinge_embedding_loss(distance, 2 * index.same - 1, margin=margin, reduction="none")
    assert Contrastive(SIZE, margin=margin)(embeddings, index).item() == pytest.approx(
        hinge.square().mean().item(), abs=3e-6
    )


def test_loss_is_the_mean_over_pairs() -> None:
    embeddings = at_angles(0, 90, 180)
    loss = Contrastive(SIZE, margin=2.0)
    rows = ((0, 1, 1), (0, 2, 1), (0, 1, 0))
    alone = [loss(embeddings, pairs(row)).item() for row in rows]
    assert alone == pytest.approx([2.0, 4.0, (2 - math.sqrt(2)) ** 2])
    assert loss(embeddings, pairs(*rows)).item() == pytest.approx(sum(alone) / 3)


@pytest.mark.parametrize("seed", range(3))
def test_swapped_sides_and_shuffled_pairs_cost_the_same(seed: int) -> None:
    embeddings, index = random_batch(seed)
    expected = Contrastive(SIZE)(embeddings, index).item()
    assert Contrastive(SIZE)(embeddings, PairIndex(index.right, index.left, index.same)).item() == pytest.approx(
        expected
    )
    order = torch.randperm(len(index.same), generator=torch.Generator().manual_seed(seed))
    shuffled = PairIndex(index.left[order], index.right[order], index.same[order])
    assert Contrastive(SIZE)(embeddings, shuffled).item() == pytest.approx(expected)
    # Moving the embeddings in the batch, and the index with them, changes nothing either.
    moved = torch.randperm(len(embeddings), generator=torch.Generator().manual_seed(seed))
    place = torch.argsort(moved)
    again = PairIndex(place[index.left], place[index.right], index.same)
    assert Contrastive(SIZE)(embeddings[moved], again).item() == pytest.approx(expected)


def test_gradient_is_that_of_finite_differences() -> None:
    embeddings = at_angles(0, 25, 80, 170).requires_grad_()
    index = pairs((0, 1, 1), (0, 1, 0), (1, 2, 0), (0, 3, 1), (2, 3, 0))
    assert torch.autograd.gradcheck(
        lambda rows: Contrastive(SIZE, margin=1.5)(F.normalize(rows, dim=1), index), embeddings
    )


# At 0 degrees the distance is zero exactly, at 33 up to rounding.
@pytest.mark.parametrize("angle", [0, 33])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradient_is_finite_where_embeddings_coincide(dtype: torch.dtype, angle: float) -> None:
    embeddings = at_angles(angle, angle, angle, dtype=dtype).requires_grad_()
    index = pairs((0, 1, 0), (1, 2, 1), (2, 2, 0))
    loss = Contrastive(SIZE)(embeddings, PairIndex(index.left, index.right, index.same.to(dtype)))
    (gradient,) = torch.autograd.grad(loss, embeddings)
    assert torch.isfinite(gradient).all()
    # Coincident impostors pay the whole margin, coincident genuine pairs nothing.
    assert loss.item() == pytest.approx(1.4**2 * 2 / 3, abs=1e-3)


def test_a_step_against_the_gradient_pulls_genuine_and_pushes_impostor_pairs() -> None:
    for same, sign in ((1, 1.0), (0, -1.0)):
        embeddings = at_angles(0, 40).requires_grad_()
        (gradient,) = torch.autograd.grad(Contrastive(SIZE)(embeddings, pairs((0, 1, same))), embeddings)
        stepped = F.normalize(embeddings.detach() - 0.1 * gradient, dim=1)
        before, after = (embeddings[0] @ embeddings[1]).item(), (stepped[0] @ stepped[1]).item()
        assert sign * (after - before) > 0.01


def test_impostors_beyond_the_margin_have_no_gradient() -> None:
    embeddings = at_angles(0, 61).requires_grad_()
    (gradient,) = torch.autograd.grad(Contrastive(SIZE, margin=1.0)(embeddings, pairs((0, 1, 0))), embeddings)
    assert torch.count_nonzero(gradient) == 0


@pytest.mark.parametrize("margin", [0.0, -1.0, 2.01, math.inf, math.nan])
def test_margin_outside_the_reach_of_unit_embeddings_is_refused(margin: float) -> None:
    with pytest.raises(ValueError, match=rf"^margin={margin}: expected a distance in \(0, 2\]$"):
        Contrastive(SIZE, margin=margin)


def test_margin_may_be_two_the_largest_distance_there_is() -> None:
    assert Contrastive(SIZE, margin=2.0)(at_angles(0, 180), pairs((0, 1, 0))).item() == pytest.approx(0.0, abs=1e-12)
    assert Contrastive(SIZE, margin=2.0)(at_angles(0, 0), pairs((0, 1, 0))).item() == pytest.approx(4.0, abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("margin", [0.5, 1.4])
def test_linear_form_is_torchs_hinge_embedding_loss(seed: int, margin: float) -> None:
    embeddings, index = random_batch(seed)
    distance = F.pairwise_distance(embeddings[index.left], embeddings[index.right], eps=0.0)
    expected = F.hinge_embedding_loss(distance, 2 * index.same - 1, margin=margin)
    loss = Contrastive(SIZE, form="linear", margin=margin)
    assert loss(embeddings, index).item() == pytest.approx(expected.item(), abs=3e-6)
    assert Contrastive(SIZE, form="linear").margin == 1.4


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("margin", [-0.5, 0.0, 0.4])
def test_cosine_form_is_torchs_cosine_embedding_loss(seed: int, margin: float) -> None:
    embeddings, index = random_batch(seed)
    sides = embeddings[index.left], embeddings[index.right]
    expected = F.cosine_embedding_loss(*sides, 2 * index.same - 1, margin=margin)
    loss = Contrastive(SIZE, form="cosine", margin=margin)
    assert loss(embeddings, index).item() == pytest.approx(expected.item(), abs=1e-12)
    assert Contrastive(SIZE, form="cosine").margin == 0.0


@pytest.mark.parametrize("form", ["squared", "linear", "cosine"])
def test_perfect_embeddings_cost_nothing_in_any_form(form: Form) -> None:
    loss = Contrastive(SIZE, form=form)
    value = loss(at_angles(0, 0, 180, 180), pairs((0, 1, 1), (2, 3, 1), (0, 2, 0), (1, 3, 0)))
    assert value.item() == pytest.approx(0.0, abs=2e-6)


def test_mean_over_the_active_pairs_leaves_out_those_that_cost_nothing() -> None:
    embeddings, index = at_angles(0, 60, 180), pairs((0, 1, 1), (0, 2, 0), (1, 2, 0))
    assert Contrastive(SIZE, margin=1.5)(embeddings, index).item() == pytest.approx(1 / 3)
    assert Contrastive(SIZE, margin=1.5, reduce="active")(embeddings, index).item() == pytest.approx(1.0)


def test_active_is_the_share_of_pairs_that_cost_something() -> None:
    loss = Contrastive(SIZE, margin=1.5)
    loss(at_angles(0, 60, 180), pairs((0, 1, 1), (0, 2, 0), (0, 1, 0), (1, 1, 1)))
    assert loss.active is not None
    assert loss.active.item() == pytest.approx(0.5)


def test_no_pairs_cost_nothing_and_still_have_a_gradient() -> None:
    embeddings = at_angles(0, 60).requires_grad_()
    none = torch.zeros(0, dtype=torch.int64)
    loss = Contrastive(SIZE)(embeddings, PairIndex(none, none, torch.zeros(0, dtype=torch.float64)))
    assert loss.item() == 0.0
    (gradient,) = torch.autograd.grad(loss, embeddings)
    assert torch.count_nonzero(gradient) == 0


@pytest.mark.parametrize("margin", [-1.1, 1.0, math.nan])
def test_cosine_margin_is_a_similarity(margin: float) -> None:
    message = re.escape(f"margin={margin}: expected a similarity in [-1, 1) with form=cosine")
    with pytest.raises(ValueError, match=f"^{message}$"):
        Contrastive(SIZE, form="cosine", margin=margin)
