"""From what a batch holds to what a loss needs."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from siamese.errors import OptionError
from siamese.losses.batch import BatchIndex, PairIndex, QuadrupletIndex, TripletIndex, Tuples
from siamese.losses.loss import Loss, Needs
from siamese.losses.mining import pairs_of_triplets
from siamese.losses.tuple_loss import TupleLoss

_KINDS: dict[type[Any], Needs] = {PairIndex: "pairs", TripletIndex: "triplets", QuadrupletIndex: "quadruplets"}
# What tuples of a kind can be taken apart into.
_SERVES: dict[Needs, tuple[Needs, ...]] = {
    "pairs": ("pairs",),
    "triplets": ("triplets", "pairs"),
    "quadruplets": ("quadruplets", "triplets", "pairs"),
}


def kind_of(tuples: Tuples | None) -> Needs | None:
    """What a batch's tuples are; None where it has none."""
    return None if tuples is None else _KINDS[type(tuples)]


def works_on_labels(loss: Loss) -> bool:
    """Whether a loss wants labels though tuples could serve it: it needs identities, or mines."""
    return loss.needs == "identities" or (isinstance(loss, TupleLoss) and loss.mines)


def check_served(
    text: str, name: str, loss: Loss, tuples: Needs | None, labels: bool, *, teacher: bool = False
) -> None:
    """Refuse a loss that the batches cannot serve.

    Args:
        text: the objective as written.
        name: of the loss.
        loss: with its options.
        tuples: what kind the batches hold; None for none.
        labels: whether the identities of their images are known.
        teacher: whether they hold a teacher's embeddings.

    Raises:
        OptionError: with what the loss needs, what the batches hold, and what to do.
    """
    if loss.needs == "teacher":
        if not teacher:
            raise OptionError(
                f"--loss {text!r}: {name} learns from a teacher, and none is given; add --teacher MODEL"
            )
        return
    if labels or (tuples is not None and not works_on_labels(loss) and loss.needs in _SERVES[tuples]):
        return
    held = f"the batches hold {tuples or 'neither tuples nor identities'}"
    if loss.needs == "identities":
        raise OptionError(f"--loss {text!r}: {name} needs identities, and {held}; use --batches identities")
    if works_on_labels(loss):
        raise OptionError(
            f"--loss {text!r}: mining and memory of {name} need identities, and {held}; "
            "leave them out, or use --batches identities"
        )
    raise OptionError(
        f"--loss {text!r}: {name} needs {loss.needs}, and {held}; "
        f"give a file of {loss.needs}, or use --batches identities"
    )


def apply(loss: Loss, embeddings: Tensor, index: BatchIndex) -> Tensor:
    """Loss of a batch that can serve it (`check_served`), a scalar."""
    value: Tensor
    kind = kind_of(index.tuples)
    if index.tuples is not None and kind and not works_on_labels(loss) and loss.needs in _SERVES[kind]:
        value = loss(embeddings, tuples_as(loss.needs, index.tuples))
    elif isinstance(loss, TupleLoss):
        value = loss.mined(embeddings, index.labels)  # type: ignore[arg-type]
    elif loss.needs == "teacher":
        value = loss(embeddings, index.teacher)
    else:
        value = _of_known(loss, embeddings, index.labels)  # type: ignore[arg-type]
    return value


def _of_known(loss: Loss, embeddings: Tensor, labels: Tensor) -> Tensor:
    """Loss of the images whose identity is known; 0, still a part of the graph, where none is."""
    known = labels >= 0
    if not known.any():
        return embeddings.sum() * 0.0
    value: Tensor = loss(embeddings[known], labels[known])
    return value


def tuples_as(needs: Needs, tuples: Tuples) -> Tuples:
    """Take tuples apart into a kind that they can serve.

    A quadruplet is a triplet without its second negative. A triplet is two pairs, anchor with positive and anchor
    with negative; a quadruplet is a third one, of its two negatives.
    """
    convert = _CONVERSIONS.get((_KINDS[type(tuples)], needs))
    return tuples if convert is None else convert(tuples)


def _triplets_of_quadruplets(tuples: QuadrupletIndex) -> TripletIndex:
    return TripletIndex(tuples.anchor, tuples.positive, tuples.negative)


def _pairs_of_quadruplets(tuples: QuadrupletIndex) -> PairIndex:
    pairs = pairs_of_triplets(_triplets_of_quadruplets(tuples))
    return PairIndex(
        torch.cat((pairs.left, tuples.negative)),
        torch.cat((pairs.right, tuples.second_negative)),
        torch.cat((pairs.same, pairs.same.new_zeros(len(tuples.negative)))),
    )


_CONVERSIONS: dict[tuple[Needs, Needs], Callable[[Any], Tuples]] = {
    ("triplets", "pairs"): pairs_of_triplets,
    ("quadruplets", "triplets"): _triplets_of_quadruplets,
    ("quadruplets", "pairs"): _pairs_of_quadruplets,
}
