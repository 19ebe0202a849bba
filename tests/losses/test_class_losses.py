"""What every loss with a weight per identity keeps."""

from inspect import signature

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from siamese.losses.class_losses import CLASS_LOSSES
from siamese.losses.loss import ClassLoss, LinearClassifier, LossSize
from siamese.losses.proxies import PROXY_LOSSES

ALL = {**CLASS_LOSSES, **PROXY_LOSSES}
SIZE = LossSize(embedding_dim=8, identities=5)
SMOOTHED = sorted(name for name, loss in ALL.items() if "label_smoothing" in signature(loss).parameters)


def toy(seed: int = 0, images: int = 6, noise: float = 0.15) -> tuple[Tensor, Tensor]:
    """Identities around random directions, well apart from each other."""
    generator = torch.Generator().manual_seed(seed)
    directions = torch.linalg.qr(torch.randn(8, 8, generator=generator))[0][: SIZE.identities]
    labels = torch.arange(SIZE.identities).repeat_interleave(images)
    spread = noise * torch.randn(len(labels), 8, generator=generator)
    return F.normalize(directions[labels] + spread, dim=1), labels


def means_of(embeddings: Tensor, labels: Tensor) -> Tensor:
    return F.normalize(torch.zeros(SIZE.identities, 8).index_add_(0, labels, embeddings), dim=1)


def logits_of(classifier: LinearClassifier, embeddings: Tensor) -> Tensor:
    nearest = torch.einsum("nd,ckd->nck", embeddings, classifier.weight).amax(dim=2)
    return classifier.scale * nearest + classifier.bias


def build(name: str, **options: object) -> ClassLoss:
    torch.manual_seed(3)
    return ALL[name](SIZE, **options)  # type: ignore[arg-type]


def test_names_are_those_of_the_field() -> None:
    assert set(CLASS_LOSSES) == {
        *("cross_entropy", "center", "large_margin_softmax", "lgm", "sphereface"),
        *("cosface", "arcface", "subcenter_arcface", "uniformface"),
    }
    assert set(PROXY_LOSSES) == {"soft_triple", "proxy_anchor", "proxy_nca", "mask_proxy"}


@pytest.mark.parametrize("name", sorted(ALL))
def test_options_are_keyword_only_with_a_type_and_a_default(name: str) -> None:
    first, *options = signature(ALL[name]).parameters.values()
    assert first.name == "size"
    for option in options:
        assert option.kind == option.KEYWORD_ONLY
        assert option.annotation in (int, float)
        assert type(option.default) is option.annotation


@pytest.mark.parametrize("identities", [0, 1])
@pytest.mark.parametrize("name", sorted(ALL))
def test_without_identities_there_is_nothing_to_classify(name: str, identities: int) -> None:
    with pytest.raises(ValueError, match=f"needs identities, at least 2, found {identities}; train on identity"):
        ALL[name](LossSize(8, identities))


@pytest.mark.parametrize("name", sorted(ALL))
def test_imprinting_decides_a_separable_problem_at_once(name: str) -> None:
    embeddings, labels = toy()
    loss = build(name)
    before = logits_of(loss.classifier(), embeddings).argmax(dim=1)
    assert (before == labels).float().mean() < 0.9
    loss.imprint(means_of(embeddings, labels))
    after = logits_of(loss.classifier(), embeddings)
    assert (after.argmax(dim=1) == labels).all()


@pytest.mark.parametrize("name", sorted(ALL))
def test_identities_without_a_mean_keep_their_weights(name: str) -> None:
    embeddings, labels = toy()
    loss = build(name)
    before = loss.classifier()
    means = means_of(embeddings, labels)
    means[2] = 0.0
    loss.imprint(means)
    after = loss.classifier()
    assert torch.equal(after.weight[2], before.weight[2])
    assert all(not torch.allclose(after.weight[row], before.weight[row]) for row in (0, 1, 3, 4))


@pytest.mark.parametrize("name", sorted(ALL))
def test_means_of_another_width_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"class means of shape \(5, 7\), expected \(5, 8\)"):
        build(name).imprint(torch.ones(5, 7))


@pytest.mark.parametrize("name", sorted(ALL))
def test_a_classifier_is_a_copy_that_training_leaves_alone(name: str) -> None:
    loss = build(name)
    classifier = loss.classifier()
    assert classifier.weight.shape[::2] == (SIZE.identities, SIZE.embedding_dim)
    assert classifier.bias.shape == (SIZE.identities,)
    assert not classifier.weight.requires_grad
    kept = classifier.weight.clone()
    with torch.no_grad():
        for parameter in loss.parameters():
            parameter.add_(1.0)
    assert torch.equal(classifier.weight, kept)


