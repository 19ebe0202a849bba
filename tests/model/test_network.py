import re
from collections.abc import Iterator

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from siamese.encoders import create_encoder
from siamese.encoders.encoder import Encoder
from siamese.errors import OptionError
from siamese.model.network import SiameseNetwork
from siamese.similarity import normalise, pair_similarity

SIZE = (32, 32)
# BatchNorm; attention with a class token, LayerNorm and loose dropout; BatchNorm in timm's own stages.
ENCODERS = ("mobilefacenet", "timm/test_vit", "timm/test_resnet")


def small(name: str = "mobilefacenet") -> Encoder:
    return create_encoder(f"{name}@random", input_size=SIZE)


def images(count: int = 6, seed: int = 0) -> Tensor:
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


def trained_names(network: SiameseNetwork) -> set[str]:
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


def parameters_of(stages: list[list[nn.Module]]) -> Iterator[nn.Parameter]:
    for stage in stages:
        for module in stage:
            yield from module.parameters()


def norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [each for each in module.modules() if isinstance(each, nn.BatchNorm2d)]


def step(network: SiameseNetwork) -> None:
    """One step that moves every parameter that has a gradient."""
    embeddings = network(images())
    loss = (embeddings * torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(1))).sum()
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    gradients = torch.autograd.grad(loss, trained, allow_unused=True)
    for parameter, gradient in zip(trained, gradients, strict=True):
        if gradient is not None:
            parameter.data -= 0.1 * gradient


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(
    ("head", "width"), [("none", None), ("identity-start", None), ("mlp", None), ("linear", 7), ("linear-norm", 7)]
)
def test_embeddings_have_unit_length_and_the_width_of_the_head(encoder: str, head: str, width: int | None) -> None:
    network = SiameseNetwork(small(encoder), head, width).eval()
    embeddings = network(images())
    natural = 128 if head == "mlp" else network.encoder.feature_dim
    assert network.embedding_dim == (width or natural)
    assert embeddings.shape == (6, network.embedding_dim)
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(6))
    assert network.head_name == head
    assert network.input_spec is network.encoder.input_spec


