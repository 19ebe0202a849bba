import re

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.stats import norm
from sklearn.metrics import accuracy_score, f1_score

from siamese.errors import DataError, OptionError
from siamese.evaluation import metrics
from siamese.evaluation.curves import Curve
from siamese.evaluation.thresholds import (
    accuracy_over_threshold,
    best_accuracy_threshold,
    best_f1_threshold,
    f1_over_threshold,
    over_threshold,
    reduced,
    smoothed_accuracy_threshold,
    threshold_at_far,
)

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


@pytest.mark.parametrize("seed", range(40))
def test_best_accuracy_threshold_reaches_the_best_accuracy_there_is(seed: int) -> None:
    scores, same = tied_scores(seed, count=4 + seed, steps=3 + seed % 7)
    threshold = best_accuracy_threshold(scores, same)
    assert metrics.accuracy_at(scores, same, threshold) == pytest.approx(best_by_listing(scores, same))


def test_best_accuracy_threshold_lies_midway_between_the_neighbouring_scores() -> None:
    assert best_accuracy_threshold([0.1, 0.2, 0.6, 0.9], [False, False, True, True]) == pytest.approx(0.4)


def test_best_accuracy_threshold_takes_the_middle_of_equally_good_ones() -> None:
    # Rejecting 1, 2 or 4 of the lowest is right five times out of seven.
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    same = np.array([False, True, False, False, True, False, True])
    right = [np.mean((scores >= cut) == same) for cut in thresholds_of(scores)]
    best = np.flatnonzero(np.isclose(right, max(right)))
    threshold = best_accuracy_threshold(scores, same)
    assert np.count_nonzero(scores < threshold) == best[len(best) // 2]


def test_best_accuracy_threshold_may_accept_everything_or_nothing() -> None:
    # One impostor above all genuine pairs: accepting everything errs once, and nothing errs less.
    scores, same = [0.2, 0.3, 0.4, 0.9], [True, True, True, False]
    assert best_accuracy_threshold(scores, same) <= 0.2
    assert metrics.accuracy_at(scores, same, best_accuracy_threshold(scores, same)) == 0.75
    # One genuine pair below all impostors: accepting nothing errs once.
    scores, same = [0.1, 0.3, 0.4, 0.9], [True, False, False, False]
    assert best_accuracy_threshold(scores, same) > 0.9
    assert metrics.accuracy_at(scores, same, best_accuracy_threshold(scores, same)) == 0.75


def two_normals(genuine: int, impostor: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores whose densities cross at 0.3, where balanced accuracy is best."""
    same = np.arange(genuine + impostor) < genuine
    return np.random.default_rng(seed).normal(0.6 * same, 0.2), same


@pytest.mark.parametrize(("genuine", "impostor"), [(200, 200), (200, 2000), (2000, 200)])
def test_the_smoothed_threshold_is_steadier_than_the_best_of_one_sample(genuine: int, impostor: int) -> None:
    samples = [two_normals(genuine, impostor, seed) for seed in range(30)]
    smoothed = np.array([smoothed_accuracy_threshold(*sample) for sample in samples])
    plain = np.array([best_accuracy_threshold(*sample, balanced=True) for sample in samples])
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

    found = smoothed_accuracy_threshold(scores, same)
    best = minimize_scalar(lambda each: -kernel_accuracy(each), bounds=(0.1, 0.9), method="bounded")
    assert found == pytest.approx(best.x, abs=2 * np.ptp(scores) / 4096)


def test_the_smoothed_threshold_converges_to_where_the_densities_cross() -> None:
    same = np.arange(400_000) < 100_000
    scores = np.random.default_rng(0).normal(np.where(same, 1.0, 0.0), np.where(same, 0.5, 0.25))
    # exp(-8 x^2) / 0.25 = exp(-2 (x - 1)^2) / 0.5: 6 x^2 + 4 x - 2 - ln 2 = 0
    crossing = (-4 + np.sqrt(16 + 24 * (2 + np.log(2)))) / 12
    assert smoothed_accuracy_threshold(scores, same) == pytest.approx(crossing, abs=0.01)


def test_the_smoothed_threshold_moves_with_the_scores_and_not_with_their_order() -> None:
    scores, same = two_normals(60, 90, 0)
    order = np.random.default_rng(1).permutation(len(same))
    threshold = smoothed_accuracy_threshold(scores, same)
    assert smoothed_accuracy_threshold(scores[order], same[order]) == pytest.approx(threshold)
    assert smoothed_accuracy_threshold(7 * scores - 3, same) == pytest.approx(7 * threshold - 3)


@pytest.mark.parametrize(
    ("genuine", "impostor"),
    [([0.9], [0.1]), ([1.0] * 50, [-0.2, 0.1, 0.3, 0.3]), ([0.8, 0.81, 0.9], [0.2, 0.1]), ([1.0] * 9, [0.0] * 9)],
    ids=["one-of-each", "saturated", "few", "both-saturated"],
)
def test_the_smoothed_threshold_separates_what_is_separable(genuine: list[float], impostor: list[float]) -> None:
    threshold = smoothed_accuracy_threshold([*genuine, *impostor], [True] * len(genuine) + [False] * len(impostor))
    assert max(impostor) < threshold <= min(genuine)


def test_the_smoothed_threshold_of_scores_the_wrong_way_round_accepts_all_or_nothing() -> None:
    same = np.arange(600) < 300
    scores = np.random.default_rng(0).normal(np.where(same, -1.0, 1.0), 0.2)
    accepted = scores >= smoothed_accuracy_threshold(scores, same)
    assert accepted.all() or not accepted.any()


def test_the_smoothed_threshold_of_equal_scores_is_their_value() -> None:
    assert smoothed_accuracy_threshold([0.4, 0.4, 0.4], [True, False, False]) == 0.4


def test_best_accuracy_threshold_separates_neighbouring_floating_point_numbers() -> None:
    for low in (0.3, 0.5, np.nextafter(0.3, 1), -0.7, 0.0):
        high = np.nextafter(low, np.inf)
        assert best_accuracy_threshold([low, high], [False, True]) == high


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("far", [0.05, 0.1, 0.25, 1 / 3, 0.5, 0.9, 1.0])
def test_threshold_at_far_is_the_lowest_that_does_not_exceed_it(seed: int, far: float) -> None:
    scores, same = tied_scores(seed, count=150)
    threshold = threshold_at_far(scores, same, far)
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
        threshold = threshold_at_far(scores, scores == count + 1, far)
        assert threshold is not None
        assert np.count_nonzero(scores[:-1] >= threshold) == accepted


@pytest.mark.parametrize("seed", range(40))
def test_best_f1_threshold_reaches_the_best_f1_there_is(seed: int) -> None:
    scores, same = tied_scores(seed, count=4 + 3 * seed, steps=3 + seed % 7)
    best = max(f1_score(same, scores >= cut, zero_division=0.0) for cut in thresholds_of(scores))
    assert f1_score(same, scores >= best_f1_threshold(scores, same)) == pytest.approx(best, abs=1e-12)


def test_best_f1_threshold_lies_midway_between_the_neighbouring_scores() -> None:
    assert best_f1_threshold([0.1, 0.2, 0.6, 0.9], [False, False, True, True]) == pytest.approx(0.4)
    # Accepting everything is best (F1 = 4/5): the lowest score itself.
    assert best_f1_threshold([0.1, 0.2, 0.3], [True, False, True]) == 0.1


def test_best_f1_threshold_falls_as_genuine_pairs_become_more_frequent() -> None:
    rng = np.random.default_rng(0)
    genuine, impostor = rng.normal(0.5, 0.2, 2000), rng.normal(0, 0.2, 20_000)
    rare, frequent = (
        best_f1_threshold(np.concatenate([genuine, of]), np.arange(2000 + len(of)) < 2000)
        for of in (impostor, impostor[:500])
    )
    assert frequent < rare


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("of", "reference"), [(accuracy_over_threshold, accuracy_score), (f1_over_threshold, f1_score)]
)
def test_figures_over_threshold_are_those_of_scikit_learn(of, reference, seed: int) -> None:  # type: ignore[no-untyped-def]
    scores, same = tied_scores(seed)
    thresholds, values = of(scores, same)
    np.testing.assert_array_equal(thresholds, thresholds_of(scores))
    expected = [reference(same, scores >= cut) for cut in thresholds]
    np.testing.assert_allclose(values, expected, rtol=0, atol=1e-12)


def test_balanced_accuracy_over_threshold_is_the_mean_of_the_shares_of_both_kinds() -> None:
    scores, same = tied_scores(0)
    thresholds, values = accuracy_over_threshold(scores, same, balanced=True)
    for cut, value in zip(thresholds, values, strict=True):
        assert value == pytest.approx(metrics.accuracy_at(scores, same, cut, balanced=True), abs=1e-12)


@pytest.mark.parametrize("points", [3, 4, 10, 333])
@pytest.mark.parametrize("of", [Curve.f1, Curve.accuracy])
def test_a_reduced_curve_keeps_its_ends_and_its_maximum(of, points: int) -> None:  # type: ignore[no-untyped-def]
    same = np.arange(5000) < 1000
    curve = Curve.of(np.random.default_rng(points).normal(same, 0.7), same)
    full, kept = (over_threshold(curve, of(curve), count) for count in (10_000, points))
    assert len(kept.values) <= points
    assert kept.values.max() == full.values.max()
    for whole, part in zip(full, kept, strict=True):
        assert (part[0], part[-1]) == (whole[0], whole[-1])
    assert (np.diff(kept.thresholds) > 0).all()
    assert set(zip(*kept, strict=True)) <= set(zip(*full, strict=True))


def test_a_reduced_curve_stays_close_to_the_whole() -> None:
    same = np.arange(50_000) < 10_000
    curve = Curve.of(np.random.default_rng(0).normal(same, 0.5), same)
    full, kept = over_threshold(curve, curve.f1(), 10**6), over_threshold(curve, curve.f1(), 200)
    drawn = np.interp(full.thresholds, kept.thresholds, kept.values)
    assert np.abs(drawn - full.values).max() < 0.02


def test_a_characteristic_is_reduced_on_whatever_scale_it_is_drawn() -> None:
    same = np.arange(30_000) < 10_000
    far, tar, _ = metrics.roc(np.random.default_rng(0).normal(same, 0.5), same)
    seen = far > 0
    kept = reduced(np.log10(far[seen]), tar[seen], 100)
    assert len(kept) <= 100
    # On a logarithmic axis a third of the points lie where a twentieth of the impostors is accepted.
    assert np.count_nonzero(far[seen][kept] < 0.05) > 30


def test_a_curve_without_extent_is_reduced_to_its_ends() -> None:
    np.testing.assert_array_equal(reduced(np.ones(9), np.ones(9), 3), [0, 4, 8])
    np.testing.assert_array_equal(reduced(np.ones(3), np.ones(3), 3), [0, 1, 2])


def test_constant_scores_have_two_points_over_threshold() -> None:
    thresholds, values = f1_over_threshold([0.5, 0.5, 0.5], [True, False, False])
    assert thresholds.tolist() == [0.5, np.nextafter(0.5, 1)]
    assert values.tolist() == [0.5, 0.0]
    assert best_f1_threshold([0.5, 0.5, 0.5], [True, False, False]) == 0.5


def test_fewer_than_three_points_of_a_curve_are_refused() -> None:
    message = "2 points of a curve: expected at least 3, for its two ends and its maximum"
    for of in (f1_over_threshold, accuracy_over_threshold):
        with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
            of([0.1, 0.2], [False, True], 2)


@pytest.mark.parametrize(
    "of", [best_f1_threshold, smoothed_accuracy_threshold, f1_over_threshold, accuracy_over_threshold]
)
def test_one_kind_of_pair_has_no_best_threshold(of) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match=r"^2 genuine and 0 impostor pairs: verification is measured on both kinds"):
        of([0.1, 0.2], [True, True])
