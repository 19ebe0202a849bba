import itertools
import math
import re
from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.special import expit
from sklearn.metrics import log_loss as reference_log_loss

from siamese.errors import DataError, OptionError
from siamese.evaluation import calibration_fitting
from siamese.evaluation.calibration import Calibration, Candidate
from siamese.evaluation.calibration_band import measure_abstaining
from siamese.evaluation.calibration_fitting import fit_calibration
from siamese.evaluation.calibration_folds import identity_folds
from siamese.evaluation.calibrator_fitting import CALIBRATORS
from siamese.evaluation.calibrators import PlattCalibrator
from siamese.evaluation.reliability import expected_calibration_error

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Codes = NDArray[np.int64]


class Pairs(NamedTuple):
    scores: Floats
    same: Bools
    left: Codes
    right: Codes


def log_odds_of(scores: Floats) -> Floats:
    """The truth at a prior of .5: ln N(s; .55, .15) - ln N(s; .05, .15)."""
    return (scores - 0.3) * 0.5 / 0.15**2


def drawn(seed: int, genuine: int = 400, impostor: int = 4000, identities: int = 60) -> Pairs:
    """Pairs of random identities, whose scores are normal with log-odds that are known."""
    rng = np.random.default_rng(seed)
    same = rng.permutation(np.arange(genuine + impostor) < genuine)
    left = rng.integers(0, identities, len(same))
    right = np.where(same, left, (left + rng.integers(1, identities, len(same))) % identities)
    return Pairs(rng.normal(np.where(same, 0.55, 0.05), 0.15), same, left, right)


def platt(prior: float = 0.5) -> Calibration:
    return Calibration(
        calibrator=PlattCalibrator(slope=20.0, intercept=-6.0),
        prior=prior,
        split="validation",
        genuine=300,
        impostor=3000,
        candidates=(Candidate(method="platt", log_loss=0.05),),
    )


# applying


@pytest.mark.parametrize("method", CALIBRATORS)
def test_another_prior_shifts_the_log_odds_and_nothing_else(method: str) -> None:
    pairs = drawn(0)
    calibration = fit_calibration(*pairs, "val", method=method, prior=0.3)
    fitted = calibration.log_odds(pairs.scores)
    np.testing.assert_array_equal(calibration.log_odds(pairs.scores, prior=0.3), fitted)
    for prior in (1e-6, 0.01, 0.5, 0.999):
        shift = math.log(prior / (1 - prior)) - math.log(0.3 / 0.7)
        moved = calibration.log_odds(pairs.scores, prior=prior)
        np.testing.assert_allclose(moved - fitted, shift, rtol=0, atol=1e-12)
        np.testing.assert_allclose(calibration.probability(pairs.scores, prior), expit(moved), rtol=1e-13)
        # Bayes' rule, from the likelihood ratio.
        ratio = np.exp(fitted) * 0.7 / 0.3
        expected = prior * ratio / (prior * ratio + 1 - prior)
        np.testing.assert_allclose(calibration.probability(pairs.scores, prior), expected, rtol=1e-9)


def test_saturated_scores_keep_finite_log_odds_and_probabilities_within_bounds() -> None:
    scores = [-1e308, -1e6, 0.3, 1e6, 1e308]
    assert np.isfinite(platt().log_odds(scores, 0.01)).all()
    assert platt().probability(scores).tolist() == [0.0, 0.0, pytest.approx(0.5), 1.0, 1.0]
    assert platt().probability([]).shape == (0,)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([0.1, np.nan, np.inf], "2 of 3 scores are not finite numbers; leave out pairs without one"),
        (0.3, "scores of shape (): expected a vector, shape (N,)"),
        ([[0.3]], "scores of shape (1, 1): expected a vector, shape (N,)"),
    ],
)
def test_scores_that_are_none_are_refused(scores: Any, message: str) -> None:
    for apply in (platt().log_odds, platt().probability):
        with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
            apply(scores)


