import itertools
import re

import pandas as pd
import pytest
from scipy import stats

from siamese.errors import DataError, OptionError
from siamese.pairing.quadruplets import sample_quadruplets

IMAGES = ["anchor", "positive", "negative", "negative2"]


def catalog(*sizes):
    rows = [(f"id{g:03}/{i:04}.jpg", f"id{g:03}") for g, size in enumerate(sizes) for i in range(size)]
    return pd.DataFrame(rows, columns=["path", "identity"])


def everything(images):
    who = dict(zip(images["path"], images["identity"], strict=True))
    return {
        row
        for row in itertools.permutations(images["path"], 4)
        if who[row[0]] == who[row[1]] and len({who[path] for path in row}) == 3
    }


def rows(frame):
    return set(frame[IMAGES].itertuples(index=False, name=None))


@pytest.mark.parametrize("sizes", [(3, 1, 2), (2, 2, 2, 1), (4, 1, 1)])
def test_every_quadruplet_that_exists_can_be_asked_for(sizes):
    images = catalog(*sizes)
    expected = everything(images)
    frame = sample_quadruplets(images, num_quadruplets=len(expected), seed=0)
    assert rows(frame) == expected
    assert len(frame) == len(expected)


@pytest.mark.parametrize("number", [3, 20, 60, 100])
@pytest.mark.parametrize("seed", range(4))
def test_quadruplets_are_distinct_of_three_identities_and_as_many_as_asked(number, seed):
    images = catalog(1, 2, 3, 4)
    frame = sample_quadruplets(images, num_quadruplets=number, seed=seed)
    assert list(frame) == [*IMAGES, "anchor_identity", "negative_identity", "negative2_identity"]
    assert rows(frame) <= everything(images)
    assert len(rows(frame)) == len(frame) == number
    who = images.set_index("path")["identity"]
    for name in ("anchor", "negative", "negative2"):
        assert who.loc[frame[name]].tolist() == frame[f"{name}_identity"].tolist()


def test_no_triplet_is_in_two_as_long_as_there_are_enough():
    frame = sample_quadruplets(catalog(3, 3, 3), num_quadruplets=100, seed=1)
    assert not frame[IMAGES[:3]].duplicated().any()


def test_either_negative_is_even_over_identities_and_not_images():
    frame = sample_quadruplets(catalog(2, 40, *[2] * 59), num_quadruplets=1500, seed=0)
    for name in ("negative_identity", "negative2_identity"):
        others = frame[frame["anchor_identity"] != "id001"][name]
        assert stats.binomtest(int((others == "id001").sum()), len(others), 1 / 60).pvalue > 0.001


def test_anchors_are_spread_over_identities_and_bounded():
    images = catalog(50, *[2] * 10)
    frame = sample_quadruplets(images, num_quadruplets=110, seed=0)
    assert (frame.groupby("anchor_identity").size() == 10).all()
    bounded = sample_quadruplets(images, num_quadruplets=None, seed=0, max_per_identity=7)
    assert (bounded.groupby("anchor_identity").size() == 7).all()
    assert len(sample_quadruplets(images, num_quadruplets=None, seed=0, at_most=9)) == 9


def test_the_same_seed_gives_the_same_rows_and_another_seed_others():
    images = catalog(3, 4, 5)
    first, again, other = (sample_quadruplets(images, num_quadruplets=30, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)


def test_numbers_too_large_for_64_bits_are_no_hindrance():
    # 30,000 (30,000 - 1) times the ordered pairs of the others is beyond 2**63.
    frame = sample_quadruplets(catalog(30_000, 30_000, 30_000, 30_000), num_quadruplets=40, seed=0)
    assert (frame.groupby("anchor_identity").size() == 10).all()


def refused(kind, expected, images, number, **options):
    with pytest.raises(kind, match=f"^{re.escape(expected)}$"):
        sample_quadruplets(images, num_quadruplets=number, seed=0, **options)


def test_what_cannot_be_drawn_is_refused_with_the_numbers():
    numbers = "(6 images of 3 identities, 2 with two or more)"
    refused(
        DataError,
        f"37 quadruplets asked for, but only 36 exist {numbers}; lower --num-quadruplets or add images",
        *(catalog(3, 2, 1), 37),
    )
    refused(
        DataError,
        f"val: 11 quadruplets with at most 5 of one identity asked for, but only 10 exist {numbers}; "
        "raise --max-per-identity, lower --num-quadruplets or add images",
        *(catalog(3, 2, 1), 11),
        max_per_identity=5,
        what="val: ",
    )
    refused(DataError, "all 5 images are of 2 identities; quadruplets need at least three", *(catalog(3, 2), None))
    refused(
        DataError,
        "none of the 3 identities has two images; genuine pairs and positives need at least one that has",
        *(catalog(1, 1, 1), 4),
    )
    refused(OptionError, "--num-quadruplets 0: expected at least 1", catalog(3, 2, 1), 0)
    refused(OptionError, "--max-per-identity 0: expected at least 1", *(catalog(3, 2, 1), 4), max_per_identity=0)
