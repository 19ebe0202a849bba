import math
import re
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    det_curve,
    f1_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from siamese.errors import DataError, OptionError
from siamese.evaluation import metrics
from siamese.evaluation.thresholds import best_accuracy_threshold, best_f1_threshold, threshold_at_far

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
        assert metrics.precision_at(scores, same, cut) == pytest.approx(
            precision_score(same, accepted, zero_division=0.0), abs=1e-12
        )
        assert metrics.recall_at(scores, same, cut) == pytest.approx(recall_score(same, accepted), abs=1e-12)
        assert metrics.recall_at(scores, same, cut) == metrics.tar_at(scores, same, cut)
        assert metrics.matthews_at(scores, same, cut) == pytest.approx(matthews_corrcoef(same, accepted), abs=1e-12)
        assert metrics.far_at(scores, same, cut) == np.count_nonzero(accepted & ~same) / np.count_nonzero(~same)
        assert metrics.tar_at(scores, same, cut) == np.count_nonzero(accepted & same) / np.count_nonzero(same)


AT_A_THRESHOLD = [
    metrics.accuracy_at,
    metrics.precision_at,
    metrics.recall_at,
    metrics.f1_at,
    metrics.matthews_at,
    metrics.far_at,
    metrics.tar_at,
    metrics.decisions_at,
]


@pytest.mark.parametrize("of", [each for each in AT_A_THRESHOLD if each is not metrics.recall_at])
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


def test_matthews_correlation_is_zero_where_decisions_or_labels_are_of_one_kind() -> None:
    assert metrics.matthews_at([0.1, 0.9], [True, False], -1.0) == 0.0
    assert metrics.matthews_at([0.1, 0.9], [True, False], 2.0) == 0.0
    assert metrics.matthews_at([0.1, 0.9], [True, True], 0.5) == 0.0
    assert metrics.matthews_at([0.1, 0.9], [False, True], 0.5) == 1.0
    assert metrics.matthews_at([0.1, 0.9], [True, False], 0.5) == -1.0


def test_matthews_correlation_of_millions_of_pairs_does_not_overflow() -> None:
    count = 2_000_000
    scores, same = np.arange(2 * count) % 4, np.arange(2 * count) % 2 == 0
    scores[:4] = same[:4]
    # The phi coefficient is Pearson's correlation of the two binary variables.
    expected = np.corrcoef(scores >= 1, same)[0, 1]
    assert metrics.matthews_at(scores, same, 1) == pytest.approx(expected, abs=1e-12)


def test_figures_at_a_threshold_of_pairs_of_one_kind_are_defined() -> None:
    scores = [0.1, 0.6, 0.9]
    assert metrics.decisions_at(scores, [True] * 3, 0.5) == (2, 0, 1, 0)
    assert metrics.decisions_at(scores, [False] * 3, 0.5) == (0, 2, 0, 1)
    assert metrics.accuracy_at(scores, [True] * 3, 0.5) == pytest.approx(2 / 3)
    assert metrics.precision_at(scores, [False] * 3, 0.5) == 0.0
    assert metrics.precision_at(scores, [True] * 3, 0.95) == 0.0
    assert metrics.recall_at(scores, [False] * 3, 0.5) == 0.0
    assert metrics.recall_at(scores, [True] * 3, 0.5) == pytest.approx(2 / 3)


@pytest.mark.parametrize("of", AT_A_THRESHOLD)
def test_figures_at_a_threshold_refuse_what_is_no_number_and_no_pairs(of: Any) -> None:
    with pytest.raises(OptionError, match=r"^threshold nan: expected a number on the scale of the scores$"):
        of([0.1, 0.2], [True, False], math.nan)
    with pytest.raises(DataError, match=r"^1 of 2 scores are not finite numbers$"):
        of([0.1, math.nan], [True, False], 0.5)
    with pytest.raises(DataError, match=r"^0 (genuine and 0 impostor )?pairs: "):
        of([], [], 0.5)


