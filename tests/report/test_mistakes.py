from collections import Counter
from typing import Any

import numpy as np
import pytest

from siamese.errors import DataError, OptionError
from siamese.report.content import Mistakes
from siamese.report.mistakes import hardest_mistakes

# Pair:     0     1    2    3     4     5
SCORES = [0.9, 0.6, 0.7, 0.2, 0.45, 0.95]
SAME = [False, False, True, True, True, True]
PATHS = (["a/1", "b/1", "c/1", "d/1", "e/1", "f/1"], ["g/1", "h/1", "c/2", "d/2", "e/2", "f/2"])


def find(**more: Any) -> Mistakes:
    return hardest_mistakes("model", SCORES, SAME, 0.5, PATHS, **more)


def test_mistakes_come_hardest_first_with_their_kind_and_number() -> None:
    found = find()
    assert [(one.left, one.right, one.score) for one in found.accepts] == [("a/1", "g/1", 0.9), ("b/1", "h/1", 0.6)]
    assert [(one.left, one.score, one.threshold) for one in found.rejects] == [("d/1", 0.2, 0.5), ("e/1", 0.45, 0.5)]
    assert not any(one.same for one in found.accepts)
    assert all(one.same for one in found.rejects)
    assert (found.false_accepts, found.false_rejects, found.model) == (2, 2, "model")


def test_at_most_so_many_are_chosen_but_all_are_counted() -> None:
    found = find(most=1)
    assert (len(found.accepts), len(found.rejects), found.false_accepts, found.false_rejects) == (1, 1, 2, 2)
    assert find(most=0).accepts == ()


def test_a_score_at_the_threshold_is_accepted() -> None:
    found = hardest_mistakes("m", [0.5, 0.5], [True, False], 0.5, (["a", "b"], ["c", "d"]))
    assert ([one.left for one in found.accepts], found.rejects) == (["b"], ())


def test_with_a_threshold_for_each_pair_the_distance_counts_not_the_score() -> None:
    thresholds = [0.85, 0.1, 0.5, 0.5, 0.5, 0.5]
    found = hardest_mistakes("m", SCORES, SAME, thresholds, PATHS)
    assert [(one.left, one.threshold) for one in found.accepts] == [("b/1", 0.1), ("a/1", 0.85)]


def test_one_wrong_label_does_not_fill_the_page() -> None:
    rng = np.random.default_rng(0)
    pairs = 400
    left = ["wrong"] * 300 + [f"person {row}" for row in range(100)]
    right = [f"other {row % 150}" for row in range(pairs)]
    scores = np.concatenate((rng.uniform(0.8, 0.9, 300), rng.uniform(0.6, 0.7, 100)))
    paths = ([f"{name}/{row}" for row, name in enumerate(left)], [f"{name}/{row}" for row, name in enumerate(right)])
    found = hardest_mistakes("m", scores, np.zeros(pairs, bool), 0.5, paths, (left, right), most=12, per_identity=2)
    people = Counter(name for one in found.accepts for name in (one.left_identity, one.right_identity))
    assert (found.false_accepts, len(found.accepts), people["wrong"]) == (400, 12, 2)
    assert max(people.values()) == 2
    distances = [one.score for one in found.accepts]
    assert distances == sorted(distances, reverse=True)
    assert distances[:2] == sorted(scores, reverse=True)[:2]


def test_a_genuine_pair_counts_once_for_its_identity() -> None:
    who = ["x"] * 3
    found = hardest_mistakes("m", [0.1, 0.2, 0.3], [True] * 3, 0.5, (["1", "2", "3"], ["4", "5", "6"]), (who, who))
    assert [one.left for one in found.rejects] == ["1", "2"]


def test_without_identities_an_image_is_its_own() -> None:
    paths = (["same.jpg"] * 4, ["1", "2", "3", "4"])
    for identities in (None, ([None] * 4, [None] * 4)):
        found = hardest_mistakes("m", [0.9, 0.8, 0.7, 0.6], [False] * 4, 0.5, paths, identities)
        assert [one.right for one in found.accepts] == ["1", "2"]
        assert found.accepts[0].left_identity is None


def test_equally_hard_ones_are_taken_in_the_order_of_the_pairs() -> None:
    paths = ([f"l{row}" for row in range(50)], [f"r{row}" for row in range(50)])
    found = hardest_mistakes("m", np.full(50, 0.7), np.zeros(50, bool), 0.5, paths, most=5)
    assert [one.left for one in found.accepts] == ["l0", "l1", "l2", "l3", "l4"]


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        (
            {"most": -1},
            OptionError,
            "-1 mistakes of each kind, 2 per identity: expected 0 or more mistakes, 1 or more",
        ),
        ({"per_identity": 0}, OptionError, "12 mistakes of each kind, 0 per identity: expected 0 or more mistakes"),
        ({"threshold": float("nan")}, DataError, "threshold nan: expected a number on the scale of the scores"),
        ({"threshold": [0.5, 0.5]}, DataError, r"thresholds \(2,\): expected one for all 6 pairs, or one for each"),
        ({"paths": (["a"], ["b"])}, DataError, "paths: 1 left and 1 right; expected 6 of each"),
        ({"identities": (["a"] * 6, ["b"])}, DataError, "identities: 6 left and 1 right; expected 6 of each"),
        ({"scores": [np.inf] * 6}, DataError, "6 of 6 scores are not finite numbers"),
    ],
)
def test_what_does_not_fit_is_refused(more: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {
        "model": "m",
        "scores": SCORES,
        "same": SAME,
        "threshold": 0.5,
        "paths": PATHS,
    } | more
    with pytest.raises(error, match=message):
        hardest_mistakes(**arguments)
