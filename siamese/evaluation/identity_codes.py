"""Identities on each side of the pairs, as whole numbers."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamese.errors import DataError

Codes = NDArray[np.int64]


def check_codes(left: ArrayLike, right: ArrayLike, same: NDArray[np.bool_]) -> tuple[Codes, Codes]:
    """Codes of the identities on each side of the pairs, both (N,) int64.

    Args:
        left: identity on the left of each pair, (N,) whole numbers.
        right: identity on the right; equal to the left one for genuine pairs, and for them alone.
        same: labels, (N,).

    Raises:
        DataError: no vectors of whole numbers as long as `same`, or codes that contradict `same`.
    """
    sides = np.asarray(left), np.asarray(right)
    for name, codes in zip(("left", "right"), sides, strict=True):
        if codes.shape != same.shape or codes.dtype.kind not in "iu":
            found = f"{codes.dtype} of shape {codes.shape}"
            raise DataError(
                f"identity codes, {name}: {found}; expected one whole number for each of {len(same)} pairs"
            )
    contradict = np.flatnonzero((sides[0] == sides[1]) != same)
    if len(contradict):
        row = int(contradict[0])
        kind = "genuine" if same[row] else "impostor"
        raise DataError(
            f"{len(contradict)} of {len(same)} pairs contradict their identities; first: row {row} is {kind}, with "
            f"the codes {sides[0][row]} and {sides[1][row]}; genuine pairs have one identity, impostor pairs two"
        )
    return sides[0].astype(np.int64, copy=False), sides[1].astype(np.int64, copy=False)
