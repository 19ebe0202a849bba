import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from siamese.errors import DataError, OptionError
from siamese.evaluation.mcnemar import NO_DIFFERENCE, mcnemar


def decisions(both: int, first_only: int, second_only: int, neither: int) -> tuple[NDArray[np.bool_], ...]:
    counts = (both, first_only, second_only, neither)
    same = np.arange(sum(counts)) % 2 == 0
    first, second = (np.repeat(right, counts) for right in ([True, True, False, False], [True, False, True, False]))
    return first == same, second == same, same


@pytest.mark.parametrize(("first_only", "second_only"), [(1, 9), (9, 1), (4, 4), (3, 5), (0, 1), (700, 600), (0, 30)])
def test_mcnemar_is_the_binomial_test_of_the_pairs_that_only_one_decides_rightly(
    first_only: int, second_only: int
) -> None:
    found = mcnemar(*decisions(20, first_only, second_only, 7))

    assert found[:2] == (first_only, second_only)
    total = first_only + second_only
    exact = binomtest(first_only, total, 0.5)
    assert found.exact_p_value == pytest.approx(exact.pvalue, rel=1e-9)
    # Half of the outcomes as likely as the one that was seen.
    drawn = np.arange(total + 1)
    chances = np.array([math.comb(total, int(count)) / 2**total for count in drawn])
    far = np.abs(drawn - total / 2)
    seen = abs(first_only - total / 2)
    mid = chances[far > seen].sum() + chances[far == seen].sum() / 2
    assert found.p_value == pytest.approx(mid, rel=1e-9)


def test_mcnemar_says_which_model_is_better() -> None:
    assert mcnemar(*decisions(20, 1, 9, 7), names=("old", "new")).verdict == (
        "new is better: right on 9 of the 10 pairs that only one decides rightly"
    )
    assert mcnemar(*decisions(20, 90, 10, 7), names=("old", "new")).verdict.startswith("old is better: right on 90")
    assert mcnemar(*decisions(20, 4, 6, 7)).verdict == NO_DIFFERENCE


def test_mcnemar_of_identical_decisions_finds_no_difference() -> None:
    assert mcnemar(*decisions(10, 0, 0, 5)) == (0, 0, 1.0, 1.0, NO_DIFFERENCE)


def test_mcnemar_refuses_other_lengths_and_levels() -> None:
    with pytest.raises(DataError, match=r"decisions \(2,\) and \(1,\) and labels \(2,\): expected three vectors of"):
        mcnemar([True, False], [True], [True, False])
    with pytest.raises(OptionError, match=r"level 1\.5: expected a share between 0 and 1"):
        mcnemar([True], [True], [True], level=1.5)
