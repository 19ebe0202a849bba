"""What the losses on pairs, triplets and quadruplets share: where their tuples come from."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from siamese.losses.batch import PairIndex, QuadrupletIndex, TripletIndex
from siamese.losses.loss import Loss, LossSize
from siamese.losses.memory import memory_of, with_memory
from siamese.losses.mining import Miner, Mining, mine_pairs, mine_quadruplets, mine_triplets


class TupleLoss(Loss):
    """A loss on tuples that a file gives, or that are mined from the labels of a batch.

    Attributes:
        mining: how tuples are chosen from labels; `auto` leaves those of a file as they are.
        memory: embeddings of earlier batches that tuples may reach into, or None.
        auto_miner: what `auto` stands for where a batch has labels only.
        draws: how many batches were mined in training. It seeds what is drawn, so that a resumed run, and every
            process of a distributed one, draws alike.
    """

    auto_miner: ClassVar[Miner] = "semihard"
    draws: Tensor

    def __init__(self, size: LossSize, mining: Mining = "auto", memory: int = 0) -> None:
        super().__init__()
        self.mining: Mining = mining
        self.memory = memory_of(memory, size.embedding_dim)
        self.register_buffer("draws", torch.zeros((), dtype=torch.int64))

    @property
    def mines(self) -> bool:
        """Whether it works on labels though a file gives tuples: mining or a memory was asked for."""
        return self.mining != "auto" or self.memory is not None

    def mined(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Loss of a batch whose tuples are chosen by labels, a scalar.

        Args:
            embeddings: shape (U, D), rows of unit length.
            labels: identity of each row, shape (U,), int64, the same number for the same identity in every batch.
        """
        rows, row_labels = with_memory(self.memory, embeddings, labels)
        index = self._choose(rows.detach(), row_labels, len(embeddings))
        value: Tensor = self(rows, index)
        if self.training:
            self.draws += 1
            if self.memory is not None:
                self.memory.remember(embeddings, labels)
        return value

    def _choose(self, rows: Tensor, labels: Tensor, anchors: int) -> PairIndex | TripletIndex | QuadrupletIndex:
        miner: Miner = self.auto_miner if self.mining == "auto" else self.mining
        options: dict[str, Any] = {"seed": int(self.draws)}
        if self.needs == "pairs":
            return mine_pairs(rows, labels, miner, anchors=anchors, **options)
        if self.needs == "triplets":
            return mine_triplets(rows, labels, miner, anchors=anchors, **options)
        return mine_quadruplets(rows, labels, miner, **options)
