import numpy as np
import pytest

from siamese.errors import DataError, OptionError
from siamese.evaluation.group_matches import GroupCell, false_matches


def problem(seed: int, count: int = 3000) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(seed)
    left, right = (np.array(["a", "b", "c"])[random.choice(3, count, p=(0.5, 0.4, 0.1))] for _ in range(2))
    return random.random(count) < 0.3, random.random(count) < 0.2, left, right


@pytest.mark.parametrize("seed", range(3))
def test_rates_agree_with_a_loop_over_pairs_of_groups(seed: int) -> None:
    same, accepted, left, right = problem(seed)
    found = false_matches(same, accepted, left, right)
    assert found.groups == ("a", "b", "c")
    for i, one in enumerate(found.groups):
        for j, other in enumerate(found.groups):
            between = ((left == one) & (right == other)) | ((left == other) & (right == one))
            inside = between & ~same
            assert found.impostors[i, j] == inside.sum()
            assert found.false_matches[i, j] == (inside & accepted).sum()
            rate = found.far[i][j]
            if inside.sum() < 30:
                assert rate is None
            else:
                assert rate == pytest.approx(accepted[inside].mean())
    assert found.ungrouped == 0
    assert np.triu(found.impostors).sum() == np.count_nonzero(~same)


def test_sides_may_be_swapped() -> None:
    same, accepted, left, right = problem(4)
    swap = np.random.default_rng(0).random(len(left)) < 0.5
    other = false_matches(same, accepted, np.where(swap, right, left), np.where(swap, left, right))
    found = false_matches(same, accepted, left, right)
    assert other.far == found.far
    assert (other.impostors == found.impostors.T).all()


def test_a_rate_needs_three_expected_false_matches() -> None:
    left = np.repeat(["a", "b"], [299, 300])
    same, accepted = np.zeros(599, bool), np.zeros(599, bool)
    found = false_matches(same, accepted, left, left, far=0.01)
    assert found.far == ((None, None), (None, 0.0))
    assert false_matches(same, accepted, left, left, minimum=300).far == ((None, None), (None, 0.0))
    assert false_matches(same, accepted, left, left).far == ((0.0, None), (None, 0.0))
    assert false_matches(same, accepted, left, left, far=1.0, minimum=300).far == ((None, None), (None, 0.0))


def test_cells_are_listed_once_worst_first() -> None:
    left = ["a"] * 10 + ["b"] * 10 + ["a"] * 3
    right = ["a"] * 10 + ["a"] * 10 + ["c"] * 3
    accepted = np.arange(23) % 10 < np.where(np.arange(23) < 10, 1, 4)
    cells = false_matches(np.zeros(23, bool), accepted, left, right, minimum=5).worst_first()
    assert cells == [
        GroupCell("a", "b", 10, 4, 0.4),
        GroupCell("a", "a", 10, 1, 0.1),
        GroupCell("a", "c", 3, 3, None),
    ]


def test_pairs_without_a_group_are_counted_apart() -> None:
    left = np.array(["a", None, "a", "a"], dtype=object)
    found = false_matches([False, False, False, True], [True, True, False, True], left, ["a", "a", "", ""], minimum=1)
    assert found.groups == ("a",)
    assert (found.impostors.tolist(), found.false_matches.tolist(), found.far) == ([[1]], [[1]], ((1.0,),))
    assert found.ungrouped == 2


def test_ages_are_grouped_in_bins_of_both_sides() -> None:
    random = np.random.default_rng(5)
    left, right = random.integers(0, 50, 1000), random.integers(50, 100, 1000)
    found = false_matches(np.zeros(1000, bool), random.random(1000) < 0.1, left, right)
    assert len(found.groups) == 5
    assert found.groups[0].startswith("0 to ")
    assert found.far[0][0] is None  # no pair of two young people
    assert found.far[0][-1] is not None


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"minimum": 0}, OptionError, "minimum 0 and FAR None: expected 1 or more pairs"),
        ({"far": 0.0}, OptionError, "a FAR above 0, at most 1"),
        ({"far": 1.5}, OptionError, r"minimum 30 and FAR 1\.5"),
        ({"same": [True, True]}, DataError, "0 impostor pairs: false matches are counted on them; add some"),
        ({"accepted": [True]}, DataError, r"labels \(2,\), decisions \(1,\) and groups \(2,\): expected one of each"),
        ({"left": ["a"]}, DataError, "gender: 1 values left and 2 right"),
    ],
)
def test_what_cannot_be_counted_is_refused(options: dict, error: type, message: str) -> None:
    given = {"same": [True, False], "accepted": [True, True], "left": ["a", "b"], "right": ["a", "b"], **options}
    with pytest.raises(error, match=message):
        false_matches(**given, what="gender")
