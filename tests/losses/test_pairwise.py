import math
import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamese.losses.batch import PairIndex
from siamese.losses.learnt_scale import LearntScale
from siamese.losses.loss import LossSize
from siamese.losses.pairwise import Pairwise

SIZE = LossSize(embedding_dim=6, identities=0)


def random_batch(seed: int, count: int = 12) -> tuple[Tensor, PairIndex]:
    generator = torch.Generator().manual_seed(seed)
    embeddings = F.normalize(torch.randn(9, 6, generator=generator), dim=1)
    left, right = torch.randint(9, (2, count), generator=generator)
    return embeddings, PairIndex(left, right, torch.randint(2, (count,), generator=generator).float())


@pytest.mark.parametrize("count", [5, 40])  # fewer and more pairs than images
@pytest.mark.parametrize("seed", range(3))
def test_value_is_the_log_loss_of_the_scaled_similarity(seed: int, count: int) -> None:
    embeddings, index = random_batch(seed, count)
    total = 0.0
    for left, right, same in zip(index.left, index.right, index.same, strict=True):
        chance = 1 / (1 + math.exp(-(7.0 * float(embeddings[left] @ embeddings[right]) - 2.0)))
        total -= math.log(chance if same else 1 - chance)
    assert Pairwise(SIZE, scale=7.0, bias=-2.0)(embeddings, index).item() == pytest.approx(total / count, rel=1e-5)


def test_default_start_is_undecided_at_a_similarity_of_one_half() -> None:
    embeddings = torch.tensor([[1.0, 0.0], [0.5, math.sqrt(0.75)]])
    pair = PairIndex(torch.tensor([0]), torch.tensor([1]), torch.tensor([1.0]))
    assert Pairwise(SIZE)(embeddings, pair).item() == pytest.approx(math.log(2), abs=1e-6)


def test_scale_and_bias_are_learnt_and_the_scale_stays_positive() -> None:
    embeddings, index = random_batch(0)
    loss = Pairwise(SIZE)
    # With every label wrong way round the best scale would be negative.
    wrong = PairIndex(
        index.left, index.right, ((embeddings[index.left] * embeddings[index.right]).sum(1) < 0).float()
    )
    optimiser = torch.optim.SGD(loss.parameters(), lr=1.0)
    for _ in range(100):
        optimiser.zero_grad()
        loss(embeddings, wrong).backward()
        optimiser.step()
    assert isinstance(loss.logit, LearntScale)
    assert 0 < loss.logit.log_scale.exp().item() < 10
    assert loss.logit.bias.item() != -5.0


def test_smoothed_labels_are_those_of_torchs_cross_entropy_over_two_classes() -> None:
    embeddings, index = random_batch(1)
    logits = 10.0 * (embeddings[index.left] * embeddings[index.right]).sum(1) - 5.0
    two = torch.stack([torch.zeros_like(logits), logits], dim=1)
    expected = F.cross_entropy(two, index.same.long(), label_smoothing=0.2)
    assert Pairwise(SIZE, label_smoothing=0.2)(embeddings, index).item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_pair_head_gives_the_logits_and_keeps_its_weights_to_itself() -> None:
    embeddings, index = random_batch(2)
    head = nn.Linear(6, 1)

    def logits(left: Tensor, right: Tensor) -> Tensor:
        result: Tensor = head((left - right).abs()).squeeze(1)
        return result

    loss = Pairwise(SIZE)
    loss.use(logits)
    value = loss(embeddings, index)
    expected = F.binary_cross_entropy_with_logits(logits(embeddings[index.left], embeddings[index.right]), index.same)
    torch.testing.assert_close(value, expected)
    value.backward()
    assert head.weight.grad is not None
    assert list(loss.parameters()) == []


def test_a_pair_head_that_is_a_module_is_not_taken_over() -> None:
    loss = Pairwise(SIZE)
    loss.use(nn.CosineSimilarity())
    loss.use(nn.Bilinear(6, 6, 1))
    assert list(loss.parameters()) == []
    assert set(loss.state_dict()) == {"draws"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0.0}, "scale=0.0: expected a finite number above 0"),
        ({"scale": math.inf}, "scale=inf: expected a finite number above 0"),
        ({"bias": math.nan}, "bias=nan: expected a finite number"),
        ({"label_smoothing": 1.0}, "label_smoothing=1.0: expected a share in [0, 1)"),
        ({"memory": -1}, "memory=-1: expected a number of embeddings from 0 (none) to 1048576"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Pairwise(SIZE, **options)  # type: ignore[arg-type]
