"""What is worth knowing before a long run: whether training can learn a few pairs by heart, and at which rate."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from numpy.typing import NDArray
from torch import Tensor

from siamese.config import TrainConfig
from siamese.device import resolve_device
from siamese.errors import OptionError
from siamese.progress import log
from siamese.training.batches import Batch, EpochBatches
from siamese.training.lr_finder import RangeTest, find_rate
from siamese.training.lr_plot import write_range_test
from siamese.training.overfit import OverfitVerdict, judge_overfit, share_decided_rightly
from siamese.training.plans import IdentityPlan, Plan, TuplePlan
from siamese.training.processes import share
from siamese.training.run import Run
from siamese.training.trainer import create_trainer, fit
from siamese.training.tuples import Tuples

# Passes over the few pairs; at a rate that learns anything, a tenth of them will do.
_PASSES = 100


def check_overfit(config: TrainConfig, count: int) -> OverfitVerdict:
    """Train on the first tuples alone, without augmentation and at a constant rate, and see whether they are learnt.

    In batches of identities, the first identities are taken until they have `count` images. Nothing is kept.

    Args:
        config: of the run that is to come.
        count: pairs, triplets, quadruplets or images.

    Raises:
        OptionError: fewer than two.
        SiameseError: as `train` does.
    """
    if count < 2:
        raise OptionError(f"--overfit {count}: expected 2 or more")
    trial = config.model_copy(update={"augment": "none", "views": None, "epochs": _PASSES, "schedule": "constant"})
    losses = _Losses()
    with TemporaryDirectory() as folder:
        run = Run(trial, Path(folder), resolve_device(config.device))
        try:
            plan, pairs = _few(run, count)
            log.info("overfit check: %d passes over %d pairs", _PASSES, len(pairs))
            run.plan = plan
            run.start_classes()
            run.network.train()
            fit(create_trainer(trial, [losses], run.device, share()), run.module, None)
            run.network.to(run.device)
            return judge_overfit(losses.values, _right(run, pairs), len(pairs))
        finally:
            run.close()


def _few(run: Run, count: int) -> tuple[Plan, Tuples]:
    """Batches of the first tuples or images, and the pairs in them."""
    data, config = run.data, run.config
    if data.labels is None:
        assert data.tuples is not None  # noqa: S101 - one of the two is there
        few = data.tuples.first(count)
        return TuplePlan(few, config.batch_size), _pairs_of(few)
    known = data.labels >= 0
    data = replace(data, rows=data.rows[known], labels=data.labels[known])
    assert data.labels is not None  # noqa: S101 - as before
    order = np.argsort(data.labels, kind="stable")
    sizes = np.bincount(data.labels)
    kept = data.labels[order] < max(2, int(np.searchsorted(np.cumsum(sizes), count)) + 1)
    rows, labels = data.rows[order][kept], data.labels[order][kept]
    plan = IdentityPlan(
        rows,
        labels,
        batch_size=config.batch_size,
        images_per_identity=config.images_per_identity,
        singles=bool(run.objective.class_losses),
    )
    left, right = np.triu_indices(len(rows), 1)
    return plan, Tuples(np.column_stack((rows[left], rows[right])), labels[left] == labels[right])


def _pairs_of(tuples: Tuples) -> Tuples:
    if tuples.same is not None:
        return tuples
    anchor, positive, negative = tuples.rows[:, :3].T
    rows = np.concatenate((np.column_stack((anchor, positive)), np.column_stack((anchor, negative))))
    return Tuples(rows, np.arange(len(rows)) < len(anchor))


def _right(run: Run, pairs: Tuples) -> float:
    """Share of the pairs that the network decides rightly; of one kind alone there is nothing to decide."""
    if pairs.same is None or pairs.same.all() or not pairs.same.any():
        raise OptionError("--overfit: the first pairs are of one kind; take more of them, so that both are there")
    rows, places = np.unique(pairs.rows, return_inverse=True)
    vectors: NDArray[Any] = run.embed_plain(rows)
    left, right = places.reshape(pairs.rows.shape).T
    return share_decided_rightly(run.network.pair_similarity(vectors[left], vectors[right]), pairs.same)


class _Losses(Callback):
    """The loss of every step."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Note it."""
        self.values.append(float(pl_module.last.value.total))


def find_learning_rate(config: TrainConfig, folder: Path) -> tuple[RangeTest, tuple[Path, Path]]:
    """Try rising learning rates on the first batches of a run, and write the curve and its plot; nothing is trained.

    Args:
        config: of the run that is to come.
        folder: where `lr_finder.csv` and `lr_finder.png` go.

    Raises:
        SiameseError: as `train` does.
    """
    with TemporaryDirectory() as temporary:
        run = Run(config, Path(temporary), resolve_device(config.device))
        try:
            run.start_classes()
            run.network.train()
            optimizer = run.module.configure_optimizers()["optimizer"]
            batches = _endless(run)

            def loss() -> Tensor:
                with torch.autocast(run.device.partition(":")[0], torch.bfloat16, enabled=_half(config, run.device)):
                    return run.module.training_step(_moved(next(batches), run.device), 0)

            result = find_rate(loss, optimizer, [run.network, run.objective], clip=config.clip or 0.0)
        finally:
            run.close()
    return result, write_range_test(result, folder)


def _half(config: TrainConfig, device: str) -> bool:
    return config.precision in ("bf16", "fp16") or (config.precision == "auto" and device != "cpu")


def _endless(run: Run) -> Iterator[Batch]:
    epoch = 0
    while True:
        batches: EpochBatches = run.batches(epoch)
        yield from (batches[number] for number in range(len(batches)))
        epoch += 1


def _moved(batch: Batch, device: str) -> Batch:
    return lightning.fabric.utilities.move_data_to_device(batch, torch.device(device))  # type: ignore[no-any-return]
