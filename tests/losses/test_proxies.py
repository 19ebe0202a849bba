"""Proxy losses against their equations, written down with loops in NumPy."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pytorch_metric_learning import losses as published

from siamese.losses.loss import LossSize
from siamese.losses.proxies import MaskProxy, ProxyAnchor, ProxyNCA, SoftTriple

SIZE = LossSize(5, 6)
Matrix = NDArray[np.float64]
LABELS = [0, 0, 0, 2, 2, 5, 3, 3]


def unit(rows: Any) -> Matrix:
    rows = np.asarray(rows, dtype=np.float64)
    return np.asarray(rows / np.linalg.norm(rows, axis=-1, keepdims=True))


def batch(labels: list[int], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    embeddings = F.normalize(torch.randn(len(labels), 5, generator=generator), dim=1)
    return embeddings, torch.tensor(labels)


@pytest.mark.parametrize("sparsity", [0.0, 0.2])
@pytest.mark.parametrize("margin", [0.01, 0.3])
def test_soft_triple_is_the_papers(margin: float, sparsity: float) -> None:
    embeddings, labels = batch(LABELS)
    loss = SoftTriple(SIZE, margin=margin, sparsity=sparsity)
    centres = unit(loss.weights.detach())
    total = 0.0
    for z, label in zip(embeddings.numpy(), labels.tolist(), strict=True):
        similarity = centres @ z
        soft = np.exp(similarity / 0.1)
        relaxed = (soft / soft.sum(axis=1, keepdims=True) * similarity).sum(axis=1)
        relaxed[label] -= margin
        total -= np.log(np.exp(20 * relaxed[label]) / np.exp(20 * relaxed).sum())
    pairs = [(first, second) for second in range(3) for first in range(second)]
    between = [np.linalg.norm(own[first] - own[second]) for own in centres for first, second in pairs]
    expected = total / len(labels) + sparsity * sum(between) / (6 * 3 * 2)
    assert loss(embeddings, labels).item() == pytest.approx(expected, rel=1e-4)


def test_soft_triple_of_one_centre_is_a_cosine_softmax() -> None:
    embeddings, labels = batch(LABELS)
    loss = SoftTriple(SIZE, centres=1, margin=0.0)
    cosine = torch.from_numpy(embeddings.numpy() @ unit(loss.weights[:, 0].detach()).T)
    assert loss(embeddings, labels).item() == pytest.approx(F.cross_entropy(20 * cosine, labels).item(), rel=1e-5)


@pytest.mark.parametrize(("margin", "scale"), [(0.1, 32.0), (0.0, 8.0)])
def test_proxy_anchor_is_the_papers(margin: float, scale: float) -> None:
    embeddings, labels = batch(LABELS)
    loss = ProxyAnchor(SIZE, margin=margin, scale=scale)
    cosine = embeddings.numpy() @ unit(loss.proxy_anchor.proxies.detach()).T
    pull, push = [], []
    for proxy in range(6):
        positives = labels.numpy() == proxy
        if positives.any():
            pull.append(np.log1p(np.exp(-scale * (cosine[positives, proxy] - margin)).sum()))
        push.append(np.log1p(np.exp(scale * (cosine[~positives, proxy] + margin)).sum()))
    assert loss(embeddings, labels).item() == pytest.approx(np.mean(pull) + np.mean(push), rel=1e-4)


@pytest.mark.parametrize("scale", [1.0, 9.0])
def test_proxy_nca_is_the_papers(scale: float) -> None:
    embeddings, labels = batch(LABELS)
    loss = ProxyNCA(SIZE, scale=scale)
    proxies = unit(loss.proxy_nca.proxies.detach())
    total = 0.0
    for z, label in zip(unit(embeddings), labels.tolist(), strict=True):
        shares = np.exp(-scale * ((z - proxies) ** 2).sum(axis=1))
        total -= np.log(shares[label] / shares.sum())
    assert loss(embeddings, labels).item() == pytest.approx(total / len(labels), rel=1e-5)


def test_proxy_nca_agrees_with_the_published_implementation() -> None:
    embeddings, labels = batch(LABELS)
    loss = ProxyNCA(SIZE)
    other = published.ProxyNCALoss(num_classes=6, embedding_size=5, softmax_scale=9)
    other.proxies.data.copy_(loss.proxy_nca.proxies.data)
    assert loss(embeddings, labels).item() == pytest.approx(other(embeddings, labels).item(), rel=1e-5)


def test_proxy_nca_hears_embeddings_at_the_far_end() -> None:
    loss = ProxyNCA(LossSize(2, 2), scale=60.0)
    loss.proxy_nca.proxies.data.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))
    embeddings = torch.tensor([[-1.0, 0.0], [1.0, 0.0]])
    # |z - p|^2 is 4 for the own proxy and 0 for the other one.
    assert loss(embeddings, torch.tensor([0, 0])).item() == pytest.approx(240 / 2, rel=1e-5)


def masked_proxy(embeddings: Matrix, labels: list[int], proxies: Matrix, scale: float, weight: float) -> float:
    members = {label: [row for row, other in enumerate(labels) if other == label] for label in sorted(set(labels))}
    first = []
    for row, label in enumerate(labels):
        similarity = np.zeros(len(proxies))
        for identity, proxy in enumerate(proxies):
            rest = [other for other in members.get(identity, []) if other != row]
            centre = unit(embeddings[rest].mean(axis=0)) if rest else proxy
            similarity[identity] = centre @ embeddings[row]
        first.append(-np.log(np.exp(scale * similarity[label]) / np.exp(scale * similarity).sum()))
    second = []
    for label, rows in members.items():
        shares = np.exp(scale * proxies[list(members)] @ unit(embeddings[rows].mean(axis=0)))
        second.append(-np.log(shares[list(members).index(label)] / shares.sum()))
    return float(np.mean(first) + weight * np.mean(second))


@pytest.mark.parametrize("labels", [LABELS, [1, 1], [4], [3, 0, 3, 0, 5, 1, 2, 4, 4]])
@pytest.mark.parametrize(("scale", "weight"), [(10.0, 0.5), (3.0, 0.0)])
def test_mask_proxy_is_the_papers(labels: list[int], scale: float, weight: float) -> None:
    embeddings, index = batch(labels, seed=len(labels))
    loss = MaskProxy(SIZE, scale=scale, proxies=weight)
    expected = masked_proxy(
        embeddings.double().numpy(), labels, unit(loss.proxies.detach()), scale=scale, weight=weight
    )
    assert loss(embeddings, index).item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_mask_proxy_masks_the_proxies_of_identities_in_the_batch() -> None:
    embeddings, labels = batch([0, 0, 1, 1])
    loss = MaskProxy(SIZE, proxies=0.0)
    loss(embeddings, labels).backward()
    assert loss.proxies.grad is not None
    assert not loss.proxies.grad[:2].any()
    assert loss.proxies.grad[2:].any(dim=1).all()
    loss = MaskProxy(SIZE)
    loss(embeddings, labels).backward()
    assert loss.proxies.grad is not None
    assert loss.proxies.grad.any(dim=1).all()


def test_mask_proxy_learns_its_scale() -> None:
    embeddings, labels = batch(LABELS)
    loss = MaskProxy(SIZE)
    loss.log_scale.data.fill_(np.log(7.0))
    assert loss.classifier().scale == pytest.approx(7.0)
    loss(embeddings, labels).backward()
    assert loss.log_scale.grad is not None
    assert loss.log_scale.grad != 0
