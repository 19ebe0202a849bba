"""What a batch can serve, and the sum of losses on it."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from siamese.errors import OptionError
from siamese.losses.batch import BatchIndex, PairIndex, QuadrupletIndex, TripletIndex, Tuples
from siamese.losses.contrastive import Contrastive
from siamese.losses.loss import LossSize, Needs
from siamese.losses.mining import mine_quadruplets, mine_triplets
from siamese.losses.quadruplet import Quadruplet
from siamese.losses.registry import parse_objective
from siamese.losses.triplet import Triplet

SIZE = LossSize(embedding_dim=4, identities=3)
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
PAIRS = PairIndex(torch.tensor([0, 2, 0]), torch.tensor([1, 3, 4]), torch.tensor([1.0, 1.0, 0.0]))
TRIPLETS = TripletIndex(torch.tensor([0, 2]), torch.tensor([1, 3]), torch.tensor([4, 5]))
QUADRUPLETS = QuadrupletIndex(*torch.tensor([[0, 2], [1, 3], [2, 4], [5, 0]]))


def rows(seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(seed)), dim=1)


def value(text: str, index: BatchIndex, embeddings: Tensor | None = None) -> float:
    total: Tensor = parse_objective(text).build(SIZE)(rows() if embeddings is None else embeddings, index).total
    return total.item()


def test_pairs_of_a_file_are_taken_as_they_are() -> None:
    assert value("contrastive", BatchIndex(PAIRS)) == pytest.approx(Contrastive(SIZE)(rows(), PAIRS).item())


def test_a_triplet_serves_as_two_pairs() -> None:
    same = torch.tensor([1.0, 0.0, 1.0, 0.0])
    as_pairs = PairIndex(torch.tensor([0, 0, 2, 2]), torch.tensor([1, 4, 3, 5]), same)
    assert value("contrastive", BatchIndex(TRIPLETS)) == pytest.approx(Contrastive(SIZE)(rows(), as_pairs).item())


def test_a_quadruplet_serves_as_a_triplet_and_as_three_pairs() -> None:
    as_triplets = TripletIndex(QUADRUPLETS.anchor, QUADRUPLETS.positive, QUADRUPLETS.negative)
    assert value("triplet", BatchIndex(QUADRUPLETS)) == pytest.approx(Triplet(SIZE)(rows(), as_triplets).item())
    as_pairs = PairIndex(
        torch.tensor([0, 2, 0, 2, 2, 4]),
        torch.tensor([1, 3, 2, 4, 5, 0]),
        torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0, 0.0]),
    )
    assert value("contrastive", BatchIndex(QUADRUPLETS)) == pytest.approx(Contrastive(SIZE)(rows(), as_pairs).item())


def test_labels_serve_every_kind_by_mining() -> None:
    index = BatchIndex(labels=LABELS)
    triplets = mine_triplets(rows(), LABELS, "semihard")
    assert value("triplet", index) == pytest.approx(Triplet(SIZE)(rows(), triplets).item())
    hard = mine_triplets(rows(), LABELS, "hard")
    assert value("triplet+mining=hard", index) == pytest.approx(Triplet(SIZE)(rows(), hard).item())
    quadruplets = mine_quadruplets(rows(), LABELS, "hard")
    assert value("quadruplet+mining=hard", index) == pytest.approx(Quadruplet(SIZE)(rows(), quadruplets).item())


def test_tuples_of_a_file_go_before_mining_unless_mining_was_asked_for() -> None:
    both = BatchIndex(TRIPLETS, LABELS)
    assert value("triplet", both) == value("triplet", BatchIndex(TRIPLETS))
    assert value("triplet+mining=hard", both) == value("triplet+mining=hard", BatchIndex(labels=LABELS))
    # Pairs cannot be put together into triplets; their labels can.
    assert value("triplet", BatchIndex(PAIRS, LABELS)) == value("triplet", BatchIndex(labels=LABELS))


def test_losses_of_different_needs_are_summed_with_their_weights() -> None:
    index = BatchIndex(QUADRUPLETS)
    objective = parse_objective("contrastive:0.5+triplet:2+margin=0.4+quadruplet").build(SIZE)
    found = objective(rows(), index)
    terms = {
        name: value(text, index)
        for name, text in (
            ("contrastive", "contrastive"),
            ("triplet", "triplet+margin=0.4"),
            ("quadruplet", "quadruplet"),
        )
    }
    assert {name: term.item() for name, term in found.terms.items()} == pytest.approx(terms)
    assert found.total.item() == pytest.approx(
        0.5 * terms["contrastive"] + 2 * terms["triplet"] + terms["quadruplet"]
    )


def test_the_same_loss_twice_is_two_terms() -> None:
    found = parse_objective("contrastive+margin=0.5+contrastive:2+margin=1.5").build(SIZE)(rows(), BatchIndex(PAIRS))
    assert list(found.terms) == ["contrastive", "contrastive_2"]
    expected = [Contrastive(SIZE, margin=margin)(rows(), PAIRS).item() for margin in (0.5, 1.5)]
    assert [term.item() for term in found.terms.values()] == pytest.approx(expected)
    assert found.total.item() == pytest.approx(expected[0] + 2 * expected[1])


def test_only_the_total_carries_a_gradient() -> None:
    embeddings = rows().requires_grad_()
    found = parse_objective("triplet").build(SIZE)(embeddings, BatchIndex(labels=LABELS))
    assert found.total.requires_grad
    assert not any(term.requires_grad for term in found.terms.values())
    assert found.active is not None
    assert not found.active.requires_grad


def test_active_is_the_largest_share_among_the_losses_that_have_one() -> None:
    index = BatchIndex(TRIPLETS)
    embeddings = F.normalize(torch.eye(4)[[0, 0, 1, 1, 2, 2]], dim=1)
    none = parse_objective("triplet").build(SIZE)(embeddings, index).active
    assert none is not None
    assert none.item() == 0.0
    some = parse_objective("triplet+triplet+margin=2").build(SIZE)(embeddings, index).active
    assert some is not None
    assert some.item() == 1.0
    assert parse_objective("pairwise").build(SIZE)(embeddings, index).active is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("text", ["triplet", "sup_con", "multi_similarity+memory=8", "pairwise", "cross_entropy"])
def test_half_precision_embeddings_are_lifted_to_float32_also_under_autocast(text: str, dtype: torch.dtype) -> None:
    embeddings = rows().to(dtype)
    objective = parse_objective(text).build(SIZE)
    expected = objective.eval()(embeddings.float(), BatchIndex(labels=LABELS)).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = objective(embeddings, BatchIndex(labels=LABELS)).total
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


@pytest.mark.parametrize(
    ("text", "tuples", "message"),
    [
        (
            "triplet",
            PAIRS,
            "--loss 'triplet': triplet needs triplets, and the batches hold pairs; "
            "give a file of triplets, or use --batches identities",
        ),
        (
            "contrastive+quadruplet:2",
            TRIPLETS,
            "--loss 'contrastive+quadruplet:2': quadruplet needs quadruplets, and the batches hold triplets; "
            "give a file of quadruplets, or use --batches identities",
        ),
        (
            "sup_con",
            QUADRUPLETS,
            "--loss 'sup_con': sup_con needs identities, and the batches hold quadruplets; use --batches identities",
        ),
        (
            "contrastive+mining=hard",
            PAIRS,
            "--loss 'contrastive+mining=hard': mining and memory of contrastive need identities, and the batches "
            "hold pairs; leave them out, or use --batches identities",
        ),
        (
            "contrastive+memory=8",
            PAIRS,
            "--loss 'contrastive+memory=8': mining and memory of contrastive need identities, and the batches "
            "hold pairs; leave them out, or use --batches identities",
        ),
        (
            "cross_entropy",
            None,
            "--loss 'cross_entropy': cross_entropy needs identities, and the batches hold neither tuples nor "
            "identities; use --batches identities",
        ),
    ],
)
def test_what_a_batch_cannot_serve_is_said_before_and_in_training(
    text: str, tuples: Tuples | None, message: str
) -> None:
    spec = parse_objective(text)
    kinds: dict[type, Needs] = {PairIndex: "pairs", TripletIndex: "triplets", QuadrupletIndex: "quadruplets"}
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        spec.check(kinds.get(type(tuples)), labels=False)
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        spec.build(SIZE)(rows(), BatchIndex(tuples))
    spec.check(kinds.get(type(tuples)), labels=True)
    assert spec.build(SIZE)(rows(), BatchIndex(tuples, LABELS)).total.isfinite()


def test_drawn_tuples_go_on_where_a_resumed_run_stopped() -> None:
    text, index = "triplet+mining=all", BatchIndex(labels=LABELS)
    one, other = parse_objective(text).build(SIZE), parse_objective(text).build(SIZE)
    values = [one(rows(), index).total.item() for _ in range(6)]
    assert len(set(values)) > 1
    again = [other(rows(), index).total.item() for _ in range(3)]
    resumed = parse_objective(text).build(SIZE)
    resumed.load_state_dict(other.state_dict())
    assert again + [resumed(rows(), index).total.item() for _ in range(3)] == values
