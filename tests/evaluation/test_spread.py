import numpy as np
import pytest
from scipy.stats import t as student

from siamese.evaluation.influence import Dyads
from siamese.evaluation.spread import (
    beyond_value,
    effective_people,
    freedom_of_difference,
    freedom_of_value,
    satterthwaite,
    spread,
)
from siamese.evaluation.weighted import Statistic


def genuine_pairs(people: int) -> Dyads:
    codes = np.arange(people)
    return Dyads.of(np.ones(people, dtype=bool), codes, codes)


def test_the_variance_of_a_sum_of_normals_has_a_degree_of_freedom_for_each_person() -> None:
    persons = np.random.default_rng(0).normal(size=100_000)

    assert satterthwaite(persons) == pytest.approx(100_000, rel=0.02)
    assert effective_people(persons) == satterthwaite(persons) / 2


def test_satterthwaites_degrees_of_freedom_are_those_of_the_variance_under_resampling() -> None:
    persons = np.random.default_rng(1).exponential(size=400) - 1
    drawn = np.random.default_rng(2).integers(400, size=(20_000, 400))
    squares = (persons[drawn] ** 2).sum(axis=1)

    assert satterthwaite(persons) == pytest.approx(2 * squares.mean() ** 2 / squares.var(), rel=0.05)


def test_a_rate_of_ones_and_zeros_tells_its_variance() -> None:
    errors = np.repeat([1.0, 0.0], [10, 190])
    errors -= errors.mean()

    assert satterthwaite(errors) < 25
    assert beyond_value(errors) > 1e6


def test_people_who_err_more_or_less_leave_a_variance_in_doubt() -> None:
    errors = np.concatenate((np.random.default_rng(0).exponential(size=20), np.zeros(180)))
    errors -= errors.mean()
    shares = errors**2 / (errors @ errors)
    slope = np.polyfit(errors, shares - shares.mean(), 1)

    untold = ((shares - shares.mean() - np.polyval(slope, errors)) ** 2).sum()

    assert beyond_value(errors) == pytest.approx(2 / untold, rel=1e-9)
    assert satterthwaite(errors) < beyond_value(errors) < np.inf


def test_one_person_who_makes_up_everything_leaves_three_degrees_of_freedom_and_not_one() -> None:
    persons = np.append(10.0, np.full(99, 1e-3))

    assert effective_people(persons) == 3.0
    assert satterthwaite(persons) == pytest.approx(2.0, rel=0.03)


def test_statistics_with_heavy_tails_have_fewer_degrees_of_freedom() -> None:
    assert [freedom_of_value(Statistic(name)) for name in ("auc", "eer", "far")] == [
        effective_people,
        effective_people,
        beyond_value,
    ]
    assert [freedom_of_difference(Statistic(name)) for name in ("auc", "eer", "far")] == [
        effective_people,
        effective_people,
        satterthwaite,
    ]


def test_a_spread_is_that_of_a_sum_over_people() -> None:
    contributions = np.random.default_rng(0).exponential(size=50) - 1
    contributions -= contributions.mean()

    found = spread(genuine_pairs(50), contributions, 0.9)

    assert found is not None
    assert found.error == pytest.approx(np.sqrt(50 / 49 * contributions @ contributions))
    assert found.freedom == satterthwaite(contributions)
    assert found.quantile == pytest.approx(student.ppf(0.95, found.freedom))
    assert found.acceleration == pytest.approx((contributions**3).sum() / (contributions @ contributions) ** 1.5 / 6)


def test_a_spread_needs_contributions() -> None:
    assert spread(genuine_pairs(50), np.zeros(50), 0.95) is None
