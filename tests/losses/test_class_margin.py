"""Margins against their equations, written down in NumPy on angles."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pytorch_metric_learning import losses as published
from scipy.special import log_softmax

from siamese.losses.class_margin import (
    ArcFace,
    CosFace,
    LargeMarginSoftmax,
    MarginLoss,
    SphereFace,
    SubcenterArcFace,
)
from siamese.losses.loss import LossSize

Angles = NDArray[np.float64]


def psi(angles: Angles, margin: int) -> Angles:
    """The piecewise margin of L-Softmax and A-Softmax, straight from its definition."""
    piece = np.minimum(np.floor(angles * margin / np.pi), margin - 1)
    return np.asarray((-1.0) ** piece * np.cos(margin * angles) - 2 * piece)


def arc(angles: Angles, margin: float) -> Angles:
    beyond = np.cos(angles) - margin * np.sin(margin)
    return np.where(angles <= np.pi - margin, np.cos(angles + margin), beyond)


# name, class, options, scale, own logit of an angle (before scaling)
CASES: list[tuple[type[MarginLoss], dict[str, Any], float, Callable[[Angles], Angles]]] = [
    (LargeMarginSoftmax, {}, 16.0, lambda a: psi(a, 2)),
    (LargeMarginSoftmax, {"margin": 4, "scale": 5.0}, 5.0, lambda a: psi(a, 4)),
    (SphereFace, {}, 30.0, lambda a: psi(a, 2)),
    (SphereFace, {"margin": 3, "scale": 2.0}, 2.0, lambda a: psi(a, 3)),
    (SphereFace, {"margin": 1}, 30.0, np.cos),
    (CosFace, {}, 30.0, lambda a: np.cos(a) - 0.35),
    (CosFace, {"margin": 0.1, "scale": 64.0}, 64.0, lambda a: np.cos(a) - 0.1),
    (ArcFace, {}, 30.0, lambda a: arc(a, 0.5)),
    (ArcFace, {"margin": 0.2, "scale": 64.0}, 64.0, lambda a: arc(a, 0.2)),
    (ArcFace, {"margin": 0.0}, 30.0, np.cos),
    (SubcenterArcFace, {"subcentres": 1}, 30.0, lambda a: arc(a, 0.5)),
]
IDS = [f"{case[0].__name__}-{case[1]}" for case in CASES]


def at_degrees(*degrees: float) -> torch.Tensor:
    angles = torch.deg2rad(torch.tensor(degrees))
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def set_weights(loss: MarginLoss, rows: torch.Tensor) -> None:
    """Rows (C * K, D), in the order of identities."""
    loss.margin_loss.W.data.copy_(rows.T)


@pytest.mark.parametrize(("kind", "options", "scale", "own"), CASES, ids=IDS)
@pytest.mark.parametrize("degrees", [0.5, 20.0, 44.0, 46.0, 89.0, 91.0, 130.0, 151.0, 152.0, 178.0])
def test_own_logit_is_the_equations_at_every_angle(
    kind: type[MarginLoss], options: dict[str, Any], scale: float, own: Callable[[Angles], Angles], degrees: float
) -> None:
    loss = kind(LossSize(2, 2), **options)
    set_weights(loss, at_degrees(0, 90))
    logits = loss.logits(at_degrees(degrees), torch.tensor([0]))[0].detach().numpy()
    expected = scale * np.array([own(np.radians(degrees)), np.cos(np.radians(degrees - 90))])
    np.testing.assert_allclose(logits, expected, atol=2e-4 * scale)


@pytest.mark.parametrize(("kind", "options", "scale", "own"), CASES, ids=IDS)
@pytest.mark.parametrize("share", [0.0, 0.2])
def test_loss_is_the_smoothed_cross_entropy_of_a_random_batch(
    kind: type[MarginLoss], options: dict[str, Any], scale: float, own: Callable[[Angles], Angles], share: float
) -> None:
    generator = torch.Generator().manual_seed(8)
    embeddings = F.normalize(torch.randn(12, 5, generator=generator), dim=1)
    labels = torch.randint(7, (12,), generator=generator)
    weights = torch.randn(7, 5, generator=generator)
    loss = kind(LossSize(5, 7), **options, label_smoothing=share)
    set_weights(loss, weights)
    lengths = weights.norm(dim=1).numpy()
    cosine = (embeddings.double() @ F.normalize(weights.double(), dim=1).T).numpy()
    rows, chosen = np.arange(12), labels.numpy()
    cosine[rows, chosen] = own(np.arccos(cosine[rows, chosen]))
    logits = scale * cosine * (lengths if kind is LargeMarginSoftmax else 1.0)
    shares = -log_softmax(logits, axis=1)
    expected = (1 - share) * shares[rows, chosen].mean() + share * shares.mean()
    assert loss(embeddings, labels).item() == pytest.approx(expected, rel=1e-4)


PUBLISHED = [
    (LargeMarginSoftmax, published.LargeMarginSoftmaxLoss, {"margin": 2, "scale": 16.0}),
    (SphereFace, published.SphereFaceLoss, {"margin": 2, "scale": 30.0}),
    (CosFace, published.CosFaceLoss, {"margin": 0.35, "scale": 30.0}),
    (ArcFace, published.ArcFaceLoss, {"margin": float(np.degrees(0.5)), "scale": 30.0}),
    (SubcenterArcFace, published.SubCenterArcFaceLoss, {"margin": float(np.degrees(0.5)), "scale": 30.0}),
]


@pytest.mark.parametrize(("kind", "reference", "options"), PUBLISHED)
def test_defaults_agree_with_the_published_implementation(
    kind: type[MarginLoss], reference: Any, options: dict[str, float]
) -> None:
    generator = torch.Generator().manual_seed(9)
    embeddings = F.normalize(torch.randn(10, 6, generator=generator), dim=1)
    labels = torch.randint(4, (10,), generator=generator)
    loss = kind(LossSize(6, 4))
    other = reference(num_classes=4, embedding_size=6, **options)
    other.W.data.copy_(loss.margin_loss.W.data)
    assert loss(embeddings, labels).item() == pytest.approx(other(embeddings, labels).item(), rel=1e-5)


def test_the_nearest_subcentre_counts() -> None:
    loss = SubcenterArcFace(LossSize(2, 2), subcentres=2, margin=0.0, scale=1.0)
    set_weights(loss, at_degrees(0, 90, 180, 270))
    logits = loss.logits(at_degrees(80, 200), torch.tensor([0, 1])).detach().numpy()
    expected = np.cos(np.radians([[10, 100], [110, 20]]))
    np.testing.assert_allclose(logits, expected, atol=1e-6)
    classifier = loss.classifier()
    assert classifier.weight.shape == (2, 2, 2)
    nearest = torch.einsum("nd,ckd->nck", at_degrees(80, 200), classifier.weight).amax(dim=2)
    np.testing.assert_allclose(nearest.numpy(), expected, atol=1e-6)


def test_a_margin_makes_the_task_harder_and_the_classifier_does_without_it() -> None:
    embeddings, labels = at_degrees(20, 100), torch.tensor([0, 1])
    plain, margin = CosFace(LossSize(2, 2), margin=0.0), CosFace(LossSize(2, 2), margin=0.35)
    for loss in (plain, margin):
        set_weights(loss, 3 * at_degrees(0, 90))
    assert margin(embeddings, labels) > plain(embeddings, labels)
    for mine, others in zip(vars(plain.classifier()).values(), vars(margin.classifier()).values(), strict=True):
        assert torch.equal(torch.as_tensor(mine), torch.as_tensor(others))
    assert torch.allclose(plain.classifier().weight[:, 0], at_degrees(0, 90))


def test_lengths_of_weights_count_in_large_margin_softmax_alone() -> None:
    embeddings, labels = at_degrees(20), torch.tensor([0])
    for kind in (LargeMarginSoftmax, SphereFace):
        loss = kind(LossSize(2, 2))
        set_weights(loss, at_degrees(0, 90))
        before = loss(embeddings, labels).item()
        set_weights(loss, 2 * at_degrees(0, 90))
        changed = loss(embeddings, labels).item() != pytest.approx(before, rel=1e-4)
        assert changed == (kind is LargeMarginSoftmax)