def test_an_infinite_threshold_accepts_nothing() -> None:
    assert metrics.decisions_at([0.1, 0.2], [True, False], math.inf) == (0, 0, 1, 1)


@pytest.mark.parametrize("seed", range(10))
def test_average_precision_is_that_of_scikit_learn(seed: int) -> None:
    scores, same = tied_scores(seed, count=20 + 30 * seed, steps=2 + 3 * seed)
    assert metrics.average_precision(scores, same) == pytest.approx(average_precision_score(same, scores), abs=1e-12)


def test_average_precision_of_closed_forms() -> None:
    assert metrics.average_precision([0.9, 0.8, 0.1], [True, True, False]) == 1.0
    assert metrics.average_precision([0.5] * 5, [True, False, False, False, True]) == pytest.approx(2 / 5)
    # Genuine pairs at ranks 2 and 4: half of 1/2 and half of 2/4.
    assert metrics.average_precision([4, 3, 2, 1], [False, True, False, True]) == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(5))
def test_det_is_that_of_scikit_learn(seed: int) -> None:
    scores, same = tied_scores(seed)
    far, frr, thresholds = metrics.det(scores, same)
    expected = {(round(a, 9), round(b, 9)) for a, b, _ in zip(*det_curve(same, scores), strict=True)}
    assert expected <= {(round(a, 9), round(b, 9)) for a, b in zip(far, frr, strict=True)}
    for false_accepts, false_rejects, cut in zip(far, frr, thresholds, strict=True):
        assert false_accepts == np.mean(scores[~same] >= cut)
        assert false_rejects == np.mean(scores[same] < cut)


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


@pytest.mark.parametrize("seed", range(5))
def test_balanced_figures_are_those_of_each_kind_repeated_as_often_as_the_other_occurs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    same = np.arange(33) < 3
    scores = rng.normal(same, 0.6)
    repeated = np.where(same, 30, 3)
    values, labels = np.repeat(scores, repeated), np.repeat(same, repeated)
    threshold = best_accuracy_threshold(scores, same, balanced=True)
    assert threshold == best_accuracy_threshold(values, labels)
    expected = accuracy_score(labels, values >= threshold)
    assert metrics.accuracy_at(scores, same, threshold, balanced=True) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("impostors", "far", "enough"),
    [(30, 0.1, True), (29, 0.1, False), (300, 0.01, True), (299, 0.01, False), (2999, 0.001, False), (3, 1.0, True)],
)
def test_far_needs_three_expected_false_accepts(impostors: int, far: float, enough: bool) -> None:
    assert metrics.enough_for_far(impostors, far) is enough
    scores, same = np.arange(impostors + 1.0), np.arange(impostors + 1) == 0
    assert (threshold_at_far(scores, same, far) is not None) is enough
    assert (metrics.tar_at_far(scores, same, far) is not None) is enough


@pytest.mark.parametrize("seed", range(5))
def test_tar_and_frr_at_every_far_add_up_to_one_and_are_none_where_the_pairs_are_too_few(seed: int) -> None:
    scores, same = tied_scores(seed, count=700, steps=90)
    tar, frr = metrics.tar_at_fars(scores, same), metrics.frr_at_fars(scores, same)
    assert list(tar) == list(frr) == ["0.1", "0.01", "0.001", "0.0001", "1e-05", "1e-06"]
    for far in (0.1, 0.01):
        allowed = [cut for cut in [*np.unique(scores), np.inf] if np.mean(scores[~same] >= cut) <= far]
        expected = np.mean(scores[same] >= min(allowed))
        assert metrics.tar_at_far(scores, same, far) == tar[f"{far:g}"] == pytest.approx(expected, abs=1e-12)
        assert metrics.frr_at_far(scores, same, far) == frr[f"{far:g}"] == pytest.approx(1 - expected, abs=1e-12)
    assert [tar[key] for key in list(tar)[2:]] == [frr[key] for key in list(frr)[2:]] == [None] * 4