def test_projecting_the_encoders_features_is_embedding_the_images() -> None:
    network = SiameseNetwork(small(), "mlp").eval()
    assert torch.equal(network.project(network.encoder(images())), network(images()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_embeddings_have_unit_length_in_single_precision_whatever_the_head_computes_in(dtype: torch.dtype) -> None:
    network = SiameseNetwork(small(), "linear", 200).eval()
    features = torch.randn(6, 128)
    network.head.to(dtype)
    embeddings = network.project(features.to(dtype))
    assert embeddings.dtype == torch.float32
    torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(6), rtol=0, atol=1e-6)
    network.head.double()
    assert network.project(features.double()).dtype == torch.float64


def unit_rows(count: int, width: int) -> np.ndarray:
    return normalise(np.random.default_rng(0).normal(size=(count, width)).astype(np.float32))


def test_without_a_pair_head_embeddings_are_compared_by_their_cosine() -> None:
    network = SiameseNetwork(small(), "linear", 5)
    left, right = unit_rows(8, 5), unit_rows(8, 5)[::-1]
    assert network.pair_head is None
    np.testing.assert_array_equal(network.pair_similarity(left, right), pair_similarity(left, right))


def test_with_a_pair_head_it_compares_them_and_belongs_to_the_network() -> None:
    network = SiameseNetwork(small(), "linear", 5, pair_head="difference + product", pair_hidden=4, pair_dropout=0.25)
    head = network.pair_head
    assert head is not None
    assert (head.name, head.hidden, head.dropout, head.embedding_dim) == ("difference+product", 4, 0.25, 5)
    left, right = unit_rows(8, 5), unit_rows(8, 5)[::-1]
    np.testing.assert_array_equal(network.pair_similarity(left, right), head.similarity(left, right))
    assert not np.allclose(network.pair_similarity(left, right), pair_similarity(left, right), atol=0.05)
    network.freeze("all")
    trained = trained_names(network)
    assert {f"pair_head.{name}" for name, _ in head.named_parameters()} <= trained
    assert all(name.startswith(("head.", "pair_head.")) for name in trained)
    assert network.train().pair_head.training  # type: ignore[union-attr]


def test_a_pair_head_leaves_the_embeddings_as_they_are() -> None:
    plain = SiameseNetwork(small(), "none").eval()
    network = SiameseNetwork(plain.encoder, "none", pair_head="chi-square").eval()
    assert torch.equal(network(images()), plain(images()))


def test_a_pair_head_that_cannot_be_is_refused() -> None:
    with pytest.raises(
        OptionError, match=r"^unknown feature of --pair-head 'chisquare': did you mean 'chi-square'\?"
    ):
        SiameseNetwork(small(), pair_head="chisquare")
    with pytest.raises(OptionError, match=r"^--pair-dropout 0\.5: a logistic regression has no hidden units"):
        SiameseNetwork(small(), pair_head="product", pair_dropout=0.5)


def test_embedding_is_the_head_on_the_encoders_features_normalised() -> None:
    network = SiameseNetwork(small(), "linear", 5).eval()
    features = network.encoder(images()) @ network.head.weight.T + network.head.bias
    torch.testing.assert_close(network(images()), F.normalize(features, dim=1))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_identity_start_network_scores_like_the_encoder_alone(encoder: str) -> None:
    network = SiameseNetwork(small(encoder), "identity-start").eval()
    alone = SiameseNetwork(network.encoder).eval()
    ours, theirs = network(images()), alone(images())
    torch.testing.assert_close(ours @ ours.T, theirs @ theirs.T, rtol=0, atol=1e-6)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_order_of_the_batch_carries_over_and_nothing_else_in_it_matters(encoder: str) -> None:
    network = SiameseNetwork(small(encoder), "mlp").eval()
    expected = network(images())
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    torch.testing.assert_close(network(images()[order]), expected[order], rtol=0, atol=1e-5)
    torch.testing.assert_close(network(images()[2:3]), expected[2:3], rtol=0, atol=1e-5)
    torch.testing.assert_close(network(images()[[4, 4]]), expected[[4, 4]], rtol=0, atol=1e-5)


@pytest.mark.parametrize("encoder", [*ENCODERS, "convnext_atto"])
def test_freezing_a_number_of_stages_freezes_exactly_their_parameters(encoder: str) -> None:
    network = SiameseNetwork(small(encoder), "mlp")
    stages = network.encoder.stages()
    everything = {id(parameter) for parameter in network.parameters()}
    for number in range(len(stages) + 1):
        network.freeze(str(number))
        frozen = {id(parameter) for parameter in parameters_of(stages[:number])}
        assert {id(value) for value in network.parameters() if value.requires_grad} == everything - frozen
        assert network.frozen_stages == number
        assert network.encoder_frozen is (number == len(stages))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_all_and_none_freeze_the_whole_encoder_and_nothing(encoder: str) -> None:
    network = SiameseNetwork(small(encoder), "mlp")
    network.freeze("all")
    assert trained_names(network) == {name for name, _ in network.named_parameters() if name.startswith("head.")}
    network.freeze("none")
    assert trained_names(network) == {name for name, _ in network.named_parameters()}
    assert network.frozen_stages == 0


@pytest.mark.parametrize("choice", ["8", "-1", "1.5", "half", "", "ALL"])
def test_freezing_what_is_not_there_is_refused(choice: str) -> None:
    message = f"--freeze {choice!r}: expected all, none, or 0 to 7 stages"
    network = SiameseNetwork(small())
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        network.freeze(choice)
    assert network.frozen_stages == 0


def test_a_step_changes_nothing_of_a_frozen_encoder_its_batch_statistics_included() -> None:
    network = SiameseNetwork(small(), "mlp")
    network.freeze("all")
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert not any(norm.training for norm in norms(network.encoder))
    assert network.head.training
    step(network)
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if name.startswith("head.")}


