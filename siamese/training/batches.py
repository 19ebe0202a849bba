"""Batches: the unique images of some pairs or triplets, and which rows of them belong together."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from siamese.errors import DataError
from siamese.images.augment import augmenter
from siamese.images.input_spec import InputSpec
from siamese.losses.batch import BatchIndex, PairIndex, TripletIndex
from siamese.pairing.table import PAIR_COLUMNS, TRIPLET_COLUMNS

# images, then the columns of the index; plain tensors, so that Lightning moves them to the device.
Batch = tuple[Tensor, ...]


@dataclass(frozen=True)
class Tuples:
    """Pairs or triplets as rows of a pixel array.

    Attributes:
        rows: shape (N, 2) for pairs, (N, 3) for triplets, int64.
        same: labels of pairs, shape (N,), None for triplets.
    """

    rows: NDArray[np.int64]
    same: NDArray[np.bool_] | None

    def __len__(self) -> int:
        """How many pairs or triplets."""
        return len(self.rows)


def index_tuples(frame: pd.DataFrame, images: list[str], usable: NDArray[np.bool_]) -> Tuples:
    """Turn a pair or triplet table into rows of `images`, leaving out what names an unusable image.

    Raises:
        DataError: nothing is left.
    """
    columns = TRIPLET_COLUMNS if "anchor" in frame.columns else PAIR_COLUMNS[:2]
    lookup = pd.Index(images)
    rows = np.stack([lookup.get_indexer(pd.Index(frame[column])) for column in columns], axis=1)
    kept = ((rows >= 0) & usable[rows]).all(axis=1)  # -1: not among `images`
    if not kept.any():
        raise DataError(f"none of {len(frame)} rows is left: every one names an image that cannot be used")
    same = None if len(columns) == 3 else frame["same"].to_numpy(dtype=bool)[kept]
    return Tuples(rows[kept].astype(np.int64), same)


class EpochBatches(Dataset[Batch]):
    """The batches of one epoch, each made on demand.

    Order and augmentation depend only on seed, epoch and the batch's number, so a resumed run sees the same batches,
    however many processes prepare them.

    Args:
        pixels: shape (M, H, W, 3), uint8.
        tuples: pairs or triplets of rows of `pixels`.
        spec: how pixels become the network's input.
        augment: preset.
        batch_size: tuples a batch.
        seed: of the run.
        epoch: from 0.
    """

    def __init__(
        self,
        pixels: NDArray[np.uint8],
        tuples: Tuples,
        spec: InputSpec,
        *,
        augment: str,
        batch_size: int,
        seed: int,
        epoch: int,
    ) -> None:
        self._pixels, self._tuples, self._spec = pixels, tuples, spec
        self._augment = augmenter(augment)
        self._seeds = np.random.SeedSequence([seed, epoch]).generate_state(2)
        order = np.random.default_rng(self._seeds[0]).permutation(len(tuples))
        self._batches = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]

    def __len__(self) -> int:
        """How many batches."""
        return len(self._batches)

    def __getitem__(self, number: int) -> Batch:
        """Images (U, 3, H, W), each unique one once, then the index columns, each (B,)."""
        chosen = self._batches[number]
        rows = self._tuples.rows[chosen]
        unique, inverse = np.unique(rows, return_inverse=True)
        columns = inverse.reshape(rows.shape).T
        seed = int(np.random.SeedSequence([int(self._seeds[1]), number]).generate_state(1)[0])
        images = self._spec.normalise(self._augment(self._pixels[unique], seed))
        index = [torch.from_numpy(np.ascontiguousarray(column)) for column in columns]
        if self._tuples.same is not None:
            index.append(torch.from_numpy(self._tuples.same[chosen].astype(np.float32)))
        return (torch.from_numpy(images), *index)


def batch_index(kind: type[BatchIndex], columns: Batch) -> BatchIndex:
    """The index columns of a batch as the kind of index that the objective works on.

    A triplet serves a loss on pairs as two of them, one genuine and one impostor.
    """
    if kind is TripletIndex:
        return TripletIndex(*columns)
    if columns[2].is_floating_point():
        return PairIndex(*columns)
    anchor, positive, negative = columns
    same = torch.ones(len(anchor), device=anchor.device)
    return PairIndex(
        torch.cat((anchor, anchor)), torch.cat((positive, negative)), torch.cat((same, torch.zeros_like(same)))
    )
