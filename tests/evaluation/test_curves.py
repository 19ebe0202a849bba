import dataclasses
import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from siamese.errors import OptionError
from siamese.evaluation import metrics
from siamese.evaluation.curves import Curve


def random_pairs(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores of every sort: few and many, tied heavily or not at all, far apart or inverted, rare genuine pairs."""
    rng = np.random.default_rng(seed)
    count = int(rng.choice([2, 3, 10, 100, 1000]))
    same = rng.random(count) < rng.choice([0.01, 0.3, 0.9])
    same[:2] = True, False
    scores = rng.normal(rng.choice([-2.0, 0.0, 0.5, 5.0]) * same, 1.0)
    decimals = int(rng.choice([0, 1, 15]))
    return np.round(scores, decimals), same


SEEDS = range(60)


@pytest.mark.parametrize("seed", SEEDS)
def test_counts_are_those_of_a_direct_count(seed: int) -> None:
    scores, same = random_pairs(seed)
    curve = Curve.of(scores, same)
    assert curve.thresholds.tolist() == [math.inf, *np.unique(scores)[::-1]]
    for threshold, genuine, impostor in zip(
        curve.thresholds, curve.accepted_genuine, curve.accepted_impostor, strict=True
    ):
        assert genuine == np.count_nonzero(scores[same] >= threshold)
        assert impostor == np.count_nonzero(scores[~same] >= threshold)
    assert (curve.genuine, curve.impostor) == (np.count_nonzero(same), np.count_nonzero(~same))


@pytest.mark.parametrize("seed", SEEDS)
def test_areas_and_points_are_those_of_scikit_learn(seed: int) -> None:
    scores, same = random_pairs(seed)
    curve = Curve.of(scores, same)
    assert curve.auc() == pytest.approx(roc_auc_score(same, scores), abs=1e-12)
    assert curve.average_precision() == pytest.approx(average_precision_score(same, scores), abs=1e-12)
    for found, wanted in zip(curve.roc(), roc_curve(same, scores, drop_intermediate=False), strict=True):
        np.testing.assert_array_equal(found, wanted)
    precision, recall, _ = precision_recall_curve(same, scores)
    # Theirs ends with precision 1 where nothing is accepted; F1 there is 0 either way.
    denominator = np.maximum(precision + recall, 1e-300)
    np.testing.assert_allclose(curve.f1()[::-1], 2 * precision * recall / denominator, rtol=0, atol=1e-9)
    np.testing.assert_allclose(curve.frr, 1 - curve.tar, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_whole_curve_agrees_with_each_threshold_on_its_own(seed: int) -> None:
    scores, same = random_pairs(seed)
    curve = Curve.of(scores, same)
    accuracy, balanced, f1 = curve.accuracy(), curve.accuracy(balanced=True), curve.f1()
    for index in np.unique(np.linspace(0, len(f1) - 1, 25).astype(int)):
        cut = float(curve.thresholds[index])
        assert accuracy[index] == pytest.approx(metrics.accuracy_at(scores, same, cut), abs=1e-12)
        assert balanced[index] == pytest.approx(metrics.accuracy_at(scores, same, cut, balanced=True), abs=1e-12)
        assert f1[index] == pytest.approx(metrics.f1_at(scores, same, cut), abs=1e-12)
        assert curve.rates_at(cut) == (metrics.far_at(scores, same, cut), metrics.tar_at(scores, same, cut))


@pytest.mark.parametrize("seed", SEEDS)
def test_rates_between_and_beyond_the_scores_are_counted(seed: int) -> None:
    scores, same = random_pairs(seed)
    curve = Curve.of(scores, same)
    for cut in (*np.random.default_rng(seed).normal(0, 2, 20), -math.inf, math.inf):
        assert curve.rates_at(cut) == (np.mean(scores[~same] >= cut), np.mean(scores[same] >= cut))


@pytest.mark.parametrize("seed", SEEDS)
def test_the_equal_error_rate_is_where_an_interpolated_characteristic_crosses(seed: int) -> None:
    scores, same = random_pairs(seed)
    far, tar, _ = roc_curve(same, scores, drop_intermediate=False)
    assert Curve.of(scores, same).eer_point()[0] == pytest.approx(np.interp(0, far - (1 - tar), far), abs=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_threshold_of_a_place_decides_like_it(seed: int) -> None:
    scores, same = random_pairs(seed)
    curve = Curve.of(scores, same)
    for index in range(min(30, len(curve.thresholds))):
        expected = (curve.far[index], curve.tar[index])
        assert curve.rates_at(curve.midway(index)) == expected
        merit = np.zeros(len(curve.thresholds))
        merit[index] = 1.0
        assert curve.rates_at(curve.threshold_of_highest(merit)) == expected


def test_a_threshold_between_enormous_scores_stays_between_them() -> None:
    curve = Curve.of([1e308, 1.7e308], [False, True])
    assert 1e308 < curve.threshold_of_highest(curve.f1()) <= 1.7e308


def test_zero_and_minus_zero_are_one_score() -> None:
    curve = Curve.of([0.0, -0.0, 1.0], [True, False, True])
    assert len(curve.thresholds) == 3
    assert curve.auc() == 0.75


def test_the_curve_is_frozen_and_leaves_its_input_as_it_was() -> None:
    scores, same = np.array([0.3, 0.1, 0.2]), np.array([True, False, True])
    curve = Curve.of(scores, same)
    assert scores.tolist() == [0.3, 0.1, 0.2]
    with pytest.raises(dataclasses.FrozenInstanceError):
        curve.thresholds = scores  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        curve.accepted_genuine[0] = 7


def test_a_rate_at_no_number_is_refused() -> None:
    with pytest.raises(OptionError, match=r"^threshold nan: expected a number on the scale of the scores$"):
        Curve.of([0.1, 0.2], [False, True]).rates_at(math.nan)
