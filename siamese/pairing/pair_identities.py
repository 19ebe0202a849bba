"""Whom the two sides of each pair show: what intervals and calibration draw together, since those pairs depend."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.pairing.closure import PairIndex

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class PairIdentities:
    """Identities of the pairs of a table, as codes from 0.

    Attributes:
        left: of each pair's left image, shape (N,).
        right: of each pair's right image, shape (N,); equal to `left` for genuine pairs and for no other.
        source: `columns` of the table, or `pairs`: genuine pairs closed transitively, every image that no genuine
            pair shows an identity of its own.
        contradictory: impostor pairs whose images genuine pairs join; their right side counts as somebody else.
    """

    left: Ints
    right: Ints
    source: Literal["columns", "pairs"]
    contradictory: int


def pair_identities(table: pd.DataFrame) -> PairIdentities:
    """Identities of a checked and labelled pair table.

    Its own columns `left_identity` and `right_identity` are taken where they name everyone and agree with the labels.

    Example:
        >>> pairs = pd.DataFrame({"left": ["a", "b", "a"], "right": ["b", "c", "d"], "same": [True, True, False]})
        >>> found = pair_identities(pairs)
        >>> found.left, found.right
        (array([0, 0, 0]), array([0, 0, 1]))
    """
    index = PairIndex.of(table)
    named = index.identities()
    if named is not None:
        codes, _ = pd.factorize(np.concatenate(named))
        left, right = codes.astype(np.int64).reshape(2, -1)
        if (codes >= 0).all() and ((left == right) == index.same).all():
            return PairIdentities(left, right, "columns", 0)
    components = index.components()
    left, right = components[index.left], components[index.right]
    wrong = np.flatnonzero(index.impostor & (left == right))
    right[wrong] = components.max() + 1 + np.arange(len(wrong))
    return PairIdentities(left, right, "pairs", len(wrong))
