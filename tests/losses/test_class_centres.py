import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.special import log_softmax

from siamese.losses.class_centres import Center, LargeMarginGaussian
from siamese.losses.loss import LossSize

SIZE = LossSize(4, 6)


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(9, 4, generator=generator), dim=1), torch.randint(6, (9,), generator=generator)


def centres(seed: int = 5) -> torch.Tensor:
    return 0.7 * torch.randn(6, 4, generator=torch.Generator().manual_seed(seed))


def test_center_is_half_the_mean_squared_distance() -> None:
    embeddings, labels = batch()
    loss = Center(SIZE)
    loss.centres.data.copy_(centres())
    difference = embeddings.numpy() - centres().numpy()[labels.numpy()]
    assert loss(embeddings, labels).item() == pytest.approx((difference**2).sum() / 2 / 9, rel=1e-5)


@pytest.mark.parametrize("degrees", [0, 60, 180])
def test_center_at_given_angles(degrees: float) -> None:
    loss = Center(LossSize(2, 2))
    loss.centres.data.copy_(torch.eye(2))
    angle = torch.deg2rad(torch.tensor([float(degrees)]))
    embedding = torch.stack([angle.cos(), angle.sin()], dim=1)
    expected = 1 - np.cos(np.radians(degrees))  # half of 2 - 2 cos
    assert loss(embedding, torch.tensor([0])).item() == pytest.approx(expected, abs=1e-6)


def test_center_moves_the_centres_of_the_batch_only() -> None:
    embeddings, _ = batch()
    loss = Center(SIZE)
    loss(embeddings, torch.tensor([0, 0, 1, 1, 1, 0, 1, 0, 0])).backward()
    assert loss.centres.grad is not None
    assert loss.centres.grad[:2].any(dim=1).all()
    assert not loss.centres.grad[2:].any()


@pytest.mark.parametrize("loss", [Center(SIZE), LargeMarginGaussian(SIZE)])
def test_the_nearest_centre_decides_also_where_lengths_differ(loss: Center | LargeMarginGaussian) -> None:
    parameter = loss.centres if isinstance(loss, Center) else loss.means
    parameter.data.copy_(centres())
    embeddings = F.normalize(torch.randn(200, 4, generator=torch.Generator().manual_seed(7)), dim=1)
    classifier = loss.classifier()
    logits = classifier.scale * embeddings @ classifier.weight[:, 0].T + classifier.bias
    squared = ((embeddings.numpy()[:, None] - centres().numpy()) ** 2).sum(axis=2)
    np.testing.assert_array_equal(logits.argmax(dim=1), squared.argmin(axis=1))
    assert len(set(squared.argmin(axis=1).tolist())) > 2
    expected = -0.5 * classifier.scale * squared
    shift = logits.numpy() - expected
    np.testing.assert_allclose(shift, np.broadcast_to(shift[:, :1], shift.shape), atol=1e-4)


@pytest.mark.parametrize("margin", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("likelihood", [0.0, 0.1])
@pytest.mark.parametrize("variance", [0.0625, 1.0])
def test_lgm_is_the_papers(margin: float, likelihood: float, variance: float) -> None:
    embeddings, labels = batch(2)
    loss = LargeMarginGaussian(SIZE, margin=margin, likelihood=likelihood, variance=variance)
    loss.means.data.copy_(centres())
    distance = ((embeddings.double().numpy()[:, None] - centres().double().numpy()) ** 2).sum(axis=2) / (2 * variance)
    rows, own = np.arange(9), labels.numpy()
    nearness = -distance
    nearness[rows, own] *= 1 + margin
    share = np.log(np.exp(nearness - nearness[rows, own][:, None]).sum(axis=1))  # of the own identity, negated
    expected = share.mean() + likelihood * distance[rows, own].mean()
    assert loss(embeddings, labels).item() == pytest.approx(expected, rel=1e-4)


def test_lgm_around_unit_means_is_a_cosine_softmax() -> None:
    embeddings, labels = batch(3)
    loss = LargeMarginGaussian(SIZE, margin=0.0, likelihood=0.0)
    means = F.normalize(centres(), dim=1)
    loss.means.data.copy_(means)
    logits = 16 * (embeddings @ means.T).numpy()
    expected = -log_softmax(logits, axis=1)[np.arange(9), labels.numpy()].mean()
    assert loss(embeddings, labels).item() == pytest.approx(expected, rel=1e-5)


def test_lgm_smooths_as_torch_does() -> None:
    embeddings, labels = batch(4)
    loss = LargeMarginGaussian(SIZE, margin=0.0, likelihood=0.0, label_smoothing=0.3)
    loss.means.data.copy_(centres())
    logits = -torch.cdist(embeddings, centres()).square() * 8
    expected = F.cross_entropy(logits, labels, label_smoothing=0.3).item()
    assert loss(embeddings, labels).item() == pytest.approx(expected, rel=1e-5)
