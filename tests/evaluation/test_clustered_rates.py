import numpy as np
import pytest
from scipy.stats import beta

from siamese.evaluation.clustered_rates import clustered_estimate, clustered_variance, shares


def test_shares_add_up_to_nothing_and_follow_from_loops() -> None:
    random = np.random.default_rng(0)
    hits, codes = random.random(200) < 0.7, random.integers(12, size=200)
    found = shares(hits, codes, 13)
    expected = [(hits[codes == code] - hits.mean()).sum() / 200 for code in range(13)]
    np.testing.assert_allclose(found, expected, atol=1e-15)
    assert found.sum() == pytest.approx(0, abs=1e-15)
    assert found[12] == 0


def test_clusters_of_one_trial_have_the_variance_of_a_mean() -> None:
    hits = np.random.default_rng(1).random(50) < 0.6
    assert clustered_variance(shares(hits, np.arange(50), 50)) == pytest.approx(hits.var(ddof=1) / 50)


def test_repeating_every_trial_changes_nothing() -> None:
    hits, codes = np.random.default_rng(2).random(90) < 0.8, np.repeat(np.arange(30), 3)
    once = clustered_estimate(hits.mean(), shares(hits, codes, 30), fewest=20)
    twice = clustered_estimate(hits.mean(), shares(np.tile(hits, 2), np.tile(codes, 2), 30), fewest=20)
    assert once.interval is not None
    assert twice.interval is not None
    assert (once.interval.low, once.interval.high) == pytest.approx((twice.interval.low, twice.interval.high))


def test_errors_of_a_single_identity_make_a_wide_interval() -> None:
    codes = np.repeat(np.arange(40), 5)
    gathered, scattered = codes >= 1, np.arange(200) % 40 != 0
    assert gathered.sum() == scattered.sum()
    first, second = (
        clustered_estimate(hits.mean(), shares(hits, codes, 40), fewest=20) for hits in (gathered, scattered)
    )
    assert first.interval is not None
    assert second.interval is not None
    assert first.interval.low < second.interval.low
    assert first.interval.high > second.interval.high


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_at_the_ends_limits_are_those_of_clopper_and_pearson(value: float) -> None:
    found = clustered_estimate(value, np.zeros(25), fewest=20).interval
    assert found is not None
    hits = 25 * value
    low = 0.0 if not value else beta.ppf(0.025, hits, 1)
    high = 1.0 if value else beta.ppf(0.975, 1, 25)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert (found.method, found.level) == ("exact", 0.95)


def test_clusters_that_do_alike_show_no_spread() -> None:
    found = clustered_estimate(0.5, np.zeros(30), fewest=20)
    assert (found.value, found.interval) == (0.5, None)
    assert found.reason == "insufficient data: all 30 identities do alike"


def test_too_few_clusters_are_named_for_what_they_are() -> None:
    found = clustered_estimate(0.5, np.zeros(3), fewest=10, what="groups")
    assert (found.value, found.interval) == (0.5, None)
    assert found.reason == "insufficient data: an interval needs 10 groups, found 3"
