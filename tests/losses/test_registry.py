import inspect
import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamese.errors import OptionError
from siamese.losses.batch import BatchIndex
from siamese.losses.loss import ClassLoss, Loss, LossSize, Needs
from siamese.losses.objective import Objective
from siamese.losses.options import option_defaults, option_types, read_options
from siamese.losses.pairwise import Pairwise
from siamese.losses.registry import LOSSES, parse_objective

KNOWN = ", ".join(sorted(LOSSES))
CONTRASTIVE_OPTIONS = "form, margin, memory, mining, reduce"
TRIPLET_OPTIONS = "form, margin, memory, mining, reduce, soft"
SIZE = LossSize(embedding_dim=8, identities=6, teacher_dim=8)
LABELS = torch.arange(6).repeat_interleave(4)
TABLE = (Path(__file__).parents[2] / "docs" / "losses.md").read_text(encoding="utf-8")


def embeddings(seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(24, 8, generator=torch.Generator().manual_seed(seed)), dim=1)


@pytest.mark.parametrize("name", LOSSES)
def test_every_registered_loss_is_built_by_name_and_gives_a_scalar_with_a_gradient(name: str) -> None:
    spec = parse_objective(name)
    assert spec.text == name
    objective = spec.build(SIZE)
    assert [(key, type(loss)) for key, loss in objective.losses.items()] == [(name, LOSSES[name])]
    rows = embeddings().requires_grad_()
    found = objective(rows, BatchIndex(labels=LABELS, teacher=embeddings(1)))
    assert found.total.shape == ()
    assert found.total.item() > 0
    (gradient,) = torch.autograd.grad(found.total, rows)
    assert torch.isfinite(gradient).all()
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_takes_a_step_and_lowers_its_value_over_fifty(name: str) -> None:
    torch.manual_seed(0)
    objective: Objective = parse_objective(name).build(SIZE)
    # Six identities: their own direction in sixteen, under noise as large.
    centres, noise = torch.randn(6, 16), torch.randn(24, 16)
    images = centres[LABELS] + noise
    network = nn.Linear(16, 8)
    optimiser = torch.optim.Adam([*network.parameters(), *objective.parameters()], lr=0.01)
    index, costs = BatchIndex(labels=LABELS, teacher=F.normalize(centres[LABELS, :8], dim=1)), []
    before = network.weight.detach().clone()
    for _ in range(51):
        optimiser.zero_grad()
        total = objective(F.normalize(network(images), dim=1), index).total
        total.backward()
        optimiser.step()
        costs.append(total.item())
    assert not torch.equal(network.weight, before)
    assert costs[-1] < 0.9 * costs[0]


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_of_the_shape_that_the_registry_reads(name: str) -> None:
    loss = LOSSES[name]
    assert inspect.isclass(loss)
    assert issubclass(loss, Loss)
    first, *options = list(inspect.signature(loss).parameters.values())
    assert first.name == "size"
    assert all(option.kind is inspect.Parameter.KEYWORD_ONLY for option in options)
    assert all(option.default is not inspect.Parameter.empty for option in options)
    assert loss.__doc__ is not None
    written = {option: str(value) for option, value in option_defaults(loss).items() if value is not None}
    defaults = {option: value for option, value in option_defaults(loss).items() if value is not None}
    assert read_options(name, loss, written, "") == defaults


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_and_each_of_its_options_is_in_the_documentation(name: str) -> None:
    (line,) = [line for line in TABLE.splitlines() if line.startswith(f"| `{name}` |")]
    needs = parse_objective(name).terms[0].trial.needs
    assert f"| {needs} |" in line
    for option, value in option_defaults(LOSSES[name]).items():
        written = "by form" if value is None else str(value).lower()
        assert f"`{option}={written}`" in line


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("contrastive", [("contrastive", 1.0, {})]),
        ("triplet:2", [("triplet", 2.0, {})]),
        ("contrastive+margin=0.7", [("contrastive", 1.0, {"margin": 0.7})]),
        ("contrastive:0.5+margin=1.5", [("contrastive", 0.5, {"margin": 1.5})]),
        ("contrastive:1+contrastive:3e-1", [("contrastive", 1.0, {}), ("contrastive", 0.3, {})]),
        (
            "contrastive+margin=0.5+contrastive:2.5+margin=1.25",
            [("contrastive", 1.0, {"margin": 0.5}), ("contrastive", 2.5, {"margin": 1.25})],
        ),
        (" triplet : 2 + margin = 0.1 ", [("triplet", 2.0, {"margin": 0.1})]),
        ("triplet+mining=semihard", [("triplet", 1.0, {"mining": "semihard"})]),
        ("triplet+soft=true+mining=easy-hard", [("triplet", 1.0, {"soft": True, "mining": "easy-hard"})]),
        ("triplet+soft=False+memory=64", [("triplet", 1.0, {"soft": False, "memory": 64})]),
        ("cross_entropy:1.0+arcface:1.5", [("cross_entropy", 1.0, {}), ("arcface", 1.5, {})]),
        (
            "sup_con+temperature=0.05+contrastive:0.2+form=cosine+margin=0.4",
            [("sup_con", 1.0, {"temperature": 0.05}), ("contrastive", 0.2, {"form": "cosine", "margin": 0.4})],
        ),
    ],
)
def test_every_written_form_is_read(text: str, terms: list[tuple[str, float, dict[str, object]]]) -> None:
    assert [(term.name, term.weight, term.options) for term in parse_objective(text).terms] == terms


