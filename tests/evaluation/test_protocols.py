import re

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    f1_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
)

from siamese.errors import DataError
from siamese.evaluation import metrics
from siamese.evaluation.operating_point_fitting import fit_operating_points
from siamese.evaluation.protocols import measure_at, measure_at_point, measure_cross_fitted, measure_folds


def overlapping(count: int, seed: int, decimals: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """As many genuine as impostor pairs, interleaved at random, with ties."""
    rng = np.random.default_rng(seed)
    same = rng.permutation(np.arange(count) % 2 == 0)
    return np.round(rng.normal(0.4 * same, 0.25), decimals), same


def best_threshold_by_listing(scores: np.ndarray, same: np.ndarray) -> float:
    """As the protocol defines it: midway between neighbours, the middle one of the best."""
    ordered = np.unique(scores)
    cuts = [ordered[0], *((ordered[1:] + ordered[:-1]) / 2), np.nextafter(ordered[-1], np.inf)]
    right = [np.count_nonzero((scores >= cut) == same) for cut in cuts]
    best = [cut for cut, count in zip(cuts, right, strict=True) if count == max(right)]
    return float(best[len(best) // 2])


@pytest.mark.parametrize("seed", range(3))
def test_ten_folds_are_those_of_a_direct_loop(seed: int) -> None:
    scores, same = overlapping(400, seed)
    folds = np.random.default_rng(seed).permutation(np.arange(400) % 10)
    accuracies, thresholds, accepted = [], [], np.zeros(400, bool)
    for fold in range(10):
        inside, outside = folds == fold, folds != fold
        threshold = best_threshold_by_listing(scores[outside], same[outside])
        accepted[inside] = scores[inside] >= threshold
        accuracies.append(float(np.mean(accepted[inside] == same[inside])))
        thresholds.append(threshold)
    measured = measure_folds(scores, same, folds)
    assert measured.accuracy == pytest.approx(sum(accuracies) / 10)
    deviation = (sum((value - sum(accuracies) / 10) ** 2 for value in accuracies) / 9) ** 0.5
    assert measured.accuracy_std == pytest.approx(deviation)
    assert measured.threshold == pytest.approx(sum(thresholds) / 10)
    assert measured.f1 == pytest.approx(f1_score(same, accepted))
    assert measured.precision == pytest.approx(precision_score(same, accepted))
    assert measured.recall == pytest.approx(recall_score(same, accepted))
    assert measured.far == pytest.approx(np.mean(accepted[~same]))
    assert measured.mcc == pytest.approx(matthews_corrcoef(same, accepted))
    np.testing.assert_array_equal(measured.accepted, accepted)
    assert measured.average_precision == pytest.approx(average_precision_score(same, scores))
    best = max(f1_score(same, scores >= cut) for cut in np.unique(scores))
    assert measured.best_f1["f1"] == pytest.approx(best)
    assert f1_score(same, scores >= measured.best_f1["threshold"]) == pytest.approx(best)
    assert measured.auc == pytest.approx(roc_auc_score(same, scores))
    assert measured.eer == metrics.eer(scores, same)
    assert (measured.genuine, measured.impostor) == (200, 200)
    assert measured.threshold_from == "the other 9 folds"


def test_accuracy_is_the_mean_over_folds_of_unequal_size() -> None:
    scores = np.array([0.9, 0.1, 0.8, 0.2, 0.3, 0.7])
    same = np.array([True, False, True, False, True, False])
    folds = np.array([0, 0, 1, 1, 1, 1])
    # The small fold is decided rightly, half of the large one is: 0.75, not 4 of 6.
    assert measure_folds(scores, same, folds).accuracy == pytest.approx(0.75)


def test_folds_may_have_any_names_and_order_within_them_does_not_matter() -> None:
    scores, same = overlapping(120, 0)
    folds = np.arange(120) % 3
    expected = measure_folds(scores, same, folds)
    assert measure_folds(scores, same, np.array([7, 3, 40])[folds]) == expected
    order = np.argsort(folds, kind="stable")[::-1]
    again = measure_folds(scores[order], same[order], folds[order])
    assert again.accuracy == pytest.approx(expected.accuracy)
    assert again.threshold == pytest.approx(expected.threshold)


def test_a_fold_is_never_decided_at_a_threshold_fitted_on_itself() -> None:
    # Separable within each fold, but at 0 in one and at 10 in the other: only a threshold of its own would do.
    scores = np.array([-1.0, 1.0, -2.0, 2.0, 9.0, 11.0, 8.0, 12.0])
    same = np.array([False, True] * 4)
    folds = np.repeat([0, 1], 4)
    measured = measure_folds(scores, same, folds)
    assert measured.accuracy == 0.5
    assert measured.threshold == pytest.approx(5.0)
    assert measured.threshold_from == "the other fold"
    assert measured.f1 == pytest.approx(f1_score(same, [False] * 4 + [True] * 4))


def test_cross_fitting_decides_each_half_at_the_threshold_of_the_other() -> None:
    # Genuine pairs at even places of their kind go to one half, odd ones to the other; so do impostor pairs.
    genuine, impostor = [1.0, 11.0, 2.0, 12.0], [-1.0, 9.0, -2.0, 8.0]
    scores, same = np.array(genuine + impostor), np.array([True] * 4 + [False] * 4)
    measured = measure_cross_fitted(scores, same)
    # Fitted on its own half either would be perfect, fitted on the other each errs in one kind.
    assert measured.accuracy == 0.5
    halves = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    assert measured == measure_folds(scores, same, halves)
    assert metrics.accuracy_at(scores[halves == 0], same[halves == 0], 0.0) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_cross_fitting_keeps_the_ratio_of_the_kinds_and_needs_no_seed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    same = rng.random(101) < 0.3
    scores = rng.normal(same, 0.5)
    halves = np.empty(101, int)
    seen = {True: 0, False: 0}
    for row, kind in enumerate(same.tolist()):
        halves[row] = seen[kind] % 2
        seen[kind] += 1
    assert abs(np.count_nonzero(same[halves == 0]) - np.count_nonzero(same[halves == 1])) <= 1
    assert measure_cross_fitted(scores, same) == measure_folds(scores, same, halves)
    assert measure_cross_fitted(scores, same) == measure_cross_fitted(scores, same)


def test_measuring_at_a_threshold_uses_that_threshold() -> None:
    scores, same = np.array([-0.2, 0.0, 0.1, 0.5]), np.array([False, True, False, True])
    measured = measure_at(scores, same, 0.0, "some other pairs")
    assert measured.threshold == 0.0
    assert measured.accuracy == 0.75
    assert measured.accuracy_std is None
    assert measured.f1 == pytest.approx(f1_score(same, scores >= 0.0))
    assert measured.auc == 0.75
    assert (measured.genuine, measured.impostor, measured.threshold_from) == (2, 2, "some other pairs")


@pytest.mark.parametrize("seed", range(5))
def test_decisions_at_a_threshold_that_equals_scores_accept_them(seed: int) -> None:
    scores, same = overlapping(200, seed, decimals=1)
    for threshold in np.unique(scores):
        measured = measure_at(scores, same, threshold, "x")
        assert measured.f1 == metrics.f1_at(scores, same, threshold)
        assert measured.accuracy == metrics.accuracy_at(scores, same, threshold)


def test_an_operating_point_is_named_with_its_split() -> None:
    points = fit_operating_points(*overlapping(200, 0), "validation")
    scores, same = overlapping(300, 1)
    for point in points:
        measured = measure_at_point(scores, same, point)
        assert measured == measure_at(scores, same, point.threshold, f"validation ({point.name})")
        assert (measured.genuine, measured.impostor) == (150, 150)


def test_tar_at_fars_that_the_pairs_do_not_support_is_insufficient_data() -> None:
    scores, same = overlapping(800, 0)
    tar = measure_at(scores, same, 0.2, "x").tar_at_far
    assert list(tar) == ["0.1", "0.01", "0.001", "0.0001", "1e-05", "1e-06"]
    assert tar["0.1"] == metrics.tar_at_far(scores, same, 0.1)
    frr = measure_at(scores, same, 0.2, "x").frr_at_far
    assert {far for far, value in frr.items() if value is None} == {
        far for far, value in tar.items() if value is None
    }
    assert frr["0.1"] == pytest.approx(1 - metrics.tar_at_far(scores, same, 0.1))
    assert tar["0.01"] is not None
    assert tar["0.001"] is None


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        ([0, 0, 0, 0], "1 fold: cross-validation needs at least two; leave the column out, or add folds"),
        ([0, 1], "scores (4,) and folds (2,): expected a fold for each score"),
        (
            [0, 0, 1, 1],
            "fold 0: the other folds hold genuine pairs only, and its threshold needs both; deal both kinds to every "
            "fold",
        ),
    ],
)
def test_folds_that_allow_no_cross_validation_are_refused(folds: list[int], message: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        measure_folds([0.1, 0.2, 0.8, 0.9], [False, False, True, True], folds)


@pytest.mark.parametrize(("genuine", "impostor"), [(1, 5), (5, 1), (1, 1)])
def test_cross_fitting_needs_two_pairs_of_each_kind(genuine: int, impostor: int) -> None:
    message = (
        f"{genuine} genuine and {impostor} impostor pairs: a threshold fitted on one half and used on the other "
        "needs two of each; add pairs"
    )
    same = [True] * genuine + [False] * impostor
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        measure_cross_fitted(np.linspace(0, 1, len(same)), same)


@pytest.mark.parametrize(
    "measure",
    [
        lambda scores, same: measure_at(scores, same, 0.0, "x"),
        lambda scores, same: measure_folds(scores, same, [0, 1]),
        measure_cross_fitted,
    ],
)
def test_one_kind_of_pair_cannot_be_measured(measure) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match=r"^0 genuine and 2 impostor pairs: verification is measured on both kinds"):
        measure([0.1, 0.2], [False, False])
