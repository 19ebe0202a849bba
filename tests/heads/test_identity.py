from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from scipy.special import softmax

from siamese.errors import OptionError
from siamese.heads.identity import IdentityHead
from siamese.losses.loss import LinearClassifier


def classifier(identities: int = 4, subcentres: int = 3, width: int = 5, seed: int = 0) -> LinearClassifier:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(identities, subcentres, width, generator=generator)
    return LinearClassifier(weight, torch.randn(identities, generator=generator), 7.5)


def embeddings(rows: int = 6, width: int = 5) -> torch.Tensor:
    return F.normalize(torch.randn(rows, width, generator=torch.Generator().manual_seed(9)), dim=1)


def filled(subcentres: int = 3) -> IdentityHead:
    head = IdentityHead(5, 4, subcentres)
    head.fill(classifier(subcentres=subcentres))
    return head


@pytest.mark.parametrize("subcentres", [1, 3])
def test_logits_are_those_of_the_nearest_subcentre(subcentres: int) -> None:
    given = classifier(subcentres=subcentres)
    z, weight, bias = embeddings().numpy(), given.weight.numpy(), given.bias.numpy()
    expected = [[7.5 * max(w @ row for w in own) + b for own, b in zip(weight, bias, strict=True)] for row in z]
    np.testing.assert_allclose(filled(subcentres)(embeddings()).numpy(), expected, rtol=1e-4)


def test_probabilities_are_the_softmax_of_the_logits() -> None:
    head = filled()
    found = head.probabilities(embeddings()).numpy()
    np.testing.assert_allclose(found, softmax(head(embeddings()).numpy(), axis=1), rtol=1e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-5)


def test_an_empty_batch_has_no_logits() -> None:
    assert filled()(torch.zeros(0, 5)).shape == (0, 4)


def test_an_unfilled_head_prefers_nobody() -> None:
    assert not IdentityHead(5, 4)(embeddings()).any()


def test_state_travels_through_safetensors(tmp_path: Path) -> None:
    save_file(filled().state_dict(), tmp_path / "head.safetensors")
    other = IdentityHead(5, 4, 3)
    other.load_state_dict(load_file(tmp_path / "head.safetensors"))
    assert torch.equal(other(embeddings()), filled()(embeddings()))
    assert (other.identities, other.subcentres) == (4, 3)


def test_nothing_in_it_trains() -> None:
    assert list(filled().parameters()) == []
    z = embeddings().requires_grad_()
    filled()(z).sum().backward()
    assert z.grad is not None


def test_a_classifier_of_another_size_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"classifier of identities, subcentres and width \(4, 3, 5\), expected \(4, 1, 5"
    ):
        IdentityHead(5, 4, 1).fill(classifier())


def test_a_diverged_classifier_is_refused() -> None:
    given = classifier()
    given.weight[0, 0, 0] = torch.nan
    with pytest.raises(ValueError, match="values that are not finite; training has diverged"):
        IdentityHead(5, 4, 3).fill(given)


@pytest.mark.parametrize(
    ("sizes", "name"), [((0, 4, 1), "embedding_dim"), ((5, 0, 1), "identities"), ((5, 4, 0), "sub")]
)
def test_sizes_below_one_are_refused(sizes: tuple[int, int, int], name: str) -> None:
    with pytest.raises(OptionError, match=f"identity head: {name}.*=0, expected 1 or more"):
        IdentityHead(*sizes)
