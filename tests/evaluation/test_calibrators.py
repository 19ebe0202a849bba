import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from scipy.optimize import minimize
from scipy.special import expit
from scipy.special import logit as reference_logit
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from siamese.errors import DataError
from siamese.evaluation.calibration_prior import logit, sigmoid
from siamese.evaluation.calibrator_fitting import CALIBRATORS, fit_beta, fit_isotonic, fit_platt
from siamese.evaluation.calibrators import BetaCalibrator, Calibrator, IsotonicCalibrator, PlattCalibrator

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

METHODS = tuple(CALIBRATORS)
SERIALISED: TypeAdapter[Calibrator] = TypeAdapter(Calibrator)


def overlapping(seed: int, genuine: int = 60, impostor: int = 90, spread: float = 0.6) -> tuple[Floats, Bools]:
    """Cosines of kinds that overlap, the genuine ones spread wider, in random order."""
    rng = np.random.default_rng(seed)
    same = rng.permutation(np.arange(genuine + impostor) < genuine)
    scores = np.where(same, 0.5, 0.1) + rng.normal(size=len(same)) * np.where(same, spread / 2, spread / 3)
    return np.tanh(scores), same


def targets_of(same: Bools) -> Floats:
    genuine, impostor = same.sum(), (~same).sum()
    return np.where(same, (genuine + 1) / (genuine + 2), 1 / (impostor + 2))


def weights_of(same: Bools, prior: float) -> Floats:
    return np.where(same, prior / same.sum(), (1 - prior) / (~same).sum())


def regression_by_scikit_learn(features: Floats, same: Bools, prior: float) -> tuple[Floats, float]:
    """Unregularised logistic regression on soft targets: each pair is there as both kinds, weighted by its target."""
    targets, weights = targets_of(same), weights_of(same, prior) * len(same)
    fit = LogisticRegression(C=np.inf, tol=1e-12, max_iter=10_000, solver="newton-cholesky").fit(
        np.concatenate((features, features)),
        np.repeat((1, 0), len(same)),
        np.concatenate((weights * targets, weights * (1 - targets))),
    )
    return fit.coef_[0], float(fit.intercept_[0])


def cross_entropy(log_odds: Floats, same: Bools, prior: float) -> float:
    targets, weights = targets_of(same), weights_of(same, prior)
    return float(weights @ (targets * np.logaddexp(0, -log_odds) + (1 - targets) * np.logaddexp(0, log_odds)))


# prior


def test_logit_and_sigmoid_are_those_of_scipy_and_do_not_overflow() -> None:
    probabilities = np.array([1e-300, 1e-9, 0.2, 0.5, 0.99, 1 - 1e-12])
    np.testing.assert_allclose(logit(probabilities), reference_logit(probabilities), rtol=1e-13)
    log_odds = np.array([-1e308, -800.0, -3.0, 0.0, 3.0, 800.0, 1e308])
    np.testing.assert_allclose(sigmoid(log_odds), expit(log_odds), rtol=1e-13)


# Platt


class GivenScores(ClassifierMixin, BaseEstimator):
    """A classifier whose decision function is its only feature."""

    def fit(self, features: Floats, labels: Bools) -> "GivenScores":
        self.classes_ = np.unique(labels)
        return self

    def decision_function(self, features: Floats) -> Floats:
        return features[:, 0]

    def predict(self, features: Floats) -> Bools:
        return features[:, 0] > 0


@pytest.mark.parametrize("seed", range(3))
def test_platt_on_equally_many_pairs_is_that_of_scikit_learn(seed: int) -> None:
    scores, same = overlapping(seed, 80, 80)
    reference = CalibratedClassifierCV(GivenScores(), method="sigmoid", ensemble=False, cv=4)
    expected = reference.fit(scores[:, None], same).predict_proba(scores[:, None])[:, 1]
    np.testing.assert_allclose(sigmoid(fit_platt(scores, same, 0.5).log_odds(scores)), expected, atol=1e-5)


@pytest.mark.parametrize("prior", [0.01, 0.5, 0.8])
@pytest.mark.parametrize("seed", range(3))
def test_platt_is_logistic_regression_on_smoothed_targets_weighted_to_the_prior(seed: int, prior: float) -> None:
    scores, same = overlapping(seed)
    found = fit_platt(scores, same, prior)
    (slope,), intercept = regression_by_scikit_learn(scores[:, None], same, prior)
    assert found.slope == pytest.approx(slope, rel=1e-6)
    assert found.intercept == pytest.approx(intercept, rel=1e-6)