@pytest.mark.parametrize("name", sorted(ALL))
def test_fifty_steps_lower_the_loss_of_embeddings_and_weights(name: str) -> None:
    features, labels = toy(noise=0.6)
    loss = build(name)
    features = features.clone().requires_grad_()
    optimizer = torch.optim.Adam([features, *loss.parameters()], lr=0.02)
    values = []
    for _ in range(51):
        value = loss(F.normalize(features, dim=1), labels)
        optimizer.zero_grad()
        value.backward()
        assert all(parameter.grad is not None for parameter in loss.parameters())
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.6 * values[0]


@pytest.mark.parametrize("name", sorted(ALL))
def test_an_identity_of_one_image_on_its_own_mean_has_a_finite_gradient(name: str) -> None:
    embeddings = F.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(1)), dim=1).requires_grad_()
    labels = torch.arange(5)
    loss = build(name)
    loss.imprint(means_of(embeddings.detach(), labels))
    loss(embeddings, labels).backward()
    assert embeddings.grad is not None
    assert embeddings.grad.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in loss.parameters())


@pytest.mark.parametrize("name", sorted(ALL))
def test_the_order_of_a_batch_does_not_matter(name: str) -> None:
    embeddings, labels = toy(seed=4)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(2))
    loss = build(name)
    shuffled = loss(embeddings[order], labels[order])
    assert shuffled.item() == pytest.approx(loss(embeddings, labels).item(), rel=1e-5)


@pytest.mark.parametrize("name", sorted(ALL))
def test_state_is_all_that_a_loss_needs_to_go_on(name: str) -> None:
    embeddings, labels = toy(seed=5)
    loss = build(name)
    torch.manual_seed(99)
    other = ALL[name](SIZE)
    assert other(embeddings, labels).item() != pytest.approx(loss(embeddings, labels).item())
    other.load_state_dict(loss.state_dict())
    assert other(embeddings, labels).item() == loss(embeddings, labels).item()


def test_smoothing_is_an_option_of_every_softmax_over_single_labels() -> None:
    assert set(ALL) - set(SMOOTHED) == {"center", "soft_triple", "proxy_anchor", "mask_proxy"}


@pytest.mark.parametrize("name", SMOOTHED)
def test_smoothing_blends_in_the_mean_over_all_identities(name: str) -> None:
    embeddings, labels = toy(seed=6)
    plain, smoothed = build(name), build(name, label_smoothing=0.2)
    smoothed.load_state_dict(plain.state_dict())
    assert smoothed(embeddings, labels).item() != pytest.approx(plain(embeddings, labels).item())
    none = build(name, label_smoothing=0.0)
    none.load_state_dict(plain.state_dict())
    assert none(embeddings, labels).item() == plain(embeddings, labels).item()


@pytest.mark.parametrize("value", [-0.1, 1.0, float("nan")])
@pytest.mark.parametrize("name", SMOOTHED)
def test_smoothing_out_of_range_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"label_smoothing={value}: expected a share in \[0, 1\)"):
        build(name, label_smoothing=value)


@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
@pytest.mark.parametrize("name", sorted(set(ALL) - {"lgm"}))
def test_a_scale_that_is_none_is_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"scale={value}: expected a finite number above 0"):
        build(name, scale=value)


BAD = [
    ("lgm", "margin", -1.0, "margin=-1.0: expected 0.0 or more"),
    ("lgm", "likelihood", -1.0, "likelihood=-1.0: expected 0.0 or more"),
    ("lgm", "variance", 0.0, "variance=0.0: expected a finite number above 0"),
    ("large_margin_softmax", "margin", 0, "margin=0: expected 1 or more"),
    ("sphereface", "margin", 0, "margin=0: expected 1 or more"),
    ("cosface", "margin", 1.5, r"margin=1.5: expected a difference of cosines in \[0, 1\]"),
    ("uniformface", "margin", -0.1, r"margin=-0.1: expected a difference of cosines in \[0, 1\]"),
    ("uniformface", "uniform", -1.0, "uniform=-1.0: expected 0.0 or more"),
    ("arcface", "margin", 28.6, r"margin=28.6: expected radians in \[0, pi/2\]; 0.5 is 28.6 degrees"),
    ("subcenter_arcface", "margin", -0.1, r"margin=-0.1: expected radians in \[0, pi/2\]"),
    ("subcenter_arcface", "subcentres", 0, "subcentres=0: expected 1 or more"),
    ("soft_triple", "margin", 2.0, r"margin=2.0: expected a difference of cosines in \[0, 1\]"),
    ("soft_triple", "centres", 0, "centres=0: expected 1 or more"),
    ("soft_triple", "gamma", 0.0, "gamma=0.0: expected a finite number above 0"),
    ("soft_triple", "sparsity", -0.1, "sparsity=-0.1: expected 0.0 or more"),
    ("proxy_anchor", "margin", 1.1, r"margin=1.1: expected a cosine in \[0, 1\]"),
    ("mask_proxy", "proxies", -0.5, "proxies=-0.5: expected 0.0 or more"),
]


@pytest.mark.parametrize(("name", "option", "value", "message"), BAD)
def test_options_out_of_range_are_refused(name: str, option: str, value: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(name, **{option: value})
