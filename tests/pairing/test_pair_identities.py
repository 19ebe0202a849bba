import numpy as np
import pandas as pd
import pytest

from siamese.pairing.pair_identities import pair_identities


def table(rows: list[tuple[str, str, int]], **columns: list[object]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["left", "right", "same"])
    return frame.astype({"same": "boolean"}).assign(**columns)


ROWS = [("a1", "a2", 1), ("a2", "b1", 0), ("b1", "b2", 1), ("c1", "a1", 0), ("c1", "d1", 0)]


def same_partition(codes: np.ndarray, names: list[str]) -> bool:
    """Whether equal codes go with equal names, and different ones with different ones."""
    pairs = set(zip(codes.tolist(), names, strict=True))
    return len(pairs) == len({code for code, _ in pairs}) == len({name for _, name in pairs})


def test_identities_of_the_columns_go_before_those_of_the_pairs() -> None:
    # By the pairs alone c1 and d1 are two people; the columns know that no pair shows b and d apart.
    left, right = ["A", "A", "B", "C", "C"], ["A", "B", "B", "A", "B"]
    found = pair_identities(table(ROWS, left_identity=left, right_identity=right))
    assert (found.source, found.contradictory) == ("columns", 0)
    assert same_partition(np.concatenate((found.left, found.right)), left + right)


@pytest.mark.parametrize(
    "right", [["A", None, "B", "A", "D"], ["A", "A", "B", "A", "D"]], ids=["missing", "against-the-labels"]
)
def test_columns_that_miss_somebody_or_contradict_the_labels_are_not_taken(right: list[object]) -> None:
    found = pair_identities(table(ROWS, left_identity=["A", "A", "B", "C", "C"], right_identity=right))
    assert found.source == "pairs"


def test_genuine_pairs_are_closed_and_other_images_are_people_of_their_own() -> None:
    found = pair_identities(table(ROWS))
    names = ["A", "A", "B", "C", "C", "A", "B", "B", "A", "D"]
    assert (found.source, found.contradictory) == ("pairs", 0)
    assert same_partition(np.concatenate((found.left, found.right)), names)


def test_an_impostor_pair_within_a_closed_identity_counts_as_with_somebody_else() -> None:
    found = pair_identities(table([("a", "b", 1), ("b", "c", 1), ("a", "c", 0), ("c", "a", 0), ("a", "d", 0)]))
    assert found.contradictory == 2
    assert found.left.tolist() == [0, 0, 0, 0, 0]
    assert found.right[:2].tolist() == [0, 0]
    assert len(set(found.right[2:].tolist()) | {0}) == 4


@pytest.mark.parametrize("seed", range(5))
def test_codes_are_equal_exactly_for_genuine_pairs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (200, 2))
    same = images[:, 0] % 7 == images[:, 1] % 7
    frame = table([(f"i{a}", f"i{b}", int(s)) for (a, b), s in zip(images, same, strict=True)])
    found = pair_identities(frame)
    np.testing.assert_array_equal(found.left == found.right, same)
    assert found.contradictory == 0
