import math
import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from siamese.losses.batch import BatchIndex
from siamese.losses.loss import LossSize
from siamese.losses.memory import Memory, memory_of, with_memory
from siamese.losses.options import option_types
from siamese.losses.registry import LOSSES, parse_objective

REMEMBER = [name for name in LOSSES if "memory" in option_types(LOSSES[name])]
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def rows(seed: int, count: int = 6) -> Tensor:
    return F.normalize(torch.randn(count, 4, generator=torch.Generator().manual_seed(seed)), dim=1)


def test_the_oldest_entries_make_room() -> None:
    memory = Memory(5, 4)
    assert len(memory.recall()[0]) == 0
    first, second = rows(0, 3), rows(1, 3)
    memory.remember(first, torch.tensor([0, 1, 2]))
    torch.testing.assert_close(memory.recall()[0], first)
    memory.remember(second, torch.tensor([3, 4, 5]))
    kept, labels = memory.recall()
    assert labels.tolist() == [5, 1, 2, 3, 4]
    torch.testing.assert_close(kept, torch.stack([second[2], first[1], first[2], second[0], second[1]]))


def test_of_a_batch_larger_than_the_memory_the_last_rows_stay() -> None:
    memory = Memory(4, 4)
    memory.remember(rows(0), torch.arange(6))
    assert sorted(memory.recall()[1].tolist()) == [2, 3, 4, 5]


def test_rows_that_are_not_finite_are_not_remembered() -> None:
    memory, spoilt = Memory(6, 4), rows(0)
    spoilt[1, 2], spoilt[4, 0] = math.nan, math.inf
    memory.remember(spoilt, torch.arange(6))
    kept, labels = memory.recall()
    assert labels.tolist() == [0, 2, 3, 5]
    assert kept.isfinite().all()


def test_what_is_remembered_has_no_gradient_and_does_not_follow_the_batch() -> None:
    memory, batch = Memory(6, 4), rows(0).requires_grad_()
    memory.remember(batch, LABELS)
    with torch.no_grad():
        batch.zero_()
    kept, _ = memory.recall()
    assert not kept.requires_grad
    torch.testing.assert_close(kept, rows(0))


def test_batch_rows_come_before_those_of_the_memory() -> None:
    memory = Memory(6, 4)
    memory.remember(rows(1), LABELS + 3)
    both, labels = with_memory(memory, rows(0), LABELS)
    torch.testing.assert_close(both, torch.cat((rows(0), rows(1))))
    assert labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


@pytest.mark.parametrize("size", [-1, 2**20 + 1])
def test_impossible_sizes_are_refused(size: int) -> None:
    message = f"memory={size}: expected a number of embeddings from 0 (none) to 1048576"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        memory_of(size, 4)
    assert memory_of(0, 4) is None


@pytest.mark.parametrize("name", REMEMBER)
def test_the_first_batch_costs_the_same_with_and_without_a_memory(name: str) -> None:
    with_, without = (parse_objective(name + option).build(LossSize(4, 3)) for option in ("+memory=12", ""))
    index = BatchIndex(labels=LABELS)
    # No embedding meets its own copy: the memory is still empty while the batch is compared.
    torch.testing.assert_close(with_(rows(0), index).total, without(rows(0), index).total)


@pytest.mark.parametrize("name", REMEMBER)
def test_the_second_batch_is_compared_with_the_first(name: str) -> None:
    objective = parse_objective(f"{name}+memory=12").build(LossSize(4, 3))
    index = BatchIndex(labels=LABELS)
    alone = objective(rows(1), index).total.item()
    second = objective(rows(2), index).total.item()
    fresh = parse_objective(f"{name}+memory=12").build(LossSize(4, 3))(rows(2), index).total.item()
    assert alone > 0
    assert second != pytest.approx(fresh, rel=1e-4)


@pytest.mark.parametrize("name", ["contrastive+mining=all", "pairwise"])
def test_pairs_reach_into_the_memory_but_not_within_it(name: str) -> None:
    objective = parse_objective(f"{name}+memory=12").build(LossSize(4, 3))
    plain = parse_objective(name).build(LossSize(4, 3))
    index = BatchIndex(labels=LABELS)
    objective(rows(1), index)
    found = objective(rows(2), index).total.item()
    everything = BatchIndex(labels=LABELS.repeat(2))
    both = plain(torch.cat((rows(2), rows(1))), everything).total.item() * 66
    within = plain(rows(1), index).total.item() * 15
    assert found == pytest.approx((both - within) / 51, rel=1e-5)


@pytest.mark.parametrize("name", REMEMBER)
def test_a_resumed_run_goes_on_with_the_same_memory(name: str) -> None:
    index = BatchIndex(labels=LABELS)
    text = f"{name}+memory=9"
    one, other = (parse_objective(text).build(LossSize(4, 3)) for _ in range(2))
    for seed in range(4):
        one(rows(seed), index)
    other.load_state_dict(one.state_dict())
    for seed in range(4, 7):
        assert torch.equal(one(rows(seed), index).total, other(rows(seed), index).total)
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


@pytest.mark.parametrize("name", REMEMBER)
def test_evaluation_leaves_the_memory_alone(name: str) -> None:
    objective = parse_objective(f"{name}+memory=9").build(LossSize(4, 3))
    index = BatchIndex(labels=LABELS)
    objective(rows(0), index)
    before = {key: value.clone() for key, value in objective.state_dict().items()}
    objective.eval()(rows(1), index)
    assert all(torch.equal(value, before[key]) for key, value in objective.state_dict().items())