def test_a_thousand_impostor_pairs_do_not_support_a_far_of_one_in_ten_thousand() -> None:
    scores, same = np.linspace(0, 1, 1500), np.arange(1500) >= 1000
    assert metrics.tar_at_far(scores, same, 1e-4) is None
    assert metrics.frr_at_far(scores, same, 1e-4) is None
    assert metrics.tar_at_fars(scores, same, [3e-3, 2.9e-3]) == {"0.003": 1.0, "0.0029": None}


@pytest.mark.parametrize("far", [0.0, -0.1, 1.5, math.nan])
def test_a_far_that_is_no_share_is_refused(far: float) -> None:
    message = f"^FAR {far:g}: expected a share of the impostor pairs, above 0 and at most 1$"
    for of in (metrics.tar_at_far, metrics.frr_at_far, threshold_at_far):
        with pytest.raises(OptionError, match=re.escape(message[1:-1])):
            of([0.1, 0.2], [False, True], far)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("p_target", "c_miss", "c_fa"), [(0.01, 1.0, 1.0), (0.5, 1.0, 1.0), (0.01, 10.0, 1.0)])
def test_min_detection_cost_is_the_lowest_of_all_thresholds(
    seed: int, p_target: float, c_miss: float, c_fa: float
) -> None:
    scores, same = tied_scores(seed, count=40 + 100 * seed, steps=25)
    found = metrics.min_detection_cost(scores, same, p_target, c_miss, c_fa)
    costs = [
        c_miss * p_target * np.mean(scores[same] < cut) + c_fa * (1 - p_target) * np.mean(scores[~same] >= cut)
        for cut in thresholds_of(scores)
    ]
    assert found.cost == pytest.approx(min(costs), abs=1e-12)
    assert found.normalised == pytest.approx(min(costs) / min(c_miss * p_target, c_fa * (1 - p_target)), abs=1e-12)
    assert found.far == metrics.far_at(scores, same, found.threshold)
    assert found.frr == pytest.approx(1 - metrics.tar_at(scores, same, found.threshold), abs=1e-12)


