import math
import re
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from sklearn.metrics import accuracy_score, f1_score, roc_auc_score, roc_curve

from siamese.errors import DataError
from siamese.evaluation import metrics

Scored = tuple[NDArray[np.float64], NDArray[np.bool_]]


def tied_scores(seed: int, count: int = 60, steps: int = 12) -> Scored:
    """Overlapping scores on a coarse grid, so that many tie within and across the kinds."""
    rng = np.random.default_rng(seed)
    same = rng.random(count) < 0.4
    same[:2] = True, False
    return (rng.integers(0, steps, count) + 3 * same) / steps - 0.5, same


def thresholds_of(scores: NDArray[np.float64]) -> list[float]:
    """Every threshold that decides differently: at each score, and above them all."""
    return [*np.unique(scores), float(np.nextafter(scores.max(), np.inf))]


def best_by_listing(scores: NDArray[np.float64], same: NDArray[np.bool_]) -> float:
    return max(float(np.mean((scores >= cut) == same)) for cut in thresholds_of(scores))


@pytest.mark.parametrize("seed", range(5))
def test_roc_and_auc_are_those_of_scikit_learn(seed: int) -> None:
    scores, same = tied_scores(seed)
    expected = roc_curve(same, scores, drop_intermediate=False)
    for found, wanted in zip(metrics.roc(scores, same), expected, strict=True):
        np.testing.assert_array_equal(found, wanted)
    assert metrics.auc(scores, same) == pytest.approx(roc_auc_score(same, scores))


@pytest.mark.parametrize("seed", range(5))
def test_auc_is_the_chance_that_a_genuine_pair_outscores_an_impostor_pair(seed: int) -> None:
    scores, same = tied_scores(seed)
    gaps = scores[same][:, None] - scores[~same][None, :]
    assert metrics.auc(scores, same) == pytest.approx(np.mean((gaps > 0) + 0.5 * (gaps == 0)))


@pytest.mark.parametrize("seed", range(3))
def test_rates_at_a_threshold_are_counted(seed: int) -> None:
    scores, same = tied_scores(seed)
    for cut in thresholds_of(scores):
        accepted = scores >= cut
        assert metrics.accuracy_at(scores, same, cut) == pytest.approx(accuracy_score(same, accepted))
        assert metrics.f1_at(scores, same, cut) == pytest.approx(f1_score(same, accepted, zero_division=0.0))
        assert metrics.far_at(scores, same, cut) == np.count_nonzero(accepted & ~same) / np.count_nonzero(~same)
        assert metrics.tar_at(scores, same, cut) == np.count_nonzero(accepted & same) / np.count_nonzero(same)


@pytest.mark.parametrize("of", [metrics.accuracy_at, metrics.f1_at, metrics.far_at, metrics.tar_at])
def test_float32_scores_are_decided_like_the_same_float64_scores(of: Any) -> None:
    scores = np.array([0.1, 0.3, 0.3, 0.3, 0.3, 0.7], np.float32)
    same = [False, False, False, False, True, True]
    # A hair above 0.3: rounded to float32 it would be 0.3 again, and accept what must be rejected.
    cut = float(np.nextafter(float(scores[1]), np.inf))
    assert of(scores, same, cut) == of(scores.astype(np.float64), same, cut)
    assert of(scores, same, cut) != of(scores, same, float(scores[1]))


def test_f1_is_zero_where_nothing_genuine_is_accepted() -> None:
    assert metrics.f1_at([0.1, 0.2], [True, False], 0.5) == 0.0
    assert metrics.f1_at([0.1, 0.2], [False, False], 0.5) == 0.0
    assert metrics.f1_at([0.1, 0.9], [True, False], 0.5) == 0.0


