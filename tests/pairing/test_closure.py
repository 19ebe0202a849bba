from collections import deque
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from siamese.pairing.closure import PairIndex, pseudo_identities, word_conflict
from siamese.pairing.formats import read_pairs
from siamese.pairing.table import check_pairs, check_triplets

Row = tuple[str, str, bool | None]


def table(*rows: Row) -> pd.DataFrame:
    return check_pairs(pd.DataFrame(rows, columns=["left", "right", "same"], dtype=object), "test")


def random_table(seed: int, images: int = 60, rows: int = 70, genuine: float = 0.4) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    left, right = rng.integers(0, images, (2, rows))
    right = np.where(left == right, (right + 1) % images, right)
    same = rng.random(rows) < genuine
    return table(*((f"{a}.jpg", f"{b}.jpg", bool(s)) for a, b, s in zip(left, right, same, strict=True)))


def joined_by(frame: pd.DataFrame) -> dict[str, set[str]]:
    """For every image those that genuine pairs join it to, by merging sets one pair at a time."""
    groups: dict[str, set[str]] = {}
    for row in frame.itertuples():
        for image in (row.left, row.right):
            groups.setdefault(image, {image})
        if row.same:
            merged = groups[row.left] | groups[row.right]
            groups |= dict.fromkeys(merged, merged)
    return groups


def distance_between(frame: pd.DataFrame, start: str, end: str) -> int:
    genuine = frame[frame["same"].to_numpy(dtype=bool)]
    steps, waiting = {start: 0}, deque([start])
    while waiting:
        image = waiting.popleft()
        for row in genuine.itertuples():
            for one, other in ((row.left, row.right), (row.right, row.left)):
                if one == image and other not in steps:
                    steps[other] = steps[image] + 1
                    waiting.append(other)
    return steps[end]


@pytest.mark.parametrize("seed", range(20))
def test_the_closure_is_that_of_merging_sets_one_pair_at_a_time(seed: int) -> None:
    frame = random_table(seed)
    catalog = pseudo_identities(frame).catalog
    found = {frozenset(group["path"]) for _, group in catalog.groupby("identity")}
    assert found == {frozenset(group) for group in joined_by(frame).values()}
    assert catalog["path"].is_unique


@pytest.mark.parametrize("seed", range(20))
def test_the_conflicts_are_all_impostor_rows_within_an_identity(seed: int) -> None:
    frame = random_table(seed)
    closure = pseudo_identities(frame, explained=1000)
    groups = joined_by(frame)
    expected = [
        place
        for place, row in enumerate(frame.itertuples())
        if not row.same and groups[row.left] is groups[row.right]
    ]
    assert [conflict.row for conflict in closure.conflicts] == expected
    assert closure.total_conflicts == len(expected)


@pytest.mark.parametrize("seed", range(20))
def test_each_chain_is_made_of_genuine_rows_and_is_a_shortest_one(seed: int) -> None:
    frame = random_table(seed)
    conflicts = pseudo_identities(frame, explained=1000).conflicts
    for conflict in conflicts:
        left, right = frame["left"].iloc[conflict.row], frame["right"].iloc[conflict.row]
        assert (conflict.images[0], conflict.images[-1]) == (left, right)
        assert len(conflict.images) == len(conflict.rows) + 1
        for (one, other), row in zip(pairwise(conflict.images), conflict.rows, strict=True):
            assert {one, other} == {frame["left"].iloc[row], frame["right"].iloc[row]}
            assert frame["same"].iloc[row]
        assert len(conflict.rows) == distance_between(frame, left, right)


def test_the_random_tables_hold_conflicts_of_several_rows() -> None:
    lengths = {len(c.rows) for seed in range(20) for c in pseudo_identities(random_table(seed)).conflicts}
    assert {2, 3} <= lengths


def test_identities_are_numbered_in_the_order_in_which_rows_name_them() -> None:
    catalog = pseudo_identities(table(("z", "y", False), ("b", "y", True), ("a", "z", True))).catalog
    assert catalog.to_dict("list") == {
        "path": ["z", "y", "b", "a"],
        "identity": ["identity_000001", "identity_000002", "identity_000002", "identity_000001"],
    }


