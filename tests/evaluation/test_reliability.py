import re
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as reference_log_loss

from siamese.errors import DataError, OptionError
from siamese.evaluation.reliability import (
    Binning,
    brier_score,
    expected_calibration_error,
    log_loss,
    maximum_calibration_error,
    reliability_bins,
)

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MEASURES = (reliability_bins, expected_calibration_error, maximum_calibration_error, brier_score, log_loss)


def calibrated(seed: int, count: int = 1000) -> tuple[Floats, Bools]:
    """Probabilities that are true: each pair is genuine with the one it has."""
    rng = np.random.default_rng(seed)
    probabilities = rng.beta(0.4, 0.6, count)
    return probabilities, rng.random(count) < probabilities


def weights_of(same: Bools, prior: float) -> Floats:
    return np.where(same, prior / same.sum(), (1 - prior) / (~same).sum())


# bins


@pytest.mark.parametrize("bins", [1, 5, 10, 15])
@pytest.mark.parametrize("seed", range(3))
def test_bins_are_those_of_scikit_learn(seed: int, bins: int) -> None:
    probabilities, same = calibrated(seed, 900)
    for binning, strategy in (("width", "uniform"), ("mass", "quantile")):
        genuine, mean = calibration_curve(same, probabilities, n_bins=bins, strategy=strategy)
        found = reliability_bins(probabilities, same, bins=bins, binning=binning)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.genuine, genuine, atol=1e-12)
        np.testing.assert_allclose(found.probability, mean, atol=1e-12)


def test_a_bin_holds_its_upper_edge_and_the_first_one_also_its_lower() -> None:
    found = reliability_bins([0.0, 0.25, 0.25, 0.26, 1.0], [False, False, True, True, True], bins=4)
    np.testing.assert_array_equal(found.pairs, [3, 1, 1])
    np.testing.assert_array_equal(found.low, [0.0, 0.25, 0.75])
    np.testing.assert_array_equal(found.high, [0.25, 0.5, 1.0])
    np.testing.assert_allclose(found.weight, [0.6, 0.2, 0.2])
    np.testing.assert_allclose(found.probability, [0.5 / 3, 0.26, 1.0])
    np.testing.assert_allclose(found.genuine, [1 / 3, 1.0, 1.0])


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_is_wilsons(seed: int) -> None:
    probabilities, same = calibrated(seed, 200)
    found = reliability_bins(probabilities, same, bins=7)
    hits = np.rint(found.genuine * found.pairs).astype(int)
    for i in range(len(hits)):
        wanted = binomtest(int(hits[i]), int(found.pairs[i])).proportion_ci(0.95, method="wilson")
        assert (found.interval_low[i], found.interval_high[i]) == pytest.approx((wanted.low, wanted.high), abs=1e-12)


def test_the_interval_is_as_wide_as_the_weights_allow() -> None:
    same = np.arange(110) < 10
    found = reliability_bins(np.full(110, 0.5), same, prior=0.5)
    weights = weights_of(same, 0.5)
    effective = 1 / np.sum(weights**2)  # 36.4 of 110 pairs
    wanted = binomtest(50, 100).proportion_ci(0.95, method="wilson")
    assert found.genuine == pytest.approx(0.5)
    assert found.interval_high[0] - 0.5 > wanted.high - 0.5
    z = 1.959963984540054
    assert found.interval_high[0] - 0.5 == pytest.approx(z / (2 * np.sqrt(effective + z**2)), abs=1e-12)


def test_equal_mass_keeps_pairs_of_one_probability_together() -> None:
    probabilities = np.repeat([0.0, 0.4, 1.0], [50, 10, 40])
    same = np.arange(100) % 2 == 0
    found = reliability_bins(probabilities, same, bins=10, binning="mass")
    np.testing.assert_array_equal(found.pairs, [50, 10, 40])
    np.testing.assert_allclose(found.probability, [0.0, 0.4, 1.0], atol=1e-12)


