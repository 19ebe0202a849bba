"""McNemar's test of the decisions of two models on the same pairs."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binom  # type: ignore[import-untyped]

from siamese.errors import DataError
from siamese.evaluation.intervals import IntervalOptions

NO_DIFFERENCE = "no significant difference"


class McNemar(NamedTuple):
    """Decisions of two models on the same pairs.

    Attributes:
        first_only: pairs that only the first model decides rightly.
        second_only: pairs that only the second model decides rightly.
        p_value: the mid-p value, two-sided.
        exact_p_value: the exact conditional one, which errs on the side of no difference.
        verdict: in words.
    """

    first_only: int
    second_only: int
    p_value: float
    exact_p_value: float
    verdict: str


def mcnemar(
    first: ArrayLike,
    second: ArrayLike,
    same: ArrayLike,
    *,
    names: tuple[str, str] = ("the first model", "the second model"),
    level: float = 0.95,
) -> McNemar:
    """McNemar's test of two models' decisions on the same pairs.

    Only pairs that the models decide differently tell them apart; without a difference between the models, either
    is right on half of them (McNemar, "Note on the sampling error of the difference between correlated proportions
    or percentages", 1947). The binomial is taken as it is, however many pairs there are; the mid-p value counts half
    of the table that was seen and keeps the level nearly exactly, where the exact p-value stays far below it
    (Fagerland, Lydersen and Laake, "The McNemar test for binary matched-pairs data", 2013).

    The test takes pairs for independent. Pairs that share people are not, and then it finds differences too easily:
    `paired.compare` with "accuracy" does not.

    Args:
        first: decisions of the first model, (N,) bool, true where a pair is accepted.
        second: decisions of the second model.
        same: labels, (N,).
        names: of the models, for the verdict.
        level: 1 - p below which models count as different.

    Raises:
        DataError: decisions and labels of different lengths.
        OptionError: a level that is not between 0 and 1.
    """
    IntervalOptions(level=level)
    decided, labels = [np.asarray(each, dtype=bool) for each in (first, second)], np.asarray(same, dtype=bool)
    if labels.ndim != 1 or any(each.shape != labels.shape for each in decided):
        shapes = f"decisions {decided[0].shape} and {decided[1].shape} and labels {labels.shape}"
        raise DataError(f"{shapes}: expected three vectors of one length")
    right = [each == labels for each in decided]
    only = [int(np.count_nonzero(right[k] & ~right[1 - k])) for k in (0, 1)]
    total, fewer = sum(only), min(only)
    tail, seen = (float(each) for each in (binom.cdf(fewer, total, 0.5), binom.pmf(fewer, total, 0.5)))
    exact = min(1.0, 2 * tail)
    # Half of the outcomes as likely as what was seen: they are two, on either side, unless the models are even.
    mid = 1.0 - seen / 2 if only[0] == only[1] else 2 * tail - seen
    p_value = mid if total else 1.0
    if p_value >= 1 - level:
        return McNemar(only[0], only[1], p_value, exact, NO_DIFFERENCE)
    better = int(only[1] > only[0])
    verdict = f"{names[better]} is better: right on {only[better]} of the {total} pairs that only one decides rightly"
    return McNemar(only[0], only[1], p_value, exact, verdict)