@pytest.mark.parametrize("prior", [0.0, 1.0, -0.1, 2.0, float("nan")])
def test_a_prior_that_leaves_nothing_to_decide_is_refused(prior: float) -> None:
    message = f"prior {prior:g}: expected the share of genuine pairs, above 0 and below 1"
    for call in (
        lambda: platt().probability([0.1], prior),
        lambda: fit_calibration(*drawn(0), "val", prior=prior),
        lambda: measure_abstaining([0.1, 0.9], [False, True], 0.1, prior),
    ):
        with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
            call()


# storing


@pytest.mark.parametrize("method", CALIBRATORS)
@pytest.mark.parametrize("seed", range(3))
def test_a_calibration_survives_json_exactly(method: str, seed: int) -> None:
    calibration = fit_calibration(*drawn(seed), "val pairs of run 7", method=method, prior=1 / 3)
    back = Calibration.model_validate_json(calibration.model_dump_json())
    assert back == calibration
    assert Calibration.model_validate(calibration.model_dump(mode="json")) == calibration
    scores = np.linspace(-1, 1, 1001)
    np.testing.assert_array_equal(back.log_odds(scores), calibration.log_odds(scores))
    assert (back.method, back.split, back.genuine, back.impostor) == (method, "val pairs of run 7", 400, 4000)
    assert [candidate.method for candidate in back.candidates] == ["platt", "beta", "isotonic"]
    assert back.log_loss == {candidate.method: candidate.log_loss for candidate in back.candidates}[method]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prior": 0.0}, "greater than 0"),
        ({"prior": 1.0}, "less than 1"),
        ({"impostor": 0}, "greater than or equal to 1"),
        ({"threshold": 0.3}, "Extra inputs are not permitted"),
        ({"calibrator": {"method": "histogram"}}, "'platt', 'beta', 'isotonic'"),
        ({"candidates": []}, "the method 'platt' is not among the candidates"),
    ],
)
def test_a_changed_file_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        Calibration.model_validate(platt().model_dump() | changes)


def test_a_calibration_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        platt().prior = 0.1  # type: ignore[misc]


# fitting


@pytest.mark.parametrize("method", CALIBRATORS)
def test_probabilities_of_other_people_are_true_at_the_prior_of_the_fit_and_at_others(method: str) -> None:
    calibration = fit_calibration(*drawn(1, 2000, 20_000), "val", method=method)
    rng = np.random.default_rng(2)
    for prior in (0.5, 0.05):
        same = rng.random(200_000) < prior
        scores = rng.normal(np.where(same, 0.55, 0.05), 0.15)
        found = calibration.probability(scores, prior)
        truth = expit(log_odds_of(scores) + math.log(prior / (1 - prior)))
        assert np.abs(found - truth).mean() < 0.01
        assert expected_calibration_error(found, same) < 0.01
        # As many of each kind, judged at the prior.
        even = rng.permutation(np.flatnonzero(same))[:5000], rng.permutation(np.flatnonzero(~same))[:5000]
        rows = np.concatenate(even)
        assert expected_calibration_error(found[rows], same[rows], prior=prior) < 0.015


@pytest.mark.parametrize("method", CALIBRATORS)
def test_the_ratio_of_kinds_does_not_leak_in(method: str) -> None:
    pairs = drawn(3, 3000, 30_000)
    kept = pairs.same | (np.arange(len(pairs.same)) % 10 == 0)
    even = Pairs(*(column[kept] for column in pairs))
    scores = np.linspace(0.1, 0.5, 9)
    found = [fit_calibration(*of, "val", method=method, folds=2).probability(scores) for of in (pairs, even)]
    np.testing.assert_allclose(found[0], found[1], atol=0.05)
    assert found[0][4] == pytest.approx(0.5, abs=0.05)  # midway between the kinds


def test_the_simplest_form_is_chosen_where_it_is_as_good() -> None:
    chosen = [fit_calibration(*drawn(seed), "val").method for seed in range(8)]
    assert chosen.count("platt") >= 6


