import math
import re

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from siamese.errors import OptionError
from siamese.heads.pair import (
    CHI_SQUARE_MEAN,
    CHUNK,
    FEATURES,
    SLOPE,
    UNDECIDED,
    PairHead,
    chi_square,
    parse_pair_features,
)

KNOWN = ", ".join(sorted(FEATURES))
COMBINED = (*FEATURES, "concatenation+difference", "difference+product", "+".join(FEATURES))


def unit(rows: int, dim: int = 24, seed: int = 0) -> Tensor:
    return F.normalize(torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def pairs(rows: int = 64, dim: int = 24, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Pairs of every cosine from -1 to 1."""
    left, noise = unit(rows, dim, seed), unit(rows, dim, seed + 1)
    cosine = torch.linspace(-1, 1, rows)[:, None]
    across = F.normalize(noise - (noise * left).sum(1, keepdim=True) * left, dim=1)
    return left, F.normalize(cosine * left + (1 - cosine**2).clamp_min(0).sqrt() * across, dim=1)


def shaken(head: PairHead, seed: int = 0) -> PairHead:
    """The head with random weights, as if trained."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return head


def by_hand(name: str, a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns of one feature of one pair, entry by entry."""
    if name == "chi-square":
        sides = [(max(x, 0.0), max(y, 0.0)) for x, y in zip(a, b, strict=True)]
        sides += [(max(-x, 0.0), max(-y, 0.0)) for x, y in zip(a, b, strict=True)]
        return np.array([(x - y) ** 2 / (x + y) if x + y else 0.0 for x, y in sides])
    forms = {
        "concatenation": lambda: np.concatenate([a, b]),
        "difference": lambda: np.abs(a - b),
        "squared": lambda: np.square(a - b),
        "product": lambda: a * b,
    }
    return forms[name]()


@pytest.mark.parametrize("name", FEATURES)
def test_each_feature_is_its_formula(name: str) -> None:
    left, right = (side.double() for side in pairs(16))
    columns = FEATURES[name].of(left, right)
    expected = [by_hand(name, a, b) for a, b in zip(left.numpy(), right.numpy(), strict=True)]
    assert columns.shape == (16, FEATURES[name].width * 24)
    np.testing.assert_allclose(columns.numpy(), np.stack(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("features", COMBINED)
@pytest.mark.parametrize("hidden", [0, 5])
def test_logit_is_the_regression_plus_the_network_on_scaled_columns(features: str, hidden: int) -> None:
    head = shaken(PairHead(24, features, hidden)).double().eval()
    left, right = (side.double() for side in pairs(7))
    state = {name: value.numpy() for name, value in head.state_dict().items()}

    def one_way(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        names = features.split("+")
        parts = [by_hand(name, a, b) / FEATURES[name].typical(24) for name in names]
        columns = np.concatenate(parts if names != ["concatenation"] else [*parts, [a @ b / UNDECIDED]])
        logit = state["logistic.weight"][0] @ columns + state["logistic.bias"][0]
        if hidden:
            inner = np.maximum(state["residual.0.weight"] @ columns + state["residual.0.bias"], 0)
            logit += state["residual.3.weight"][0] @ inner + state["residual.3.bias"][0]
        return float(logit)

    together = zip(left.numpy(), right.numpy(), strict=True)
    if "concatenation" in features:
        expected = [(one_way(a, b) + one_way(b, a)) / 2 for a, b in together]
    else:
        expected = [one_way(a, b) for a, b in together]
    np.testing.assert_allclose(head(left, right).detach().numpy(), expected, rtol=1e-10)


@pytest.mark.parametrize("features", COMBINED)
@pytest.mark.parametrize("hidden", [0, 16])
def test_score_does_not_depend_on_which_image_is_the_left_one(features: str, hidden: int) -> None:
    head = shaken(PairHead(24, features, hidden)).eval()
    left, right = pairs()
    assert torch.equal(head(left, right), head(right, left))
    assert head(left, right).shape == (64,)
    np.testing.assert_array_equal(
        head.similarity(left.numpy(), right.numpy()), head.similarity(right.numpy(), left.numpy())
    )


@pytest.mark.parametrize("features", ["squared", "product", "concatenation", "squared+product"])
@pytest.mark.parametrize("hidden", [0, 16])
def test_untrained_head_is_the_cosine_rescaled(features: str, hidden: int) -> None:
    left, right = (side.double() for side in pairs())
    head = PairHead(24, features, hidden).double().eval()
    cosine = (left * right).sum(dim=1)
    torch.testing.assert_close(head(left, right), SLOPE * (cosine - UNDECIDED), rtol=0, atol=1e-5)


@pytest.mark.parametrize("features", ["difference", "chi-square", "difference+concatenation", "+".join(FEATURES)])
def test_untrained_head_tells_near_from_far_about_as_the_cosine_does(features: str) -> None:
    left, right = pairs(400, 128)
    head = PairHead(128, features, 32).eval()
    cosine, logits = (left * right).sum(dim=1), head(left, right)
    # One cosine spreads over many L1 distances, so the order is nearly kept, not quite.
    assert torch.corrcoef(torch.stack([cosine.argsort().argsort(), logits.argsort().argsort()]).double())[0, 1] > 0.99
    assert logits[-1] > 4
    assert logits[0] < -4
    undecided = logits[(cosine - UNDECIDED).abs() < 0.05]
    assert undecided.abs().max() < 1.5


@pytest.mark.parametrize("name", [name for name in FEATURES if FEATURES[name].sign])
def test_typical_size_is_that_of_random_vectors_at_the_undecided_cosine(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    left, noise = torch.randn(2, 2000, 256, generator=generator, dtype=torch.float64)
    right = UNDECIDED * left + math.sqrt(1 - UNDECIDED**2) * noise
    columns = FEATURES[name].of(left / 16, right / 16)  # 16 = sqrt(256): about unit length
    assert columns.mean().item() == pytest.approx(FEATURES[name].typical(256), rel=0.01)


def test_chi_square_constant_is_its_integral() -> None:
    angle = np.linspace(0, 2 * np.pi, 2_000_001)
    x, y = np.cos(angle), UNDECIDED * np.cos(angle) + math.sqrt(1 - UNDECIDED**2) * np.sin(angle)
    sizes = np.abs(x) + np.abs(y)
    terms = np.where(x * y > 0, (np.abs(x) - np.abs(y)) ** 2 / sizes, sizes)
    assert math.sqrt(math.pi / 2) * terms[:-1].mean() == pytest.approx(CHI_SQUARE_MEAN, abs=1e-5)


def test_chi_square_loses_no_sign_and_is_finite_at_zero_with_its_gradient() -> None:
    left = torch.tensor([[0.0, 0.0, 1e-38, 0.5, 0.3]], requires_grad=True)
    right = torch.tensor([[0.0, -0.4, -1e-38, -0.5, 0.3]], requires_grad=True)
    terms = chi_square(left, right)
    expected = torch.tensor([[0, 0, 1e-38, 0.5, 0, 0, 0.4, 1e-38, 0.5, 0]])
    torch.testing.assert_close(terms, expected, rtol=1e-6, atol=0)
    for gradient in torch.autograd.grad(terms.sum(), (left, right)):
        assert gradient.isfinite().all()
        assert gradient.abs().max() <= 2


@pytest.mark.parametrize("features", COMBINED)
def test_gradients_are_finite_where_both_embeddings_are_the_same(features: str) -> None:
    head = PairHead(24, features, 8)
    left = unit(4).requires_grad_()
    head(left, left.detach().clone()).sum().backward()
    assert left.grad is not None
    assert left.grad.isfinite().all()


def fit(head: PairHead, left: Tensor, right: Tensor, same: Tensor, steps: int = 150) -> None:
    optimiser = torch.optim.AdamW(head.parameters(), lr=1e-2)
    for _ in range(steps):
        optimiser.zero_grad()
        F.binary_cross_entropy_with_logits(head(left, right), same).backward()
        optimiser.step()


def labelled(rows: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Pairs whose first four dimensions of 32 are about the identity, and the others about nothing."""
    generator = torch.Generator().manual_seed(seed)
    identity, other = torch.randn(2, rows, 4, generator=generator)
    same = torch.arange(rows) % 2 == 0
    shown = torch.where(same[:, None], identity, other) + 0.3 * torch.randn(rows, 4, generator=generator)
    left, right = (
        F.normalize(torch.cat([side, torch.randn(rows, 28, generator=generator)], dim=1), dim=1)
        for side in (identity, shown)
    )
    return left, right, same.float()


def auc(scores: NDArray[np.float64], same: Tensor) -> float:
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(same.numpy(), scores))


@pytest.mark.parametrize("features", [name for name in FEATURES if FEATURES[name].sign])
def test_head_learns_which_dimensions_tell_identities_apart(features: str) -> None:
    head = PairHead(32, features)
    left, right, same = labelled(2000, 1)
    test_left, test_right, test_same = labelled(2000, 2)
    before = auc(head.similarity(test_left.numpy(), test_right.numpy()), test_same)
    fit(head, left, right, same)
    after = auc(head.similarity(test_left.numpy(), test_right.numpy()), test_same)
    assert after > before + 0.08


def test_hidden_layer_learns_what_a_regression_cannot() -> None:
    # Same where both differ, or neither does: no weighted sum of the two columns says so.
    generator = torch.Generator().manual_seed(0)
    left = torch.rand(600, 2, generator=generator)
    flips = torch.randint(0, 2, (600, 2), generator=generator).bool()
    right = torch.where(flips, left + 1, left)
    same = (flips[:, 0] == flips[:, 1]).float()
    torch.manual_seed(0)
    accuracy = {}
    for hidden in (0, 16):
        head = PairHead(2, "difference", hidden)
        fit(head, left, right, same, steps=400)
        accuracy[hidden] = ((head(left, right) > 0) == same.bool()).float().mean().item()
    assert accuracy[0] < 0.8
    assert accuracy[16] > 0.99


def test_every_layer_of_the_network_learns_after_one_step() -> None:
    torch.manual_seed(0)
    head = PairHead(24, "difference", 8)
    left, right = pairs()
    before = {name: value.clone() for name, value in head.state_dict().items()}
    fit(head, left, right, torch.randint(0, 2, (64,)).float(), steps=2)
    assert all(not torch.equal(value, before[name]) for name, value in head.state_dict().items())


def test_dropout_acts_in_training_only_and_on_the_hidden_units_only() -> None:
    head = shaken(PairHead(24, "difference", 64, 0.5))
    left, right = pairs()
    assert not torch.equal(head(left, right), head(left, right))
    expected = head.eval()(left, right)
    assert torch.equal(head(left, right), expected)
    with torch.no_grad():
        head.residual[3].weight.zero_()  # type: ignore[index, operator, union-attr]
    assert torch.equal(head.train()(left, right), head.eval()(left, right))


def test_similarity_is_twice_the_probability_minus_one() -> None:
    head = shaken(PairHead(24, "difference", 8, 0.5)).train()
    left, right = pairs()
    scores = head.similarity(left.numpy(), right.numpy())
    assert head.training
    assert scores.dtype == np.float64
    assert ((scores >= -1) & (scores <= 1)).all()
    logits = head.double().eval()(left.double(), right.double())
    expected = 2 * torch.sigmoid(logits) - 1
    np.testing.assert_allclose(scores, expected.detach().numpy(), rtol=0, atol=1e-12)


def test_similarity_in_chunks_is_that_of_each_pair_alone() -> None:
    head = shaken(PairHead(4, "product"))
    left, right = pairs(CHUNK + 3, 4)
    scores = head.similarity(left.numpy(), right.numpy())
    assert scores.shape == (CHUNK + 3,)
    for row in (0, CHUNK - 1, CHUNK, CHUNK + 2):
        alone = head.similarity(left[row : row + 1].numpy(), right[row : row + 1].numpy())
        np.testing.assert_allclose(scores[row], alone[0], rtol=0, atol=1e-12)
    assert head.similarity(left[:0].numpy(), right[:0].numpy()).shape == (0,)


def test_large_logits_keep_their_order_in_the_similarity() -> None:
    head = PairHead(2, "product")
    with torch.no_grad():
        head.logistic.weight.fill_(2.0)
        head.logistic.bias.fill_(0.0)
    left = np.array([[1.0, 0.0]] * 4)
    right = np.array([[cosine, math.sqrt(1 - cosine**2)] for cosine in (0.97, 0.98, 0.99, 1.0)])
    logits = head(torch.tensor(left, dtype=torch.float32), torch.tensor(right, dtype=torch.float32))
    assert logits.min() > 12  # where single precision has 1 - 2e-6 already
    assert (np.diff(head.similarity(left, right)) > 1e-8).all()


def test_weights_that_are_not_finite_give_scores_that_are_not() -> None:
    head = PairHead(24)
    nn.init.constant_(head.logistic.bias, math.nan)
    left, right = pairs()
    assert np.isnan(head.similarity(left.numpy(), right.numpy())).all()


def test_names_are_read_with_spaces_and_written_without() -> None:
    assert parse_pair_features(" squared +product") == ("squared", "product")
    assert PairHead(4, "squared + product").name == "squared+product"
    assert PairHead(4).name == "difference"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"features": "diference"},
            f"unknown feature of --pair-head 'diference': did you mean 'difference'? known: {KNOWN}",
        ),
        (
            {"features": "product+chi_square"},
            f"unknown feature of --pair-head 'chi_square': did you mean 'chi-square'? known: {KNOWN}",
        ),
        ({"features": ""}, f"unknown feature of --pair-head '': known: {KNOWN}"),
        ({"features": "product+"}, f"unknown feature of --pair-head '': known: {KNOWN}"),
        ({"features": "product+product"}, "--pair-head 'product+product': 'product' is given twice; give it once"),
        ({"hidden": -1}, "--pair-hidden -1: expected 0 (logistic regression) or a number of hidden units"),
        ({"hidden": 4, "dropout": 1.0}, "--pair-dropout 1: expected a share from 0 to below 1"),
        ({"hidden": 4, "dropout": -0.1}, "--pair-dropout -0.1: expected a share from 0 to below 1"),
        ({"hidden": 4, "dropout": math.nan}, "--pair-dropout nan: expected a share from 0 to below 1"),
        (
            {"dropout": 0.5},
            "--pair-dropout 0.5: a logistic regression has no hidden units to drop; give --pair-hidden, or leave the "
            "option out",
        ),
    ],
)
def test_what_a_pair_head_cannot_be_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        PairHead(24, **options)  # type: ignore[arg-type]