@pytest.mark.parametrize(
    ("genuine", "impostor", "rate"),
    [
        ([0.8, 0.9], [0.1, 0.2, 0.3], 0.0),  # perfect
        ([-0.5, -0.4], [0.1, 0.2, 0.3], 1.0),  # inverted
        ([0.5, 0.5, 0.5], [0.5, 0.5], 0.5),  # a constant
        ([0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4], 0.5),  # every score once of each kind
        ([0.2, 0.8, 0.8, 0.8], [0.1, 0.1, 0.1, 0.5], 0.25),  # one of four wrong on either side
        ([0.4, 0.9], [0.0, 0.0, 0.0, 0.6], 0.25),  # FRR falls from 0.5 to 0 while FAR stays 0.25
        ([0.5, 0.9], [0.5, 0.1, 0.1], 0.2),  # on the segment of the tie from (0, .5) to (1/3, 0): x = (1 - 3x) / 2
    ],
)
def test_eer_of_closed_forms(genuine: list[float], impostor: list[float], rate: float) -> None:
    scores, same = genuine + impostor, [True] * len(genuine) + [False] * len(impostor)
    assert metrics.eer(scores, same) == pytest.approx(rate, abs=1e-12)
    assert metrics.eer_point(scores, same)[0] == metrics.eer(scores, same)


@pytest.mark.parametrize("separation", [0.5, 1.0, 2.0, 4.0])
def test_eer_of_two_gaussians_is_the_analytic_one(separation: float) -> None:
    rng, count = np.random.default_rng(0), 40_000
    scores = np.concatenate([rng.normal(separation, 1, count), rng.normal(0, 1, count)])
    same = np.arange(2 * count) < count
    expected = NormalDist().cdf(-separation / 2)
    rate, threshold = metrics.eer_point(scores, same)
    assert rate == pytest.approx(expected, abs=5 * math.sqrt(expected / count))
    assert threshold == pytest.approx(separation / 2, abs=0.06)


@pytest.mark.parametrize("seed", range(20))
def test_eer_lies_on_the_characteristic_where_far_equals_frr(seed: int) -> None:
    scores, same = tied_scores(seed, count=30, steps=6)
    rate = metrics.eer(scores, same)
    far, tar, _ = metrics.roc(scores, same)
    # An independent way to the crossing: TAR as a function of FAR + FRR's difference, interpolated.
    assert np.interp(0.0, far - (1 - tar), far) == pytest.approx(rate, abs=1e-12)
    assert np.interp(0.0, far - (1 - tar), 1 - tar) == pytest.approx(rate, abs=1e-12)


@pytest.mark.parametrize("seed", range(10))
def test_eer_threshold_lies_between_the_neighbouring_operating_points(seed: int) -> None:
    scores, same = tied_scores(seed)
    rate, threshold = metrics.eer_point(scores, same)
    assert scores.min() <= threshold <= scores.max()
    above, below = scores[scores > threshold].min(), scores[scores <= threshold].max()
    assert metrics.far_at(scores, same, above) <= rate + 1e-12
    assert metrics.far_at(scores, same, below) >= rate - 1e-12


@pytest.mark.parametrize("seed", range(40))
def test_best_accuracy_threshold_reaches_the_best_accuracy_there_is(seed: int) -> None:
    scores, same = tied_scores(seed, count=4 + seed, steps=3 + seed % 7)
    threshold = metrics.best_accuracy_threshold(scores, same)
    assert metrics.accuracy_at(scores, same, threshold) == pytest.approx(best_by_listing(scores, same))


def test_best_accuracy_threshold_lies_midway_between_the_neighbouring_scores() -> None:
    assert metrics.best_accuracy_threshold([0.1, 0.2, 0.6, 0.9], [False, False, True, True]) == pytest.approx(0.4)


