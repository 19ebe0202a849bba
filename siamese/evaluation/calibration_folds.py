"""Folds over identities, so that a calibrator is judged on identities that it has not seen."""

import numpy as np

from siamese.evaluation.calibration_prior import Bools
from siamese.evaluation.identity_codes import Codes


def identity_folds(left: Codes, right: Codes, folds: int, seed: int) -> tuple[Codes, Codes] | None:
    """The fold of the identity on each side, both (N,) in 0 .. K-1; None where the pairs allow no two folds.

    A pair is tested in a fold when both its identities are in it, and fitted on when neither is; pairs between folds
    are left out there. K is the largest number up to `folds` with both kinds tested and both fitted on in every fold.
    Genuine pairs are spread evenly: identities are dealt out in the order of how many they have.

    Args:
        left: identity on one side of each pair.
        right: identity on the other.
        folds: how many are wanted.
        seed: the order of identities with equally many genuine pairs.
    """
    identities, codes = np.unique(np.concatenate((left, right)), return_inverse=True)
    left, right = codes[: len(left)], codes[len(left) :]
    genuine = np.bincount(left[left == right], minlength=len(identities))
    order = np.lexsort((np.random.default_rng(seed).random(len(identities)), -genuine))
    rank = np.empty(len(identities), np.int64)
    rank[order] = np.arange(len(identities))
    for count in range(min(folds, len(identities) // 2), 1, -1):
        # There and back, so that no fold is dealt the first of every round.
        fold = np.minimum(rank % (2 * count), 2 * count - 1 - rank % (2 * count))
        sides = fold[left], fold[right]
        if _served(*sides, left == right, count):
            return sides
    return None


def _served(left: Codes, right: Codes, same: Bools, count: int) -> bool:
    """Whether each fold tests both kinds and leaves both to fit on."""
    genuine = np.bincount(left[same], minlength=count)
    impostors = left[~same], right[~same]
    inside = np.bincount(impostors[0][impostors[0] == impostors[1]], minlength=count)
    touching = sum(np.bincount(side, minlength=count) for side in impostors) - inside
    tested = genuine.min() > 0 and inside.min() > 0
    return bool(tested and genuine.max() < genuine.sum() and touching.max() < len(impostors[0]))