@pytest.mark.parametrize(
    ("text", "needs", "mines", "classes"),
    [
        ("contrastive", {"pairs"}, False, False),
        ("contrastive+triplet:2", {"pairs", "triplets"}, False, False),
        ("quadruplet+triplet", {"quadruplets", "triplets"}, False, False),
        ("triplet+mining=hard", {"triplets"}, True, False),
        ("pairwise+memory=32", {"pairs"}, True, False),
        ("circle", {"identities"}, True, False),
        ("contrastive+arcface", {"pairs", "identities"}, True, True),
        ("distill+arcface", {"teacher", "identities"}, True, True),
        ("distill", {"teacher"}, False, False),
    ],
)
def test_needs_say_which_batches_to_make(text: str, needs: set[Needs], mines: bool, classes: bool) -> None:
    spec = parse_objective(text)
    assert set(spec.needs) == needs
    assert (spec.mines, spec.classes) == (mines, classes)


def test_class_losses_are_found_by_the_name_of_their_term() -> None:
    objective = parse_objective("cross_entropy+triplet+arcface+cross_entropy").build(SIZE)
    assert list(objective.class_losses) == ["cross_entropy", "arcface", "cross_entropy_2"]
    assert all(isinstance(loss, ClassLoss) for loss in objective.class_losses.values())


def test_reading_an_objective_leaves_the_random_numbers_of_the_run_alone() -> None:
    state = torch.get_rng_state()
    parse_objective("arcface+soft_triple+pairwise")
    assert torch.equal(torch.get_rng_state(), state)


def test_a_loss_that_classifies_must_know_the_identities() -> None:
    message = "--loss 'arcface': arcface: needs identities, at least 2, found 0; "
    with pytest.raises(OptionError, match=f"^{re.escape(message)}[^\n]+$"):
        parse_objective("arcface").build(LossSize(embedding_dim=8, identities=0))


def test_a_pair_head_is_trained_by_pairwise_alone() -> None:
    head = nn.Bilinear(8, 8, 1)

    def logits(left: Tensor, right: Tensor) -> Tensor:
        result: Tensor = head(left, right).squeeze(1)
        return result

    objective = parse_objective("pairwise+contrastive").build(SIZE, logits)
    assert list(objective.parameters()) == []
    objective(embeddings(), BatchIndex(labels=LABELS)).total.backward()
    assert head.weight.grad is not None
    message = "--loss 'triplet': no loss of it trains the pair head; add pairwise, or leave the pair head out"
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        parse_objective("triplet").build(SIZE, logits)
    assert isinstance(parse_objective("pairwise").terms[0].trial, Pairwise)


def test_option_types_are_those_of_the_signature() -> None:
    assert option_types(LOSSES["triplet"])["margin"] is float
    assert option_types(LOSSES["triplet"])["soft"] is bool
    assert option_types(LOSSES["sup_con"]) == {"temperature": float, "memory": int}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("contrastiv", f"unknown loss 'contrastiv': did you mean 'contrastive'? known: {KNOWN}"),
        ("", f"unknown loss '': known: {KNOWN}"),
        ("triplet+", f"unknown loss '': known: {KNOWN}"),
        ("triplet+tripplet:2", f"unknown loss 'tripplet': did you mean 'triplet'? known: {KNOWN}"),
        (
            "contrastive+margn=1",
            "unknown option of loss 'contrastive': 'margn': did you mean 'margin'? known: " + CONTRASTIVE_OPTIONS,
        ),
        # The option is what is wrong, not that its value is no number.
        ("triplet+shuffle=hard", f"unknown option of loss 'triplet': 'shuffle': known: {TRIPLET_OPTIONS}"),
        ("triplet+needs=1", f"unknown option of loss 'triplet': 'needs': known: {TRIPLET_OPTIONS}"),
        ("triplet+size=1", f"unknown option of loss 'triplet': 'size': known: {TRIPLET_OPTIONS}"),
        (
            "triplet+mining=semi-hard",
            "unknown mining of loss 'triplet': 'semi-hard': did you mean 'semihard'? "
            "known: all, auto, distance, easy-hard, hard, semihard",
        ),
        ("triplet+memory=1.5", "--loss 'triplet+memory=1.5': memory is '1.5', expected a whole number"),
        ("triplet+soft=maybe", "--loss 'triplet+soft=maybe': soft is 'maybe', expected true or false"),
        (
            "sup_con+temperature=0",
            "--loss 'sup_con+temperature=0': sup_con: temperature=0.0: expected a finite number above 0",
        ),
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
    ],
)
def test_what_is_wrong_is_said_in_one_line(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        parse_objective(text)
