"""Losses on a batch and its labels, each against loops written from the paper's equation."""

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pytorch_metric_learning.distances import LpDistance
from pytorch_metric_learning.losses import LiftedStructureLoss, MultiSimilarityLoss
from pytorch_metric_learning.miners import MultiSimilarityMiner
from pytorch_metric_learning.reducers import MeanReducer
from torch import Tensor

from siamese.losses.angular_prototypical import AngularPrototypical
from siamese.losses.circle import Circle
from siamese.losses.lifted_structure import LiftedStructure
from siamese.losses.loss import Loss, LossSize
from siamese.losses.multi_similarity import MultiSimilarity
from siamese.losses.n_pair import NPair
from siamese.losses.sup_con import SupCon

SIZE = LossSize(embedding_dim=6, identities=0)
Rows = NDArray[np.float64]


def random_batch(seed: int, labels: tuple[int, ...] = (0, 0, 0, 1, 1, 2, 2, 2, 3)) -> tuple[Tensor, Tensor]:
    """Unit embeddings, and labels of which the last shows once."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(labels), generator=generator)
    rows = torch.randn(len(labels), 6, dtype=torch.float64, generator=generator)
    return F.normalize(rows, dim=1), torch.tensor(labels)[order]


def partners(labels: NDArray[np.int64], i: int) -> tuple[list[int], list[int]]:
    others = [j for j in range(len(labels)) if j != i]
    return [j for j in others if labels[j] == labels[i]], [j for j in others if labels[j] != labels[i]]


def n_pair(x: Rows, labels: NDArray[np.int64]) -> float:
    firsts = [np.flatnonzero(labels == identity)[:2] for identity in np.unique(labels)]
    firsts = [rows for rows in firsts if len(rows) == 2]
    costs = []
    for i, (a, p) in enumerate(firsts):
        rivals = [math.exp(16 * float(x[a] @ x[q] - x[a] @ x[p])) for j, (_, q) in enumerate(firsts) if j != i]
        costs.append(math.log1p(sum(rivals)))
    return float(np.mean(costs))


def lifted_structure(x: Rows, labels: NDArray[np.int64]) -> float:
    def distance(i: int, j: int) -> float:
        return float(np.linalg.norm(x[i] - x[j]))

    costs = []
    for i in range(len(x)):
        for j in partners(labels, i)[0]:
            pushes = [math.exp(1.0 - distance(end, k)) for end in (i, j) for k in partners(labels, end)[1]]
            costs.append(max(0.0, distance(i, j) + math.log(sum(pushes))) ** 2 / 2)
    return float(np.mean(costs))


def multi_similarity(x: Rows, labels: NDArray[np.int64]) -> float:
    s = x @ x.T
    costs = []
    for i in range(len(x)):
        positives, negatives = partners(labels, i)
        mined_positives = [p for p in positives if s[i, p] < max((s[i, n] for n in negatives), default=-9) + 0.1]
        mined_negatives = [n for n in negatives if s[i, n] > min((s[i, p] for p in positives), default=9) - 0.1]
        pull = math.log1p(sum(math.exp(-2 * (s[i, p] - 0.5)) for p in mined_positives)) / 2
        push = math.log1p(sum(math.exp(50 * (s[i, n] - 0.5)) for n in mined_negatives)) / 50
        costs.append(pull + push)
    return float(np.mean(costs))


def sup_con(x: Rows, labels: NDArray[np.int64]) -> float:
    s = x @ x.T / 0.1
    costs = []
    for i in range(len(x)):
        positives, negatives = partners(labels, i)
        total = sum(math.exp(s[i, a]) for a in positives + negatives)
        if positives:
            costs.append(-np.mean([math.log(math.exp(s[i, p]) / total) for p in positives]))
    return float(np.mean(costs))


def circle(x: Rows, labels: NDArray[np.int64]) -> float:
    s, m, gamma = x @ x.T, 0.4, 80.0
    costs = []
    for i in range(len(x)):
        positives, negatives = partners(labels, i)
        pull = [-gamma * max(0.0, 1 + m - s[i, p]) * (s[i, p] - 1 + m) for p in positives]
        push = [gamma * max(0.0, s[i, n] + m) * (s[i, n] - m) for n in negatives]
        if pull and push:
            costs.append(np.logaddexp(0.0, np.logaddexp.reduce(pull) + np.logaddexp.reduce(push)))
    return float(np.mean(costs))


def angular_prototypical(x: Rows, labels: NDArray[np.int64]) -> float:
    places = [np.flatnonzero(labels == identity) for identity in np.unique(labels)]
    places = [rows for rows in places if len(rows) > 1]
    centroids = [x[rows[:-1]].mean(axis=0) for rows in places]
    costs = []
    for j, rows in enumerate(places):
        query = x[rows[-1]]
        logits = [10 * float(query @ c) / float(np.linalg.norm(c)) - 5 for c in centroids]
        costs.append(np.logaddexp.reduce(logits) - logits[j])
    return float(np.mean(costs))


CASES: dict[str, tuple[type[Loss], Callable[[Rows, NDArray[np.int64]], float]]] = {
    "n_pair": (NPair, n_pair),
    "lifted_structure": (LiftedStructure, lifted_structure),
    "multi_similarity": (MultiSimilarity, multi_similarity),
    "sup_con": (SupCon, sup_con),
    "circle": (Circle, circle),
    "angular_prototypical": (AngularPrototypical, angular_prototypical),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", CASES)
def test_value_is_that_of_the_papers_equation(name: str, seed: int) -> None:
    embeddings, labels = random_batch(seed)
    build, equation = CASES[name]
    value = build(SIZE)(embeddings, labels)  # type: ignore[call-arg]
    assert value.item() == pytest.approx(equation(embeddings.numpy(), labels.numpy()), rel=1e-6)


# Of the last two, which rows of an identity are compared depends on their order.
@pytest.mark.parametrize("name", ["lifted_structure", "multi_similarity", "sup_con", "circle"])
def test_order_of_the_rows_does_not_matter(name: str) -> None:
    embeddings, labels = random_batch(3)
    loss = CASES[name][0](SIZE)  # type: ignore[call-arg]
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    assert loss(embeddings[order], labels[order]).item() == pytest.approx(loss(embeddings, labels).item())


@pytest.mark.parametrize("name", CASES)
def test_names_of_the_identities_do_not_matter(name: str) -> None:
    embeddings, labels = random_batch(2)
    loss = CASES[name][0](SIZE)  # type: ignore[call-arg]
    renamed = torch.tensor([12, 7, 40, 3])[labels]
    assert loss(embeddings, renamed).item() == pytest.approx(loss(embeddings, labels).item())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("labels", [(0, 1, 2, 3), (5,)], ids=["strangers", "alone"])
def test_a_batch_without_genuine_pairs_gives_a_finite_loss_and_gradient(name: str, labels: tuple[int, ...]) -> None:
    embeddings, numbers = random_batch(0, labels)
    embeddings.requires_grad_()
    loss = CASES[name][0](SIZE)(embeddings, numbers)  # type: ignore[call-arg]
    (gradient,) = torch.autograd.grad(loss, embeddings)
    assert loss.item() == 0.0
    assert torch.count_nonzero(gradient) == 0


@pytest.mark.parametrize("name", CASES)
def test_identities_apart_cost_less_than_mixed_ones(name: str) -> None:
    loss = CASES[name][0](SIZE)  # type: ignore[call-arg]
    rows = torch.eye(6, dtype=torch.float64)[[0, 0, 1, 1, 2, 2]]
    apart = loss(rows, torch.tensor([0, 0, 1, 1, 2, 2])).item()
    mixed = loss(rows, torch.tensor([0, 1, 1, 2, 2, 0])).item()
    assert apart < 0.25 * mixed


def test_lifted_structure_is_the_cubic_one_of_pytorch_metric_learning() -> None:
    embeddings, labels = random_batch(1, (0, 0, 0, 0, 1, 1, 1, 2, 2))
    distance = LpDistance(normalize_embeddings=False, p=2, power=1)
    reference = LiftedStructureLoss(neg_margin=0.8, pos_margin=0, distance=distance, reducer=MeanReducer())
    value = LiftedStructure(SIZE, margin=0.8)(embeddings, labels)
    assert value.item() == pytest.approx(reference(embeddings, labels).item(), rel=1e-6)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5])
def test_multi_similarity_mines_as_pytorch_metric_learning_does(epsilon: float) -> None:
    embeddings, labels = random_batch(5, (0, 0, 0, 1, 1, 2, 2))
    mined = MultiSimilarityMiner(epsilon=epsilon)(embeddings, labels)
    expected = MultiSimilarityLoss(alpha=2, beta=40, base=0.4, reducer=MeanReducer())(embeddings, labels, mined)
    value = MultiSimilarity(SIZE, alpha=2, beta=40, base=0.4, epsilon=epsilon)(embeddings, labels)
    assert value.item() == pytest.approx(expected.item())


def test_contrast_form_compares_with_the_nearest_wrong_prototype_alone() -> None:
    rows = torch.eye(3, dtype=torch.float64)[[0, 0, 1, 2]]
    rows[3] = F.normalize(torch.tensor([0.6, 0.8, 0.0], dtype=torch.float64), dim=0)
    loss = AngularPrototypical(SIZE, form="contrast", scale=10.0, bias=-5.0)
    value = loss(rows, torch.tensor([0, 0, 1, 1])).item()

    def chance(similarity: float) -> float:
        return 1 / (1 + math.exp(5 - 10 * similarity))

    # Query 0 is its own prototype and orthogonal to the other; query 1 is at .8 of its own and at .6 of the other.
    expected = (1 - chance(1.0) + chance(0.0) + 1 - chance(0.8) + chance(0.6)) / 2
    assert value == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("build", "options", "message"),
    [
        (NPair, {"scale": 0.0}, "scale=0.0: expected a finite number above 0"),
        (LiftedStructure, {"margin": 3.0}, "margin=3.0: expected a distance in (0, 2]"),
        (MultiSimilarity, {"beta": math.inf}, "beta=inf: expected a finite number above 0"),
        (MultiSimilarity, {"base": 2.0}, "base=2.0: expected a similarity in [-1, 1]"),
        (MultiSimilarity, {"epsilon": -0.1}, "epsilon=-0.1: expected 0 or more"),
        (SupCon, {"temperature": 0.0}, "temperature=0.0: expected a finite number above 0"),
        (Circle, {"margin": 1.0}, "margin=1.0: expected a number in (0, 1)"),
        (Circle, {"gamma": -1.0}, "gamma=-1.0: expected a finite number above 0"),
        (AngularPrototypical, {"scale": -2.0}, "scale=-2.0: expected a finite number above 0"),
    ],
)
def test_options_out_of_range_are_refused(
    build: Callable[..., Loss], options: dict[str, float], message: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        build(SIZE, **options)
