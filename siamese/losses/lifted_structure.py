"""Lifted structure loss."""

import torch
from torch import Tensor

from siamese.losses.batch import costly_share, mean_cost, root
from siamese.losses.batch_loss import BatchLoss
from siamese.losses.loss import LossSize
from siamese.losses.mining import relations
from siamese.similarity import squared_distance


class LiftedStructure(BatchLoss):
    """Mean over genuine pairs (i, j) of max(0, d_ij + log(sum_k exp(m - d_ik) + sum_l exp(m - d_jl)))^2 / 2.

    d is the Euclidean distance of two unit embeddings; k runs over the negatives of i and l over those of j. Oh Song
    et al., "Deep Metric Learning via Lifted Structured Feature Embedding", CVPR 2016, equation 4. It is not taken
    from pytorch-metric-learning, whose tensor of genuine by impostor pairs grows with the cube of the batch.

    For a positive j from the memory the sum over l is left out: distances within a memory are not computed.

    Args:
        size: of the run.
        margin: m, in (0, 2].
        memory: how many embeddings of earlier batches rows are compared with.
    """

    def __init__(self, size: LossSize, *, margin: float = 1.0, memory: int = 0) -> None:
        super().__init__(size, memory)
        if not 0 < margin <= 2:
            raise ValueError(f"margin={margin}: expected a distance in (0, 2]")
        self.margin = margin

    def compare(self, embeddings: Tensor, labels: Tensor, rows: Tensor, row_labels: Tensor) -> Tensor:
        """Loss of the batch (U, D) among the rows (R, D)."""
        same, different = relations(row_labels, len(embeddings))
        anchor, positive = (same & different.any(dim=1, keepdim=True)).nonzero(as_tuple=True)
        distance = root(squared_distance(embeddings @ rows.T).clamp_min(0.0))
        # The lowest number stands for no negatives at all: minus infinity has no gradient that is a number.
        lowest = torch.finfo(distance.dtype).min
        pushes = (self.margin - distance).masked_fill(~different, lowest).logsumexp(dim=1)
        nothing = pushes.new_full((len(rows) - len(embeddings),), lowest)
        both = torch.logaddexp(pushes[anchor], torch.cat((pushes, nothing))[positive])
        costs = (both + distance[anchor, positive]).clamp_min(0.0) ** 2 / 2
        self.active = costly_share(costs)
        return mean_cost(costs)
