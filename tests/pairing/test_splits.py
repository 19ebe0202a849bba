import re

import pandas as pd
import pytest

from siamese.errors import DataError, OptionError
from siamese.pairing.folds import sample_folds
from siamese.pairing.formats import read_pairs, write_pairs
from siamese.pairing.sampling import sample_pairs
from siamese.pairing.splits import assign_folds, parse_ratio, parse_shares, split_identities


def catalog(*sizes):
    rows = [(f"id{g:03}/id{g:03}_{i + 1:04}.jpg", f"id{g:03}") for g, size in enumerate(sizes) for i in range(size)]
    return pd.DataFrame(rows, columns=["path", "identity"])


def refused(kind, expected, call, *arguments):
    with pytest.raises(kind, match=f"^{re.escape(expected)}$"):
        call(*arguments)


def test_shares_are_read():
    assert parse_shares("0.8,0.1,0.1") == (0.8, 0.1, 0.1)
    assert parse_shares(" .9 , .1 ") == (0.9, 0.1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", "1 share, expected two or three, such as 0.8,0.1,0.1"),
        ("0.4,0.2,0.2,0.2", "4 shares, expected two or three, such as 0.8,0.1,0.1"),
        ("0.8,0.3", "the shares sum to 1.1, expected 1"),
        ("1,0", "every share must be above 0, found 0"),
        ("1.5,-0.5", "every share must be above 0, found -0.5"),
        ("0.8,x", "'x' is not a number"),
        ("0.8,", "'' is not a number"),
        ("nan,0.5", "'nan' is not a number"),
        ("inf,0.5", "'inf' is not a number"),
    ],
)
def test_bad_shares_are_refused(text, expected):
    refused(OptionError, f"--split {text!r}: {expected}", parse_shares, text)


def test_ratios_are_read():
    assert parse_ratio("6:4") == (6.0, 4.0)
    assert parse_ratio("1:1") == (1.0, 1.0)
    assert parse_ratio("70:30") == (70.0, 30.0)
    assert parse_ratio("70% : 30%") == (70.0, 30.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", "expected genuine:impostor, such as 1:1"),
        ("1:2:3", "expected genuine:impostor, such as 1:1"),
        ("1:0", "both sides must be above 0"),
        ("-1:1", "both sides must be above 0"),
        ("a:1", "'a' is not a number"),
        ("70%:40%", "expected two percentages that sum to 100, such as 70%:30%"),
        ("70%:30", "expected two percentages that sum to 100, such as 70%:30%"),
    ],
)
def test_bad_ratios_are_refused(text, expected):
    refused(OptionError, f"--ratio {text!r}: {expected}", parse_ratio, text)


@pytest.mark.parametrize("seed", range(5))
def test_parts_share_no_identity_and_lose_no_image(seed):
    images = catalog(*[1] * 40, *[3] * 60)
    parts = split_identities(images, (0.8, 0.1, 0.1), seed)
    together = pd.concat(parts).sort_values("path", ignore_index=True)
    pd.testing.assert_frame_equal(together, images)
    assert [part["identity"].nunique() for part in parts] == [80, 10, 10]
    assert [(part["identity"].value_counts() > 1).sum() for part in parts] == [48, 6, 6]
    for part in parts:
        assert part["path"].is_monotonic_increasing
        assert list(part.index) == list(range(len(part)))


def test_shares_are_rounded_by_largest_remainder():
    parts = split_identities(catalog(*[2] * 11), (0.5, 0.3, 0.2), 0)  # 5.5, 3.3, 2.2
    assert [part["identity"].nunique() for part in parts] == [6, 3, 2]


@pytest.mark.parametrize(("sizes", "expected"), [([2] * 10, [6, 2, 2]), ([2] * 3 + [1] * 3, [2, 2, 2])])
def test_small_parts_are_raised_to_what_pairs_need(sizes, expected):
    for seed in range(10):
        parts = split_identities(catalog(*sizes), (0.8, 0.1, 0.1), seed)
        assert [part["identity"].nunique() for part in parts] == expected
        assert all(part["identity"].duplicated().any() for part in parts)


@pytest.mark.parametrize("seed", range(30))
def test_any_catalog_that_can_be_split_is_split(seed):
    paired, single = 3 + seed % 5, seed % 7 + 3
    parts = split_identities(catalog(*[2] * paired, *[1] * single), (0.34, 0.33, 0.33), seed)
    counts = [part["identity"].value_counts() for part in parts]
    assert sum(map(len, counts)) == paired + single
    assert all(len(count) >= 2 and count.max() == 2 for count in counts)


def test_identities_that_cannot_be_split_are_refused_with_the_numbers():
    shares = (0.8, 0.1, 0.1)
    refused(
        DataError,
        "4 identities cannot be split into 3 parts of at least 2",
        split_identities,
        catalog(2, 2, 2, 2),
        shares,
        0,
    )
    refused(
        DataError,
        "2 of 8 identities have two or more images, too few to split into 3 parts that each need one",
        split_identities,
        catalog(2, 2, 1, 1, 1, 1, 1, 1),
        shares,
        0,
    )
    refused(
        OptionError,
        "shares (0.5, 0.6): expected numbers above 0 that sum to 1",
        split_identities,
        catalog(2, 2, 2, 2),
        (0.5, 0.6),
        0,
    )