def test_best_accuracy_threshold_takes_the_middle_of_equally_good_ones() -> None:
    # Rejecting 1, 2 or 4 of the lowest is right five times out of seven.
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    same = np.array([False, True, False, False, True, False, True])
    right = [np.mean((scores >= cut) == same) for cut in thresholds_of(scores)]
    best = np.flatnonzero(np.isclose(right, max(right)))
    threshold = metrics.best_accuracy_threshold(scores, same)
    assert np.count_nonzero(scores < threshold) == best[len(best) // 2]


def test_best_accuracy_threshold_may_accept_everything_or_nothing() -> None:
    # One impostor above all genuine pairs: accepting everything errs once, and nothing errs less.
    scores, same = [0.2, 0.3, 0.4, 0.9], [True, True, True, False]
    assert metrics.best_accuracy_threshold(scores, same) <= 0.2
    assert metrics.accuracy_at(scores, same, metrics.best_accuracy_threshold(scores, same)) == 0.75
    # One genuine pair below all impostors: accepting nothing errs once.
    scores, same = [0.1, 0.3, 0.4, 0.9], [True, False, False, False]
    assert metrics.best_accuracy_threshold(scores, same) > 0.9
    assert metrics.accuracy_at(scores, same, metrics.best_accuracy_threshold(scores, same)) == 0.75


@pytest.mark.parametrize("seed", range(5))
def test_balanced_figures_are_those_of_each_kind_repeated_as_often_as_the_other_occurs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    same = np.arange(33) < 3
    scores = rng.normal(same, 0.6)
    repeated = np.where(same, 30, 3)
    values, labels = np.repeat(scores, repeated), np.repeat(same, repeated)
    threshold = metrics.best_accuracy_threshold(scores, same, balanced=True)
    assert threshold == metrics.best_accuracy_threshold(values, labels)
    expected = accuracy_score(labels, values >= threshold)
    assert metrics.accuracy_at(scores, same, threshold, balanced=True) == pytest.approx(expected)


def two_normals(genuine: int, impostor: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose densities cross at 0.3, where balanced accuracy is best."""
    same = np.arange(genuine + impostor) < genuine
    return np.random.default_rng(seed).normal(0.6 * same, 0.2), same


@pytest.mark.parametrize(("genuine", "impostor"), [(200, 200), (200, 2000), (2000, 200)])
def test_the_smoothed_threshold_is_steadier_than_the_best_of_one_sample(genuine: int, impostor: int) -> None:
    samples = [two_normals(genuine, impostor, seed) for seed in range(30)]
    smoothed = np.array([metrics.smoothed_accuracy_threshold(*sample) for sample in samples])
    plain = np.array([metrics.best_accuracy_threshold(*sample, balanced=True) for sample in samples])
    assert abs(smoothed.mean() - 0.3) < 0.015
    assert smoothed.std() < 0.65 * plain.std()


@pytest.mark.parametrize("seed", range(5))
def test_the_smoothed_threshold_is_best_between_the_kernel_distributions_of_both_kinds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    same = np.arange(700) < 200
    scores = np.where(same, 1 - rng.gamma(2, 0.2, 700), rng.normal(0, 0.2, 700))

    def kernel_accuracy(threshold: float) -> float:
        shares = []
        for kind in (same, ~same):
            values = scores[kind]
            spread = min(values.std(), (np.percentile(values, 75) - np.percentile(values, 25)) / 1.349)
            shares.append(norm.cdf(threshold, values, 1.06 * spread * len(values) ** -0.2).mean())
        return float(shares[1] - shares[0])

    found = metrics.smoothed_accuracy_threshold(scores, same)
    best = minimize_scalar(lambda each: -kernel_accuracy(each), bounds=(0.1, 0.9), method="bounded")
    assert found == pytest.approx(best.x, abs=2 * np.ptp(scores) / 4096)


def test_the_smoothed_threshold_converges_to_where_the_densities_cross() -> None:
    same = np.arange(400_000) < 100_000
    scores = np.random.default_rng(0).normal(np.where(same, 1.0, 0.0), np.where(same, 0.5, 0.25))
    # exp(-8 x^2) / 0.25 = exp(-2 (x - 1)^2) / 0.5: 6 x^2 + 4 x - 2 - ln 2 = 0
    crossing = (-4 + np.sqrt(16 + 24 * (2 + np.log(2)))) / 12
    assert metrics.smoothed_accuracy_threshold(scores, same) == pytest.approx(crossing, abs=0.01)


def test_the_smoothed_threshold_moves_with_the_scores_and_not_with_their_order() -> None:
    scores, same = two_normals(60, 90, 0)
    order = np.random.default_rng(1).permutation(len(same))
    threshold = metrics.smoothed_accuracy_threshold(scores, same)
    assert metrics.smoothed_accuracy_threshold(scores[order], same[order]) == pytest.approx(threshold)
    assert metrics.smoothed_accuracy_threshold(7 * scores - 3, same) == pytest.approx(7 * threshold - 3)


@pytest.mark.parametrize(
    ("genuine", "impostor"),
    [([0.9], [0.1]), ([1.0] * 50, [-0.2, 0.1, 0.3, 0.3]), ([0.8, 0.81, 0.9], [0.2, 0.1]), ([1.0] * 9, [0.0] * 9)],
    ids=["one-of-each", "saturated", "few", "both-saturated"],
)
def test_the_smoothed_threshold_separates_what_is_separable(genuine: list[float], impostor: list[float]) -> None:
    threshold = metrics.smoothed_accuracy_threshold(
        [*genuine, *impostor], [True] * len(genuine) + [False] * len(impostor)
    )
    assert max(impostor) < threshold <= min(genuine)


def test_the_smoothed_threshold_of_scores_the_wrong_way_round_accepts_all_or_nothing() -> None:
    same = np.arange(600) < 300
    scores = np.random.default_rng(0).normal(np.where(same, -1.0, 1.0), 0.2)
    accepted = scores >= metrics.smoothed_accuracy_threshold(scores, same)
    assert accepted.all() or not accepted.any()


def test_the_smoothed_threshold_of_equal_scores_is_their_value() -> None:
    assert metrics.smoothed_accuracy_threshold([0.4, 0.4, 0.4], [True, False, False]) == 0.4


def test_best_accuracy_threshold_separates_neighbouring_floating_point_numbers() -> None:
    for low in (0.3, 0.5, np.nextafter(0.3, 1), -0.7, 0.0):
        high = np.nextafter(low, np.inf)
        assert metrics.best_accuracy_threshold([low, high], [False, True]) == high


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("far", [0.05, 0.1, 0.25, 1 / 3, 0.5, 0.9, 1.0])
def test_threshold_at_far_is_the_lowest_that_does_not_exceed_it(seed: int, far: float) -> None:
    scores, same = tied_scores(seed, count=150)
    threshold = metrics.threshold_at_far(scores, same, far)
    assert threshold is not None
    impostors = scores[~same]
    assert np.mean(impostors >= threshold) <= far + 1e-12
    allowed = [cut for cut in thresholds_of(scores) if np.mean(impostors >= cut) <= far + 1e-12]
    # No lower threshold is allowed, so it accepts as many genuine pairs as any that is.
    assert threshold <= min(allowed)
    assert metrics.tar_at(scores, same, threshold) == metrics.tar_at(scores, same, min(allowed))
    below = float(np.nextafter(threshold, -np.inf))
    assert threshold == scores.min() or np.mean(impostors >= below) > far
    assert metrics.tar_at_far(scores, same, far) == metrics.tar_at(scores, same, threshold)


def test_far_that_is_a_whole_number_of_impostors_is_used_to_the_full() -> None:
    # 0.1 * 30 is 3.0000000000000004 and 0.7 * 100 is 70 less a rounding error: both count as whole.
    for far, count, accepted in ((0.1, 30, 3), (0.07, 100, 7), (0.29, 100, 29)):
        scores = np.append(np.arange(count), count + 1.0)
        threshold = metrics.threshold_at_far(scores, scores == count + 1, far)
        assert threshold is not None
        assert np.count_nonzero(scores[:-1] >= threshold) == accepted


@pytest.mark.parametrize(
    ("impostors", "far", "enough"),
    [(30, 0.1, True), (29, 0.1, False), (300, 0.01, True), (299, 0.01, False), (2999, 0.001, False), (3, 1.0, True)],
)
def test_far_needs_three_expected_false_accepts(impostors: int, far: float, enough: bool) -> None:
    assert metrics.enough_for_far(impostors, far) is enough
    scores, same = np.arange(impostors + 1.0), np.arange(impostors + 1) == 0
    assert (metrics.threshold_at_far(scores, same, far) is not None) is enough
    assert (metrics.tar_at_far(scores, same, far) is not None) is enough


def test_threshold_of_zero_and_negative_scores_are_ordinary() -> None:
    scores, same = np.array([-0.9, -0.5, 0.0, 0.4]), np.array([False, False, True, True])
    assert metrics.accuracy_at(scores, same, 0.0) == 1.0
    assert metrics.f1_at(scores, same, 0.0) == 1.0
    assert (metrics.far_at(scores, same, 0.0), metrics.tar_at(scores, same, 0.0)) == (0.0, 1.0)
    assert metrics.best_accuracy_threshold([-0.5, 0.5], [False, True]) == 0.0
    assert metrics.eer_point(scores - 5, same) == (0.0, -5.0)


@pytest.mark.parametrize("seed", range(5))
def test_monotone_scaling_of_the_scores_changes_no_figure(seed: int) -> None:
    scores, same = tied_scores(seed, count=200)
    for scaled in (7 * scores + 100, scores - 3, np.exp(scores), scores**3):
        assert metrics.auc(scaled, same) == pytest.approx(metrics.auc(scores, same))
        assert metrics.eer(scaled, same) == pytest.approx(metrics.eer(scores, same))
        assert metrics.tar_at_far(scaled, same, 0.1) == metrics.tar_at_far(scores, same, 0.1)
        one, other = (metrics.best_accuracy_threshold(values, same) for values in (scores, scaled))
        np.testing.assert_array_equal(scaled >= other, scores >= one)


@pytest.mark.parametrize("seed", range(3))
def test_order_of_the_pairs_changes_no_figure(seed: int) -> None:
    scores, same = tied_scores(seed, count=200)
    order = np.random.default_rng(seed).permutation(len(scores))
    for of in (metrics.auc, metrics.eer_point, metrics.best_accuracy_threshold):
        assert of(scores[order], same[order]) == pytest.approx(of(scores, same), abs=1e-12)
    assert metrics.threshold_at_far(scores[order], same[order], 0.1) == metrics.threshold_at_far(scores, same, 0.1)


@pytest.mark.parametrize(
    "of",
    [
        metrics.check_scores,
        metrics.roc,
        metrics.auc,
        metrics.eer,
        metrics.best_accuracy_threshold,
        lambda scores, same: metrics.far_at(scores, same, 0.5),
        lambda scores, same: metrics.tar_at(scores, same, 0.5),
        lambda scores, same: metrics.threshold_at_far(scores, same, 0.5),
        lambda scores, same: metrics.tar_at_far(scores, same, 0.5),
    ],
)
@pytest.mark.parametrize(
    ("scores", "same", "message"),
    [
        ([0.1, math.nan, math.inf], [1, 0, 1], "2 of 3 scores are not finite numbers"),
        ([0.1, 0.2], [1, 0, 1], "scores (2,) and labels (3,): expected two vectors of one length"),
        ([[0.1, 0.2]], [[1, 0]], "scores (1, 2) and labels (1, 2): expected two vectors of one length"),
        (
            [0.1, 0.2],
            [1, 1],
            "2 genuine and 0 impostor pairs: verification is measured on both kinds; add the missing one",
        ),
        (
            [0.1, 0.2, 0.3],
            [0, 0, 0],
            "0 genuine and 3 impostor pairs: verification is measured on both kinds; add the missing one",
        ),
        ([], [], "0 genuine and 0 impostor pairs: verification is measured on both kinds; add the missing one"),
    ],
)
def test_what_cannot_be_measured_is_refused(of: Any, scores: list[Any], same: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        of(scores, same)
