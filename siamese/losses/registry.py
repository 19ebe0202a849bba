"""Losses by name, and objectives: weighted sums of them written as one string."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from siamese.errors import OptionError, unknown_name
from siamese.losses.angular_prototypical import AngularPrototypical
from siamese.losses.circle import Circle
from siamese.losses.class_losses import CLASS_LOSSES
from siamese.losses.contrastive import Contrastive
from siamese.losses.distill import Distill
from siamese.losses.lifted_structure import LiftedStructure
from siamese.losses.loss import ClassLoss, Loss, LossSize, Needs
from siamese.losses.multi_similarity import MultiSimilarity
from siamese.losses.n_pair import NPair
from siamese.losses.objective import Objective
from siamese.losses.options import read_options
from siamese.losses.pairwise import PairLogits, Pairwise
from siamese.losses.proxies import PROXY_LOSSES
from siamese.losses.quadruplet import Quadruplet
from siamese.losses.routing import check_served, works_on_labels
from siamese.losses.sup_con import SupCon
from siamese.losses.triplet import Triplet

# Each is a class, which is called with the size of the run and its options.
LOSSES: dict[str, Callable[..., Loss]] = {
    "contrastive": Contrastive,
    "pairwise": Pairwise,
    "triplet": Triplet,
    "quadruplet": Quadruplet,
    "n_pair": NPair,
    "lifted_structure": LiftedStructure,
    "multi_similarity": MultiSimilarity,
    "angular_prototypical": AngularPrototypical,
    "sup_con": SupCon,
    "circle": Circle,
    "distill": Distill,
    **PROXY_LOSSES,
    **CLASS_LOSSES,
}

# Large enough for any loss to be tried on, small enough to cost nothing.
_TRIAL = LossSize(embedding_dim=8, identities=8)


@dataclass(frozen=True)
class Term:
    """One loss of an objective, as it was written.

    Attributes:
        name: of the loss.
        weight: of its value in the sum.
        options: those that were given.
        trial: the loss built for a run of no size, from which its needs are read.
    """

    name: str
    weight: float
    options: dict[str, Any]
    trial: Loss


@dataclass(frozen=True)
class ObjectiveSpec:
    """What an objective is, before the run's sizes are known.

    Attributes:
        text: how it was written.
        terms: its losses.
    """

    text: str
    terms: tuple[Term, ...]

    @property
    def needs(self) -> frozenset[Needs]:
        """What its losses work on."""
        return frozenset(term.trial.needs for term in self.terms)

    @property
    def mines(self) -> bool:
        """Whether some loss works on identities only, or was asked to mine or to remember."""
        return any(works_on_labels(term.trial) for term in self.terms)

    @property
    def looks_at_images(self) -> bool:
        """Whether any images make a batch for all its losses: none compares those of one identity."""
        return all(term.trial.needs == "teacher" or isinstance(term.trial, ClassLoss) for term in self.terms)

    @property
    def classes(self) -> bool:
        """Whether some loss has a weight per identity."""
        return any(isinstance(term.trial, ClassLoss) for term in self.terms)

    @property
    def teacher(self) -> bool:
        """Whether some loss learns from a teacher."""
        return "teacher" in self.needs

    @property
    def pairwise(self) -> bool:
        """Whether some loss can train a pair head."""
        return any(isinstance(term.trial, Pairwise) for term in self.terms)

    def check(self, tuples: Needs | None, *, labels: bool, teacher: bool = False) -> None:
        """Refuse batches that cannot serve the losses.

        Args:
            tuples: the kind of tuples that the batches hold; None for none.
            labels: whether the identities of their images are known.
            teacher: whether they hold a teacher's embeddings.

        Raises:
            OptionError: with the first loss that is not served.
        """
        for term in self.terms:
            check_served(self.text, term.name, term.trial, tuples, labels, teacher=teacher)

    def build(self, size: LossSize, pair_logits: PairLogits | None = None) -> Objective:
        """The objective of a run.

        Args:
            size: of the run.
            pair_logits: of a pair head, which `pairwise` then trains: from left and right embeddings, each (P, D),
                to logits (P,). Its parameters are not taken over.

        Raises:
            OptionError: a loss cannot be of this size; a pair head is given and no loss trains it.
        """
        if pair_logits is not None and not self.pairwise:
            raise OptionError(
                f"--loss {self.text!r}: no loss of it trains the pair head; add pairwise, or leave the pair head out"
            )
        losses = [_create(self.text, term.name, term.options, size) for term in self.terms]
        for loss in losses:
            if isinstance(loss, Pairwise) and pair_logits is not None:
                loss.use(pair_logits)
        named = zip(self.terms, losses, strict=True)
        return Objective(self.text, [(term.name, term.weight, loss) for term, loss in named])


def parse_objective(text: str) -> ObjectiveSpec:
    """Read an objective: `NAME`, `NAME+option=value`, `NAME:weight+NAME:weight`.

    Options follow the loss they belong to.

    Raises:
        OptionError: an unknown loss or option (with the nearest name), or a bad value or weight.

    Example:
        >>> spec = parse_objective("cross_entropy:1.0+triplet:0.5+mining=semihard")
        >>> [(term.name, term.weight, term.options) for term in spec.terms]
        [('cross_entropy', 1.0, {}), ('triplet', 0.5, {'mining': 'semihard'})]
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
            terms.append((name.strip(), _weight(text, weight) if colon else 1.0, {}))
    return ObjectiveSpec(text, tuple(_term(text, *term) for term in terms))


def _term(text: str, name: str, weight: float, written: dict[str, str]) -> Term:
    if name not in LOSSES:
        raise unknown_name("loss", name, LOSSES)
    options = read_options(name, LOSSES[name], written, f"--loss {text!r}")
    # Built once for its checks; what it draws must not shift the random numbers of the run.
    with torch.random.fork_rng(devices=[]):
        return Term(name, weight, options, _create(text, name, options, _TRIAL))


def _create(text: str, name: str, options: dict[str, Any], size: LossSize) -> Loss:
    try:
        return LOSSES[name](size, **options)
    except ValueError as error:
        raise OptionError(f"--loss {text!r}: {name}: {error}") from error


def _weight(text: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        raise OptionError(f"--loss {text!r}: weight is {value!r}, expected a number") from None
    if not 0 < number < math.inf:
        raise OptionError(f"--loss {text!r}: weight {number:g}, expected a finite number above 0")
    return number
