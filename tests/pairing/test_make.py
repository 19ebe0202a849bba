import itertools
import logging
import re

import numpy as np
import pandas as pd
import pytest

from siamese.errors import DataError, OptionError
from siamese.pairing.formats import PAIR_FORMATS, TUPLE_FORMATS, read_pairs, read_quadruplets, read_triplets
from siamese.pairing.grouped import GroupRule
from siamese.pairing.make import MakePairs, make_pair_files


def catalog(*sizes):
    rows = [(f"id{g:03}/id{g:03}_{i + 1:04}.jpg", f"id{g:03}") for g, size in enumerate(sizes) for i in range(size)]
    return pd.DataFrame(rows, columns=["path", "identity"])


def vectors_of(images, seed=0):
    rng = np.random.default_rng(seed)
    codes, names = pd.factorize(images["identity"])
    vectors = rng.standard_normal((len(images), 16)) + rng.standard_normal((len(names), 16))[codes]
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def refused(kind, expected, images, folder, job, vectors=None):
    with pytest.raises(kind, match=f"^{re.escape(expected)}$"):
        make_pair_files(images, folder, job, vectors)
    assert not folder.exists()


def test_one_file_with_what_was_asked_for_is_made(tmp_path):
    counts = make_pair_files(catalog(*[4] * 10), tmp_path, MakePairs(num_pairs=50, ratio=(7, 3)))
    frame = read_pairs(tmp_path / "pairs.csv")
    assert counts == {"pairs.csv": {"pairs": 50, "genuine": 35, "impostor": 15, "identities": 10}}
    assert (len(frame), frame["same"].sum()) == (50, 35)


def test_files_of_a_split_share_no_identity_and_the_number_is_theirs_together(tmp_path):
    job = MakePairs(num_pairs=101, shares=(0.6, 0.2, 0.2), format="parquet")
    counts = make_pair_files(catalog(*[4] * 20), tmp_path, job)
    assert list(counts) == ["train.parquet", "val.parquet", "test.parquet"]
    assert sum(count["pairs"] for count in counts.values()) == 101
    people = []
    for name in counts:
        frame = read_pairs(tmp_path / name)
        people.append(set(frame["left_identity"]) | set(frame["right_identity"]))
        assert len(people[-1]) == counts[name]["identities"]
    assert not any(one & other for one, other in itertools.combinations(people, 2))


@pytest.mark.parametrize("name", PAIR_FORMATS)
def test_every_format_is_written_and_holds_the_same_pairs(tmp_path, name):
    images = catalog(*[4] * 10)
    folds = None if name == "lines" else 2
    counts = make_pair_files(images, tmp_path, MakePairs(num_pairs=40, folds=folds, format=name))
    expected = MakePairs(num_pairs=40, folds=folds)
    make_pair_files(images, tmp_path / "csv", expected)
    (file,) = counts
    order = ["left", "right"]
    read, reference = (read_pairs(path).sort_values(order) for path in (tmp_path / file, tmp_path / "csv/pairs.csv"))
    assert (
        read[["left", "right", "same"]].to_numpy().tolist()
        == reference[["left", "right", "same"]].to_numpy().tolist()
    )


@pytest.mark.parametrize("name", TUPLE_FORMATS)
@pytest.mark.parametrize(("kind", "read"), [("triplets", read_triplets), ("quadruplets", read_quadruplets)])
def test_triplets_and_quadruplets_are_written_in_every_format_that_holds_them(tmp_path, name, kind, read):
    job = MakePairs(kind=kind, num_pairs=30, format=name, max_per_identity=3)
    counts = make_pair_files(catalog(*[4] * 10), tmp_path, job)
    (file,) = counts
    assert counts[file] == {kind: 30, "identities": 10}
    frame = read(tmp_path / file)
    assert len(frame) == 30
    assert (frame["anchor"].str.split("/").str[0].value_counts() == 3).all()


@pytest.mark.parametrize("kind", ["pairs", "triplets", "quadruplets"])
@pytest.mark.parametrize("name", ["csv", "parquet"])
def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(tmp_path, kind, name):
    images = catalog(*range(1, 15))
    for folder, seed in (("a", 4), ("b", 4), ("c", 5)):
        make_pair_files(images, tmp_path / folder, MakePairs(kind=kind, num_pairs=60, format=name, seed=seed))
    a, b, c = ((tmp_path / folder / f"{kind}.{name}").read_bytes() for folder in "abc")
    assert a == b
    assert a != c