def test_a_more_flexible_form_is_chosen_where_the_truth_needs_it() -> None:
    pairs = drawn(4, 3000, 9000)
    # The truth is linear in the score as drawn. With one half stretched it has two slopes; raised to a power, a step.
    bent = np.where(log_odds_of(pairs.scores) > 0, pairs.scores, 0.3 + 2 * (pairs.scores - 0.3))
    steep = np.sign(pairs.scores - 0.3) * np.abs(pairs.scores - 0.3) ** 9
    assert fit_calibration(bent, *pairs[1:], "val").method == "beta"
    assert fit_calibration(steep, *pairs[1:], "val").method == "isotonic"


@pytest.mark.parametrize("prior", [0.1, 0.5])
def test_losses_are_those_of_pairs_whose_identities_were_not_fitted_on(prior: float) -> None:
    pairs = drawn(5, 120, 700, identities=20)
    calibration = fit_calibration(*pairs, "val", prior=prior, folds=4, seed=3)
    sides = identity_folds(pairs.left, pairs.right, 4, 3)
    assert sides is not None
    for candidate in calibration.candidates:
        log_odds, rows = [], []
        for fold in range(4):
            tested = set(np.concatenate((pairs.left[sides[0] == fold], pairs.right[sides[1] == fold])).tolist())
            inside = [[side in tested for side in both] for both in zip(pairs.left, pairs.right, strict=True)]
            fitted = np.array([not any(both) for both in inside])
            held_out = np.array([all(both) for both in inside])
            fit = CALIBRATORS[candidate.method](pairs.scores[fitted], pairs.same[fitted], prior)
            log_odds.append(fit.log_odds(pairs.scores[held_out]))
            rows.append(np.flatnonzero(held_out))
        same = pairs.same[np.concatenate(rows)]
        weights = np.where(same, prior / same.sum(), (1 - prior) / (~same).sum())
        expected = reference_log_loss(same, expit(np.concatenate(log_odds)), sample_weight=weights)
        assert candidate.log_loss == pytest.approx(expected, rel=1e-7)


def test_the_order_of_pairs_and_the_names_of_sides_do_not_matter() -> None:
    pairs = drawn(6)
    order = np.random.default_rng(0).permutation(len(pairs.same))
    swapped = Pairs(pairs.scores[order], pairs.same[order], pairs.right[order], pairs.left[order])
    first, second = fit_calibration(*pairs, "val"), fit_calibration(*swapped, "val")
    assert first.method == second.method
    for one, other in zip(first.candidates, second.candidates, strict=True):
        assert one.log_loss == pytest.approx(other.log_loss, rel=1e-9)
    np.testing.assert_allclose(first.log_odds(pairs.scores), second.log_odds(pairs.scores), atol=1e-8)


def test_many_pairs_are_thinned_to_choose_and_all_are_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = drawn(7)
    whole = fit_calibration(*pairs, "val", method="platt")
    monkeypatch.setattr(calibration_fitting, "_JUDGED", 300)
    thinned = fit_calibration(*pairs, "val", method="platt")
    assert thinned.calibrator == whole.calibrator
    assert thinned.log_loss != whole.log_loss
    assert thinned.log_loss == pytest.approx(whole.log_loss, rel=0.5)
    assert (thinned.genuine, thinned.impostor) == (400, 4000)


def test_too_few_identities_for_folds_give_platt_without_losses() -> None:
    scores, same = [0.8, 0.7, 0.1, 0.2], [True, True, False, False]
    calibration = fit_calibration(scores, same, [0, 1, 0, 1], [0, 1, 1, 0], "val")
    assert calibration.method == "platt"
    assert [candidate.log_loss for candidate in calibration.candidates] == [None, None, None]
    assert calibration.log_loss is None
    assert Calibration.model_validate_json(calibration.model_dump_json()) == calibration
    low, high = calibration.probability([0.1, 0.8])
    assert 0.2 < low < 0.5 < high < 0.8
    two = fit_calibration([0.8, 0.1], [True, False], [4, 4], [4, 9], "val", method="isotonic")
    assert (two.method, two.genuine, two.impostor) == ("isotonic", 1, 1)


