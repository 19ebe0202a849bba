import itertools
import re
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from siamese.errors import DataError, OptionError
from siamese.pairing.formats import read_pairs, write_pairs, write_triplets
from siamese.pairing.grouped import GroupRule
from siamese.pairing.sampling import sample_pairs, sample_triplets
from siamese.pairing.table import pair_counts, unique_images


def catalog(*sizes):
    rows = [(f"id{g:03}/{i:04}.jpg", f"id{g:03}") for g, size in enumerate(sizes) for i in range(size)]
    return pd.DataFrame(rows, columns=["path", "identity"])


def unordered(frame):
    return {frozenset(pair) for pair in zip(frame["left"], frame["right"], strict=True)}


def universe(images):
    """Every genuine and every impostor pair, by listing."""
    who = dict(zip(images["path"], images["identity"], strict=True))
    pairs = [frozenset(pair) for pair in itertools.combinations(images["path"], 2)]
    genuine = {pair for pair in pairs if len({who[path] for path in pair}) == 1}
    return genuine, set(pairs) - genuine


@pytest.mark.parametrize("seed", range(10))
def test_pairs_are_distinct_labelled_rightly_and_as_many_as_asked(seed):
    sizes = np.random.default_rng(seed).integers(1, 9, 12)
    images = catalog(*sizes)
    genuine, impostor = universe(images)
    frame = sample_pairs(images, num_pairs=40, ratio=(1, 3), seed=seed)
    assert len(unordered(frame)) == len(frame) == 40
    assert frame["same"].dtype == "boolean"
    assert unordered(frame[frame["same"]]) < genuine
    assert unordered(frame[~frame["same"]]) < impostor
    assert frame["same"].sum() == 10
    assert (frame["same"] == (frame["left_identity"] == frame["right_identity"])).all()
    assert (frame["left"].str.split("/").str[0] == frame["left_identity"]).all()


@pytest.mark.parametrize("sizes", [(3, 4, 1, 5), (2, 1), (1, 30)])
def test_everything_that_exists_can_be_asked_for(sizes):
    images = catalog(*sizes)
    genuine, impostor = universe(images)
    frame = sample_pairs(images, num_pairs=len(genuine) + len(impostor), ratio=(len(genuine), len(impostor)), seed=0)
    assert unordered(frame[frame["same"]]) == genuine
    assert unordered(frame[~frame["same"]]) == impostor


def test_impostor_pairs_are_spread_over_pairs_of_identities_and_then_over_images():
    images = catalog(1, 2, 3)
    counts = dict.fromkeys(universe(images)[1], 0)
    for seed in range(900):
        drawn = sample_pairs(images, num_pairs=2, seed=seed)
        counts[unordered(drawn[~drawn["same"]]).pop()] += 1
    who = dict(zip(images["path"], images["identity"], strict=True))
    sizes = images["identity"].value_counts()
    # A third for each pair of identities, in equal parts for its pairs of images: 1 x 2, 1 x 3 and 2 x 3 of them.
    expected = [300 / np.prod([sizes[who[path]] for path in pair]) for pair in counts]
    assert stats.chisquare(list(counts.values()), expected).pvalue > 0.01


@pytest.mark.parametrize(
    ("number", "expected"), [(10, [1] * 10), (17, [1] * 3 + [2] * 7), (21, [1, 2, 2, 2, 2, 2, 2, 2, 3, 3])]
)
def test_no_pair_of_identities_is_in_more_impostor_pairs_than_it_must(number, expected):
    # Ten pairs of identities; the two with one image each give 1, each of them with the last gives 2.
    frame = sample_pairs(catalog(30, 30, 1, 1, 2), num_pairs=number * 2, seed=1)
    impostors = frame.loc[~frame["same"], ["left_identity", "right_identity"]]
    names = impostors.apply(lambda row: "-".join(sorted(row)), axis=1)
    assert sorted(names.value_counts()) == expected


def test_an_identity_with_many_images_is_in_no_more_impostor_pairs_than_another():
    images = catalog(530, *[4] * 60)
    balanced = sample_pairs(images, num_pairs=2000, seed=0)
    per_image = sample_pairs(images, num_pairs=2000, seed=0, balance="image")
    shares = []
    for frame in (balanced, per_image):
        impostors = frame.loc[~frame["same"], ["left_identity", "right_identity"]]
        shares.append(int((impostors == "id000").any(axis=1).sum()))
    assert stats.binomtest(shares[0], 1000, 2 / 61).pvalue > 0.01
    # 530 x 240 pairs of images against the 4 x 4 of each of 1,770 pairs of the others.
    assert stats.binomtest(shares[1], 1000, 530 * 240 / (530 * 240 + 16 * 1770)).pvalue > 0.01


