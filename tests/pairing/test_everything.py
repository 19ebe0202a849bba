import itertools
import re

import pandas as pd
import pytest

from siamese.errors import DataError
from siamese.pairing.everything import all_pairs, all_pairs_in_folds
from siamese.pairing.grouped import GroupRule
from siamese.pairing.splits import assign_folds


def catalog(*sizes):
    rows = [(f"id{g:03}/{i:04}.jpg", f"id{g:03}") for g, size in enumerate(sizes) for i in range(size)]
    return pd.DataFrame(rows, columns=["path", "identity"])


def test_every_pair_is_there_once_in_the_order_of_the_catalog():
    images = catalog(3, 1, 4, 2).sample(frac=1, random_state=0, ignore_index=True)
    frame = all_pairs(images)
    assert list(zip(frame["left"], frame["right"], strict=True)) == list(itertools.combinations(images["path"], 2))
    assert (frame["same"] == (frame["left_identity"] == frame["right_identity"])).all()
    assert frame["same"].sum() == 3 + 6 + 1
    pd.testing.assert_frame_equal(frame, all_pairs(images))


def test_a_rule_of_groups_leaves_only_its_pairs():
    images = catalog(2, 3, 2).assign(session=list("ababbab"))
    frame = all_pairs(images, groups=GroupRule("session", "across"))
    session = dict(zip(images["path"], images["session"], strict=True))
    expected = [pair for pair in itertools.combinations(images["path"], 2) if session[pair[0]] != session[pair[1]]]
    assert list(zip(frame["left"], frame["right"], strict=True)) == expected
    assert frame["left_group"].tolist() == [session[path] for path in frame["left"]]


def test_one_identity_has_only_genuine_pairs():
    assert all_pairs(catalog(3))["same"].tolist() == [True] * 3


def test_every_fold_has_all_its_pairs():
    images = catalog(*[3] * 6)
    frame = all_pairs_in_folds(images, 3, seed=2)
    assert (frame.groupby("fold").size() == 15).all()
    folds = assign_folds(images, 3, 2)
    for side in ("left_identity", "right_identity"):
        assert folds.loc[frame[side].tolist()].tolist() == frame["fold"].tolist()


def refused(expected, call, *arguments, **options):
    with pytest.raises(DataError, match=f"^{re.escape(expected)}$"):
        call(*arguments, **options)


def test_too_many_and_none_are_refused_with_the_numbers():
    end = "draw some of them with --num-pairs, or take fewer images"
    refused(
        f"--all-pairs: 4,950 pairs exist among 100 images, expected at most 4,000; {end}",
        *(all_pairs, catalog(*[2] * 50)),
        limit=4000,
    )
    # 50,005,000 pairs, of which not one has been made.
    refused(
        f"val: --all-pairs: 50,005,000 pairs exist among 10,001 images, expected at most 50,000,000; {end}",
        *(all_pairs, catalog(*[1] * 10_001)),
        what="val: ",
    )
    refused(
        f"--all-pairs: 2,450 pairs exist among 100 images, expected at most 2,000; {end}",
        *(all_pairs_in_folds, catalog(*[2] * 50), 2),
        seed=0,
        limit=2000,
    )
    refused("no pairs exist among 1 image", all_pairs, catalog(1))
