import numpy as np
import pytest
import torch
from torch import Tensor, nn

from siamese.encoders.attention import CBAM, ChannelAttention, SpatialAttention


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def maps(channels: int = 32) -> Tensor:
    return torch.randn(3, channels, 5, 6, generator=torch.Generator().manual_seed(1))


def sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-logits)))


def shaken(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module.double()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("module", [ChannelAttention(32), SpatialAttention(), CBAM(32)])
def test_gates_are_open_at_the_start_bit_for_bit(module: nn.Module, dtype: torch.dtype) -> None:
    images = maps().to(dtype)
    assert torch.equal(module.to(dtype)(images), images)


def test_channel_gate_is_equation_2_of_the_paper_twice() -> None:
    module = shaken(ChannelAttention(32))
    first, second = (parameter.detach().numpy()[:, :, 0, 0] for parameter in module.parameters())
    assert (first.shape, second.shape) == ((2, 32), (32, 2))
    images = maps().double().numpy()
    logits = sum(
        np.maximum(pooled @ first.T, 0) @ second.T for pooled in (images.mean(axis=(2, 3)), images.max(axis=(2, 3)))
    )
    expected = images * 2 * sigmoid(np.asarray(logits))[:, :, None, None]
    np.testing.assert_allclose(module(maps().double()).detach().numpy(), expected, rtol=1e-10)


def test_spatial_gate_is_equation_3_of_the_paper_twice() -> None:
    module = shaken(SpatialAttention())
    kernel = next(module.parameters()).detach().numpy()[0]
    assert kernel.shape == (2, 7, 7)
    images = maps().double().numpy()
    pooled = np.pad(np.stack([images.mean(axis=1), images.max(axis=1)], axis=1), ((0, 0), (0, 0), (3, 3), (3, 3)))
    windows = np.lib.stride_tricks.sliding_window_view(pooled, (7, 7), axis=(2, 3))
    expected = images * 2 * sigmoid(np.einsum("bchwij,cij->bhw", windows, kernel))[:, None]
    np.testing.assert_allclose(module(maps().double()).detach().numpy(), expected, rtol=1e-10)


def test_cbam_weighs_channels_first_then_positions() -> None:
    module = shaken(CBAM(32))
    images = maps().double()
    assert torch.equal(module(images), module.spatial(module.channel(images)))
    assert not torch.allclose(module(images), module.channel(module.spatial(images)))


@pytest.mark.parametrize("channels", [1, 8, 128])
def test_any_number_of_channels_has_a_gate(channels: int) -> None:
    assert CBAM(channels)(maps(channels)).shape == (3, channels, 5, 6)


def test_from_open_gates_every_layer_learns() -> None:
    module = CBAM(64)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    images = maps(64)
    target = images * torch.linspace(0.5, 1.5, 64)[:, None, None]
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = (module(images) - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert all(not torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert losses[-1] < 0.3 * losses[0]