def test_with_balance_image_impostor_pairs_are_uniform_over_all_there_are():
    images = catalog(1, 2, 3)
    counts = dict.fromkeys(universe(images)[1], 0)
    for seed in range(900):
        drawn = sample_pairs(images, num_pairs=4, ratio=(1, 3), seed=seed, balance="image")
        for pair in unordered(drawn[~drawn["same"]]):
            counts[pair] += 1
    assert len(counts) == 11
    # Three draws of one sample exclude each other, which makes the statistic smaller, not larger.
    assert stats.chisquare(list(counts.values())).pvalue > 0.01


def test_an_identity_with_many_images_does_not_drown_the_rest():
    frame = sample_pairs(catalog(530, *[4] * 50), num_pairs=400, seed=1)
    per_identity = frame[frame["same"]].groupby("left_identity").size()
    assert len(per_identity) == 51
    assert per_identity.max() <= 4


def test_no_identity_has_more_genuine_pairs_than_the_bound():
    images = catalog(530, *[4] * 5)
    frame = sample_pairs(images, num_pairs=24, seed=1, max_per_identity=2)
    assert (frame[frame["same"]].groupby("left_identity").size() == 2).all()
    without = sample_pairs(images, num_pairs=None, seed=1, max_per_identity=3)
    assert (without[without["same"]].groupby("left_identity").size() == 3).all()
    triplets = sample_triplets(images, num_triplets=None, seed=1, max_per_identity=3)
    assert (triplets.groupby("anchor_identity").size() == 3).all()


def test_negatives_of_triplets_are_even_over_identities_or_over_images():
    images = catalog(40, *[2] * 60)
    for balance, share in (("identity", 1 / 60), ("image", 40 / 158)):
        frame = sample_triplets(images, num_triplets=1220, seed=0, balance=balance)
        negatives = frame.loc[frame["anchor_identity"] != "id000", "negative_identity"]
        assert stats.binomtest(int((negatives == "id000").sum()), len(negatives), share).pvalue > 0.01


@pytest.mark.parametrize("number", [3, 11, 26])
@pytest.mark.parametrize("balance", ["identity", "image"])
def test_triplets_of_any_density_and_balance_are_distinct(number, balance):
    frame = sample_triplets(catalog(3, 2, 1), num_triplets=number, seed=number, balance=balance)
    assert len(frame.drop_duplicates()) == len(frame) == number
    assert (frame["anchor_identity"] != frame["negative_identity"]).all()


def test_categories_hold_the_same_rows_and_are_written_as_the_same_files(tmp_path):
    images = catalog(*range(1, 15)).assign(session=["a", "b", "a"] * 35)
    rule = GroupRule("session", "across")
    for groups in (None, rule):
        text, coded = (
            sample_pairs(images, num_pairs=60, seed=3, groups=groups, categorical=kind) for kind in (False, True)
        )
        assert all(isinstance(coded[name].dtype, pd.CategoricalDtype) for name in coded.columns.drop("same"))
        pd.testing.assert_frame_equal(coded.astype(text.dtypes), text)
        assert unique_images(coded) == unique_images(text)
        assert pair_counts(coded) == pair_counts(text)
        for suffix in ("csv", "parquet"):
            for name, frame in (("text", text), ("coded", coded)):
                write_pairs(frame, tmp_path / f"{name}.{suffix}")
            read = [read_pairs(tmp_path / f"{name}.{suffix}") for name in ("text", "coded")]
            pd.testing.assert_frame_equal(*read)
            pd.testing.assert_frame_equal(read[1], text)
        assert (tmp_path / "text.csv").read_bytes() == (tmp_path / "coded.csv").read_bytes()
    triplets = [sample_triplets(images, num_triplets=50, seed=3, categorical=kind) for kind in (False, True)]
    pd.testing.assert_frame_equal(triplets[1].astype(triplets[0].dtypes), triplets[0])


def test_neither_side_nor_place_tells_the_label_or_the_identity():
    frame = sample_pairs(catalog(*[6] * 40), num_pairs=800, seed=2)
    later = (frame["left"] > frame["right"]).sum()
    assert stats.binomtest(int(later), 800).pvalue > 0.01
    assert stats.binomtest(int(frame["same"][:400].sum()), 400).pvalue > 0.01


def test_without_a_number_five_genuine_pairs_per_image_are_drawn():
    frame = sample_pairs(catalog(*[20] * 10), num_pairs=None, ratio=(1, 2), seed=0)
    assert (frame["same"].sum(), (~frame["same"]).sum()) == (1000, 2000)


