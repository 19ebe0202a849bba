import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from siamese.errors import OptionError
from siamese.evaluation import bootstrap
from siamese.evaluation.bootstrap import draw_people, keep_shares, pair_weights, resampled_statistics
from siamese.evaluation.influence import Dyads
from siamese.evaluation.weighted import Ranked, Statistic, check_statistics


def table(people: int = 12, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.bool_], Dyads]:
    generator = np.random.default_rng(seed)
    who = np.repeat(np.arange(people), 2)
    left, right = np.triu_indices(len(who), 1)
    left, right = who[left], who[right]
    same = left == right
    return np.round(generator.normal(same, 1.0), 2), same, Dyads.of(same, left, right)


def drawn_people(people: int, resamples: int, seed: int) -> NDArray[np.int64]:
    return np.concatenate(list(draw_people(people, resamples, seed, resamples)))


def test_as_many_people_are_drawn_as_there_are() -> None:
    drawn = drawn_people(9, 500, 1)

    assert drawn.shape == (500, 9)
    assert (drawn.sum(axis=1) == 9).all()
    # A person is missing from a resample with a chance of (8 / 9)^9 = .346.
    assert (drawn == 0).mean() == pytest.approx((8 / 9) ** 9, abs=0.03)


def test_draws_depend_on_the_seed_and_not_on_the_size_of_blocks() -> None:
    whole = drawn_people(7, 50, 3)

    np.testing.assert_array_equal(whole, np.concatenate(list(draw_people(7, 50, 3, 8))))
    assert (whole != drawn_people(7, 50, 4)).any()


def test_a_pair_weighs_what_its_people_were_drawn() -> None:
    drawn = np.array([[2, 0, 3], [1, 1, 1]])
    left, right = np.array([0, 0, 2, 1]), np.array([0, 2, 2, 0])

    weights = pair_weights(drawn, left, right, left == right)

    assert weights.tolist() == [[2.0, 6.0, 3.0, 0.0], [1.0, 1.0, 1.0, 1.0]]


def test_each_kind_keeps_its_share_and_a_kind_without_weight_stays_without() -> None:
    same = np.array([True, True, False])

    weights = keep_shares(np.array([[3.0, 1.0, 4.0], [0.0, 0.0, 2.0]]), same)

    assert weights.tolist() == [[1.5, 0.5, 1.0], [0.0, 0.0, 1.0]]


def test_resampled_auc_is_scikit_learns_of_the_table_of_the_people_drawn() -> None:
    scores, same, dyads = table()
    found = resampled_statistics(dyads, [Ranked.of(scores, same)], check_statistics(["auc"]), 40, 5)

    expected = []
    for counts in drawn_people(dyads.people, 40, 5):
        repeats = np.where(same, counts[dyads.left], counts[dyads.left] * counts[dyads.right])
        expected.append(roc_auc_score(np.repeat(same, repeats), np.repeat(scores, repeats)))
    np.testing.assert_allclose(found[:, 0, 0], expected, rtol=1e-12)


def test_resamples_do_not_depend_on_blocks_or_on_the_order_of_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    scores, same, dyads = table()
    statistics = check_statistics(["auc", "eer", "f1", Statistic("tar_at_far", 0.1)])
    whole = resampled_statistics(dyads, [Ranked.of(scores, same, scores > 0.5)], statistics, 30, 5)

    shuffled = np.random.default_rng(1).permutation(len(same))
    other = Dyads.of(same[shuffled], dyads.left[shuffled], dyads.right[shuffled])
    ranked = Ranked.of(scores[shuffled], same[shuffled], scores[shuffled] > 0.5)
    monkeypatch.setattr(bootstrap, "_BLOCK", 1000)

    np.testing.assert_allclose(resampled_statistics(other, [ranked], statistics, 30, 5), whole, rtol=1e-12)


def test_two_models_share_their_resamples() -> None:
    scores, same, dyads = table()
    ranked = Ranked.of(scores, same)

    found = resampled_statistics(dyads, [ranked, Ranked.of(10 * scores - 3, same)], check_statistics(["auc"]), 20, 0)

    np.testing.assert_array_equal(found[:, 0], found[:, 1])


def test_a_resample_without_a_kind_is_undefined_and_no_other_is() -> None:
    # Genuine pairs of one person of 25 only: the person is missing from a share of (24 / 25)^25 = .36 of resamples.
    left = np.append(np.zeros(3, dtype=int), np.arange(24))
    right = np.append(np.zeros(3, dtype=int), np.arange(24) + 1)
    same = left == right
    ranked = Ranked.of(np.random.default_rng(0).random(27), same)
    dyads = Dyads.of(same, left, right)

    found = resampled_statistics(dyads, [ranked], check_statistics(["auc"]), 400, 2)[:, 0, 0]

    missing = drawn_people(25, 400, 2)[:, 0] == 0
    np.testing.assert_array_equal(np.isnan(found), missing)
    assert 0.25 < missing.mean() < 0.45


def test_no_resamples_are_refused() -> None:
    with pytest.raises(OptionError, match="resamples 0: expected at least 1"):
        next(draw_people(3, 0, 0, 8))
