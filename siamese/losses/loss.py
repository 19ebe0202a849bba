"""What every loss is."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

# What a loss works on; `identities` are labels of the rows of a batch, `teacher` what another model embeds them to.
Needs = Literal["pairs", "triplets", "quadruplets", "identities", "teacher"]


@dataclass(frozen=True)
class LossSize:
    """What a loss with parameters of its own must know of the run.

    Attributes:
        embedding_dim: width D of the embeddings.
        identities: how many identities C training knows; 0 where they are not known.
        teacher_dim: width T of the teacher's embeddings; None where there is no teacher, or it is not known yet.
    """

    embedding_dim: int
    identities: int
    teacher_dim: int | None = None


class Loss(nn.Module, ABC):
    """A loss on unit embeddings (U, D) float32.

    Options are the keyword-only arguments of a loss, each with a type and a default; the registry reads them from
    the signature, so that `NAME+option=value` needs no table of its own. A value out of range raises `ValueError`
    with the value and what was expected.

    Attributes:
        needs: what `forward` takes beside the embeddings.
        active: the share of tuples that still cost something in the last batch, a detached scalar; None where the
            loss has no such notion. A share that stays at 0 means that nothing is learnt.
    """

    needs: ClassVar[Needs]
    active: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.active = None

    @abstractmethod
    def forward(self, embeddings: Tensor, index: Any) -> Tensor:
        """Loss of a batch, a scalar.

        Args:
            embeddings: shape (U, D), rows of unit length.
            index: `PairIndex`, `TripletIndex`, `QuadrupletIndex`, for `identities` the labels (U,), int64, or for
                `teacher` the teacher's unit embeddings (U, T).
        """


class ClassLoss(Loss):
    """A loss with a weight per identity: the classifier that it trains is the model's identity head."""

    needs: ClassVar[Needs] = "identities"

    @abstractmethod
    def imprint(self, means: Tensor) -> None:
        """Start from class means (C, D), rows of unit length, instead of from noise.

        Qi et al., "Low-Shot Learning with Imprinted Weights", CVPR 2018. A row of zeros means that the identity's
        mean is not known; its weights stay as they are.
        """

    @abstractmethod
    def classifier(self) -> "LinearClassifier":
        """What decides identities after training: the weights without the margin."""


@dataclass(frozen=True)
class LinearClassifier:
    """Logits of identities from unit embeddings z: scale * max over k of (w_ck . z) + b_c.

    Covers softmax, cosine heads with and without sub-centres, and nearest means (w = mean, b = -|mean|^2 / 2).

    Attributes:
        weight: shape (C, K, D): K sub-centres an identity; of unit length already where the loss normalises them.
        bias: shape (C,).
        scale: of the logits, above 0.
    """

    weight: Tensor
    bias: Tensor
    scale: float
