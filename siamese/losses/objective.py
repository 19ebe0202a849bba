"""The objective: a weighted sum of losses as one module."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from siamese.losses.batch import BatchIndex
from siamese.losses.loss import ClassLoss, Loss
from siamese.losses.routing import apply, check_served, kind_of


@dataclass(frozen=True)
class ObjectiveValue:
    """What an objective says of a batch.

    Attributes:
        total: the weighted sum, a scalar, to be minimised.
        terms: each loss before its weight, by name, a detached scalar. A loss that occurs again is `NAME_2`.
        active: the share of tuples that still cost something, a detached scalar: the largest of the losses that have
            such a notion, None where none has.
    """

    total: Tensor
    terms: dict[str, Tensor]
    active: Tensor | None


class Objective(nn.Module):
    """A weighted sum of losses; their parameters and memories are in its `state_dict`.

    Args:
        text: how it was written.
        terms: name, weight and loss of each term.
    """

    def __init__(self, text: str, terms: Sequence[tuple[str, float, Loss]]) -> None:
        super().__init__()
        self.text = text
        self.losses = nn.ModuleDict()
        self.weights: dict[str, float] = {}
        seen: Counter[str] = Counter()
        for name, weight, loss in terms:
            seen[name] += 1
            key = name if seen[name] == 1 else f"{name}_{seen[name]}"
            self.losses[key], self.weights[key] = loss, weight

    @property
    def class_losses(self) -> dict[str, ClassLoss]:
        """The losses with a weight per identity, by the name of their term."""
        return {name: loss for name, loss in self._named() if isinstance(loss, ClassLoss)}

    def forward(self, embeddings: Tensor, index: BatchIndex) -> ObjectiveValue:
        """Loss of a batch: unit embeddings (U, D) and what is known of them.

        Half precision would round small margins away, so the losses are in float32 even where the network is not.

        Raises:
            OptionError: the batch cannot serve one of the losses.
        """
        tuples, labels = kind_of(index.tuples), index.labels is not None
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings.float()
            values = {}
            for name, loss in self._named():
                check_served(self.text, name, loss, tuples, labels, teacher=index.teacher is not None)
                values[name] = apply(loss, embeddings, index)
            total = torch.stack([self.weights[name] * value for name, value in values.items()]).sum()
        shares = [loss.active for _, loss in self._named() if loss.active is not None]
        active = torch.stack(shares).amax() if shares else None
        return ObjectiveValue(total, {name: value.detach() for name, value in values.items()}, active)

    def _named(self) -> list[tuple[str, Loss]]:
        return [(name, loss) for name, loss in self.losses.items() if isinstance(loss, Loss)]
