import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    matthews_corrcoef,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from siamese.errors import DataError, OptionError
from siamese.evaluation import metrics
from siamese.evaluation.weighted import Ranked, Statistic, check_statistics, weighted_statistics

ALL = check_statistics(
    [
        *("auc", "eer", "best_accuracy", "accuracy", "balanced_accuracy", "f1", "precision", "recall", "tar", "far"),
        "mcc",
        *(Statistic("tar_at_far", far) for far in (1.0, 0.3, 0.05)),
    ]
)


def by_brute_force(
    scores: NDArray[np.float64], same: NDArray[np.bool_], accepted: NDArray[np.bool_], weights: NDArray[np.int64]
) -> list[float]:
    """Repeat the rows of the table, then ask scikit-learn."""
    scores, same, accepted = (np.repeat(each, weights) for each in (scores, same, accepted))
    far, tar, _ = roc_curve(same, scores, drop_intermediate=False)
    crossing = np.interp(0.0, far - (1 - tar), far)
    best = max(accuracy_score(same, scores >= threshold) for threshold in [*np.unique(scores), np.inf])
    return [
        roc_auc_score(same, scores),
        crossing,
        best,
        accuracy_score(same, accepted),
        balanced_accuracy_score(same, accepted),
        f1_score(same, accepted),
        precision_score(same, accepted),
        recall_score(same, accepted),
        recall_score(same, accepted),
        float(np.mean(accepted[~same])),
        matthews_corrcoef(same, accepted),
        *(max(tar[far <= limit]) for limit in (1.0, 0.3, 0.05)),
    ]


@pytest.mark.parametrize("decimals", [1, 2, 12])
def test_whole_weights_give_what_scikit_learn_gives_for_repeated_rows_ties_included(decimals: int) -> None:
    generator = np.random.default_rng(decimals)
    same = np.arange(120) < 50
    scores = np.round(generator.normal(0.4 * same, 0.5), decimals)
    accepted = generator.random(120) < np.where(same, 0.8, 0.3)
    weights = generator.poisson(1.0, (25, 120))
    ranked = Ranked.of(scores, same, accepted)

    found = weighted_statistics(ranked, weights[:, ranked.order].astype(float), ALL)

    expected = [by_brute_force(scores, same, accepted, row) for row in weights]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_equal_weights_give_what_metrics_gives() -> None:
    generator = np.random.default_rng(3)
    same = np.arange(400) % 3 == 0
    scores = np.round(generator.normal(same, 1.0), 1)
    statistics = check_statistics(["auc", "eer", Statistic("tar_at_far", 0.1), Statistic("tar_at_far", 0.013)])

    found = weighted_statistics(Ranked.of(scores, same), np.ones((1, 400)), statistics)[0]

    at_far = [metrics.tar_at_far(scores, same, far) for far in (0.1, 0.013)]
    np.testing.assert_allclose(found, [metrics.auc(scores, same), metrics.eer(scores, same), *at_far], rtol=1e-12)


def test_one_weight_for_all_changes_nothing() -> None:
    generator = np.random.default_rng(4)
    ranked = Ranked.of(generator.random(30), np.arange(30) < 12, generator.random(30) < 0.5)
    weights = generator.random((4, 30))

    np.testing.assert_allclose(
        weighted_statistics(ranked, 7.5 * weights, ALL), weighted_statistics(ranked, weights, ALL), rtol=1e-12
    )


@pytest.mark.parametrize("kept", [True, False])
def test_weights_of_one_kind_alone_leave_what_needs_both_undefined(kept: bool) -> None:
    same = np.arange(10) < 4
    ranked = Ranked.of(np.linspace(1, 0, 10), same, same)

    found = weighted_statistics(ranked, (ranked.same == kept).astype(float)[None], ALL)[0]

    undefined = {str(each) for each, value in zip(ALL, found, strict=True) if np.isnan(value)}
    always = {"auc", "eer", "balanced_accuracy", "tar_at_far=1", "tar_at_far=0.3", "tar_at_far=0.05"}
    assert undefined == always | ({"far"} if kept else {"tar", "recall", "precision", "f1"})


def test_constant_scores_have_an_auc_and_an_eer_of_one_half() -> None:
    ranked = Ranked.of(np.zeros(6), np.arange(6) < 2)
    statistics = check_statistics(["auc", "eer", Statistic("tar_at_far", 0.5)])

    assert weighted_statistics(ranked, np.ones((1, 6)), statistics)[0].tolist() == [0.5, 0.5, 0.0]


def test_two_pairs_in_order_are_perfect() -> None:
    ranked = Ranked.of([1.0, 0.0], [True, False])

    found = weighted_statistics(ranked, np.ones((1, 2)), check_statistics(["auc", "eer", "best_accuracy"]))

    assert found[0].tolist() == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("statistic", "message"),
    [
        ("acuracy", "unknown statistic 'acuracy': did you mean 'accuracy'"),
        ("tar_at_far", "statistic tar_at_far with FAR None: tar_at_far needs a FAR, others take none"),
        (Statistic("auc", 0.1), "statistic auc with FAR 0.1: tar_at_far needs a FAR, others take none"),
        (Statistic("tar_at_far", 0.0), r"statistic tar_at_far at FAR 0.0: expected a FAR above 0 and at most 1"),
        (Statistic("tar_at_far", float("nan")), r"statistic tar_at_far at FAR nan: expected a FAR above 0"),
    ],
)
def test_statistics_that_cannot_be_measured_are_refused(statistic: Statistic | str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        check_statistics([statistic])


def test_decisions_that_do_not_fit_the_scores_are_refused() -> None:
    with pytest.raises(DataError, match=r"decisions \(3,\) and scores \(2,\): expected one decision per pair"):
        Ranked.of([0.1, 0.2], [True, False], [True, False, True])


def test_statistics_of_decisions_without_decisions_are_refused() -> None:
    with pytest.raises(DataError, match="statistics of decisions need `accepted`, a decision on each pair: none"):
        weighted_statistics(Ranked.of([0.1, 0.2], [True, False]), np.ones((1, 2)), [Statistic("f1")])