@pytest.mark.parametrize("count", [1, 7, 5000])
def test_platt_at_two_scores_gives_each_its_smoothed_target(count: int) -> None:
    scores, same = np.repeat([0.2, 0.9], [count, 2 * count]), np.repeat([False, True], [count, 2 * count])
    found = sigmoid(fit_platt(scores, same, 0.5).log_odds(np.array([0.2, 0.9])))
    np.testing.assert_allclose(found, [1 / (count + 2), (2 * count + 1) / (2 * count + 2)], rtol=1e-6)


def test_platt_finds_the_log_odds_of_two_normal_distributions() -> None:
    rng = np.random.default_rng(0)
    same = np.arange(400_000) % 4 == 0  # more than are fitted at once, and in an order that a sample may fall for
    scores = rng.normal(np.where(same, 0.6, 0.1), 0.2)
    found = fit_platt(scores, same, 0.5)
    # ln N(s; .6, .2) - ln N(s; .1, .2) = (.6 - .1) / .2^2 * (s - .35)
    assert found.slope == pytest.approx(12.5, rel=0.01)
    assert -found.intercept / found.slope == pytest.approx(0.35, abs=0.002)
    weights, residuals = weights_of(same, 0.5), sigmoid(found.log_odds(scores)) - targets_of(same)
    assert weights @ residuals == pytest.approx(0, abs=1e-9)
    assert weights @ (residuals * scores) == pytest.approx(0, abs=1e-9)


# beta