@pytest.mark.parametrize("prior", [None, 0.02, 0.5])
def test_bins_of_equal_mass_weigh_the_same(prior: float | None) -> None:
    probabilities, same = calibrated(0, 20_000)
    found = reliability_bins(probabilities, same, bins=8, binning="mass", prior=prior)
    np.testing.assert_allclose(found.weight, 1 / 8, atol=1e-3)
    np.testing.assert_array_equal(found.low[1:], found.high[:-1])
    assert found.pairs.sum() == 20_000


# calibration errors


def test_calibration_errors_in_closed_form() -> None:
    # Two bins: .2 where a quarter of 40 is genuine, .9 where six tenths of 10 are.
    probabilities = np.repeat([0.2, 0.9], [40, 10])
    same = np.concatenate([np.arange(40) < 10, np.arange(10) < 6])
    assert expected_calibration_error(probabilities, same, bins=2) == pytest.approx(0.8 * 0.05 + 0.2 * 0.3)
    assert maximum_calibration_error(probabilities, same, bins=2) == pytest.approx(0.3)
    # At a prior of .5 each of 16 genuine pairs weighs 1/32, each of 34 impostor pairs 1/68.
    mass = np.array([10 / 32 + 30 / 68, 6 / 32 + 4 / 68])
    gaps = np.abs(np.array([10 / 32, 6 / 32]) / mass - [0.2, 0.9])
    assert expected_calibration_error(probabilities, same, bins=2, prior=0.5) == pytest.approx(mass @ gaps)
    assert maximum_calibration_error(probabilities, same, bins=2, prior=0.5) == pytest.approx(gaps.max())


@pytest.mark.parametrize("binning", get_args(Binning))
def test_true_probabilities_have_a_small_error_and_pushed_ones_a_large_one(binning: Binning) -> None:
    probabilities, same = calibrated(1, 200_000)
    assert expected_calibration_error(probabilities, same, binning=binning) < 0.005
    assert maximum_calibration_error(probabilities, same, binning=binning) < 0.03
    pushed = probabilities**3 / (probabilities**3 + (1 - probabilities) ** 3)
    expected = np.abs(pushed - probabilities).mean()
    assert expected_calibration_error(pushed, same, binning=binning, bins=50) == pytest.approx(expected, abs=0.01)


def test_probabilities_for_a_prior_are_judged_on_pairs_in_another_ratio() -> None:
    probabilities, same = calibrated(2, 400_000)
    kept = same | (np.arange(len(same)) % 10 == 0)  # nine in ten impostors are gone
    prior = float(same.mean())
    assert expected_calibration_error(probabilities[kept], same[kept], prior=prior) < 0.01
    assert expected_calibration_error(probabilities[kept], same[kept]) > 0.1


# Brier score and log loss


@pytest.mark.parametrize("prior", [None, 0.5, 0.01])
@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_scikit_learn(seed: int, prior: float | None) -> None:
    probabilities, same = calibrated(seed)
    weights = None if prior is None else weights_of(same, prior)
    assert brier_score(probabilities, same, prior=prior).score == pytest.approx(
        brier_score_loss(same, probabilities, sample_weight=weights), abs=1e-12
    )
    assert log_loss(probabilities, same, prior=prior) == pytest.approx(
        reference_log_loss(same, probabilities, sample_weight=weights), rel=1e-12
    )


@pytest.mark.parametrize("binning", get_args(Binning))
@pytest.mark.parametrize("prior", [None, 0.2])
def test_the_terms_within_bins_are_those_of_stephenson(prior: float | None, binning: Binning) -> None:
    probabilities, same = calibrated(4)
    weights = np.full(1000, 1e-3) if prior is None else weights_of(same, prior)
    bins = reliability_bins(probabilities, same, bins=6, binning=binning, prior=prior)
    variance = covariance = 0.0
    for low, high in zip(bins.low, bins.high, strict=True):
        rows = (probabilities > low) & (probabilities <= high)
        mass = weights[rows] / weights[rows].sum()
        off = probabilities[rows] - mass @ probabilities[rows]
        variance += weights[rows].sum() * float(mass @ off**2)
        covariance += weights[rows].sum() * float(mass @ (off * (same[rows] - mass @ same[rows])))
    found = brier_score(probabilities, same, bins=6, binning=binning, prior=prior)
    assert found.within_bins == pytest.approx(variance - 2 * covariance, abs=1e-12)
    assert found.score == pytest.approx(
        found.reliability - found.resolution + found.uncertainty + found.within_bins, abs=1e-15
    )


