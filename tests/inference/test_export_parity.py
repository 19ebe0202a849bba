"""The check of an export, on embeddings whose similarities are known."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from siamese.inference.export_parity import Parity, Reference, check_parity, take_reference
from siamese.inference.export_samples import Samples
from siamese.similarity import pair_similarity

PAIRS = 6000


class Given:
    """A runtime that compares embeddings it was never asked for."""

    name, embedding_dim = "given", 2

    def __init__(self, precision: str = "f32", identities: int = 0) -> None:
        self.precision, self.identities = precision, identities

    def embed(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        raise NotImplementedError

    def similarity(self, left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(pair_similarity(left, right), np.float64)

    def identity_probabilities(self, vectors: NDArray[Any]) -> NDArray[np.float32]:
        """Two people at right angles to each other, told apart by the square of the cosine."""
        return np.asarray(vectors, np.float32) ** 2


def at_angles(radians: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.column_stack([np.cos(radians), np.sin(radians)]).astype(np.float32)


def scores_to_vectors(scores: NDArray[np.float64]) -> NDArray[np.float32]:
    """Images 0 lie at angle 0, image k + 1 at the angle whose cosine is score k."""
    return at_angles(np.concatenate([[0.0], np.arccos(scores)]))


def reference(scores: NDArray[np.float64], same: NDArray[np.bool_] | None, threshold: float | None) -> Reference:
    count = len(scores)
    samples = Samples("pairs.csv", [], np.zeros(count, np.int64), np.arange(1, count + 1), same)
    vectors, usable = scores_to_vectors(scores), np.ones(count + 1, bool)
    return take_reference(Given(), samples, vectors, usable, threshold=threshold, pair_head=False)


def spread(count: int = PAIRS) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Half of the pairs evenly in [0.1, 0.4], half in [0.6, 0.9]."""
    half = count // 2
    scores = np.concatenate([np.linspace(0.1, 0.4, half), np.linspace(0.6, 0.9, count - half)])
    return scores, np.arange(count) >= half


def check(moved: NDArray[np.float64], precision: str = "f32", tolerance: float = 1 / 5000, **options: Any) -> Parity:
    scores, same = spread(len(moved))
    given = {"same": same, "threshold": 0.5, **options}
    return check_parity(reference(scores, **given), Given(precision), scores_to_vectors(moved), tolerance)


def test_the_same_embeddings_differ_in_nothing() -> None:
    scores, _ = spread()
    found = check(scores)
    assert (found.embedding_max, found.embedding_mean, found.similarity_max, found.flipped) == (0.0, 0.0, 0.0, 0)
    assert (found.allowed, found.passed, found.reason) == (1, True, "")
    assert found.tar == {"0.1": (1.0, 1.0), "0.01": (1.0, 1.0), "0.001": (1.0, 1.0)}


@pytest.mark.parametrize(("flips", "passed"), [(0, True), (1, True), (2, False)])
def test_one_decision_in_five_thousand_may_flip(flips: int, passed: bool) -> None:
    scores, same = spread()
    scores[:flips] = 0.5 - 2e-6
    moved = scores.copy()
    moved[:flips] = 0.5 + 2e-6
    before = reference(scores, same, 0.5)
    found = check_parity(before, Given(), scores_to_vectors(moved), 1 / 5000)
    assert (found.flipped, found.allowed, found.passed) == (flips, 1, passed)
    expected = (
        ""
        if passed
        else ("2 of 6,000 decisions flip at threshold 0.5000 (operating point accuracy), 1 may (1 in 5,000)")
    )
    assert found.reason == expected


def test_differences_are_those_of_the_geometry() -> None:
    scores = np.array([0.2, 0.8])
    before = reference(scores, np.array([False, True]), 0.5)
    turned = at_angles(np.array([0.0, np.arccos(0.2) + 0.01, np.arccos(0.8)]))
    found = check_parity(before, Given(), turned, 1.0)
    chord = 2 * np.sin(0.005)
    assert found.embedding_max == pytest.approx(chord, rel=1e-4)
    assert found.embedding_mean == pytest.approx(chord / 3, rel=1e-4)
    assert found.similarity_max == pytest.approx(0.2 - np.cos(np.arccos(0.2) + 0.01), rel=1e-4)


def test_in_float32_similarities_may_move_by_rounding_alone() -> None:
    scores, _ = spread()
    assert check(scores + 5e-5).passed
    found = check(scores + 5e-4)
    assert (found.flipped, found.passed) == (0, False)
    assert found.reason == "similarities move by up to 0.0005, 0.0001 may be"
    assert check(scores + 5e-4, "bf16", 1 / 500).passed


