from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy

from siamese.config import make_train_config
from siamese.errors import DeviceError
from siamese.images.catalog import read_catalog
from siamese.pairing.formats import write_any
from siamese.pairing.quadruplets import sample_quadruplets
from siamese.pairing.sampling import sample_triplets
from siamese.training.plans import Share
from siamese.training.trainer import create_trainer

from .conftest import Losses, make_parts

PAIRS: dict[str, Any] = {"num_pairs": 40, "batch_size": 8, "freeze": "none", "epochs": 2, "weight_decay": 0.0}


@pytest.mark.parametrize(
    ("precision", "found"), [("auto", "32-true"), ("float32", "32-true"), ("bf16", "bf16-mixed")]
)
def test_the_precision_is_the_one_asked_for(precision: str, found: str) -> None:
    config = make_train_config({"data": "d", "precision": precision})
    assert create_trainer(config, [], "cpu", Share()).precision == found


def test_fp16_needs_a_gpu() -> None:
    config = make_train_config({"data": "d", "precision": "fp16"})
    with pytest.raises(DeviceError, match=r"^--precision fp16 needs a GPU; on a CPU use float32 or bf16$"):
        create_trainer(config, [], "cpu", Share())


def test_several_processes_keep_the_batches_that_were_made_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("WORLD_SIZE", "4"), ("LOCAL_WORLD_SIZE", "2"), ("RANK", "3"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    trainer = create_trainer(make_train_config({"data": "d"}), [], "cpu", Share(3, 4))
    assert isinstance(trainer.strategy, DDPStrategy)
    assert (trainer.num_devices, trainer.num_nodes) == (2, 2)
    # Lightning would deal batches out to the processes; each has its share of every batch already.
    assert not trainer._accelerator_connector.use_distributed_sampler


def test_an_epoch_has_every_batch_and_a_step_as_many_as_are_accumulated(people: Path, tmp_path: Path) -> None:
    losses = Losses()
    trainer = make_parts(people, tmp_path, accumulate=2, **PAIRS).train(losses)
    assert len(losses.values) == 10
    assert trainer.global_step == 6  # five batches an epoch, the last one alone


def test_gradients_are_clipped_to_the_norm_asked_for(people: Path, tmp_path: Path) -> None:
    free, clipped = (
        make_parts(
            people, tmp_path / str(clip), optimizer="sgd", momentum=0.0, schedule="constant", clip=clip, **PAIRS
        )
        for clip in (None, 1e-6)
    )
    start = [parameter.detach().clone() for parameter in clipped.network.parameters()]
    moved = []
    for parts in (free, clipped):
        parts.train()
        changes = [(now - was).norm() for now, was in zip(parts.network.parameters(), start, strict=True)]
        moved.append(float(torch.stack(changes).norm().detach()))
    assert moved[0] > 1e-4
    assert 0 < moved[1] <= 10 * 0.01 * 1e-6 * 1.1  # ten steps at a rate of 0.01


def test_training_in_bfloat16_keeps_unit_embeddings_and_losses_in_float32(people: Path, tmp_path: Path) -> None:
    losses = Losses()
    parts = make_parts(people, tmp_path, precision="bf16", **PAIRS)
    parts.train(losses)
    for embeddings in losses.embeddings:
        assert embeddings.dtype == torch.float32
        torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(len(embeddings)), rtol=0, atol=1e-5)
    assert all(parameter.dtype == torch.float32 for parameter in parts.network.parameters())
    exact = Losses()
    make_parts(people, tmp_path / "exact", **PAIRS).train(exact)
    assert losses.values[0] != exact.values[0]  # it did run in bfloat16
    assert losses.values[0] == pytest.approx(exact.values[0], rel=0.02)


@pytest.mark.parametrize(("loss", "kind"), [("quadruplet", "quadruplets"), ("triplet", "triplets")])
def test_a_file_of_larger_tuples_trains_the_loss_that_learns_from_them(
    people: Path, tmp_path: Path, loss: str, kind: str
) -> None:
    images = read_catalog(people).images
    given = tmp_path / "train.csv"
    table = (
        sample_quadruplets(images, num_quadruplets=40, seed=0)
        if kind == "quadruplets"
        else sample_triplets(images, num_triplets=40, seed=0)
    )
    write_any(table, given, kind)
    losses = Losses()
    options = PAIRS | {"num_pairs": None, "epochs": 30, "lr": 0.01}
    parts = make_parts(people, tmp_path / "run", pairs=given, loss=loss, **options)
    assert parts.data.tuples is not None
    assert parts.data.tuples.rows.shape[1] == len(table.filter(regex="^(anchor|positive|negative2?)$").columns)
    parts.train(losses)
    tenth = len(losses.values) // 10
    assert sum(losses.values[-tenth:]) < 0.8 * sum(losses.values[:tenth])