@pytest.mark.parametrize("encoder", ["mobilefacenet", "timm/test_resnet"])
def test_a_step_with_some_stages_frozen_changes_the_others_only(encoder: str) -> None:
    network = SiameseNetwork(small(encoder), "linear")
    network.freeze("2")
    network.train()
    stages = network.encoder.stages()
    kept, moved = ([module for stage in part for module in stage] for part in (stages[:2], stages[2:]))
    for modules, training in ((kept, False), (moved, True)):
        assert {norm.training for module in modules for norm in norms(module)} == {training}
    before = [{name: value.clone() for name, value in module.state_dict().items()} for module in [*kept, *moved]]
    step(network)
    for module, state in zip([*kept, *moved], before, strict=True):
        changed = {name for name, value in module.state_dict().items() if not torch.equal(value, state[name])}
        if module in kept:
            assert not changed
        else:
            assert changed >= {name for name in state if name.endswith("running_mean")}
            assert changed & {name for name, _ in module.named_parameters()}


def test_without_freezing_the_batch_statistics_follow_the_data() -> None:
    network = SiameseNetwork(small(), "linear")
    network.train()
    before = norms(network.encoder)[0].running_mean
    assert before is not None
    before = before.clone()
    step(network)
    assert not torch.equal(norms(network.encoder)[0].running_mean, before)  # type: ignore[arg-type]


def test_freezing_takes_effect_on_a_network_that_is_training_already() -> None:
    network = SiameseNetwork(small(), "mlp").train()
    network.freeze("all")
    assert not any(norm.training for norm in norms(network.encoder))
    network.freeze("none")
    assert all(norm.training for norm in norms(network.encoder))
    network.eval()
    network.freeze("3")
    assert not any(module.training for module in network.modules())


def test_a_frozen_encoder_gives_the_same_features_in_training_dropout_included() -> None:
    # Inception-ResNet-v1 has dropout between its stages, which belongs to none of them.
    encoder = create_encoder("inception_resnet_v1@random", input_size=(80, 80))
    assert any(isinstance(module, nn.Dropout) and module.p > 0 for module in encoder.modules())
    network = SiameseNetwork(encoder, "none")
    network.freeze("all")
    batch = torch.randn(2, 3, 80, 80)
    assert torch.equal(network.train()(batch), network.eval()(batch))
    assert network.encoder.feature_dim == 512


def test_a_frozen_encoder_keeps_no_graph_but_the_head_learns() -> None:
    network = SiameseNetwork(small(), "linear").train()
    network.freeze("all")
    pixels = images().requires_grad_()
    embeddings = network(pixels)
    assert embeddings.requires_grad
    (gradient,) = torch.autograd.grad(embeddings[:, 0].sum(), pixels, allow_unused=True)
    assert gradient is None
    network.freeze("6")
    (gradient,) = torch.autograd.grad(network(pixels)[:, 0].sum(), pixels, allow_unused=True)
    assert gradient is not None


def test_evaluation_and_training_can_be_switched_back_and_forth() -> None:
    network = SiameseNetwork(small(), "mlp")
    network.freeze("4")
    modes = [module.training for module in network.train().modules()]
    assert network.eval() is network
    assert not any(module.training for module in network.modules())
    assert [module.training for module in network.train().modules()] == modes
    assert len(set(modes)) == 2


def test_width_that_the_head_cannot_give_is_refused() -> None:
    with pytest.raises(OptionError, match=r"^--embedding-dim 64: the identity-start head keeps .* 128 dimensions"):
        SiameseNetwork(small(), "identity-start", 64)
    with pytest.raises(OptionError, match=r"^--embedding-dim 0: expected 1 or more$"):
        SiameseNetwork(small(), "mlp", 0)
    with pytest.raises(OptionError, match=r"^unknown head 'mpl': did you mean 'mlp'\?"):
        SiameseNetwork(small(), "mpl")
