"""Binary cross-entropy on pairs."""

from collections.abc import Callable
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from siamese.losses.batch import PairIndex, mean_cost, similarities
from siamese.losses.learnt_scale import LearntScale
from siamese.losses.loss import LossSize, Needs
from siamese.losses.mining import Miner, Mining
from siamese.losses.ranges import check_label_smoothing
from siamese.losses.tuple_loss import TupleLoss

# From the left and the right embeddings of P pairs, each (P, D), to their logits (P,).
PairLogits = Callable[[Tensor, Tensor], Tensor]


class Pairwise(TupleLoss):
    """Mean over pairs of the binary cross-entropy of y and the logit a s + b; a > 0 and b are learnt.

    s is the similarity of two unit embeddings, y is 1 for a genuine and 0 for an impostor pair. The sigmoid loss of
    Zhai et al., "Sigmoid Loss for Language Image Pre-Training", ICCV 2023, equation 1, there over all pairs of a
    batch, with a = 10 and b = -10 at the start. With a pair head the logits are the head's instead, and there is no
    a and b.

    Args:
        size: of the run.
        scale: a at the start.
        bias: b at the start. The default lets the logit be zero at a similarity of 0.5, fit for about as many genuine
            as impostor pairs.
        label_smoothing: share e of each label that is spread over both answers, in [0, 1): targets are e / 2 and
            1 - e / 2 (Szegedy et al., CVPR 2016, section 7).
        mining: how pairs are chosen from labels; `auto` takes all.
        memory: how many embeddings of earlier batches pairs may reach into.
    """

    needs: ClassVar[Needs] = "pairs"
    auto_miner: ClassVar[Miner] = "all"

    def __init__(
        self,
        size: LossSize,
        *,
        scale: float = 10.0,
        bias: float = -5.0,
        label_smoothing: float = 0.0,
        mining: Mining = "auto",
        memory: int = 0,
    ) -> None:
        super().__init__(size, mining, memory)
        self.label_smoothing = check_label_smoothing(label_smoothing)
        self.logit: LearntScale | None = LearntScale(scale, bias)
        # In a tuple: the head is the network's, and its weights must not be counted twice.
        self._pair_logits: tuple[PairLogits, ...] = ()

    def use(self, pair_logits: PairLogits) -> None:
        """Take the logits of a pair head, in place of the scaled similarity."""
        self.logit = None
        self._pair_logits = (pair_logits,)

    def forward(self, embeddings: Tensor, index: PairIndex) -> Tensor:
        """Loss of a batch: embeddings (U, D) of unit length, and pairs among them; a scalar."""
        target = index.same * (1.0 - self.label_smoothing) + self.label_smoothing / 2
        logits = self._logits(embeddings, index)
        return mean_cost(F.binary_cross_entropy_with_logits(logits, target, reduction="none"))

    def _logits(self, embeddings: Tensor, index: PairIndex) -> Tensor:
        if self.logit is None:
            return self._pair_logits[0](embeddings[index.left], embeddings[index.right])
        logits: Tensor = self.logit(similarities(embeddings, index.left, index.right))
        return logits
