from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from siamese.model.embedding import embed_pixels
from siamese.model.network import SiameseNetwork
from siamese.training import identity_head
from siamese.training.identity_head import class_means, give_identity_head, means_head

from .conftest import make_parts


@pytest.mark.parametrize("features", ["live", "cached"])
@pytest.mark.parametrize("chunk", [8192, 5])
def test_class_means_are_the_means_of_the_training_images_alone(
    people: Path, tmp_path: Path, features: str, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity_head, "_CHUNK", chunk)
    parts = make_parts(people, tmp_path, loss="cross_entropy", val_images=2, freeze="all", features=features)
    before = parts.network.encoder.seen
    bare = SiameseNetwork(parts.network.encoder)
    untouched, means = class_means((bare, parts.network), parts.inputs.images, parts.data)
    assert parts.network.encoder.seen - before == (0 if features == "cached" else len(parts.data.rows))
    assert untouched.shape == (12, parts.network.encoder.feature_dim)
    assert parts.data.labels is not None
    vectors = embed_pixels(parts.network, parts.data.cache.pixels, parts.data.rows)
    expected = np.stack([vectors[parts.data.labels == label].mean(axis=0) for label in range(12)])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(means.numpy(), expected, atol=1e-5)


def test_the_head_of_means_names_the_nearest_mean() -> None:
    torch.manual_seed(0)
    means, embeddings = (F.normalize(torch.randn(count, 6), dim=1) for count in (5, 40))
    head = means_head(means, 30.0)
    torch.testing.assert_close(head(embeddings), 30.0 * embeddings @ means.T)
    nearest = torch.cdist(embeddings, means).argmin(dim=1)
    assert torch.equal(head(embeddings).argmax(dim=1), nearest)


@pytest.mark.parametrize(("loss", "subcentres"), [("cross_entropy", 1), ("subcenter_arcface+subcentres=3", 3)])
def test_the_head_is_of_the_size_of_what_the_loss_trains(
    people: Path, tmp_path: Path, loss: str, subcentres: int
) -> None:
    parts = make_parts(people, tmp_path, loss=loss, freeze="none")
    head = parts.network.identity_head
    assert head is not None
    assert head.weight.shape == (len(parts.data.identities), subcentres, parts.network.embedding_dim)
    parts.network.identity_head = None
    give_identity_head(parts.network, parts.module.objective)
    assert parts.network.identity_head is not None
