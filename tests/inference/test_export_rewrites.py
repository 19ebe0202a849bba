"""Networks rewritten for OpenVINO compute what they computed."""

import pytest
import torch
from timm.layers import LayerNorm2d
from torch import nn

from siamese.encoders import create_encoder
from siamese.inference.export_rewrites import rewritten
from siamese.model.network import SiameseNetwork


def test_a_channel_norm_is_the_layer_norm_over_channels() -> None:
    torch.manual_seed(0)
    norm = LayerNorm2d(6, eps=1e-3)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    features = 3 * torch.randn(2, 6, 5, 4) + torch.randn(1, 6, 1, 1)
    found = rewritten(nn.Sequential(norm))(features)
    turned = nn.functional.layer_norm(features.movedim(1, -1), (6,), norm.weight, norm.bias, 1e-3).movedim(-1, 1)
    torch.testing.assert_close(found, turned, rtol=1e-5, atol=1e-5)
    plain = LayerNorm2d(6, affine=False)
    torch.testing.assert_close(rewritten(nn.Sequential(plain))(features), plain(features), rtol=1e-5, atol=1e-5)


def test_convnext_keeps_its_embeddings_and_itself() -> None:
    torch.manual_seed(0)
    network = SiameseNetwork(create_encoder("timm/convnext_atto@random", input_size=(64, 64))).eval()
    with torch.no_grad():  # as drawn, every norm has weight 1 and bias 0, and each block adds next to nothing
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    made = rewritten(network)
    assert not any(isinstance(module, LayerNorm2d) for module in made.modules())
    assert sum(isinstance(module, LayerNorm2d) for module in network.modules()) == 17
    images = torch.randn(4, 3, 64, 64)
    with torch.inference_mode():
        expected = network(images)
        assert (expected @ expected.T).min() < 0.999  # images are told apart, so that a difference would show
        torch.testing.assert_close(made(images), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["mobilefacenet", "inception_resnet_v1"])
def test_a_network_without_such_norms_is_left_alone(name: str) -> None:
    network = SiameseNetwork(create_encoder(f"{name}@random")).eval()
    assert rewritten(network) is network
