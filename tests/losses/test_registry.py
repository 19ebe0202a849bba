import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from siamese.errors import OptionError
from siamese.losses.batch import BatchIndex, PairIndex, TripletIndex
from siamese.losses.contrastive import Contrastive
from siamese.losses.registry import LOSSES, parse_objective
from siamese.losses.triplet import Triplet

KNOWN = ", ".join(sorted(LOSSES))

INDICES: dict[type[BatchIndex], BatchIndex] = {
    PairIndex: PairIndex(torch.tensor([0, 1, 2]), torch.tensor([3, 4, 5]), torch.tensor([1.0, 0.0, 1.0])),
    TripletIndex: TripletIndex(torch.tensor([0, 1]), torch.tensor([2, 3]), torch.tensor([4, 5])),
}


def embeddings() -> Tensor:
    return F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0)), dim=1)


@pytest.mark.parametrize("name", LOSSES)
def test_every_registered_loss_is_built_by_name_and_gives_a_scalar_with_a_gradient(name: str) -> None:
    objective = parse_objective(name)
    assert objective.text == name
    assert [(weight, type(loss)) for weight, loss in objective.terms] == [(1.0, LOSSES[name])]
    rows = embeddings().requires_grad_()
    loss = objective(rows, INDICES[objective.needs])
    assert loss.shape == ()
    assert loss.item() > 0
    (gradient,) = torch.autograd.grad(loss, rows)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("contrastive", ((1.0, Contrastive()),)),
        ("triplet", ((1.0, Triplet()),)),
        ("triplet:2", ((2.0, Triplet()),)),
        ("contrastive+margin=0.7", ((1.0, Contrastive(0.7)),)),
        ("contrastive:0.5+margin=1.5", ((0.5, Contrastive(1.5)),)),
        ("contrastive:1+contrastive:3e-1", ((1.0, Contrastive()), (0.3, Contrastive()))),
        (
            "contrastive+margin=0.5+contrastive:2.5+margin=1.25",
            ((1.0, Contrastive(0.5)), (2.5, Contrastive(1.25))),
        ),
        (" triplet : 2 + margin = 0.1 ", ((2.0, Triplet(0.1)),)),
    ],
)
def test_every_written_form_is_read(text: str, terms: tuple[tuple[float, object], ...]) -> None:
    assert parse_objective(text).terms == terms


def test_needs_say_which_tuples_the_losses_work_on() -> None:
    assert parse_objective("contrastive").needs is PairIndex
    assert parse_objective("triplet:2+triplet").needs is TripletIndex


def test_objective_is_the_weighted_sum_of_its_losses() -> None:
    rows, index = embeddings(), INDICES[PairIndex]
    assert isinstance(index, PairIndex)
    expected = 0.5 * Contrastive(0.5)(rows, index) + 2 * Contrastive(1.5)(rows, index)
    objective = parse_objective("contrastive:0.5+margin=0.5+contrastive:2+margin=1.5")
    torch.testing.assert_close(objective(rows, index), expected)


def test_half_precision_embeddings_are_lifted_to_float32() -> None:
    rows = embeddings().to(torch.bfloat16)
    loss = parse_objective("triplet")(rows, INDICES[TripletIndex])
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, parse_objective("triplet")(rows.float(), INDICES[TripletIndex]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("contrastiv", f"unknown loss 'contrastiv': did you mean 'contrastive'? known: {KNOWN}"),
        ("", f"unknown loss '': known: {KNOWN}"),
        ("triplet+", f"unknown loss '': known: {KNOWN}"),
        ("triplet+tripplet:2", f"unknown loss 'tripplet': did you mean 'triplet'? known: {KNOWN}"),
        (
            "contrastive+margn=1",
            "unknown option of loss 'contrastive': 'margn': did you mean 'margin'? known: margin",
        ),
        # The option is what is wrong, not that its value is no number.
        ("triplet+sampling=hard", "unknown option of loss 'triplet': 'sampling': known: margin"),
        ("triplet+needs=1", "unknown option of loss 'triplet': 'needs': known: margin"),
        ("triplet+margin=wide", "--loss 'triplet+margin=wide': margin is 'wide', expected a number"),
        ("triplet+margin=", "--loss 'triplet+margin=': margin is '', expected a number"),
        (
            "triplet+margin=3",
            "--loss 'triplet+margin=3': triplet: margin=3.0: expected a distance in (0, 2]",
        ),
        (
            "contrastive+margin=nan",
            "--loss 'contrastive+margin=nan': contrastive: margin=nan: expected a distance in (0, 2]",
        ),
        (
            "triplet+margin=1+margin=2",
            "--loss 'triplet+margin=1+margin=2': option 'margin' is given twice; give it once",
        ),
        (
            "margin=1+triplet",
            "--loss 'margin=1+triplet': option 'margin=1' stands before any loss; write NAME+option=value",
        ),
        ("triplet:", "--loss 'triplet:': weight is '', expected a number"),
        ("triplet:heavy", "--loss 'triplet:heavy': weight is 'heavy', expected a number"),
        ("triplet:0", "--loss 'triplet:0': weight 0, expected a finite number above 0"),
        ("triplet:-2", "--loss 'triplet:-2': weight -2, expected a finite number above 0"),
        ("triplet:nan", "--loss 'triplet:nan': weight nan, expected a finite number above 0"),
        ("triplet:inf", "--loss 'triplet:inf': weight inf, expected a finite number above 0"),
        (
            "contrastive+triplet",
            "--loss 'contrastive+triplet': its losses need different data (pairs and triplets); give one kind",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        parse_objective(text)
