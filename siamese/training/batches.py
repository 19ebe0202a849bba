"""The batches of an epoch: inputs of some images, and which of them belong together."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from siamese.losses.batch import BatchIndex, PairIndex, QuadrupletIndex, TripletIndex
from siamese.training.lessons import Lessons
from siamese.training.plans import WHOLE, Plan, Share
from siamese.training.sources import Source


class Batch(NamedTuple):
    """What a training step gets; a tuple of tensors, so that Lightning moves it to the device.

    Attributes:
        inputs: images (U, 3, H, W), or features (U, F) of an encoder that is frozen; of an empty share of a batch one
            image that does not count.
        rows: which images those are, shape (U,), int64.
        columns: places in `rows` of the members of each tuple, two to four of shape (B,); empty without tuples.
        same: labels of pairs, shape (B,), float32; None for all else.
        labels: identity of each image, shape (U,), int64, -1 where it is not known; None where batches are made of
            tuples.
        teacher: the teacher's embeddings of the images, shape (U, T), float32; None without a teacher.
    """

    inputs: Tensor
    rows: Tensor
    columns: tuple[Tensor, ...]
    same: Tensor | None
    labels: Tensor | None
    teacher: Tensor | None = None


def batch_index(batch: Batch) -> BatchIndex:
    """What the objective is told of a batch."""
    if batch.same is not None:
        left, right = batch.columns
        return BatchIndex(PairIndex(left, right, batch.same), batch.labels, batch.teacher)
    kinds = {3: TripletIndex, 4: QuadrupletIndex}
    tuples = kinds[len(batch.columns)](*batch.columns) if batch.columns else None
    return BatchIndex(tuples, batch.labels, batch.teacher)


class EpochBatches(Dataset[Batch]):
    """The batches of one epoch, each made on demand.

    Order and augmentation depend only on seed, epoch and the batch's number, so a resumed run sees the same batches,
    however many processes prepare them.

    Args:
        plan: which images each batch holds.
        source: where their inputs come from.
        seed: of the run.
        epoch: from 0.
        share: the part of each batch that this process takes.
        lessons: what a teacher embeds the images to; None without one.
    """

    def __init__(
        self,
        plan: Plan,
        source: Source,
        *,
        seed: int,
        epoch: int,
        share: Share = WHOLE,
        lessons: Lessons | None = None,
    ) -> None:
        self._plan, self._source, self._share, self._lessons = plan, source, share, lessons
        self._batches = plan.epoch(seed, epoch)
        self._first_step = epoch * len(self._batches)

    def __len__(self) -> int:
        """How many batches."""
        return len(self._batches)

    def __getitem__(self, number: int) -> Batch:
        """The batch of that number, or this process's share of it."""
        chosen = self._plan.select(self._batches[number], self._share)
        # A share may be empty, but no encoder takes no images, and DDP waits for its gradients all the same.
        rows = chosen.rows if len(chosen.rows) else self._plan.select(self._batches[number], WHOLE).rows[:1]
        columns = () if chosen.columns is None else tuple(torch.from_numpy(column) for column in chosen.columns)
        return Batch(
            inputs=self._source.take(rows, self._first_step + number),
            rows=torch.from_numpy(chosen.rows),
            columns=columns,
            same=None if chosen.same is None else torch.from_numpy(chosen.same.astype(np.float32)),
            labels=None if chosen.labels is None else torch.from_numpy(chosen.labels),
            teacher=None if self._lessons is None else self._lessons.take(chosen.rows),
        )


class _From(Sampler[int]):
    """Batches from number `start`; as long as the whole epoch, as Lightning counts what was done before."""

    def __init__(self, start: int, length: int) -> None:
        self._start, self._length = start, length

    def __iter__(self) -> Iterator[int]:
        return iter(range(self._start, self._length))

    def __len__(self) -> int:
        return self._length


def epoch_loader(
    batches: EpochBatches, *, start: int = 0, workers: int = 0, pin: bool = False
) -> "DataLoader[Batch]":
    """The batches of an epoch in their order.

    Args:
        batches: of the epoch.
        start: the first to give, where a run is resumed within an epoch.
        workers: processes that prepare batches; 0 for the calling one.
        pin: keep batches in memory that a GPU reads at once.
    """
    return DataLoader(
        batches,
        batch_size=None,
        sampler=_From(start, len(batches)),
        num_workers=workers,
        pin_memory=pin,
        generator=torch.Generator(),  # else it draws from the run's, and as often as an epoch was begun
    )
