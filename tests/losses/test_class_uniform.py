import numpy as np
import pytest
import torch
import torch.nn.functional as F

from siamese.losses.class_margin import CosFace
from siamese.losses.class_uniform import UniformFace
from siamese.losses.loss import LossSize


def closeness(centres: np.ndarray, identities: list[int]) -> float:
    unit = centres / np.linalg.norm(centres, axis=1, keepdims=True)
    terms = [
        1 / (np.linalg.norm(unit[one] - unit[other]) + 1)
        for one in identities
        for other in range(len(unit))
        if other != one
    ]
    return float(np.mean(terms))


def test_the_uniform_term_is_the_papers_when_the_batch_shows_everybody() -> None:
    loss = UniformFace(LossSize(5, 6))
    centres = loss.weights[:, 0].detach().numpy()
    assert loss.closeness(torch.arange(6)).item() == pytest.approx(closeness(centres, list(range(6))), rel=1e-5)


@pytest.mark.parametrize("weight", [0.0, 1.0, 2.5])
def test_loss_is_cosface_and_the_term_of_the_identities_in_the_batch(weight: float) -> None:
    generator = torch.Generator().manual_seed(0)
    embeddings = F.normalize(torch.randn(6, 5, generator=generator), dim=1)
    labels = torch.tensor([1, 1, 4, 4, 4, 2])
    loss, plain = UniformFace(LossSize(5, 6), uniform=weight), CosFace(LossSize(5, 6))
    plain.load_state_dict(loss.state_dict())
    term = closeness(loss.weights[:, 0].detach().numpy(), [1, 2, 4])
    expected = plain(embeddings, labels).item() + weight * term
    assert loss(embeddings, labels).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("degrees", "expected"), [(0, 1.0), (60, 0.5), (180, 1 / 3)])
def test_two_centres_at_given_angles(degrees: float, expected: float) -> None:
    loss = UniformFace(LossSize(2, 2))
    angles = torch.deg2rad(torch.tensor([0.0, degrees]))
    loss.margin_loss.W.data.copy_(torch.stack([angles.cos(), angles.sin()]))
    value = loss.closeness(torch.arange(2))
    assert value.item() == pytest.approx(expected, abs=1e-5)
    value.backward()
    assert loss.margin_loss.W.grad.isfinite().all()


def test_the_term_spreads_identities_evenly() -> None:
    torch.manual_seed(0)
    loss = UniformFace(LossSize(2, 3))
    angles = torch.deg2rad(torch.tensor([0.0, 20.0, 40.0]))
    loss.margin_loss.W.data.copy_(torch.stack([angles.cos(), angles.sin()]))
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        loss.closeness(torch.arange(3)).backward()
        optimizer.step()
    rows = F.normalize(loss.weights[:, 0].detach(), dim=1)
    between = (rows @ rows.T)[torch.triu(torch.ones(3, 3), diagonal=1).bool()]
    np.testing.assert_allclose(between.numpy(), -0.5, atol=0.02)  # 120 degrees apart
