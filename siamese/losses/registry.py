"""Losses by name, and the objective: a weighted sum of them written as one string."""

import math
from dataclasses import dataclass, fields
from typing import Any

from torch import Tensor

from siamese.errors import OptionError, unknown_name
from siamese.losses.batch import BatchIndex
from siamese.losses.contrastive import Contrastive
from siamese.losses.triplet import Triplet

LOSSES: dict[str, type[Any]] = {
    "contrastive": Contrastive,
    "triplet": Triplet,
}


@dataclass(frozen=True)
class Objective:
    """A weighted sum of losses.

    Attributes:
        text: how it was written.
        terms: weight and loss of each term.
        needs: the kind of index that its losses work on (`PairIndex` or `TripletIndex`).
    """

    text: str
    terms: tuple[tuple[float, Any], ...]
    needs: type[BatchIndex]

    def __call__(self, embeddings: Tensor, index: BatchIndex) -> Tensor:
        """Loss of a batch: unit embeddings (U, D) and the index tuples among them; a scalar, in float32."""
        embeddings = embeddings.float()  # half precision would round small margins away
        return sum((weight * loss(embeddings, index) for weight, loss in self.terms), embeddings.new_zeros(()))


def parse_objective(text: str) -> Objective:
    """Read an objective: `NAME`, `NAME+option=value`, `NAME:weight+NAME:weight`.

    Raises:
        OptionError: an unknown loss or option (with the nearest name), a bad value or weight, or losses in one sum
            that need different kinds of data.
    """
    terms: list[tuple[str, float, dict[str, str]]] = []
    for part in text.split("+"):
        if "=" in part:
            if not terms:
                raise OptionError(f"--loss {text!r}: option {part!r} stands before any loss; write NAME+option=value")
            name, _, value = part.partition("=")
            if name.strip() in terms[-1][2]:
                raise OptionError(f"--loss {text!r}: option {name.strip()!r} is given twice; give it once")
            terms[-1][2][name.strip()] = value
        else:
            name, colon, weight = part.partition(":")
            terms.append((name.strip(), _number(text, "weight", weight) if colon else 1.0, {}))
    losses = tuple((weight, _create(text, name, options)) for name, weight, options in terms)
    needed = {loss.needs for _, loss in losses}
    if len(needed) > 1:
        raise OptionError(f"--loss {text!r}: its losses need different data (pairs and triplets); give one kind")
    return Objective(text, losses, needed.pop())


def _create(text: str, name: str, options: dict[str, str]) -> Any:
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    known = [field.name for field in fields(LOSSES[name])]
    for option in options:
        if option not in known:
            raise unknown_name(f"option of loss {name!r}:", option, known)
    values = {option: _number(text, option, value) for option, value in options.items()}
    try:
        return LOSSES[name](**values)
    except ValueError as error:
        raise OptionError(f"--loss {text!r}: {name}: {error}") from error


def _number(text: str, what: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        raise OptionError(f"--loss {text!r}: {what} is {value!r}, expected a number") from None
    if what == "weight" and not 0 < number < math.inf:
        raise OptionError(f"--loss {text!r}: weight {number:g}, expected a finite number above 0")
    return number
