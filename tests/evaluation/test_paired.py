import numpy as np
import pytest
from numpy.typing import NDArray

from siamese.errors import DataError
from siamese.evaluation.intervals import IntervalOptions
from siamese.evaluation.mcnemar import NO_DIFFERENCE
from siamese.evaluation.paired import Comparison, compare
from siamese.evaluation.weighted import Statistic

METHODS = ("dyadic", "percentile", "bca")
NAMES = ["auc", "eer", "best_accuracy", "accuracy", "f1", "mcc", "far", Statistic("tar_at_far", 0.1)]
Pairs = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]


def scored_twice(better_by: float, pairs: int = 400, people: int = 300, seed: int = 0) -> Pairs:
    """Two models that share most of their noise; the second one parts genuine pairs by so much more."""
    generator = np.random.default_rng(seed)
    genuine, left = generator.integers(people, size=(2, pairs // 2))
    right = (left + generator.integers(1, people, pairs // 2)) % people
    left, right = np.concatenate((genuine, left)), np.concatenate((genuine, right))
    same = left == right
    shared = 1.2 * same + generator.normal(0, 0.3, people)[left] + generator.normal(0, 0.6, pairs)
    first, second = shared + generator.normal(0, 0.2, (2, pairs))
    return first, second + better_by * (same - 0.5), same, left, right


def compared(pairs: Pairs, method: str = "dyadic", **options: float) -> dict[str, Comparison]:
    made = IntervalOptions(method, **{"resamples": 300, **options})  # type: ignore[arg-type]
    decisions = (pairs[0] > 0.6, pairs[1] > 0.6)
    return compare(*pairs, NAMES, accepted=decisions, names=("old", "new"), options=made)


@pytest.mark.parametrize("method", METHODS)
def test_identical_scores_differ_by_nothing(method: str) -> None:
    first, _, *identities = scored_twice(0.0)

    for found in compared((first, first, *identities), method).values():
        assert found.difference == 0.0
        assert found.p_value == 1.0
        assert found.verdict == NO_DIFFERENCE == "no significant difference"
        assert found.interval is not None
        assert (found.interval.low, found.interval.high) == (0.0, 0.0)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("people", [3, 30, 90])
def test_identical_scores_differ_by_nothing_however_few_people_there_are(method: str, people: int) -> None:
    first, _, *identities = scored_twice(0.0, 200, people)

    for found in compared((first, first, *identities), method).values():
        assert (found.difference, found.p_value, found.verdict) == (0.0, 1.0, "no significant difference")
        assert found.interval is not None
        assert (found.interval.low, found.interval.high) == (0.0, 0.0)


def test_two_identical_pairs_differ_by_nothing() -> None:
    scores = np.array([0.9, 0.1])
    found = compare(scores, scores, [True, False], [0, 1], [0, 2], NAMES, accepted=(scores > 0.5, scores > 0.5))

    assert found["tar_at_far=0.1"].verdict == (
        "insufficient data: 1 impostor pairs expect fewer than 3 errors at FAR 0.1"
    )
    assert {each.verdict for name, each in found.items() if name != "tar_at_far=0.1"} == {NO_DIFFERENCE}


def test_scores_in_another_unit_are_the_same_scores() -> None:
    first, _, same, left, right = scored_twice(0.0, people=30)
    decisions = (first > 0.6, 8 * first - 3 > 1.8)

    for found in compare(first, 8 * first - 3, same, left, right, NAMES, accepted=decisions).values():
        assert found.verdict == NO_DIFFERENCE


@pytest.mark.parametrize("people", [30, 300])
def test_models_that_decide_alike_do_not_differ_in_their_decisions(people: int) -> None:
    first, second, same, left, right = scored_twice(0.6, people=people)
    decisions = (first > 0.6, first > 0.6)
    asked = ["accuracy", "f1", "mcc", "far", "tar", "auc"]

    found = compare(first, second, same, left, right, asked, accepted=decisions)

    for name in asked[:-1]:
        each = found[name]
        # No interval: that no pair of these is decided differently does not say that none ever is.
        assert (each.difference, each.interval, each.p_value, each.verdict) == (0.0, None, 1.0, NO_DIFFERENCE)
    assert found["auc"].verdict.startswith("the second model is better" if people == 300 else "insufficient data: ")


@pytest.mark.parametrize("method", METHODS)
def test_a_planted_improvement_is_found_with_its_interval(method: str) -> None:
    for name, found in compared(scored_twice(0.6), method).items():
        assert found.interval is not None
        assert found.difference is not None
        assert found.p_value is not None
        lower_is_better = name in ("eer", "far")
        assert (found.difference < 0) == lower_is_better
        assert found.interval.low < found.difference < found.interval.high
        assert not found.interval.low <= 0 <= found.interval.high, name
        assert found.p_value < 0.05
        ends = sorted((abs(found.interval.low), abs(found.interval.high)))
        by = f"{abs(found.difference):.4f} [{ends[0]:.4f}, {ends[1]:.4f}]"
        assert found.verdict == f"new is better: {name} by {by}"


def test_the_first_model_wins_when_the_second_is_worse() -> None:
    for found in compared(scored_twice(-0.6)).values():
        assert found.verdict.startswith("old is better: ")


@pytest.mark.parametrize("method", METHODS)
def test_swapping_models_swaps_the_signs(method: str) -> None:
    pairs = scored_twice(0.2)
    there, back = compared(pairs, method), compared((pairs[1], pairs[0], *pairs[2:]), method)

    for name, found in there.items():
        other = back[name]
        assert found.interval is not None
        assert other.interval is not None
        assert (other.first, other.second) == (found.second, found.first)
        assert other.difference == pytest.approx(-(found.difference or 0.0))
        assert other.interval.low == pytest.approx(-found.interval.high, rel=1e-9)
        assert other.p_value == pytest.approx(found.p_value, rel=1e-6)


def test_the_paired_interval_is_narrower_than_those_of_models_that_share_nothing() -> None:
    pairs, other = scored_twice(0.2), scored_twice(0.2, seed=0)
    shuffled = np.random.default_rng(1)
    apart = other[1].copy()
    for kind in (other[2], ~other[2]):
        apart[kind] = shuffled.permutation(apart[kind])

    together = compared(pairs)["auc"].interval
    alone = compared((pairs[0], apart, *pairs[2:]))["auc"].interval

    assert together is not None
    assert alone is not None
    assert together.high - together.low < 0.7 * (alone.high - alone.low)


@pytest.mark.parametrize("method", METHODS)
def test_the_p_value_is_where_the_interval_reaches_zero(method: str) -> None:
    pairs = scored_twice(0.12)
    p_value = compared(pairs, method)["accuracy"].p_value
    assert p_value is not None
    assert 0.001 < p_value < 0.6

    inside, outside = (
        compared(pairs, method, level=1 - p_value * factor)["accuracy"].interval for factor in (0.9, 1.1)
    )

    assert inside is not None
    assert outside is not None
    assert inside.low <= 0 <= inside.high
    assert not outside.low < 0 < outside.high


def test_the_false_alarms_of_equal_models_are_about_as_many_as_allowed() -> None:
    alarms = sum(
        compare(*scored_twice(0.0, 300, 200, seed), ["auc"])["auc"].verdict != NO_DIFFERENCE for seed in range(300)
    )

    assert 3 <= alarms <= 30  # 15 of 300 are expected, with a standard deviation of 4


def test_one_seed_gives_one_comparison() -> None:
    pairs = scored_twice(0.2)

    assert compared(pairs, "bca", seed=3) == compared(pairs, "bca", seed=3)
    assert compared(pairs, "bca", seed=3) != compared(pairs, "bca", seed=4)


def test_too_few_people_and_too_few_errors_are_insufficient_data() -> None:
    few = compare(*scored_twice(0.2, people=30), ["auc"])["auc"]
    assert few.difference is not None
    assert (few.interval, few.p_value) == (None, None)
    assert few.verdict == "insufficient data: 30 people, an interval needs 60"

    rare = compare(*scored_twice(0.2), [Statistic("tar_at_far", 1e-4)])["tar_at_far=0.0001"]
    assert rare == Comparison(
        None, None, None, None, None, "insufficient data: 200 impostor pairs expect fewer than 3 errors at FAR 0.0001"
    )


def test_models_on_other_pairs_are_refused() -> None:
    first, second, *identities = scored_twice(0.2)

    with pytest.raises(DataError, match=r"scores \(399,\) and labels \(400,\): expected two vectors of one length"):
        compare(first, second[:-1], *identities, ["auc"])