@pytest.mark.parametrize("prior", [0.1, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_beta_is_logistic_regression_on_both_logarithms_with_slopes_of_at_least_zero(seed: int, prior: float) -> None:
    scores, same = overlapping(seed)
    found = fit_beta(scores, same, prior)
    share = expit(fit_platt(scores, same, prior).log_odds(scores))
    features = np.column_stack([np.log(share), -np.log1p(-share), np.ones(len(scores))])
    reference = minimize(
        lambda parameters: cross_entropy(features @ parameters, same, prior),
        np.array([1.0, 1.0, 0.0]),
        jac=lambda p: features.T @ (weights_of(same, prior) * (expit(features @ p) - targets_of(same))),
        bounds=[(0, None), (0, None), (None, None)],
        method="L-BFGS-B",
        options={"ftol": 1e-15, "gtol": 1e-10, "maxiter": 10_000},
    )
    assert cross_entropy(found.log_odds(scores), same, prior) <= reference.fun + 1e-10
    np.testing.assert_allclose(found.log_odds(scores), features @ reference.x, atol=2e-3)
    np.testing.assert_allclose([found.below, found.above, found.intercept], reference.x, atol=2e-3)


def test_beta_holds_a_slope_that_would_be_negative_at_zero() -> None:
    rng = np.random.default_rng(3)
    # Both tails of the scores are genuine, so the free fit would fall before it rises.
    scores = np.concatenate([rng.normal(0.0, 0.1, 300), rng.normal(0.6, 0.2, 200), rng.normal(-0.5, 0.1, 60)])
    same = np.arange(560) >= 300
    found = fit_beta(scores, same, 0.5)
    (below, above), _ = regression_by_scikit_learn(
        np.column_stack([np.log(expit(found.platt.log_odds(scores))), np.logaddexp(0, found.platt.log_odds(scores))]),
        same,
        0.5,
    )
    assert below < 0 < above
    assert found.below == 0.0
    assert found.above > 0
    turned = fit_beta(-scores, ~same, 0.5)
    assert turned.above == 0.0
    np.testing.assert_allclose(turned.log_odds(-scores), -found.log_odds(scores), atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_beta_is_at_least_as_near_as_platt(seed: int) -> None:
    scores, same = overlapping(seed)
    losses = [cross_entropy(fit(scores, same, 0.5).log_odds(scores), same, 0.5) for fit in (fit_beta, fit_platt)]
    assert losses[0] <= losses[1] + 1e-12


def test_beta_finds_slopes_that_differ_between_the_tails() -> None:
    rng = np.random.default_rng(1)
    scores = rng.normal(0.0, 4.0, 200_000)
    truth = np.where(scores < 0, 0.5, 2.0) * scores
    same = rng.random(len(scores)) < expit(truth)
    prior = float(same.mean())
    found = fit_beta(scores, same, prior)
    errors = [np.abs(expit(fit.log_odds(scores)) - expit(truth)).mean() for fit in (found, found.platt)]
    assert errors[0] < 0.5 * errors[1]
    assert found.below < 0.5 < 1.5 < found.above


# isotonic


def smallest_of_largest_means(scores: Floats, same: Bools, prior: float) -> Floats:
    """Isotonic regression by its closed form: the largest, over starts, of the smallest mean over ends."""
    scores = np.concatenate((scores, [scores.min(), scores.max()]))
    same = np.concatenate((same, [True, False]))
    weights = weights_of(same, prior)
    levels = np.unique(scores)
    mass = np.array([weights[scores == level].sum() for level in levels])
    hits = np.array([weights[(scores == level) & same].sum() for level in levels])
    ends = range(len(levels))
    means = np.array(
        [[hits[a : b + 1].sum() / mass[a : b + 1].sum() if a <= b else np.nan for b in ends] for a in ends]
    )
    return np.array([max(means[a, i:].min() for a in range(i + 1)) for i in ends])


@pytest.mark.parametrize("prior", [0.02, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_isotonic_is_its_closed_form_with_one_unseen_pair_of_each_kind(seed: int, prior: float) -> None:
    scores, same = overlapping(seed, 25, 40)
    scores = scores.round(1)  # with ties
    found = sigmoid(fit_isotonic(scores, same, prior).log_odds(np.unique(scores)))
    np.testing.assert_allclose(found, smallest_of_largest_means(scores, same, prior), atol=1e-12)


def test_isotonic_is_linear_between_scores_as_in_scikit_learn() -> None:
    scores, same = overlapping(5)
    extended = np.concatenate((scores, [scores.min(), scores.max()])), np.concatenate((same, [True, False]))
    reference = IsotonicRegression(out_of_bounds="clip").fit(*extended, weights_of(extended[1], 0.5))
    grid = np.linspace(-2, 2, 1001)
    found = fit_isotonic(scores, same, 0.5)
    np.testing.assert_allclose(sigmoid(found.log_odds(grid)), reference.predict(grid), atol=1e-12)
    assert len(found.scores) < len(np.unique(scores))  # knots, not every score


def test_isotonic_bounds_the_likelihood_ratio_of_separated_kinds() -> None:
    scores, same = np.concatenate([np.linspace(-0.2, 0.2, 40), np.linspace(0.5, 0.9, 9)]), np.arange(49) >= 40
    found = fit_isotonic(scores, same, 0.5).log_odds(np.array([-5.0, 0.2, 0.5, 5.0]))
    top, bottom = np.log(9 * (40 + 1) / (9 + 1)), np.log((40 + 1) / (40 * (9 + 1)))
    np.testing.assert_allclose(found, [bottom, bottom, top, top], rtol=1e-12)


# every form


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(4))
def test_probabilities_never_fall_and_log_odds_are_finite(method: str, seed: int) -> None:
    scores, same = overlapping(seed, 8 + seed, 12)
    wide = np.concatenate(([-1e308, -1e9, -50.0], np.linspace(-3, 3, 4001), [50.0, 1e9, 1e308]))
    log_odds = CALIBRATORS[method](scores.round(1), same, 0.5).log_odds(wide)
    assert np.isfinite(log_odds).all()
    assert np.diff(log_odds).min() >= -1e-12


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("prior", [0.01, 0.5])
@pytest.mark.parametrize("count", [2, 11, 300_000])
def test_constant_scores_say_nothing_and_leave_the_prior(method: str, prior: float, count: int) -> None:
    for value in (0.0, 0.3, -1e12):
        found = CALIBRATORS[method](np.full(count, value), np.arange(count) < 1 + count // 5, prior)
        np.testing.assert_allclose(sigmoid(found.log_odds(np.array([-1.0, value, 1.0]))), prior, rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_scores_of_the_wrong_direction_leave_the_prior(method: str) -> None:
    scores, same = np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9]), np.array([True, True, True, False, False, False])
    found = CALIBRATORS[method](scores, same, 0.3).log_odds(np.array([0.0, 0.5, 1.0]))
    np.testing.assert_allclose(sigmoid(found), 0.3, rtol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_two_pairs_are_enough_for_a_cautious_fit(method: str) -> None:
    low, high = sigmoid(
        CALIBRATORS[method](np.array([0.1, 0.8]), np.array([False, True]), 0.5).log_odds(np.array([0.1, 0.8]))
    )
    assert 0.3 < low <= 0.5 <= high < 0.7


@pytest.mark.parametrize("method", METHODS)
def test_separated_kinds_get_finite_log_odds_that_grow_with_their_number(method: str) -> None:
    tops = []
    for count in (10, 100, 1000):
        scores = np.concatenate([np.linspace(0.0, 0.3, count), np.linspace(0.7, 1.0, count)])
        found = CALIBRATORS[method](scores, np.arange(2 * count) >= count, 0.5).log_odds(np.array([0.15, 0.85]))
        assert found[0] == pytest.approx(-found[1], abs=1e-4)
        tops.append(found[1])
    assert 1 < tops[0] < tops[1] < tops[2] < 15


@pytest.mark.parametrize("method", METHODS)
def test_saturated_scores_of_a_pair_head_are_calibrated(method: str) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(np.repeat([-14.0, 14.0], 4000), 7.0)
    same, scores = np.repeat([False, True], 4000), np.tanh(logits / 2).astype(np.float32).astype(np.float64)
    assert np.count_nonzero(np.abs(scores) == 1) > 1000
    top, bottom = sigmoid(CALIBRATORS[method](scores, same, 0.5).log_odds(np.array([1.0, -1.0])))
    assert top == pytest.approx(same[scores == 1].mean(), abs=0.02)
    assert bottom == pytest.approx(same[scores == -1].mean(), abs=0.02)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("scale", "shift"), [(37.0, -4.0), (1e-6, 0.3), (1e200, 0.0), (1e-200, 0.0)])
def test_the_unit_of_the_scores_does_not_matter(method: str, scale: float, shift: float) -> None:
    scores, same = overlapping(2)
    plain = CALIBRATORS[method](scores, same, 0.5).log_odds(scores)
    moved = scale * scores + shift
    np.testing.assert_allclose(CALIBRATORS[method](moved, same, 0.5).log_odds(moved), plain, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(5))
def test_what_was_fitted_survives_json_exactly(method: str, seed: int) -> None:
    scores, same = overlapping(seed)
    found = CALIBRATORS[method](scores / 3, same, 0.5)
    back = SERIALISED.validate_json(SERIALISED.dump_json(found))
    assert back == found
    assert type(back) is type(found)
    grid = np.linspace(-2, 2, 500)
    np.testing.assert_array_equal(back.log_odds(grid), found.log_odds(grid))


@pytest.mark.parametrize("fit", [fit_platt, fit_beta])
def test_scores_too_close_for_a_finite_slope_are_refused(fit: Any) -> None:
    message = "scores from 0 to 5e-310: too close to each other to be calibrated"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        fit(np.repeat([0.0, 5e-310], 9), np.repeat([False, True], 9), 0.5)


@pytest.mark.parametrize(
    ("model", "values", "message"),
    [
        (PlattCalibrator, {"slope": -1.0, "intercept": 0.0}, "greater than or equal to 0"),
        (PlattCalibrator, {"slope": 1.0, "intercept": float("nan")}, "finite number"),
        (PlattCalibrator, {"slope": 1.0, "intercept": 0.0, "steepness": 1}, "Extra inputs are not permitted"),
        (BetaCalibrator, {"platt": {"slope": 1, "intercept": 0}, "below": 1, "above": -1, "intercept": 0}, "above"),
        (IsotonicCalibrator, {"scores": [], "probabilities": []}, "at least 1 item"),
        (IsotonicCalibrator, {"scores": [0.0, 1.0], "probabilities": [0.5]}, "2 scores and 1 probabilities"),
        (IsotonicCalibrator, {"scores": [1.0, 1.0], "probabilities": [0.2, 0.5]}, "scores of the knots must rise"),
        (IsotonicCalibrator, {"scores": [0.0, 1.0], "probabilities": [0.5, 0.2]}, "must not fall"),
        (IsotonicCalibrator, {"scores": [0.0, 1.0], "probabilities": [0.0, 0.2]}, "greater than 0"),
    ],
)
def test_parameters_that_no_fit_gives_are_refused(model: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        model.model_validate(values)


def test_loading_and_applying_needs_neither_scikit_learn_nor_scipy() -> None:
    scores, same = overlapping(0)
    stored = [SERIALISED.dump_json(fit(scores, same, 0.5)).decode() for fit in CALIBRATORS.values()]
    script = f"""
import sys
from siamese.evaluation.calibration import Calibration
from siamese.evaluation.calibration_band import decide
for text in {stored!r}:
    counts = '"prior":0.5,"split":"v","genuine":60,"impostor":90'
    method = text.split('"method":"')[1].split('"')[0]
    calibration = Calibration.model_validate_json(
        '{{"calibrator":' + text + "," + counts + ',"candidates":[{{"method":"' + method + '","log_loss":null}}]}}'
    )
    print(decide(calibration.probability([-1.0, 1.0], prior=0.4), 0.4).same.tolist(), calibration.method)
print(*sorted({{"sklearn", "scipy", "torch", "pandas"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        *(f"[False, True] {'beta' if method == 'beta' else method}" for method in ("platt", "beta", "isotonic")),
        "",
    ]
