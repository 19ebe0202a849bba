import re

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamese.errors import OptionError
from siamese.heads.projection import DEFAULT_EMBEDDING_DIM, HEADS, create_head, default_embedding_dim

KNOWN = ", ".join(sorted(HEADS))


def features(rows: int = 16, dim: int = 24, seed: int = 0) -> Tensor:
    return 3 * torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed))


def similarities(embeddings: Tensor) -> Tensor:
    unit = F.normalize(embeddings.double(), dim=1)
    return unit @ unit.T


@pytest.mark.parametrize("name", HEADS)
def test_every_head_gives_its_default_width(name: str) -> None:
    head = create_head(name, 24)
    assert head(features()).shape == (16, default_embedding_dim(name, 24))


@pytest.mark.parametrize(
    ("name", "width"), [("linear", 3), ("linear-norm", 3), ("mlp", 3), ("mlp", 200), ("identity-start", 40)]
)
def test_width_can_be_chosen(name: str, width: int) -> None:
    assert create_head(name, 24, width)(features()).shape == (16, width)


def test_default_width_is_the_encoders_for_the_heads_that_keep_its_scores() -> None:
    assert DEFAULT_EMBEDDING_DIM == 128
    widths = {name: default_embedding_dim(name, 512) for name in HEADS}
    assert widths == {"identity-start": 512, "none": 512, "mlp": 128, "linear": 128, "linear-norm": 128}


@pytest.mark.parametrize("name", HEADS)
def test_rows_do_not_influence_each_other(name: str) -> None:
    head = create_head(name, 24).eval()
    whole = head(features())
    torch.testing.assert_close(torch.cat([head(row[None]) for row in features()]), whole)


def test_linear_head_is_one_affine_map() -> None:
    head = create_head("linear", 24, 5)
    assert isinstance(head, nn.Linear)
    expected = features() @ head.weight.T + head.bias
    torch.testing.assert_close(head(features()), expected)


def test_linear_norm_head_gives_dimensions_of_mean_zero_and_deviation_one_in_training() -> None:
    head = create_head("linear-norm", 24, 5)
    given = head(features())
    torch.testing.assert_close(given.mean(dim=0), torch.zeros(5), rtol=0, atol=1e-5)
    torch.testing.assert_close(given.std(dim=0, correction=0), torch.ones(5), rtol=1e-3, atol=0)


def test_linear_norm_head_is_one_affine_map_at_use() -> None:
    head = create_head("linear-norm", 24, 5)
    for seed in range(5):
        head(features(seed=seed))  # statistics of its own
    head.eval()
    start = head(torch.zeros(1, 24))
    columns = torch.stack([head(row[None])[0] for row in torch.eye(24)]) - start
    torch.testing.assert_close(head(features()), features() @ columns + start, rtol=1e-4, atol=1e-4)


def test_mlp_head_is_linear_relu_linear_with_a_hidden_layer_as_wide_as_the_features() -> None:
    first, activation, second = create_head("mlp", 24, 5).children()
    assert isinstance(activation, nn.ReLU)
    assert isinstance(first, nn.Linear)
    assert isinstance(second, nn.Linear)
    assert (first.in_features, first.out_features, second.in_features, second.out_features) == (24, 24, 24, 5)


def test_no_head_gives_the_features_themselves_and_has_nothing_to_train() -> None:
    head = create_head("none", 24)
    assert torch.equal(head(features()), features())
    assert not list(head.parameters())


@pytest.mark.parametrize("width", [None, 24, 25, 64])
def test_identity_start_scores_exactly_like_the_features(width: int | None) -> None:
    head = create_head("identity-start", 24, width)
    embeddings = head(features())
    torch.testing.assert_close(similarities(embeddings), similarities(features()), rtol=0, atol=1e-6)
    torch.testing.assert_close(embeddings[:, :24], F.normalize(features(), dim=1), rtol=0, atol=1e-6)
    assert torch.count_nonzero(embeddings[:, 24:]) == 0


def test_identity_start_learns_in_every_layer_after_one_step() -> None:
    torch.manual_seed(1)
    head = create_head("identity-start", 24)
    weights = dict(head.named_parameters())
    target = features(seed=1)
    losses = []
    for _ in range(2):
        loss = F.mse_loss(head(features()), target)
        losses.append(loss.item())
        gradients = torch.autograd.grad(loss, list(weights.values()))
        reached = {name for name, gradient in zip(weights, gradients, strict=True) if gradient.any()}
        for weight, gradient in zip(weights.values(), gradients, strict=True):
            weight.data -= 0.01 * gradient
    # The zero layer hides the hidden one from the first step only.
    assert reached == set(weights)
    assert losses[1] < losses[0]
    assert (similarities(head(features())) - similarities(features())).abs().max() > 1e-3


def test_identity_start_is_the_unit_features_plus_the_residual() -> None:
    head = create_head("identity-start", 24, 30)
    torch.manual_seed(0)
    for parameter in head.parameters():
        nn.init.normal_(parameter, std=0.1)
    state = head.state_dict()
    unit = features() / features().norm(dim=1, keepdim=True)
    hidden = F.relu(unit @ state["residual.0.weight"].T + state["residual.0.bias"])
    expected = torch.cat([unit, torch.zeros(len(unit), 6)], dim=1)
    expected = expected + hidden @ state["residual.2.weight"].T + state["residual.2.bias"]
    torch.testing.assert_close(head(features()), expected)


@pytest.mark.parametrize(
    ("name", "width", "message"),
    [
        (
            "identity-start",
            23,
            "--embedding-dim 23: the identity-start head keeps the encoder's scores, so it needs at least the "
            "encoder's 24 dimensions; leave the option out, or use --head mlp",
        ),
        (
            "none",
            25,
            "--embedding-dim 25: without a head the embedding has the encoder's 24 dimensions; leave the option "
            "out, or use --head linear",
        ),
        ("mlp", 0, "--embedding-dim 0: expected 1 or more"),
        ("none", -1, "--embedding-dim -1: expected 1 or more"),
        (
            "identity_start",
            None,
            f"unknown head 'identity_start': did you mean 'identity-start'? known: {KNOWN}",
        ),
        ("transformer", 8, f"unknown head 'transformer': known: {KNOWN}"),
    ],
)
def test_what_a_head_cannot_give_is_refused(name: str, width: int | None, message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        create_head(name, 24, width)
