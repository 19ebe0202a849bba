import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_softmax

from siamese.losses.class_softmax import CrossEntropy
from siamese.losses.loss import LossSize


def filled(**options: float) -> CrossEntropy:
    loss = CrossEntropy(LossSize(4, 6), **options)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        loss.weight.copy_(torch.randn(6, 4, generator=generator))
        loss.bias.copy_(torch.randn(6, generator=generator))
    return loss


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(9, 4, generator=generator), dim=1), torch.randint(6, (9,), generator=generator)


@pytest.mark.parametrize("scale", [1.0, 16.0])
def test_value_is_the_equations(scale: float) -> None:
    embeddings, labels = batch()
    loss = filled(scale=scale)
    logits = scale * embeddings.numpy() @ loss.weight.detach().numpy().T + loss.bias.detach().numpy()
    expected = -log_softmax(logits, axis=1)[np.arange(9), labels.numpy()].mean()
    assert loss(embeddings, labels).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5])
def test_smoothing_agrees_with_torchs(share: float) -> None:
    embeddings, labels = batch(1)
    loss = filled(label_smoothing=share)
    expected = F.cross_entropy(16.0 * embeddings @ loss.weight.T + loss.bias, labels, label_smoothing=share)
    assert loss(embeddings, labels).item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_start_is_cosine_logits() -> None:
    classifier = CrossEntropy(LossSize(4, 6)).classifier()
    assert torch.allclose(classifier.weight.norm(dim=2), torch.ones(6, 1))
    assert not classifier.bias.any()
    assert classifier.scale == 16.0


def test_classifier_gives_the_logits_of_training() -> None:
    embeddings, labels = batch(3)
    loss = filled()
    classifier = loss.classifier()
    logits = classifier.scale * embeddings @ classifier.weight[:, 0].T + classifier.bias
    assert F.cross_entropy(logits, labels).item() == pytest.approx(loss(embeddings, labels).item(), rel=1e-6)
