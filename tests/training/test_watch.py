from pathlib import Path
from typing import Any

import numpy as np
import pytest

from siamese.training.watch import Watch

from .conftest import Losses, make_parts

PAIRS: dict[str, Any] = {"num_pairs": 32, "batch_size": 8, "freeze": "none", "epochs": 2}


def test_the_loss_of_an_epoch_is_the_mean_of_its_batches(people: Path, tmp_path: Path) -> None:
    watch, losses = Watch("cpu"), Losses()
    trainer = make_parts(people, tmp_path, **PAIRS).train(watch, losses)
    assert float(trainer.callback_metrics["loss"]) == pytest.approx(np.mean(losses.values[4:]), rel=1e-6)


def test_images_and_seconds_of_training_are_counted(people: Path, tmp_path: Path) -> None:
    watch, losses = Watch("cpu"), Losses()
    assert watch.images_per_second == 0
    make_parts(people, tmp_path, **PAIRS).train(watch, losses)
    assert watch.images == sum(len(rows) for rows in losses.rows)
    assert watch.seconds > 0
    assert watch.images_per_second == watch.images / watch.seconds


def test_the_mean_goes_on_where_a_checkpoint_was_taken() -> None:
    watch = Watch("cpu")
    watch.load_state_dict({"loss": 0.5, "batches": 3})
    assert watch.state_dict() == {"loss": 0.5, "batches": 3}
