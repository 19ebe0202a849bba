"""Contrastive loss on pairs."""

from typing import ClassVar, Literal

from torch import Tensor

from siamese.losses.batch import PairIndex, Reduction, costly_share, mean_cost, root, similarities
from siamese.losses.loss import LossSize, Needs
from siamese.losses.mining import Mining
from siamese.losses.tuple_loss import TupleLoss
from siamese.similarity import squared_distance

Form = Literal["squared", "linear", "cosine"]


class Contrastive(TupleLoss):
    """Mean over pairs of y d^2 + (1 - y) max(0, m - d)^2, or of one of two other forms.

    d is the Euclidean distance of two unit embeddings, in [0, 2], and s their similarity; y is 1 for a genuine pair
    and 0 for an impostor pair.

    - `squared`: as above; Hadsell, Chopra and LeCun, "Dimensionality Reduction by Learning an Invariant Mapping",
      CVPR 2006, equation 4 (there with a factor of one half and the opposite label).
    - `linear`: y d + (1 - y) max(0, m - d), as `torch.nn.HingeEmbeddingLoss`. Distant genuine pairs pull no harder
      than near ones, so wrong labels do less harm.
    - `cosine`: y (1 - s) + (1 - y) max(0, s - m), as `torch.nn.CosineEmbeddingLoss`.

    Args:
        size: of the run.
        form: which of the three.
        margin: m; for `squared` and `linear` the distance beyond which an impostor pair costs nothing, in (0, 2], by
            default 1.4: just below the sqrt(2) of orthogonal embeddings, where a pretrained verifier has its impostor
            pairs already. For `cosine` the similarity below which it costs nothing, in [-1, 1), by default 0.
        reduce: mean over `all` pairs, or over the `active`, which cost something. With `mining=all` nearly all
            impostor pairs cost nothing and drown the others in the mean over all.
        mining: how pairs are chosen from labels.
        memory: how many embeddings of earlier batches pairs may reach into.
    """

    needs: ClassVar[Needs] = "pairs"

    def __init__(
        self,
        size: LossSize,
        *,
        form: Form = "squared",
        margin: float | None = None,
        reduce: Reduction = "all",
        mining: Mining = "auto",
        memory: int = 0,
    ) -> None:
        super().__init__(size, mining, memory)
        self.form, self.reduce = form, reduce
        self.margin = _margin(form, margin)

    def forward(self, embeddings: Tensor, index: PairIndex) -> Tensor:
        """Loss of a batch: embeddings (U, D) of unit length, and pairs among them; a scalar."""
        pull, push = self._sides(similarities(embeddings, index.left, index.right))
        costs = index.same * pull + (1.0 - index.same) * push
        self.active = costly_share(costs)
        return mean_cost(costs, self.reduce)

    def _sides(self, similarity: Tensor) -> tuple[Tensor, Tensor]:
        """What each pair costs if it is genuine, and if it is an impostor pair."""
        if self.form == "cosine":
            return (1.0 - similarity).clamp_min(0.0), (similarity - self.margin).clamp_min(0.0)
        squared = squared_distance(similarity).clamp_min(0.0)
        distance = root(squared)
        push = (self.margin - distance).clamp_min(0.0)
        return (distance, push) if self.form == "linear" else (squared, push**2)


def _margin(form: Form, margin: float | None) -> float:
    if form == "cosine":
        margin = 0.0 if margin is None else margin
        if not -1 <= margin < 1:
            raise ValueError(f"margin={margin}: expected a similarity in [-1, 1) with form=cosine")
        return margin
    margin = 1.4 if margin is None else margin
    if not 0 < margin <= 2:
        raise ValueError(f"margin={margin}: expected a distance in (0, 2]")
    return margin
