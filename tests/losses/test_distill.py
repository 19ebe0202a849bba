import numpy as np
import pytest
import torch
from torch import Tensor

from siamese.errors import OptionError
from siamese.losses.batch import BatchIndex
from siamese.losses.distill import Distill
from siamese.losses.loss import LossSize
from siamese.losses.registry import parse_objective

SIZE = LossSize(embedding_dim=5, identities=0, teacher_dim=5)


def units(seed: int, rows: int = 7, width: int = 5) -> Tensor:
    values = np.random.default_rng(seed).normal(size=(rows, width))
    return torch.from_numpy((values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float32))


def reference(student: Tensor, teacher: Tensor, cosine: float, relational: float) -> float:
    """Written out over every image and every pair of two."""
    z, t = student.double().numpy(), teacher.double().numpy()
    apart = [1 - float(z[i] @ t[i]) for i in range(len(z))] if cosine else [0.0]
    relations = [
        (float(z[i] @ z[j]) - float(t[i] @ t[j])) ** 2 for i in range(len(z)) for j in range(len(z)) if i != j
    ]
    return cosine * float(np.mean(apart)) + relational * float(np.mean(relations))


@pytest.mark.parametrize(("cosine", "relational"), [(1.0, 5.0), (1.0, 0.0), (0.0, 5.0), (0.25, 2.0)])
def test_the_loss_is_that_of_the_double_sum(cosine: float, relational: float) -> None:
    student, teacher = units(0), units(1)
    loss = Distill(SIZE, cosine=cosine, relational=relational)
    assert loss(student, teacher).item() == pytest.approx(reference(student, teacher, cosine, relational), abs=1e-6)


def test_a_student_that_says_what_its_teacher_says_costs_nothing() -> None:
    assert Distill(SIZE)(units(3), units(3)).item() == pytest.approx(0.0, abs=1e-6)


def test_a_turned_space_costs_nothing_where_relations_alone_count() -> None:
    turned = units(4) @ torch.linalg.qr(units(5, 5))[0]
    assert Distill(SIZE, cosine=0)(turned, units(4)).item() == pytest.approx(0.0, abs=1e-6)
    assert Distill(SIZE)(turned, units(4)).item() > 0.1


def test_relations_are_learnt_from_a_teacher_of_another_width() -> None:
    student, teacher = units(0), units(1, width=3)
    loss = Distill(LossSize(5, 0, 3), cosine=0)
    assert loss(student, teacher).item() == pytest.approx(reference(student, teacher, 0.0, 5.0), abs=1e-6)


def test_one_image_alone_has_no_relations_and_a_gradient_all_the_same() -> None:
    student = units(0, 1).requires_grad_()
    Distill(SIZE, cosine=0)(student, units(1, 1)).backward()
    assert student.grad is not None
    assert torch.equal(student.grad, torch.zeros(1, 5))
    assert Distill(SIZE)(units(0, 1), units(1, 1)).item() == pytest.approx(reference_of_one(), abs=1e-6)


def reference_of_one() -> float:
    return 1 - float(units(0, 1)[0] @ units(1, 1)[0])


def test_the_teacher_gets_no_gradient() -> None:
    student, teacher = units(0).requires_grad_(), units(1)
    Distill(SIZE)(student, teacher).backward()
    assert student.grad is not None
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_gradient_steps_lead_to_the_teacher() -> None:
    raw = units(0, 12).clone().requires_grad_()
    teacher = units(1, 12)
    optimiser = torch.optim.SGD([raw], lr=0.5)
    for _ in range(200):
        optimiser.zero_grad()
        Distill(SIZE)(torch.nn.functional.normalize(raw, dim=1), teacher).backward()
        optimiser.step()
    assert (torch.nn.functional.normalize(raw, dim=1) * teacher).sum(dim=1).min() > 0.99


@pytest.mark.parametrize(
    ("options", "size", "message"),
    [
        ("cosine=-1", SIZE, "cosine=-1.0: expected 0 or more"),
        ("relational=inf", SIZE, "relational=inf: expected 0 or more"),
        ("cosine=0+relational=0", SIZE, "cosine and relational are both 0: nothing is learnt"),
    ],
)
def test_a_wrong_option_is_refused(options: str, size: LossSize, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_objective(f"distill+{options}").build(size)


def test_a_width_that_is_not_the_teachers_says_what_to_do() -> None:
    with pytest.raises(
        OptionError, match="embeddings of 8 have no cosine to the teacher's of 5; give --embedding-dim 5"
    ):
        parse_objective("distill").build(LossSize(8, 0, 5))


def test_without_a_teacher_the_batch_is_refused() -> None:
    objective = parse_objective("distill").build(SIZE)
    with pytest.raises(OptionError, match="distill learns from a teacher, and none is given; add --teacher MODEL"):
        objective(units(0), BatchIndex(labels=torch.zeros(7, dtype=torch.int64)))


def test_an_identity_loss_beside_it_sees_the_known_images_alone() -> None:
    size = LossSize(5, 3, 5)
    torch.manual_seed(0)
    both = parse_objective("distill+arcface:0.5").build(size)
    labels = torch.tensor([0, -1, 2, 1, -1, 0, 2])
    student, teacher = units(0), units(1)
    value = both(student, BatchIndex(labels=labels, teacher=teacher))
    known = labels >= 0
    alone = both.losses["arcface"](student[known], labels[known])  # type: ignore[operator]
    assert value.terms["arcface"].item() == pytest.approx(alone.item(), rel=1e-6)
    assert value.total.item() == pytest.approx(
        value.terms["distill"].item() + 0.5 * value.terms["arcface"].item(), rel=1e-6
    )


def test_a_batch_of_nobody_known_leaves_the_identity_loss_at_zero() -> None:
    both = parse_objective("distill+arcface:0.5").build(LossSize(5, 3, 5))
    student = units(0).requires_grad_()
    value = both(student, BatchIndex(labels=torch.full((7,), -1), teacher=units(1)))
    assert value.terms["arcface"].item() == 0.0
    value.total.backward()
    assert torch.isfinite(student.grad).all()  # type: ignore[union-attr, arg-type]