def test_an_image_of_impostor_pairs_alone_is_an_identity_of_its_own() -> None:
    catalog = pseudo_identities(table(("a", "b", False), ("a", "c", False))).catalog
    assert catalog["identity"].nunique() == 3


def test_a_row_without_a_label_joins_nothing_and_its_images_are_left_out() -> None:
    catalog = pseudo_identities(table(("a", "b", True), ("b", "c", None), ("d", "e", None))).catalog
    assert list(catalog["path"]) == ["a", "b"]


def test_a_table_without_labels_has_no_identities() -> None:
    closure = pseudo_identities(table(("a", "b", None)))
    assert closure.catalog.empty
    assert closure.total_conflicts == 0


def test_the_order_of_rows_and_sides_does_not_change_who_is_with_whom() -> None:
    frame = random_table(0)
    turned = frame.rename(columns={"left": "right", "right": "left"}).iloc[::-1]
    groups = [
        {frozenset(group["path"]) for _, group in pseudo_identities(each).catalog.groupby("identity")}
        for each in (frame, turned)
    ]
    assert groups[0] == groups[1]


def test_conflicts_are_explained_up_to_a_number_and_all_counted() -> None:
    frame = table(("a", "b", True), ("b", "c", True), *[("a", "c", False)] * 5)
    closure = pseudo_identities(frame, explained=2)
    assert [conflict.row for conflict in closure.conflicts] == [2, 3]
    assert closure.total_conflicts == 5


def test_a_conflict_is_worded_with_the_lines_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text("left,right,same\n,,\nb,a,1\n\nc,d,0\nb,c,1\nc,a,0\n")
    frame = read_pairs(path)
    (conflict,) = pseudo_identities(frame).conflicts
    assert word_conflict(frame, conflict) == "c = b = a by lines 6 and 3, but line 7 says c and a are different"


def test_a_conflict_of_one_genuine_row_and_of_none_are_worded_too() -> None:
    frame = table(("a", "b", True), ("b", "a", False), ("c", "c", False))
    direct, itself = pseudo_identities(frame).conflicts
    assert word_conflict(frame, direct) == "b = a by row 1, but row 2 says b and a are different"
    assert word_conflict(frame, itself) == "c is one image, but row 3 says c and c are different"


def test_a_long_chain_is_worded_without_its_middle() -> None:
    frame = table(*((f"{i}", f"{i + 1}", True) for i in range(30)), ("0", "30", False))
    (conflict,) = pseudo_identities(frame).conflicts
    assert word_conflict(frame, conflict) == (
        "0 = 1 = 2 = 3 = 4 = 5 = 6 = (23 more) = 30 by rows 1, 2, 3, 4, 5, 6, ... and 30, "
        "but row 31 says 0 and 30 are different"
    )


def test_triplets_are_closed_by_their_positives_and_contradicted_by_their_negatives() -> None:
    triplets = check_triplets(
        pd.DataFrame([("a", "b", "x"), ("b", "c", "y"), ("c", "d", "a")], columns=["anchor", "positive", "negative"]),
        "test",
    )
    closure = pseudo_identities(triplets)
    assert closure.catalog.groupby("identity")["path"].agg(sorted).tolist() == [["a", "b", "c", "d"], ["x"], ["y"]]
    (conflict,) = closure.conflicts
    assert word_conflict(triplets, conflict) == "c = b = a by rows 2 and 1, but row 3 says c and a are different"


def test_a_quadruplet_is_a_genuine_pair_and_three_impostor_pairs() -> None:
    frame = pd.DataFrame([("a", "p", "n", "m")], columns=["anchor", "positive", "negative", "negative2"])
    index = PairIndex.of(frame)
    pairs = {
        (str(index.paths[left]), str(index.paths[right]), bool(same))
        for left, right, same in zip(index.left, index.right, index.same, strict=True)
    }
    assert pairs == {("a", "p", True), ("a", "n", False), ("a", "m", False), ("n", "m", False)}
