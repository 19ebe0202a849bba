import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from siamese.encoders import create_encoder
from siamese.model.embedding import embed_pixels
from siamese.model.network import SiameseNetwork


def network(head: str = "mlp") -> SiameseNetwork:
    # No alignment: what is loaded is embedded without a search for faces.
    return SiameseNetwork(create_encoder("timm/test_resnet@random", input_size=(32, 32)), head).eval()


def pixels(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def test_pixels_are_normalised_by_the_encoders_specification_and_embedded() -> None:
    net, images = network(), pixels(5)
    spec = net.input_spec
    scaled = (images / 255 - np.array(spec.mean)) / np.array(spec.std)
    with torch.no_grad():
        expected = net(torch.from_numpy(scaled.transpose(0, 3, 1, 2).astype(np.float32))).numpy()
    vectors = embed_pixels(net, images)
    assert vectors.dtype == np.float32
    assert vectors.shape == (5, net.embedding_dim)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 64])
def test_an_image_has_the_same_embedding_in_batches_of_any_size(batch: int) -> None:
    net, images = network(), pixels(7)
    alone = np.concatenate([embed_pixels(net, images[row : row + 1]) for row in range(7)])
    np.testing.assert_allclose(embed_pixels(net, images, batch=batch), alone, atol=1e-5)


def test_nothing_to_embed_gives_no_rows() -> None:
    net = network()
    assert embed_pixels(net, pixels(0)).shape == (0, net.embedding_dim)


@pytest.mark.parametrize("training", [True, False])
def test_embedding_happens_in_evaluation_and_leaves_the_network_as_it_was(training: bool) -> None:
    net = network()
    expected = embed_pixels(net, pixels(4))
    net.freeze("2")
    net.train(training)
    modes = [module.training for module in net.modules()]
    state = {name: value.clone() for name, value in net.state_dict().items()}
    np.testing.assert_array_equal(embed_pixels(net, pixels(4)), expected)
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())
    # What it gives is detached, but the network can still learn.
    assert net(torch.zeros(2, 3, 32, 32)).requires_grad