@pytest.mark.parametrize("method", CALIBRATORS)
def test_constant_scores_give_the_prior(method: str) -> None:
    pairs = drawn(8, 50, 500, identities=12)._replace(scores=np.full(550, 0.4))
    calibration = fit_calibration(*pairs, "val", method=method)
    np.testing.assert_allclose(calibration.probability([0.0, 0.4, 1.0], 0.2), 0.2, rtol=1e-9)
    assert calibration.log_loss == pytest.approx(math.log(2), rel=1e-9)
    assert fit_calibration(*pairs, "val").method == "platt"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scores": [0.5, np.nan, 0.1, 0.2]}, "1 of 4 scores are not finite numbers"),
        (
            {"same": [True] * 4, "right": [0, 1, 2, 3]},
            "4 genuine and 0 impostor pairs: verification is measured on both kinds; add the missing one",
        ),
        (
            {"same": [False, False, False, False]},
            "0 genuine and 4 impostor pairs: verification is measured on both kinds; add the missing one",
        ),
        (
            {"left": [0, 1, 2]},
            "identity codes, left: int64 of shape (3,); expected one whole number for each of 4 pairs",
        ),
        (
            {"right": [0.0, 1.0, 3.0, 2.0]},
            "identity codes, right: float64 of shape (4,); expected one whole number for each of 4 pairs",
        ),
        (
            {"right": [0, 2, 3, 3]},
            "2 of 4 pairs contradict their identities; first: row 1 is genuine, with the codes 1 and 2; "
            "genuine pairs have one identity, impostor pairs two",
        ),
    ],
)
def test_pairs_that_cannot_be_fitted_on_are_refused(changes: dict[str, Any], message: str) -> None:
    given = {
        "scores": [0.9, 0.8, 0.1, 0.2],
        "same": [True, True, False, False],
        "left": [0, 1, 2, 3],
        "right": [0, 1, 3, 2],
    }
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        fit_calibration(**given | changes, split="val")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"folds": 1}, "folds 1: expected at least 2"),
        (
            {"method": "plat"},
            "unknown calibration method 'plat': did you mean 'platt'? known: beta, isotonic, platt",
        ),
    ],
)
def test_options_that_are_not_possible_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        fit_calibration(*drawn(0), "val", **options)


# folds


@pytest.mark.parametrize("seed", range(6))
def test_each_identity_is_in_one_fold_and_genuine_pairs_are_spread(seed: int) -> None:
    pairs = drawn(seed, 300, 2000, identities=40)
    codes = np.random.default_rng(seed).choice(10**9, 40, replace=False)  # codes need not be dense
    sides = identity_folds(codes[pairs.left], codes[pairs.right], 5, seed)
    assert sides is not None
    of = np.unique(np.column_stack([np.concatenate(pairs[2:]), np.concatenate(sides)]), axis=0)
    assert len(of) == 40
    assert set(of[:, 1]) == set(range(5))
    genuine = np.bincount(sides[0][pairs.same], minlength=5)
    assert genuine.max() - genuine.min() <= 0.2 * genuine.mean()


@pytest.mark.parametrize(("identities", "most"), [(4, 2), (6, 3), (9, 4), (30, 5)])
def test_folds_are_fewer_where_identities_are(identities: int, most: int) -> None:
    left, right = np.array(list(itertools.product(range(identities), repeat=2))).T
    sides = identity_folds(left, right, 5, 0)
    assert sides is not None
    assert sides[0].max() + 1 == most
    same = left == right
    for fold in range(most):
        tested, fitted = (sides[0] == fold) & (sides[1] == fold), (sides[0] != fold) & (sides[1] != fold)
        assert same[tested].any()
        assert (~same[tested]).any()
        assert same[fitted].any()
        assert (~same[fitted]).any()


@pytest.mark.parametrize("identities", [2, 3])
def test_no_folds_where_impostors_cannot_be_on_both_sides(identities: int) -> None:
    left, right = np.array(list(itertools.product(range(identities), repeat=2))).T
    assert identity_folds(left, right, 5, 0) is None
