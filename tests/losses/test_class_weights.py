import torch

from siamese.losses.class_weights import imprint_rows, random_rows


def test_random_rows_are_directions() -> None:
    torch.manual_seed(0)
    rows = random_rows(300, 16)
    assert torch.allclose(rows.norm(dim=1), torch.ones(300))
    assert rows.mean(dim=0).norm() < 0.2


def test_subcentres_are_imprinted_apart_but_near_their_mean() -> None:
    torch.manual_seed(0)
    weights = torch.randn(4, 3, 32)
    means = random_rows(4, 32)
    imprint_rows(weights, means)
    assert torch.allclose(weights.norm(dim=2), torch.ones(4, 3))
    assert ((weights * means[:, None]).sum(dim=2) > 0.99).all()
    between = (weights[:, 0] * weights[:, 1]).sum(dim=1)
    assert (between < 0.9999).all()


def test_imprinting_can_keep_lengths() -> None:
    weights = torch.full((2, 1, 4), 3.0)
    imprint_rows(weights, torch.eye(4)[:2], keep_length=True)
    assert torch.allclose(weights[:, 0], 6.0 * torch.eye(4)[:2])
