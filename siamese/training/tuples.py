"""Pairs, triplets or quadruplets of a table as rows of an array of images."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.errors import DataError
from siamese.pairing.pair_identities import pair_identities
from siamese.pairing.table import image_columns


@dataclass(frozen=True)
class Tuples:
    """Pairs, triplets or quadruplets as rows of a pixel array.

    Attributes:
        rows: shape (N, 2) for pairs, (N, 3) for triplets, (N, 4) for quadruplets, int64.
        same: labels of pairs, shape (N,); None for triplets and quadruplets.
        identities: codes of the identities of either side of pairs, shape (N, 2); None where nobody asked.
    """

    rows: NDArray[np.int64]
    same: NDArray[np.bool_] | None
    identities: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """How many pairs, triplets or quadruplets."""
        return len(self.rows)

    def of(self, kept: NDArray[np.bool_]) -> "Tuples":
        """Those of them that a mask (N,) keeps."""
        same, codes = self.same, self.identities
        return Tuples(self.rows[kept], None if same is None else same[kept], None if codes is None else codes[kept])

    def first(self, count: int) -> "Tuples":
        """The first `count` of them."""
        return Tuples(self.rows[:count], None if self.same is None else self.same[:count])


def index_tuples(
    frame: pd.DataFrame, images: list[str], usable: NDArray[np.bool_], *, identities: bool = False
) -> Tuples:
    """Turn a table of pairs, triplets or quadruplets into rows of `images`, leaving out what names an unusable image.

    Args:
        frame: the table.
        images: what its paths are looked up in.
        usable: which of the images can be used, shape (M,).
        identities: find out whom the pairs of a labelled pair table show, too.

    Raises:
        DataError: nothing is left.
    """
    columns = image_columns(frame)
    lookup = pd.Index(images)
    rows = np.stack([lookup.get_indexer(pd.Index(frame[column])) for column in columns], axis=1)
    kept = ((rows >= 0) & usable[rows]).all(axis=1)  # -1: not among `images`
    if not kept.any():
        raise DataError(f"none of {len(frame)} rows is left: every one names an image that cannot be used")
    same = frame["same"].to_numpy(dtype=bool)[kept] if len(columns) == 2 else None
    codes = None
    if identities:
        found = pair_identities(frame)
        codes = np.stack((found.left, found.right), axis=1)[kept]
    return Tuples(rows[kept].astype(np.int64), same, codes)