def test_shares_within_rounding_error_of_one_lose_no_identity():
    images = catalog(*[2] * 2000)
    parts = split_identities(images, (0.5000009, 0.5), 0)
    assert sum(map(len, parts)) == len(images)


def test_folds_are_as_equal_as_can_be():
    images = catalog(*[1] * 7, *[2] * 16)
    folds = assign_folds(images, 5, 3)
    assert folds.dtype == "int64"
    assert folds.index.tolist() == sorted(images["identity"].unique())
    assert sorted(folds.value_counts()) == [4, 4, 5, 5, 5]
    assert sorted(folds[7:].value_counts()) == [3, 3, 3, 3, 4]


def test_one_fold_is_refused():
    refused(OptionError, "--folds 1: expected at least 2", assign_folds, catalog(2, 2), 1, 0)


@pytest.mark.parametrize(
    ("num_pairs", "ratio", "each"), [(80, (1, 1), (10, 10)), (87, (1, 1), (10, 10)), (40, (6, 4), (6, 4))]
)
def test_folds_have_equal_counts_and_no_identity_in_common(num_pairs, ratio, each):
    images = catalog(*[5] * 20)
    frame = sample_folds(images, 4, num_pairs, ratio, 0)
    assert list(frame) == ["left", "right", "same", "fold", "left_identity", "right_identity"]
    counts = frame.groupby("fold")["same"].agg(["sum", "size"])
    assert counts["sum"].tolist() == [each[0]] * 4
    assert counts["size"].tolist() == [sum(each)] * 4
    folds = assign_folds(images, 4, 0)
    for side in ("left_identity", "right_identity"):
        assert (folds.loc[frame[side]].to_numpy() == frame["fold"]).all()


def test_folds_can_be_written_in_the_form_of_lfw(tmp_path):
    frame = sample_folds(catalog(*[5] * 20), 4, 81, (1, 1), 0)
    write_pairs(frame, tmp_path / "pairs.txt")
    read = read_pairs(tmp_path / "pairs.txt")
    assert (tmp_path / "pairs.txt").read_text().startswith("4\t10\n")
    order = ["fold", "left", "right"]
    pd.testing.assert_frame_equal(
        read.sort_values(order, ignore_index=True), frame.sort_values(order, ignore_index=True)
    )


@pytest.mark.parametrize("ratio", ["5:5", "6:4", "7:3", "70:30", "70%:30%"])
def test_equal_quotients_give_equal_counts(ratio):
    genuine = {"5:5": 50, "6:4": 60}.get(ratio, 70)
    frame = sample_pairs(catalog(*[8] * 10), num_pairs=100, ratio=parse_ratio(ratio), seed=0)
    assert frame["same"].sum() == genuine


def test_folds_can_bound_an_identity_and_balance_by_image():
    images = catalog(*[40, 2, 2] * 4)
    options = {"max_per_identity": 3, "balance": "image"}
    frame = sample_folds(images, 2, None, (1, 1), 0, **options)
    assert frame[frame["same"]].groupby("left_identity").size().max() == 3
    plain = sample_folds(images, 2, 24, (1, 1), 0)
    assert plain["fold"].tolist() == [0] * 12 + [1] * 12
    message = "--max-per-identity 0: expected at least 1"
    with pytest.raises(OptionError, match=f"^{message}$"):
        sample_folds(images, 2, 24, (1, 1), 0, max_per_identity=0)


def test_folds_as_categories_are_the_same_folds():
    images = catalog(*[5] * 20)
    text, categories = (sample_folds(images, 4, 80, (1, 1), 0, categorical=kind) for kind in (False, True))
    for name in ("left", "right", "left_identity", "right_identity"):
        assert isinstance(categories[name].dtype, pd.CategoricalDtype)
        assert categories[name].tolist() == text[name].tolist()


def test_without_a_number_every_fold_gets_what_the_poorest_can_give():
    frame = sample_folds(catalog(*[2] * 9), 4, None, (1, 1), 0)
    assert (frame.groupby(["fold", "same"]).size() == 2).all()


def test_a_fold_that_cannot_give_enough_is_named():
    with pytest.raises(DataError, match=r"^fold 0: 10 genuine pairs asked for, but only 3 exist \(6 images of 3 "):
        sample_folds(catalog(*[2] * 12), 4, 80, (1, 1), 0)
    refused(
        OptionError,
        "--num-pairs 7: too few for one genuine and one impostor pair in each of 4 folds at ratio 1:1",
        sample_folds,
        catalog(*[2] * 12),
        4,
        7,
        (1, 1),
        0,
    )


def test_the_same_seed_gives_the_same_parts_and_another_seed_others():
    images = catalog(*[2] * 30)
    first, again, other = (split_identities(images, (0.5, 0.5), seed)[0] for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(first, again)
    assert not first.equals(other)
    assert sample_folds(images, 3, 30, (1, 1), 1).equals(sample_folds(images, 3, 30, (1, 1), 1))
