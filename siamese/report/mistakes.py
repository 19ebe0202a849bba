"""The mistakes that are worth looking at: those furthest on the wrong side of the threshold."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from siamese.errors import DataError, OptionError
from siamese.evaluation.curves import check_scores
from siamese.report.content import Mistake, Mistakes

MOST = 12
PER_IDENTITY = 2

_Ints = NDArray[np.int64]


def hardest_mistakes(
    model: str,
    scores: ArrayLike,
    same: ArrayLike,
    threshold: ArrayLike,
    paths: tuple[Sequence[str], Sequence[str]],
    identities: tuple[Sequence[str | None], Sequence[str | None]] | None = None,
    *,
    most: int = MOST,
    per_identity: int = PER_IDENTITY,
) -> Mistakes:
    """Choose false accepts and false rejects by how far their scores are from the threshold.

    No identity is in more than `per_identity` of either kind, so that one wrong label does not fill the page; an
    image without identity counts as one of its own. Equally hard ones are taken in the order of the pairs.

    Args:
        model: its name.
        scores: similarities, shape (N,).
        same: labels, shape (N,).
        threshold: accepted at this score and above; one for all pairs, or one for each, shape (N,).
        paths: of the left and of the right images, N each.
        identities: of the left and of the right images, N each.
        most: mistakes of either kind, 0 or more.
        per_identity: 1 or more.

    Raises:
        OptionError: `most` below 0, or `per_identity` below 1.
        DataError: what `check_scores` refuses, a threshold that is no number, or another number of anything than of
            scores.
    """
    if most < 0 or per_identity < 1:
        found = f"{most} mistakes of each kind, {per_identity} per identity"
        raise OptionError(f"{found}: expected 0 or more mistakes, 1 or more per identity")
    values, labels = check_scores(scores, same, both=False)
    limits = _limits(threshold, len(values))
    named = identities if identities is not None else paths
    for what, sides in (("paths", paths), ("identities", named)):
        if [len(side) for side in sides] != [len(values)] * 2:
            raise DataError(f"{what}: {len(sides[0])} left and {len(sides[1])} right; expected {len(values)} of each")
    accepted = values >= limits
    wrong = {kind: np.flatnonzero((labels == kind) & (accepted != kind)) for kind in (False, True)}
    chosen = {}
    for kind, rows in wrong.items():
        hardest = rows[np.argsort(-np.abs(values[rows] - limits[rows]), kind="stable")]
        picked = _spread(hardest, _codes(hardest, named, paths), most, per_identity)
        chosen[kind] = tuple(_mistake(row, values, labels, limits, paths, identities) for row in picked)
    return Mistakes(
        model=model,
        accepts=chosen[False],
        rejects=chosen[True],
        false_accepts=len(wrong[False]),
        false_rejects=len(wrong[True]),
        per_identity=per_identity,
    )


def _limits(threshold: ArrayLike, pairs: int) -> NDArray[np.float64]:
    limits = np.asarray(threshold, dtype=np.float64)
    if limits.shape not in ((), (pairs,)):
        raise DataError(f"thresholds {limits.shape}: expected one for all {pairs} pairs, or one for each")
    if np.isnan(limits).any():
        raise DataError("threshold nan: expected a number on the scale of the scores")
    return np.broadcast_to(limits, (pairs,))


def _codes(
    rows: _Ints, named: tuple[Sequence[str | None], Sequence[str | None]], paths: tuple[Sequence[str], Sequence[str]]
) -> _Ints:
    """A number for whoever is on each side of the rows, shape (2, rows)."""
    codes: dict[tuple[str, str], int] = {}
    # Only of wrong pairs, and in a dict: sorting names takes longer.
    people = [
        codes.setdefault(_who(named[side][row], paths[side][row]), len(codes))
        for side in (0, 1)
        for row in rows.tolist()
    ]
    return np.array(people, dtype=np.int64).reshape(2, len(rows))


def _who(identity: str | None, path: str) -> tuple[str, str]:
    return ("image", path) if identity is None else ("identity", identity)


def _spread(rows: _Ints, people: _Ints, most: int, per_identity: int) -> list[int]:
    """The first rows in which nobody is more than `per_identity` times."""
    left = np.ones(len(rows), dtype=bool)
    times: dict[int, int] = {}
    picked: list[int] = []
    while len(picked) < most and left.any():
        place = int(left.argmax())
        left[place] = False
        picked.append(int(rows[place]))
        for person in set(people[:, place].tolist()):
            times[person] = times.get(person, 0) + 1
            if times[person] == per_identity:
                left &= (people != person).all(axis=0)
    return picked


def _mistake(
    row: int,
    values: NDArray[np.float64],
    labels: NDArray[np.bool_],
    limits: NDArray[np.float64],
    paths: tuple[Sequence[str], Sequence[str]],
    identities: tuple[Sequence[str | None], Sequence[str | None]] | None,
) -> Mistake:
    left, right = (None, None) if identities is None else (identities[0][row], identities[1][row])
    return Mistake(
        left=str(paths[0][row]),
        right=str(paths[1][row]),
        same=bool(labels[row]),
        score=float(values[row]),
        threshold=float(limits[row]),
        left_identity=None if left is None else str(left),
        right_identity=None if right is None else str(right),
    )