def test_without_a_number_the_median_identity_caps_the_others():
    # Of those with two images or more the median has 4 images, which make 6 pairs.
    frame = sample_pairs(catalog(530, *[4] * 20, *[2] * 10, *[1] * 40), num_pairs=None, seed=0)
    per_identity = frame[frame["same"]].groupby("left_identity").size()
    assert per_identity.to_dict() == {"id000": 6} | {f"id{g:03}": 6 if g < 21 else 1 for g in range(1, 31)}
    assert (~frame["same"]).sum() == frame["same"].sum()


def test_without_a_number_five_genuine_pairs_are_no_identitys_excess():
    frame = sample_pairs(catalog(530, *[2] * 30), num_pairs=None, seed=0)
    assert frame[frame["same"]].groupby("left_identity").size().max() == 5


@pytest.mark.parametrize(
    ("sizes", "ratio", "at_most", "expected"),
    [
        ((20,) * 10, (1, 1), 200, (100, 100)),
        ((20,) * 10, (1, 9), 200, (20, 180)),
        ((2,) * 10, (1, 1), 200, (10, 10)),  # there are no more
        ((3, 3), (1, 9), 6, (1, 5)),
        ((2, 2), (9, 1), 2, (1, 1)),
    ],
)
def test_without_a_number_a_bound_is_met_at_the_ratio(sizes, ratio, at_most, expected):
    frame = sample_pairs(catalog(*sizes), num_pairs=None, ratio=ratio, seed=0, at_most=at_most)
    assert (frame["same"].sum(), (~frame["same"]).sum()) == expected


def test_a_bounded_request_is_spread_over_identities_too():
    frame = sample_pairs(catalog(530, *[4] * 50), num_pairs=None, seed=1, at_most=400)
    assert frame[frame["same"]].groupby("left_identity").size().max() <= 4
    assert len(sample_triplets(catalog(5, 5), num_triplets=None, seed=0, at_most=7)) == 7
    assert len(sample_triplets(catalog(2, 1), num_triplets=None, seed=0, at_most=7)) == 2


def test_without_a_number_all_genuine_pairs_are_drawn_where_there_are_few():
    frame = sample_pairs(catalog(*[2] * 10), num_pairs=None, seed=0)
    assert (frame["same"].sum(), (~frame["same"]).sum()) == (10, 10)


def test_without_a_number_both_kinds_shrink_where_impostors_are_short():
    frame = sample_pairs(catalog(10, 1), num_pairs=None, ratio=(1, 2), seed=0)
    assert (frame["same"].sum(), (~frame["same"]).sum()) == (5, 10)


def test_the_same_seed_writes_the_same_bytes_and_another_seed_others(tmp_path):
    images = catalog(*range(1, 15))
    for name, seed in (("a", 4), ("b", 4), ("c", 5)):
        for suffix in ("csv", "parquet"):
            write_pairs(sample_pairs(images, num_pairs=60, seed=seed), tmp_path / f"{name}.{suffix}")
        write_triplets(sample_triplets(images, num_triplets=60, seed=seed), tmp_path / f"{name}-triplets.csv")
    for suffix in (".csv", ".parquet", "-triplets.csv"):
        a, b, c = ((tmp_path / f"{name}{suffix}").read_bytes() for name in "abc")
        assert a == b
        assert a != c


@pytest.mark.parametrize("seed", range(5))
def test_triplets_are_distinct_and_of_the_right_identities(seed):
    images = catalog(1, 2, 3, 7, 1)
    frame = sample_triplets(images, num_triplets=150, seed=seed)
    who = images.set_index("path")["identity"]
    anchor, positive, negative = (who.loc[frame[name]].to_numpy() for name in ("anchor", "positive", "negative"))
    assert len(frame) == len(frame.drop_duplicates()) == 150
    assert (anchor == positive).all()
    assert (anchor != negative).all()
    assert (frame["anchor"] != frame["positive"]).all()
    assert (anchor == frame["anchor_identity"]).all()
    assert (negative == frame["negative_identity"]).all()


def test_every_triplet_that_exists_can_be_asked_for():
    images = catalog(3, 1, 2)
    who = dict(zip(images["path"], images["identity"], strict=True))
    everything = {
        (a, p, n) for a, p, n in itertools.permutations(images["path"], 3) if who[a] == who[p] and who[a] != who[n]
    }
    frame = sample_triplets(images, num_triplets=len(everything), seed=0)
    assert set(frame[["anchor", "positive", "negative"]].itertuples(index=False, name=None)) == everything
    assert len(sample_triplets(images, num_triplets=None, seed=0)) == min(len(everything), 5 * 6)


def test_triplets_are_spread_over_identities():
    frame = sample_triplets(catalog(530, *[2] * 50, 1), num_triplets=510, seed=0)
    per_identity = frame.groupby("anchor_identity").size()
    assert len(per_identity) == 51
    assert (per_identity == 10).all()


def refused(expected, call, *arguments, kind=DataError, **options):
    with pytest.raises(kind, match=f"^{re.escape(expected)}$"):
        call(*arguments, **options)


