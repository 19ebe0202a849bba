"""The pair head: from two embeddings to a logit of "same".

It scores a pair by what it compares (`FEATURES`), weighed by a logistic regression or a small network. Unlike the
cosine it can learn that some dimensions tell more than others, and where the threshold lies.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from siamese.errors import OptionError, unknown_name

# The cosine at which an untrained head is undecided. Pretrained verifiers have theirs between .2 and .4.
UNDECIDED = 0.3
# How fast the logit of an untrained head rises with the cosine there.
SLOPE = 10.0
# Mean over dimensions of the chi-square distance of two standard normal vectors whose correlation is UNDECIDED: an
# integral over the angle of (|x| - |y|)^2 / (|x| + |y|) where the signs agree, |x| + |y| where they do not.
CHI_SQUARE_MEAN = 0.77322
# Pairs scored at a time: in double precision a few dozen megabytes for embeddings of 512 dimensions.
CHUNK = 4096


@dataclass(frozen=True)
class PairFeature:
    """What a pair head looks at.

    Attributes:
        of: from two unit embeddings (P, D) to (P, width * D).
        width: columns per dimension of the embedding.
        typical: of D, the mean size of a column for a pair that is just undecided, where the embedding uses its
            dimensions evenly. Columns are divided by it, else the step of an optimiser would be thousands of times
            too small for some of them.
        sign: -1 for a distance, 1 for a similarity, 0 for what compares nothing.
    """

    of: Callable[[Tensor, Tensor], Tensor]
    width: int
    typical: Callable[[int], float]
    sign: int

    @property
    def gain(self) -> float:
        """The logit that the mean of all columns contributes, in typical sizes: each feature rises by `SLOPE`."""
        return self.sign * SLOPE * (UNDECIDED if self.sign > 0 else 1.0 - UNDECIDED)


def chi_square(left: Tensor, right: Tensor) -> Tensor:
    """Terms (a - b)^2 / (a + b) of the chi-square distance, for features of both signs; shape (P, 2 D).

    The distance is for non-negative features (Taigman et al., "DeepFace", CVPR 2014, section 4.1), so each embedding
    is first split into its positive and its negative part, one beside the other: nothing is lost. 0 / 0 is 0.
    """
    left, right = (torch.cat([part.clamp_min(0.0), (-part).clamp_min(0.0)], dim=1) for part in (left, right))
    difference, total = left - right, left + right
    # Divided first: |a - b| <= a + b, so neither the terms nor their gradients overflow for tiny parts.
    return difference * (difference / torch.where(total > 0, total, 1.0))


# Sizes of a typical column: dimensions of a unit vector have a mean square of 1 / D, and a mean size of
# sqrt(2 / (pi D)) where they are about normal; two vectors of cosine c differ by a vector of squared length 2 - 2 c.
FEATURES: dict[str, PairFeature] = {
    "concatenation": PairFeature(lambda a, b: torch.cat([a, b], dim=1), 2, lambda dim: dim**-0.5, 0),
    "difference": PairFeature(
        lambda a, b: (a - b).abs(), 1, lambda dim: math.sqrt(2.0 / math.pi * (2.0 - 2.0 * UNDECIDED) / dim), -1
    ),
    "squared": PairFeature(lambda a, b: (a - b) ** 2, 1, lambda dim: (2.0 - 2.0 * UNDECIDED) / dim, -1),
    "chi-square": PairFeature(chi_square, 2, lambda dim: CHI_SQUARE_MEAN / 2.0 * dim**-0.5, -1),
    "product": PairFeature(lambda a, b: a * b, 1, lambda dim: UNDECIDED / dim, 1),
}
CONCATENATION = "concatenation"
DEFAULT_FEATURES = "difference"


def parse_pair_features(text: str) -> tuple[str, ...]:
    """Read the features of a pair head, joined by `+`.

    Raises:
        OptionError: an unknown feature (with the nearest name), or one given twice.

    Example:
        >>> parse_pair_features("difference + product")
        ('difference', 'product')
    """
    names = tuple(part.strip() for part in text.split("+"))
    for place, name in enumerate(names):
        if name not in FEATURES:
            raise unknown_name("feature of --pair-head", name, FEATURES)
        if name in names[:place]:
            raise OptionError(f"--pair-head {text!r}: {name!r} is given twice; give it once")
    return names


class PairHead(nn.Module):
    """Logit that two unit embeddings show the same identity; it does not matter which is the left one.

    Features, joined by `+`, of embeddings a and b:

    - `concatenation`: both, side by side. What it makes of them is the mean over both orders. A sum over the entries
      of either cannot compare them, so where no other feature does, the cosine is added as one column;
    - `difference`: |a_i - b_i|;
    - `squared`: (a_i - b_i)^2;
    - `chi-square`: (a_i - b_i)^2 / (a_i + b_i) of positive and negative parts (see `chi_square`);
    - `product`: a_i b_i.

    On top stands a logistic regression, and with `hidden` above 0 a network of one hidden layer (ReLU, dropout) that
    adds to it. The regression starts with even weights, so that the logit falls with the distances and rises with the
    products, 0 at a cosine of about .3; the network's last layer starts at zero. An untrained head is therefore a
    verifier about as good as the cosine (exactly as good for `squared`, `product`, and `concatenation` alone), and
    training starts from there instead of from noise.

    Args:
        embedding_dim: width D of the embeddings.
        features: one or more of the above, joined by `+`.
        hidden: width of the hidden layer; 0 for the logistic regression alone.
        dropout: share of the hidden layer that is dropped in training, in [0, 1).

    Raises:
        OptionError: an unknown feature, or a width or share out of range.

    Example:
        >>> head = PairHead(2, "product")
        >>> head(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0]])).item() > 0
        True
    """

    def __init__(
        self, embedding_dim: int, features: str = DEFAULT_FEATURES, hidden: int = 0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        _check(hidden, dropout)
        self.features = parse_pair_features(features)
        self.embedding_dim = embedding_dim
        self.hidden = hidden
        self.dropout = dropout
        comparing = [name for name in self.features if FEATURES[name].sign]
        self._adds_cosine = not comparing
        width = sum(FEATURES[name].width for name in self.features) * embedding_dim + self._adds_cosine
        self.logistic = nn.Linear(width, 1)
        self.residual = _network(width, hidden, dropout) if hidden else None
        self._start_as_a_verifier(len(comparing))

    @property
    def name(self) -> str:
        """The features as an option names them (`difference+product`)."""
        return "+".join(self.features)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Unit embeddings (P, D) and (P, D) to logits (P,)."""
        logits = self._one_way(left, right)
        if CONCATENATION in self.features:
            logits = (logits + self._one_way(right, left)) / 2.0
        return logits

    @torch.inference_mode()
    def similarity(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
        """Similarity of each row of `left` with the same row of `right`: tanh(logit / 2).

        That is 2 P - 1 for the head's own P(same) = sigmoid(logit): in [-1, 1] as a cosine is, rising with the
        logit, and 0 where the head is undecided, so whatever takes similarities takes these. In double precision on
        the CPU, so that large logits stay apart and a device changes nothing; above a logit of about 36 all are 1.

        Args:
            left: unit embeddings, shape (P, D).
            right: unit embeddings, shape (P, D).

        Returns:
            Shape (P,), in [-1, 1].
        """
        head = copy.deepcopy(self).to("cpu", torch.float64).eval()
        logits = np.empty(len(left), np.float64)
        for start in range(0, len(left), CHUNK):
            rows = slice(start, start + CHUNK)
            sides = (torch.from_numpy(np.asarray(side[rows], np.float64)) for side in (left, right))
            logits[rows] = head(*sides).numpy()
        return np.asarray(np.tanh(logits / 2.0))

    def _one_way(self, left: Tensor, right: Tensor) -> Tensor:
        columns = [
            FEATURES[name].of(left, right) / FEATURES[name].typical(self.embedding_dim) for name in self.features
        ]
        if self._adds_cosine:
            columns.append((left * right).sum(dim=1, keepdim=True) / UNDECIDED)
        joined = torch.cat(columns, dim=1)
        logits: Tensor = self.logistic(joined)
        if self.residual is not None:
            logits = logits + self.residual(joined)
        return logits.squeeze(1)

    @torch.no_grad()
    def _start_as_a_verifier(self, comparing: int) -> None:
        """Each comparing feature gets the same say: gain * (mean of its columns - 1)."""
        parts: list[Tensor] = []
        offset = 0.0
        for name in self.features:
            feature = FEATURES[name]
            columns = feature.width * self.embedding_dim
            gain = feature.gain / max(1, comparing)
            parts.append(torch.full((columns,), gain / columns))
            offset -= gain
        if self._adds_cosine:
            gain = SLOPE * UNDECIDED
            parts.append(torch.tensor([gain]))
            offset -= gain
        self.logistic.weight.copy_(torch.cat(parts)[None])
        self.logistic.bias.fill_(offset)


def _network(width: int, hidden: int, dropout: float) -> nn.Sequential:
    last = nn.Linear(hidden, 1)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), last)


def _check(hidden: int, dropout: float) -> None:
    if hidden < 0:
        raise OptionError(f"--pair-hidden {hidden}: expected 0 (logistic regression) or a number of hidden units")
    if not 0 <= dropout < 1:
        raise OptionError(f"--pair-dropout {dropout:g}: expected a share from 0 to below 1")
    if dropout and not hidden:
        raise OptionError(
            f"--pair-dropout {dropout:g}: a logistic regression has no hidden units to drop; give --pair-hidden, or "
            "leave the option out"
        )
