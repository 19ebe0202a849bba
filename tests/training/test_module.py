from pathlib import Path
from typing import Any

import pytest
import torch

from siamese.losses.loss import LossSize
from siamese.losses.registry import parse_objective
from siamese.training.identity_head import give_identity_head
from siamese.training.module import classifier_of, fill_identity_head

from .conftest import Losses, make_parts

PAIRS: dict[str, Any] = {"num_pairs": 40, "batch_size": 8, "freeze": "none", "epochs": 1}


def test_a_step_is_the_objective_on_embeddings_of_the_unique_images(people: Path, tmp_path: Path) -> None:
    parts = make_parts(people, tmp_path, **PAIRS)
    batch = parts.module._batches(0)[1]
    loss = parts.module.training_step(batch, 1)
    with torch.no_grad():
        embeddings = parts.network(batch.inputs)
    left, right = batch.columns
    distances = (embeddings[left] - embeddings[right]).norm(dim=1)
    assert batch.same is not None
    margin = parts.module.objective.losses["contrastive"].margin
    expected = (batch.same * distances**2 + (1 - batch.same) * (margin - distances).clamp_min(0) ** 2).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-6)
    assert parts.module.last is not None
    assert torch.equal(parts.module.last.rows, batch.rows)
    assert not parts.module.last.embeddings.requires_grad
    assert not parts.module.last.value.total.requires_grad
    torch.testing.assert_close(parts.module.last.embeddings, embeddings)


def test_the_loss_learns_at_its_own_rate_and_without_decay(people: Path, tmp_path: Path) -> None:
    parts = make_parts(people, tmp_path, loss="pairwise", loss_lr=7.0, lr=0.01, weight_decay=0.1, **PAIRS)
    groups = parts.module.configure_optimizers()["optimizer"].param_groups
    own = {id(parameter) for parameter in parts.module.objective.parameters()}
    found = [group for group in groups if {id(parameter) for parameter in group["params"]} & own]
    assert len(found) == 1
    assert {id(parameter) for parameter in found[0]["params"]} == own
    assert (found[0]["initial_lr"], found[0]["weight_decay"]) == (pytest.approx(0.07), 0.0)
    everything = [id(parameter) for group in groups for parameter in group["params"]]
    trained = {id(parameter) for parameter in parts.module.trained.parameters() if parameter.requires_grad}
    assert len(everything) == len(set(everything))
    assert set(everything) == trained


def test_frozen_stages_are_in_no_group_and_do_not_move(people: Path, tmp_path: Path) -> None:
    parts = make_parts(people, tmp_path, **PAIRS | {"freeze": "1"})
    first = parts.network.encoder.stages()[0][0]
    before = [parameter.clone() for parameter in first.parameters()]
    groups = parts.module.configure_optimizers()["optimizer"].param_groups
    held = {id(parameter) for group in groups for parameter in group["params"]}
    assert not held & {id(parameter) for parameter in first.parameters()}
    second = next(parts.network.encoder.stages()[1][0].parameters()).clone()
    parts.train()
    assert all(torch.equal(now, was) for now, was in zip(first.parameters(), before, strict=True))
    assert not torch.equal(next(parts.network.encoder.stages()[1][0].parameters()), second)


def test_the_schedule_counts_the_steps_of_accumulated_batches(people: Path, tmp_path: Path) -> None:
    parts = make_parts(people, tmp_path, accumulate=2, schedule="cosine", lr=0.01, **PAIRS | {"epochs": 2})
    trainer = parts.train()
    assert trainer.global_step == 6
    assert trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-12)


def test_no_weight_is_in_a_checkpoint_twice(people: Path, tmp_path: Path) -> None:
    module = make_parts(people, tmp_path, loss="pairwise", **PAIRS).module
    assert {name.split(".")[0] for name in module.state_dict()} == {"trained"}
    assert {name.split(".")[1] for name in module.state_dict()} == {"network", "objective"}


def test_channels_last_gives_the_same_losses(people: Path, tmp_path: Path) -> None:
    seen = []
    for choice in (False, True):
        losses = Losses()
        parts = make_parts(people, tmp_path / str(choice), channels_last=choice, **PAIRS)
        kernel = next(parts.network.encoder.parameters())
        assert kernel.is_contiguous(memory_format=torch.channels_last) is choice
        parts.train(losses)
        seen.append(losses.values)
    assert seen[0] == pytest.approx(seen[1], abs=1e-5)


def test_the_heaviest_loss_with_a_classifier_decides_identities() -> None:
    size = LossSize(4, 3)
    objective = parse_objective("cross_entropy:0.5+arcface:1.5+triplet:9").build(size)
    found = classifier_of(objective)
    assert found is not None
    expected = objective.class_losses["arcface"].classifier()
    torch.testing.assert_close(found.weight, expected.weight)
    assert found.scale == expected.scale
    assert classifier_of(parse_objective("triplet").build(size)) is None


def test_the_identity_head_takes_over_what_the_loss_has_learnt_or_that_it_has_not(
    people: Path, tmp_path: Path
) -> None:
    parts = make_parts(people, tmp_path, loss="cross_entropy", epochs=1, freeze="none")
    head, objective = parts.network.identity_head, parts.module.objective
    assert head is not None
    fill_identity_head(parts.network, objective)
    logits = head(torch.eye(parts.network.embedding_dim)[:5])
    loss: Any = objective.class_losses["cross_entropy"]
    torch.testing.assert_close(logits, 16.0 * loss.weight.T[:5] + loss.bias)
    with torch.no_grad():
        loss.bias[0] = torch.nan
    fill_identity_head(parts.network, objective)
    assert head.weight.isnan().all()


def test_a_network_without_an_identity_head_is_left_alone(people: Path, tmp_path: Path) -> None:
    parts = make_parts(people, tmp_path, **PAIRS)
    give_identity_head(parts.network, parts.module.objective)
    assert parts.network.identity_head is None
    before = {name: tensor.clone() for name, tensor in parts.network.state_dict().items()}
    with parts.module.evaluated() as network:
        assert network is parts.network
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