def test_murphys_three_parts_are_all_where_each_bin_holds_one_probability() -> None:
    probabilities = np.repeat([0.1, 0.6], [20, 30])
    same = np.concatenate([np.arange(20) < 4, np.arange(30) < 15])
    found = brier_score(probabilities, same, bins=2)
    assert found.reliability == pytest.approx(0.4 * 0.1**2 + 0.6 * 0.1**2)
    assert found.resolution == pytest.approx(0.4 * (0.2 - 0.38) ** 2 + 0.6 * (0.5 - 0.38) ** 2)
    assert found.uncertainty == pytest.approx(0.38 * 0.62)
    assert found.within_bins == pytest.approx(0, abs=1e-15)


def test_saturated_probabilities_have_a_finite_log_loss_as_in_scikit_learn() -> None:
    probabilities, same = np.array([0.0, 1.0, 0.0, 1.0]), np.array([False, True, True, False])
    assert log_loss(probabilities, same) == pytest.approx(reference_log_loss(same, probabilities))
    assert log_loss(probabilities[:2], same[:2]) == pytest.approx(0, abs=1e-15)
    assert brier_score(probabilities, same).score == 0.5


@pytest.mark.parametrize("binning", get_args(Binning))
def test_constant_probabilities_and_two_pairs_have_defined_values(binning: Binning) -> None:
    found = reliability_bins([0.5, 0.5], [True, False], binning=binning)
    assert (found.pairs.tolist(), found.probability.tolist(), found.genuine.tolist()) == ([2], [0.5], [0.5])
    assert expected_calibration_error([0.5, 0.5], [True, False], binning=binning) == 0.0
    assert expected_calibration_error([0.0, 1.0], [True, False], binning=binning) == 1.0
    assert log_loss([0.5, 0.5], [True, False]) == pytest.approx(np.log(2))


# refusals


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    ("probabilities", "same", "message"),
    [
        ([0.1, np.nan], [True, False], "1 of 2 probabilities are not finite numbers; leave out pairs without one"),
        ([0.1, 1.5, -3], [True, False, True], "2 of 3 probabilities lie outside [0, 1]; first: 1.5"),
        (
            [0.1, 0.2],
            [True, True],
            "2 genuine and 0 impostor pairs: verification is measured on both kinds; add the missing one",
        ),
        ([], [], "0 genuine and 0 impostor pairs: verification is measured on both kinds; add the missing one"),
        ([0.1, 0.2], [True], "scores (2,) and labels (1,): expected two vectors of one length"),
        ([[0.1, 0.2]], [[True, False]], "probabilities of shape (1, 2): expected a vector, shape (N,)"),
    ],
)
def test_what_cannot_be_judged_is_refused(measure: Any, probabilities: Any, same: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        measure(probabilities, same)


@pytest.mark.parametrize("measure", MEASURES[:4])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bins": 0}, "bins 0: expected at least 1"),
        ({"binning": "masses"}, "unknown binning 'masses': did you mean 'mass'? known: mass, width"),
        ({"prior": 1.0}, "prior 1: expected the share of genuine pairs, above 0 and below 1"),
        ({"prior": float("nan")}, "prior nan: expected the share of genuine pairs, above 0 and below 1"),
    ],
)
def test_options_that_are_not_possible_are_refused(measure: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        measure([0.1, 0.9], [False, True], **options)