def test_min_detection_cost_of_closed_forms() -> None:
    assert metrics.min_detection_cost([0.1, 0.2, 0.8], [False, False, True]) == (0.0, 0.0, 0.5, 0.0, 0.0)
    # Scores without any information: rejecting everything costs C_miss P_target, which is what it is measured by.
    blind = metrics.min_detection_cost([0.5] * 6, [False, False, False, True, True, True])
    assert (blind.cost, blind.normalised, blind.far, blind.frr) == (0.01, 1.0, 0.0, 1.0)
    assert blind.threshold > 0.5
    # With equal costs and an even prior it is half of FAR + FRR where their sum is least: 2/5 + 0, not 1/5 + 1/3.
    scores, same = [0.1, 0.2, 0.6, 0.3, 0.7, 0.8, 0.9, 0.15], [False, False, False, *[True] * 5]
    assert metrics.min_detection_cost(scores, same, 0.5) == pytest.approx((0.2, 0.4, 0.65, 0.0, 0.4))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 1.0, 1.0), "prior of a genuine pair 0: expected a number above 0 and below 1"),
        ((1.0, 1.0, 1.0), "prior of a genuine pair 1: expected a number above 0 and below 1"),
        ((math.nan, 1.0, 1.0), "prior of a genuine pair nan: expected a number above 0 and below 1"),
        ((0.1, 0.0, 1.0), "cost of a miss 0: expected a finite number above 0"),
        ((0.1, 1.0, math.inf), "cost of a false accept inf: expected a finite number above 0"),
    ],
)
def test_impossible_priors_and_costs_are_refused(arguments: tuple[float, float, float], message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        metrics.min_detection_cost([0.1, 0.2], [False, True], *arguments)


@pytest.mark.parametrize(
    ("scores", "same", "expected"),
    [
        ([0.2, 0.8], [False, True], {"auc": 1.0, "average_precision": 1.0, "eer": 0.0}),
        ([0.8, 0.2], [False, True], {"auc": 0.0, "average_precision": 0.5, "eer": 1.0}),
        ([0.5, 0.5], [False, True], {"auc": 0.5, "average_precision": 0.5, "eer": 0.5}),
    ],
)
def test_two_pairs_have_defined_figures(scores: list[float], same: list[bool], expected: dict[str, float]) -> None:
    assert {name: getattr(metrics, name)(scores, same) for name in expected} == expected
    assert set(metrics.tar_at_fars(scores, same).values()) == {None}


def test_threshold_of_zero_and_negative_scores_are_ordinary() -> None:
    scores, same = np.array([-0.9, -0.5, 0.0, 0.4]), np.array([False, False, True, True])
    assert metrics.accuracy_at(scores, same, 0.0) == 1.0
    assert metrics.f1_at(scores, same, 0.0) == 1.0
    assert (metrics.far_at(scores, same, 0.0), metrics.tar_at(scores, same, 0.0)) == (0.0, 1.0)
    assert best_accuracy_threshold([-0.5, 0.5], [False, True]) == 0.0
    assert metrics.eer_point(scores - 5, same) == (0.0, -5.0)


@pytest.mark.parametrize("seed", range(5))
def test_monotone_scaling_of_the_scores_changes_no_figure(seed: int) -> None:
    scores, same = tied_scores(seed, count=200)
    for scaled in (7 * scores + 100, scores - 3, np.exp(scores), scores**3):
        assert metrics.auc(scaled, same) == pytest.approx(metrics.auc(scores, same))
        assert metrics.eer(scaled, same) == pytest.approx(metrics.eer(scores, same))
        assert metrics.tar_at_far(scaled, same, 0.1) == metrics.tar_at_far(scores, same, 0.1)
        one, other = (best_accuracy_threshold(values, same) for values in (scores, scaled))
        np.testing.assert_array_equal(scaled >= other, scores >= one)


@pytest.mark.parametrize("seed", range(3))
def test_order_of_the_pairs_changes_no_figure(seed: int) -> None:
    scores, same = tied_scores(seed, count=200)
    order = np.random.default_rng(seed).permutation(len(scores))
    for of in (metrics.auc, metrics.eer_point, best_accuracy_threshold):
        assert of(scores[order], same[order]) == pytest.approx(of(scores, same), abs=1e-12)
    assert threshold_at_far(scores[order], same[order], 0.1) == threshold_at_far(scores, same, 0.1)


@pytest.mark.parametrize(
    "of",
    [
        metrics.check_scores,
        metrics.roc,
        metrics.auc,
        metrics.eer,
        metrics.det,
        metrics.average_precision,
        metrics.min_detection_cost,
        metrics.tar_at_fars,
        metrics.frr_at_fars,
        best_accuracy_threshold,
        best_f1_threshold,
        lambda scores, same: metrics.far_at(scores, same, 0.5),
        lambda scores, same: metrics.tar_at(scores, same, 0.5),
        lambda scores, same: threshold_at_far(scores, same, 0.5),
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
        ([0.1, 0.2], [1, -1], "label -1 of pair 1: expected true or 1 (genuine), false or 0"),
        ([0.1, 0.2], [True, None], "label None of pair 1: expected true or 1 (genuine), false or 0"),
        ([0.1, 0.2], [math.nan, 1.0], "label nan of pair 0: expected true or 1 (genuine), false or 0"),
        ([0.1, 0.2], ["same", "other"], "label same of pair 0: expected true or 1 (genuine), false or 0"),
        ([], [], "0 genuine and 0 impostor pairs: verification is measured on both kinds; add the missing one"),
    ],
)
def test_what_cannot_be_measured_is_refused(of: Any, scores: list[Any], same: list[Any], message: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        of(scores, same)


@pytest.mark.parametrize("labels", [[1, 0, 1], [1.0, 0.0, 1.0], np.array([True, False, True], dtype=object)])
def test_labels_may_be_numbers_or_objects_that_are_true_or_false(labels: Any) -> None:
    _, same = metrics.check_scores([0.1, 0.2, 0.3], labels)
    assert same.dtype == np.bool_
    assert same.tolist() == [True, False, True]