def test_more_than_exists_is_refused_with_the_numbers():
    images = catalog(3, 2, 1)
    numbers = "(6 images of 3 identities, 2 with two or more)"
    refused(
        f"5 genuine pairs asked for, but only 4 exist {numbers}; lower --num-pairs or add images",
        sample_pairs,
        images,
        num_pairs=10,
        seed=0,
    )
    refused(
        f"12 impostor pairs asked for, but only 11 exist {numbers}; lower --num-pairs or add images",
        sample_pairs,
        images,
        num_pairs=15,
        ratio=(1, 4),
        seed=0,
    )
    refused(
        f"27 triplets asked for, but only 26 exist {numbers}; lower --num-triplets or add images",
        sample_triplets,
        images,
        num_triplets=27,
        seed=0,
    )


def test_a_bound_per_identity_that_leaves_too_few_is_refused_with_the_numbers():
    numbers = "(6 images of 3 identities, 2 with two or more)"
    refused(
        f"val: 4 genuine pairs with at most 2 of one identity asked for, but only 3 exist {numbers}; "
        "raise --max-per-identity, lower --num-pairs or add images",
        *(sample_pairs, catalog(3, 2, 1)),
        num_pairs=8,
        seed=0,
        max_per_identity=2,
        what="val: ",
    )
    refused(
        f"9 triplets with at most 4 of one identity asked for, but only 8 exist {numbers}; "
        "raise --max-per-identity, lower --num-triplets or add images",
        *(sample_triplets, catalog(3, 2, 1)),
        num_triplets=9,
        seed=0,
        max_per_identity=4,
    )


@pytest.mark.parametrize(("call", "option"), [(sample_pairs, "num_pairs"), (sample_triplets, "num_triplets")])
@pytest.mark.parametrize("number", [None, 4])
def test_a_catalog_without_both_kinds_is_refused(call, option, number):
    refused(
        "all 5 images are of one identity ('id000'); impostor pairs and negatives need at least two",
        call,
        catalog(5),
        seed=0,
        **{option: number},
    )
    refused(
        "none of the 3 identities has two images; genuine pairs and positives need at least one that has",
        call,
        catalog(1, 1, 1),
        seed=0,
        **{option: number},
    )


def test_an_unusable_catalog_is_refused():
    images = catalog(2, 2)
    refused("the catalog has no images", sample_pairs, images[:0], num_pairs=2, seed=0)
    refused(
        "the catalog has no column 'identity'; it needs path and identity",
        sample_pairs,
        images[["path"]],
        num_pairs=2,
        seed=0,
    )
    refused(
        "the catalog names 'id000/0000.jpg' twice; every image must appear once",
        sample_pairs,
        pd.concat([images, images]),
        num_pairs=2,
        seed=0,
    )
    images.loc[2, "identity"] = None
    refused(
        "the catalog gives no identity for 1 images, the first is 'id001/0000.jpg'",
        sample_pairs,
        images,
        num_pairs=2,
        seed=0,
    )


def test_options_out_of_range_are_refused():
    images = catalog(3, 3)
    refused("--num-pairs 0: expected at least 1", sample_pairs, images, num_pairs=0, seed=0, kind=OptionError)
    refused("--seed -1: expected 0 or more", sample_pairs, images, num_pairs=2, seed=-1, kind=OptionError)
    refused(
        "--ratio 1:0: both sides must be above 0",
        sample_pairs,
        images,
        num_pairs=2,
        ratio=(1, 0),
        seed=0,
        kind=OptionError,
    )
    for call, option in ((sample_pairs, "num_pairs"), (sample_triplets, "num_triplets")):
        some = {option: 2, "seed": 0, "kind": OptionError}
        refused("--max-per-identity 0: expected at least 1", call, images, max_per_identity=0, **some)
        refused(
            "unknown balance 'images': did you mean 'image'? known: identity, image",
            call,
            images,
            balance="images",
            **some,
        )
    refused(
        "--num-triplets 0: expected at least 1",
        sample_triplets,
        images,
        num_triplets=0,
        seed=0,
        kind=OptionError,
    )


def test_memory_follows_the_request_and_not_the_pairs_that_exist():
    numbers = np.arange(200_000)
    identity = np.char.add("p", (numbers // 8).astype(str)).astype(object)
    images = pd.DataFrame(
        {"path": identity + "/" + numbers.astype(str).astype(object) + ".jpg", "identity": identity}
    )
    tracemalloc.start()
    frame = sample_pairs(images, num_pairs=100_000, seed=0)
    triplets = sample_triplets(images, num_triplets=100_000, seed=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(frame) == len(triplets) == 100_000
    # 2e10 impostor pairs exist: listing even one byte for each would be 20 GB.
    assert peak < 150e6
