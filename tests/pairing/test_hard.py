import itertools
import re

import numpy as np
import pandas as pd
import pytest

from siamese.errors import DataError, OptionError
from siamese.pairing import neighbours
from siamese.pairing.hard import hard_pairs, hard_triplets
from siamese.pairing.identities import IdentityIndex
from siamese.pairing.neighbours import farthest_relatives, nearest_strangers


def world(seed, images=60, identities=12, width=8):
    """A catalog in random order and a vector for each row."""
    rng = np.random.default_rng(seed)
    who = np.concatenate([np.repeat(np.arange(identities // 2), 2), rng.integers(0, identities, images)])[:images]
    who = rng.permutation(who)
    vectors = rng.standard_normal((images, width)) + 1.5 * rng.standard_normal((identities, width))[who]
    catalog = pd.DataFrame({"path": [f"{i:03}.jpg" for i in range(images)], "identity": [f"p{w:02}" for w in who]})
    return catalog, unit(vectors)


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def at(degrees):
    radians = np.deg2rad(degrees)
    return np.column_stack([np.cos(radians), np.sin(radians)]).astype(np.float32)


def unordered(frame):
    return [frozenset(pair) for pair in zip(frame["left"], frame["right"], strict=True)]


def naive(catalog, vectors, bound):
    """Genuine and impostor pairs, hardest first, going through all of them one by one."""
    similarity = vectors @ vectors.T
    identity = catalog["identity"].tolist()
    taken = {True: [], False: []}
    used = {True: {}, False: {}}
    pairs = sorted(itertools.combinations(range(len(catalog)), 2), key=lambda pair: -similarity[pair])
    for same, order in ((False, pairs), (True, pairs[::-1])):
        for pair in order:
            people = {identity[place] for place in pair}
            if (len(people) == 1) == same and all(used[same].get(name, 0) < bound for name in people):
                taken[same].append(frozenset(catalog["path"].iloc[list(pair)]))
                for name in people:
                    used[same][name] = used[same].get(name, 0) + 1
    return taken


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("bound", [1, 3, 1000])
def test_the_hardest_are_taken_first_within_the_bound_as_one_by_one(seed, bound):
    catalog, vectors = world(seed)
    expected = naive(catalog, vectors, bound)
    number = min(len(expected[True]), len(expected[False]), 12)
    frame = hard_pairs(catalog, vectors, num_pairs=2 * number, seed=0, per_image=59, max_per_identity=bound)
    for same in (True, False):
        assert set(unordered(frame[frame["same"] == same])) == set(expected[same][:number])


@pytest.mark.parametrize("seed", range(3))
def test_similarity_is_that_of_the_vectors_and_no_pair_is_there_twice(seed):
    catalog, vectors = world(seed)
    frame = hard_pairs(catalog, vectors, num_pairs=40, seed=seed)
    rows = [pd.Index(catalog["path"]).get_indexer(frame[side]) for side in ("left", "right")]
    np.testing.assert_allclose(frame["similarity"], (vectors[rows[0]] * vectors[rows[1]]).sum(axis=1), atol=1e-6)
    assert len(set(unordered(frame))) == len(frame) == 40
    assert (frame["same"] == (frame["left_identity"] == frame["right_identity"])).all()
    assert frame["same"].sum() == 20


@pytest.mark.parametrize(("rows", "columns", "lane"), [(512, 16_384, 64), (7, 11, 64), (5, 16, 2), (1, 1, 1)])
@pytest.mark.parametrize("count", [1, 4])
def test_blocks_of_any_size_find_what_the_whole_matrix_holds(monkeypatch, rows, columns, lane, count):
    monkeypatch.setattr(neighbours, "_ROWS", rows)
    monkeypatch.setattr(neighbours, "_COLUMNS", columns)
    monkeypatch.setattr(neighbours, "_LANE", lane)
    catalog, vectors = world(9, images=80)
    index = IdentityIndex.of(catalog)
    similarity = vectors @ vectors.T
    own = index.codes[:, None] == index.codes
    strangers = np.where(own, -np.inf, similarity)
    relatives = np.where(own & ~np.eye(80, dtype=bool), -similarity, -np.inf)
    for found, scores in (
        (nearest_strangers(vectors, index, count), strangers),
        (farthest_relatives(vectors, index, count), relatives),
    ):
        expected = np.sort(scores, axis=1)[:, -count:]
        np.testing.assert_allclose(np.sort(found.hardness, axis=1), expected, atol=1e-6)
        there = np.isfinite(found.hardness)
        at_place = np.take_along_axis(scores, found.rows, axis=1)
        np.testing.assert_allclose(found.hardness[there], at_place[there], atol=1e-6)


def test_two_lookalikes_do_not_fill_the_list():
    # p0 and p1 share a direction, 10 images each: 100 pairs more alike than any other.
    angles = [*range(10), *range(10), *(np.arange(30) * 6 + 40)]
    catalog = pd.DataFrame(
        {
            "path": [str(i) for i in range(50)],
            "identity": ["p0"] * 10 + ["p1"] * 10 + [f"q{i // 3}" for i in range(30)],
        }
    )
    # Without a bound, four times the even share: 20 pairs of 2 sides over 12 identities, rounded up, are 4.
    for bound, expected in ((None, 16), (5, 5), (1000, 20)):
        frame = hard_pairs(catalog, at(angles), num_pairs=40, seed=0, max_per_identity=bound, per_image=20)
        names = frame.loc[~frame["same"], ["left_identity", "right_identity"]]
        assert len(names) == 20
        assert names.isin(["p0", "p1"]).all(axis=1).sum() == expected


def test_probable_label_errors_can_be_skipped():
    catalog = pd.DataFrame({"path": list("abcdef"), "identity": ["x", "x", "x", "y", "y", "y"]})
    vectors = at([0, 10, 89, 90, 100, 5])  # c looks like y, and f like x
    frame = hard_pairs(catalog, vectors, num_pairs=None, seed=0, skip_above=0.99, skip_below=0.2)
    assert (frame.loc[~frame["same"], "similarity"] <= 0.99).all()
    assert (frame.loc[frame["same"], "similarity"] >= 0.2).all()
    everything = hard_pairs(catalog, vectors, num_pairs=None, seed=0)
    assert everything.loc[~everything["same"], "similarity"].max() > 0.99
    assert everything.loc[everything["same"], "similarity"].min() < 0.2


@pytest.mark.parametrize("seed", range(3))
def test_triplets_are_the_worst_of_all_combinations(seed):
    catalog, vectors = world(seed, images=30, identities=8)
    similarity = vectors @ vectors.T
    who, path = catalog["identity"].to_numpy(), catalog["path"].to_numpy()
    every = sorted(
        (
            (similarity[a, p] - similarity[a, n], path[a], path[p], path[n])
            for a, p, n in itertools.permutations(range(30), 3)
            if who[a] == who[p] and who[a] != who[n]
        ),
    )
    frame = hard_triplets(catalog, vectors, num_triplets=25, seed=0, per_image=30, max_per_identity=1000)
    found = set(frame[["anchor", "positive", "negative"]].itertuples(index=False, name=None))
    assert found == {row[1:] for row in every[:25]}
    margins = (frame["positive_similarity"] - frame["negative_similarity"]).to_numpy()
    np.testing.assert_allclose(np.sort(margins), [row[0] for row in every[:25]], atol=1e-6)
    few = hard_triplets(catalog, vectors, num_triplets=5, seed=0, max_per_identity=1)
    assert few["anchor_identity"].is_unique


def test_the_same_seed_gives_the_same_rows_and_another_the_same_pairs_in_another_order():
    catalog, vectors = world(1)
    first, again, other = (hard_pairs(catalog, vectors, num_pairs=30, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)
    assert set(unordered(first)) == set(unordered(other))


def test_without_a_number_there_are_as_many_rows_as_images_or_as_the_candidates_give():
    catalog, vectors = world(2)
    frame = hard_pairs(catalog, vectors, num_pairs=None, ratio=(1, 2), seed=0)
    assert (frame["same"].sum(), (~frame["same"]).sum()) == (20, 40)
    few = pd.DataFrame({"path": list("abcd"), "identity": ["x", "x", "y", "z"]})
    frame = hard_pairs(few, at([0, 10, 20, 30]), num_pairs=None, seed=0)
    assert (frame["same"].sum(), (~frame["same"]).sum()) == (1, 1)


def refused(kind, expected, call, *arguments, **options):
    with pytest.raises(kind, match=f"^{re.escape(expected)}$"):
        call(*arguments, **options)


def test_more_than_the_candidates_is_refused_with_the_numbers():
    catalog = pd.DataFrame({"path": list("abcd"), "identity": ["x", "x", "y", "y"]})
    vectors = at([0, 10, 20, 30])
    refused(
        DataError,
        "train: 3 hard genuine pairs asked for, but there are 2 candidates; raise --per-image, or lower --num-pairs",
        *(hard_pairs, catalog, vectors),
        num_pairs=6,
        seed=0,
        what="train: ",
    )
    refused(
        DataError,
        "2 hard impostor pairs asked for, but there are 4 candidates, 1 with at most 1 of one identity; "
        "raise --max-per-identity or --per-image, or lower --num-pairs",
        *(hard_pairs, catalog, vectors),
        num_pairs=4,
        seed=0,
        max_per_identity=1,
    )
    refused(
        DataError,
        "9 hard triplets asked for, but there are 8 candidates; raise --per-image, or lower --num-triplets",
        *(hard_triplets, catalog, vectors),
        num_triplets=9,
        seed=0,
    )
    refused(
        OptionError,
        "--per-image 0: expected at least 1",
        hard_pairs,
        catalog,
        vectors,
        num_pairs=2,
        seed=0,
        per_image=0,
    )


def test_vectors_that_do_not_fit_are_refused():
    catalog = pd.DataFrame({"path": list("abcd"), "identity": ["x", "x", "y", "y"]})
    vectors = at([0, 10, 20, 30])
    message = "vectors of shape (3, 2), expected (4, D): one for each image"
    refused(DataError, message, hard_pairs, catalog, vectors[:3], num_pairs=2, seed=0)
    for value, length in ((2.0, "2"), (np.nan, "nan")):
        bad = vectors.copy()
        bad[2] = (value, 0)
        message = (
            f"the vector of 'c' has length {length}, expected 1; normalise the vectors, and leave out images that "
            "have none"
        )
        refused(DataError, message, hard_pairs, catalog, bad, num_pairs=2, seed=0)