def test_a_bound_a_balance_and_a_rule_reach_the_sampler(tmp_path):
    images = catalog(30, *[4] * 10)
    images["folder"] = [".", "distortion"] * 35
    job = MakePairs(
        num_pairs=22, max_per_identity=1, balance="image", groups=GroupRule("folder", (".", "distortion"))
    )
    make_pair_files(images, tmp_path, job)
    frame = read_pairs(tmp_path / "pairs.csv")
    assert (frame[frame["same"]].groupby("left_identity").size() == 1).all()
    assert (frame["left_group"] != frame["right_group"]).all()
    assert (frame.loc[~frame["same"], ["left_identity", "right_identity"]] == "id000").any(axis=1).mean() > 0.3


def test_all_pairs_are_made_whole_by_split_and_by_fold(tmp_path):
    images = catalog(*[3] * 12)
    assert make_pair_files(images, tmp_path, MakePairs(all_pairs=True))["pairs.csv"]["pairs"] == 36 * 35 // 2
    split = make_pair_files(images, tmp_path, MakePairs(all_pairs=True, shares=(0.5, 0.5)))
    assert [count["pairs"] for count in split.values()] == [18 * 17 // 2] * 2
    make_pair_files(images, tmp_path, MakePairs(all_pairs=True, folds=3, format="parquet"))
    assert (read_pairs(tmp_path / "pairs.parquet").groupby("fold").size() == 12 * 11 // 2).all()


def test_a_split_of_the_catalog_makes_a_file_each_and_warns_of_identities_in_two(tmp_path, caplog):
    images = catalog(*[6] * 8)
    images["split"] = np.where(images["identity"] < "id004", "train", "val")
    images.loc[images["identity"] == "id007", "split"] = ["test"] * 3 + ["val"] * 3
    images.loc[images["identity"] == "id006", "split"] = ["test"] * 3 + ["train"] * 3
    images.loc[0, "split"] = None
    with caplog.at_level(logging.WARNING, "siamese"):
        counts = make_pair_files(images, tmp_path, MakePairs(num_pairs=33))
    assert caplog.messages == [
        "1 of 48 images are in no split: no pairs are made of them",
        "2 of 8 identities are in two splits or more: figures on one flatter a model trained on another",
    ]
    # By identities: 5, 3 and 2 of the 10 that the splits have together.
    assert {name: count["pairs"] for name, count in counts.items()} == {"train.csv": 16, "val.csv": 10, "test.csv": 7}
    split = images.set_index("path")["split"]
    for name in counts:
        frame = read_pairs(tmp_path / name)
        for side in ("left", "right"):
            assert (split.loc[frame[side]] == name.removesuffix(".csv")).all()


def test_shares_and_folds_go_before_a_split_of_the_catalog(tmp_path):
    images = catalog(*[4] * 10).assign(split="train")
    assert list(make_pair_files(images, tmp_path, MakePairs(shares=(0.5, 0.5)))) == ["train.csv", "val.csv"]
    assert list(make_pair_files(images, tmp_path, MakePairs(folds=2))) == ["pairs.csv"]
    assert list(make_pair_files(images.assign(split=None), tmp_path, MakePairs())) == ["pairs.csv"]


def test_hard_pairs_are_mined_for_training_and_evaluation_stays_ordinary(tmp_path):
    images = catalog(*[4] * 30).sample(frac=1, random_state=1, ignore_index=True)
    vectors = vectors_of(images)
    job = MakePairs(num_pairs=60, shares=(0.5, 0.5), per_image=20, skip_above=0.9)
    make_pair_files(images, tmp_path, job, vectors)
    train, val = (read_pairs(tmp_path / f"{name}.csv") for name in ("train", "val"))
    assert "similarity" not in val
    rows = [pd.Index(images["path"]).get_indexer(train[side]) for side in ("left", "right")]
    expected = (vectors[rows[0]] * vectors[rows[1]]).sum(axis=1)
    np.testing.assert_allclose(train["similarity"].astype(float), expected, atol=1e-5)
    among = vectors[images["identity"].isin(set(train["left_identity"]) | set(train["right_identity"]))]
    assert np.median(expected[~train["same"].to_numpy(dtype=bool)]) > np.quantile(among @ among.T, 0.9)


def test_hard_triplets_are_mined_too(tmp_path):
    images = catalog(*[4] * 10)
    counts = make_pair_files(images, tmp_path, MakePairs(kind="triplets", num_pairs=20), vectors_of(images))
    frame = read_triplets(tmp_path / "triplets.csv")
    assert counts["triplets.csv"]["triplets"] == len(frame) == 20
    hardness = frame["negative_similarity"].astype(float) - frame["positive_similarity"].astype(float)
    assert (hardness > 0).all()


@pytest.mark.parametrize(
    ("options", "hard", "expected"),
    [
        (
            {"format": "cvs"},
            False,
            "unknown format 'cvs': did you mean 'csv'? known: calfw, csv, lfw, lines, parquet, rfw, tsv",
        ),
        ({"kind": "pair"}, False, "unknown kind 'pair': did you mean 'pairs'? known: pairs, quadruplets, triplets"),
        ({"balance": "x"}, False, "unknown balance 'x': known: identity, image"),
        ({"kind": "triplets", "folds": 2}, False, "--kind triplets: has no folds, which are for pairs; use --split"),
        (
            {"kind": "quadruplets", "format": "lfw"},
            False,
            "--kind quadruplets: has no form 'lfw'; use --format csv, tsv, parquet, lines",
        ),
        (
            {"format": "lines", "folds": 2},
            False,
            "--format lines: has no place for folds; use csv, tsv, parquet, lfw, rfw or calfw",
        ),
        (
            {"folds": 2, "shares": (0.5, 0.5)},
            False,
            "--split and --folds: give one of them; folds are a cross-validation in one file",
        ),
        (
            {"all_pairs": True, "num_pairs": 4},
            False,
            "--all-pairs: takes every pair; leave out --num-pairs, --ratio, --max-per-identity and --balance",
        ),
        (
            {"all_pairs": True, "kind": "triplets"},
            False,
            "--kind triplets: --all-pairs is for pairs; leave one of them out",
        ),
        (
            {"kind": "triplets", "groups": GroupRule("session", "across")},
            False,
            "--kind triplets: --groups is for pairs; leave one of them out",
        ),
        (
            {"kind": "quadruplets", "balance": "image"},
            False,
            "--balance image: quadruplets are even over identities; leave it out",
        ),
        (
            {"skip_above": 0.9},
            False,
            "--per-image, --skip-above, --skip-below: are for hard pairs; give --hard MODEL too",
        ),
        (
            {"kind": "quadruplets"},
            True,
            "--hard: mines pairs or triplets; leave out --kind quadruplets",
        ),
        ({"folds": 2}, True, "--hard: has no folds, which are for measuring; leave out --folds"),
        ({"all_pairs": True}, True, "--hard: chooses among pairs, --all-pairs takes them all; give one of them"),
        ({"groups": GroupRule("session", "across")}, True, "--hard: knows no --groups; leave out one of them"),
        ({"balance": "image"}, True, "--hard: takes the most similar impostors; leave out --balance"),
    ],
)
def test_names_and_options_that_make_no_sense_are_refused(tmp_path, options, hard, expected):
    images = catalog(*[4] * 10)
    refused(
        OptionError, expected, images, tmp_path / "out", MakePairs(**options), vectors_of(images) if hard else None
    )


def test_nothing_is_written_unless_everything_can_be(tmp_path):
    images = catalog(*[4] * 10, 1, 1)
    images["split"] = ["train"] * 40 + ["val"] * 2
    expected = "val: none of the 2 identities has two images; genuine pairs and positives need at least one that has"
    for kind in ("pairs", "triplets", "quadruplets"):
        refused(DataError, expected, images, tmp_path / "out", MakePairs(kind=kind, num_pairs=20))
    images["split"] = "../x"
    message = "the catalog has a split '../x', which cannot be a file name; expected train, val or test"
    refused(DataError, message, images, tmp_path / "out", MakePairs())
