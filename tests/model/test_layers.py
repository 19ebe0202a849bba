import re
from typing import Any

import pytest
import torch
from torch import nn

from siamese.encoders import create_encoder
from siamese.errors import OptionError
from siamese.heads.identity import IdentityHead
from siamese.model.layers import parameter_groups
from siamese.model.network import SiameseNetwork

SIZE = (32, 32)
ENCODERS = ("mobilefacenet", "mobilefacenet_cbam", "timm/test_vit", "timm/test_resnet", "convnext_atto")


def build(encoder: str = "mobilefacenet", **options: Any) -> SiameseNetwork:
    return SiameseNetwork(create_encoder(f"{encoder}@random", input_size=SIZE), "identity-start", **options)


def groups_of(network: SiameseNetwork, layer_decay: float = 0.5, weight_decay: float = 0.1) -> list[dict[str, Any]]:
    return parameter_groups(network, 0.01, layer_decay, weight_decay)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("freeze", ["none", "2", "all"])
@pytest.mark.parametrize("pair_head", [None, "difference"])
def test_every_trained_parameter_is_in_exactly_one_group(encoder: str, freeze: str, pair_head: str | None) -> None:
    network = build(encoder, pair_head=pair_head, pair_hidden=8 if pair_head else 0)
    network.freeze(freeze)
    grouped = [id(parameter) for group in groups_of(network) for parameter in group["params"]]
    trained = [id(parameter) for parameter in network.parameters() if parameter.requires_grad]
    assert sorted(grouped) == sorted(trained)
    assert all(group["params"] for group in groups_of(network))


@pytest.mark.parametrize("encoder", ENCODERS)
def test_rates_fall_by_the_factor_from_stage_to_stage_downwards(encoder: str) -> None:
    network = build(encoder, pair_head="product")
    stages = network.encoder.stages()
    rate = {id(parameter): group["lr"] for group in groups_of(network) for parameter in group["params"]}
    for number, stage in enumerate(stages):
        expected = 0.01 * 0.5 ** (len(stages) - number)
        found = {rate[id(parameter)] for module in stage for parameter in module.parameters()}
        assert all(value == pytest.approx(expected) for value in found)
    assert network.pair_head is not None
    heads = [*network.head.parameters(), *network.pair_head.parameters()]
    assert {rate[id(parameter)] for parameter in heads} == {0.01}


def test_frozen_stages_are_left_out_and_the_others_keep_their_depth() -> None:
    network = build()
    network.freeze("4")
    rates = {group["name"]: group["lr"] for group in groups_of(network)}
    expected = {"head": 0.01, "stage 6": 0.005, "stage 5": 0.0025, "stage 4": 0.00125}
    assert rates == expected | {f"{name}, no decay": rate for name, rate in expected.items()}
    network.freeze("all")
    assert [group["name"] for group in groups_of(network)] == ["head", "head, no decay"]


def test_a_factor_of_one_gives_every_layer_the_same_rate() -> None:
    assert {group["lr"] for group in groups_of(build(), layer_decay=1.0)} == {0.01}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_biases_and_norms_are_not_decayed_and_the_rest_is(encoder: str) -> None:
    network = build(encoder, pair_head="difference")
    decay = {id(parameter): group["weight_decay"] for group in groups_of(network) for parameter in group["params"]}
    norms = (nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm, nn.PReLU)
    for module in network.modules():
        if isinstance(module, norms):
            assert {decay[id(parameter)] for parameter in module.parameters()} <= {0.0}
        if isinstance(module, nn.Linear | nn.Conv2d):
            assert decay[id(module.weight)] == 0.1
            assert module.bias is None or decay[id(module.bias)] == 0.0


def test_norm_over_several_dimensions_is_not_decayed() -> None:
    network = build()
    norm = nn.LayerNorm((4, 4))
    network.head = nn.Sequential(nn.Linear(128, 16), nn.Unflatten(1, (4, 4)), norm)
    decay = {id(parameter): group["weight_decay"] for group in groups_of(network) for parameter in group["params"]}
    assert decay[id(norm.weight)] == decay[id(norm.bias)] == 0.0


def test_an_optimiser_takes_the_groups_and_moves_each_layer_at_its_rate() -> None:
    network = build("timm/test_resnet")
    optimiser = torch.optim.SGD(groups_of(network, weight_decay=0.0))
    before = {id(parameter): parameter.detach().clone() for parameter in network.parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimiser.step()
    for group in optimiser.param_groups:
        for parameter in group["params"]:
            torch.testing.assert_close(before[id(parameter)] - parameter, torch.full_like(parameter, group["lr"]))
    assert len({group["name"] for group in optimiser.param_groups}) == len(optimiser.param_groups)


def test_a_filled_identity_head_has_nothing_to_train() -> None:
    network = build()
    before = [group["name"] for group in groups_of(network)]
    network.identity_head = IdentityHead(network.embedding_dim, 5)
    assert [group["name"] for group in groups_of(network)] == before


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((0.0, 1.0, 0.0), "--lr 0: expected a number above 0"),
        ((float("inf"), 1.0, 0.0), "--lr inf: expected a number above 0"),
        ((0.1, 0.0, 0.0), "--layer-decay 0: expected a factor above 0, up to 1"),
        ((0.1, 1.5, 0.0), "--layer-decay 1.5: expected a factor above 0, up to 1"),
        ((0.1, float("nan"), 0.0), "--layer-decay nan: expected a factor above 0, up to 1"),
        ((0.1, 1.0, -0.1), "--weight-decay -0.1: expected 0 or more"),
    ],
)
def test_numbers_out_of_range_are_refused(numbers: tuple[float, float, float], message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        parameter_groups(build(), *numbers)