def test_a_lower_precision_needs_pairs_enough_to_show_that_it_holds() -> None:
    scores, _ = spread(1499)
    found = check(scores, "bf16", 1 / 500)
    assert (found.passed, found.reason) == (False, "1,499 pairs are too few to show it, 1,500 are enough")
    assert check(spread(1500)[0], "bf16", 1 / 500).passed


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_a_lower_precision_needs_decisions(precision: str) -> None:
    scores, _ = spread()
    found = check(scores, precision, 0.01, same=None, threshold=None)
    assert (found.flipped, found.passed) == (None, False)
    assert found.reason == "nothing to compare decisions on: give labelled --pairs"


def test_without_a_threshold_one_is_fitted_on_the_pairs() -> None:
    scores, _ = spread()
    found = check(scores, threshold=None)
    assert (found.threshold_of, found.flipped) == ("best accuracy on these pairs", 0)
    assert found.threshold is not None
    assert 0.4 < found.threshold < 0.6


def test_pairs_of_one_kind_have_decisions_and_no_rates() -> None:
    scores, _ = spread()
    found = check(scores, same=np.ones(PAIRS, bool))
    assert (found.tar, found.flipped, found.passed) == ({}, 0, True)
    assert check(scores, same=np.ones(PAIRS, bool), threshold=None).flipped is None


def test_what_gives_no_numbers_does_not_pass() -> None:
    scores, same = spread()
    broken = scores_to_vectors(scores)
    broken[5] = np.nan
    found = check_parity(reference(scores, same, 0.5), Given("int8"), broken, 1.0)
    assert (found.passed, found.reason) == (False, "it gives no numbers")


def test_images_that_cannot_be_read_take_their_pairs_with_them() -> None:
    scores, same = spread(100)
    samples = Samples("pairs.csv", [], np.zeros(100, np.int64), np.arange(1, 101), same)
    usable = np.ones(101, bool)
    usable[[3, 7]] = False
    vectors = scores_to_vectors(scores)
    before = take_reference(Given(), samples, vectors, usable, threshold=0.5, pair_head=False)
    found = check_parity(before, Given(), vectors, 0.0)
    assert (found.images, found.failed, found.pairs, found.passed) == (99, 2, 98, True)
    nothing = take_reference(Given(), samples, vectors, np.zeros(101, bool), threshold=0.5, pair_head=False)
    assert check_parity(nothing, Given(), vectors, 0.0).reason == "no image could be embedded"


def check_identities(
    before: NDArray[np.float64], after: NDArray[np.float64], precision: str, tolerance: float
) -> Parity:
    """Images at angles of the first person, before and after; the pairs of both score alike at any precision."""
    count = len(before)
    nothing = np.zeros(0, np.int64)
    samples = Samples("pairs.csv", [], nothing, nothing, np.zeros(0, bool))
    usable = np.ones(count, bool)
    known = take_reference(Given(identities=2), samples, at_angles(before), usable, threshold=0.5, pair_head=False)
    return check_parity(known, Given(precision, 2), at_angles(after), tolerance)


def test_probabilities_of_identities_are_compared() -> None:
    angles = np.radians([10.0, 44.9, 80.0])
    moved = np.radians([10.0, 45.1, 80.0])
    found = check_identities(angles, moved, "int8", 0.5)
    assert found.identities == 2
    assert found.probability_max == pytest.approx(np.sin(np.radians(0.2)), rel=1e-3)  # the slope of cos^2 at 45 is 1
    assert (found.top1_changed, found.top1_allowed, found.passed) == (1, 1, True)
    assert check_identities(angles, angles, "f32", 0.0).top1_changed == 0


def test_without_an_identity_head_there_is_nothing_to_say_of_identities() -> None:
    found = check(spread()[0])
    assert (found.identities, found.probability_max, found.top1_changed, found.top1_allowed) == (0, None, None, None)


@pytest.mark.parametrize(
    ("degrees", "precision", "tolerance", "reason"),
    [
        (0.02, "f32", 0.0, ""),
        (0.1, "f32", 1.0, "probabilities of identities move by up to 0.0017, 0.001 may be"),
        (0.02, "int8", 0.0, "the identity of 1 of 2 images changes, that of 0 may"),
        (np.nan, "f32", 1.0, "it gives no numbers"),
    ],
)
def test_too_much_of_it_is_refused(degrees: float, precision: str, tolerance: float, reason: str) -> None:
    """In float32 another identity may come first where two are alike, and no probability may move far."""
    angles = np.radians([45 - 0.01, 10])
    found = check_identities(angles, angles + np.radians([degrees, 0]), precision, tolerance)
    assert (found.reason, found.passed) == (reason, not reason)
