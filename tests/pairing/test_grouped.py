import itertools
import logging
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from siamese.errors import DataError, OptionError
from siamese.pairing.cells import Cells
from siamese.pairing.folds import sample_folds
from siamese.pairing.grouped import GroupRule, parse_groups
from siamese.pairing.identities import IdentityIndex
from siamese.pairing.sampling import sample_pairs

RULES = [
    GroupRule("session", "across"),
    GroupRule("session", "within"),
    GroupRule("session", ("s0", "s1")),
    GroupRule("session", ("s2", "s2")),
]


def catalog(seed, images=32, identities=6, sessions=3):
    rng = np.random.default_rng(seed)
    identity = rng.integers(0, identities, images)
    identity[: identities * 2] = np.repeat(np.arange(identities), 2)
    session = rng.integers(0, sessions, images)
    session[:sessions] = np.arange(sessions)
    shuffled = rng.permutation(images)
    return pd.DataFrame(
        {
            "path": [f"id{who}/{number:03}.jpg" for number, who in enumerate(identity[shuffled])],
            "identity": [f"id{who}" for who in identity[shuffled]],
            "session": [f"s{which}" for which in session[shuffled]],
        }
    )


def allowed(rule, one, other):
    if rule.kind == "across":
        return one != other
    if rule.kind == "within":
        return one == other
    return (one, other) in (rule.kind, rule.kind[::-1])


def universe(images, rule):
    """Every genuine and every impostor pair that the rule allows, by listing."""
    genuine, impostor = set(), set()
    for one, other in itertools.combinations(images.itertuples(index=False), 2):
        if allowed(rule, one.session, other.session):
            (genuine if one.identity == other.identity else impostor).add(frozenset((one.path, other.path)))
    return genuine, impostor


def unordered(frame):
    return {frozenset(pair) for pair in zip(frame["left"], frame["right"], strict=True)}


def refused(kind, expected, call, *arguments, **options):
    with pytest.raises(kind, match=f"^{re.escape(expected)}$"):
        call(*arguments, **options)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("balance", ["identity", "image"])
def test_everything_that_a_rule_allows_can_be_asked_for_and_nothing_else_is_drawn(rule, seed, balance):
    images = catalog(seed)
    genuine, impostor = universe(images, rule)
    counts = (len(genuine), len(impostor))
    assert min(counts) > 0
    frame = sample_pairs(images, num_pairs=sum(counts), ratio=counts, seed=seed, balance=balance, groups=rule)
    assert unordered(frame[frame["same"]]) == genuine
    assert unordered(frame[~frame["same"]]) == impostor
    few = sample_pairs(images, num_pairs=5, ratio=(2, 3), seed=seed, balance=balance, groups=rule)
    assert unordered(few[few["same"]]) <= genuine
    assert unordered(few[~few["same"]]) <= impostor
    assert len(unordered(few)) == len(few) == 5


@pytest.mark.parametrize("rule", RULES)
def test_numbers_and_pairs_agree_with_listing(rule):
    images = catalog(3)
    if isinstance(rule.kind, tuple):
        images = images[images["session"].isin(rule.kind)].reset_index(drop=True)
    index = IdentityIndex.of(images)
    codes, _ = pd.factorize(images["session"], sort=True)
    relation = rule.kind if isinstance(rule.kind, str) else "within" if len(set(rule.kind)) == 1 else "across"
    cells = Cells.of(index, codes, relation)
    genuine, impostor = universe(images, rule)
    assert cells.genuine_totals.sum() == len(genuine)
    assert cells.impostor_total == len(impostor)
    paths = images["path"].to_numpy()[cells.order]
    low, high = cells.impostor(np.arange(cells.impostor_total))
    assert {frozenset(pair) for pair in zip(paths[low], paths[high], strict=True)} == impostor


@pytest.mark.parametrize("rule", RULES)
def test_with_balance_image_impostors_are_uniform_over_the_pairs_of_the_rule(rule):
    images = catalog(4, images=9, identities=3)
    counts = dict.fromkeys(universe(images, rule)[1], 0)
    for seed in range(15 * len(counts)):
        drawn = sample_pairs(images, num_pairs=2, seed=seed, balance="image", groups=rule)
        counts[unordered(drawn[~drawn["same"]]).pop()] += 1
    assert stats.chisquare(list(counts.values())).pvalue > 0.001


def test_with_balance_identity_impostors_are_uniform_over_pairs_of_identity_and_group():
    # One identity has 30 clean images and the others 2: clean against distorted it counts once all the same.
    rows = [("a", "clean", 30), ("a", "dark", 1), ("b", "clean", 2), ("b", "dark", 2), ("c", "clean", 2)]
    images = pd.DataFrame(
        [(f"{who}/{kind}/{i}", who, kind) for who, kind, count in rows for i in range(count)],
        columns=["path", "identity", "session"],
    )
    cells = dict.fromkeys(["a clean-b dark", "a dark-b clean", "a dark-c clean", "b dark-c clean"], 0)
    for seed in range(240):
        frame = sample_pairs(images, num_pairs=2, seed=seed, groups=GroupRule("session", ("clean", "dark")))
        row = frame[~frame["same"]].iloc[0]
        sides = sorted([f"{row.left_identity} {row.left_group}", f"{row.right_identity} {row.right_group}"])
        cells["-".join(sides)] += 1
    assert stats.chisquare(list(cells.values())).pvalue > 0.01


def test_the_groups_of_both_sides_are_columns_of_the_table():
    images = catalog(2)
    frame = sample_pairs(images, num_pairs=12, seed=0, groups=RULES[0])
    assert list(frame.columns[-2:]) == ["left_group", "right_group"]
    session = images.set_index("path")["session"]
    for side in ("left", "right"):
        assert frame[f"{side}_group"].tolist() == session.loc[frame[side]].tolist()
        assert pd.api.types.is_string_dtype(frame[f"{side}_group"].dtype)


def test_whole_numbers_name_groups_even_with_gaps(caplog):
    images = catalog(0).assign(session=[float(number % 2) for number in range(32)])
    images.loc[3, "session"] = np.nan
    images.loc[7, "session"] = np.nan
    with caplog.at_level(logging.WARNING, "siamese"):
        frame = sample_pairs(images, num_pairs=8, seed=0, groups=GroupRule("session", ("0", "1")))
    assert caplog.messages == ["2 of 32 images have no 'session': no pairs are made of them"]
    assert set(frame["left_group"]) | set(frame["right_group"]) == {"0", "1"}
    assert not frame[["left", "right"]].isin(images["path"][[3, 7]].tolist()).to_numpy().any()


def test_rules_are_read():
    assert parse_groups("across", "video") == GroupRule("video", "across")
    assert parse_groups("within", "video") == GroupRule("video", "within")
    assert parse_groups(".:distortion", "folder") == GroupRule("folder", (".", "distortion"))


@pytest.mark.parametrize("text", ["", "between", "a:", "a:b:c"])
def test_a_rule_of_another_form_is_refused(text):
    expected = f"--groups {text!r}: expected across, within, or two groups such as .:distortion"
    refused(OptionError, expected, parse_groups, text, "folder")


def test_columns_and_groups_that_are_not_there_are_refused_with_those_that_are():
    images = catalog(0)
    options = {"num_pairs": 4, "seed": 0}
    refused(
        DataError,
        "the catalog has no column 'pose' to group by; columns found: path, identity, session; --group-by names one",
        *(sample_pairs, images),
        groups=GroupRule("pose", "across"),
        **options,
    )
    refused(
        DataError,
        "--groups s0:s9: column 'session' has no 's9'; it has 's0', 's1', 's2'",
        *(sample_pairs, images),
        groups=GroupRule("session", ("s0", "s9")),
        **options,
    )
    refused(
        DataError,
        "column 'session' of the catalog is empty in all 32 rows",
        *(sample_pairs, images.assign(session=None)),
        groups=RULES[0],
        **options,
    )


def test_more_than_a_rule_allows_is_refused_with_the_numbers():
    images = pd.DataFrame(
        {
            "path": ["a/1", "a/2", "a/3", "b/1", "b/2"],
            "identity": ["a", "a", "a", "b", "b"],
            "session": ["1", "1", "2", "1", "1"],
        }
    )
    refused(
        DataError,
        "3 genuine pairs across 'session' asked for, but only 2 exist "
        "(5 images of 2 identities, 2 with two or more); lower --num-pairs or add images",
        *(sample_pairs, images),
        num_pairs=5,
        seed=0,
        groups=RULES[0],
    )
    refused(
        DataError,
        "3 impostor pairs of '1' with '2' in 'session' asked for, but only 2 exist "
        "(5 images of 2 identities, 2 with two or more); lower --num-pairs or add images",
        *(sample_pairs, images),
        num_pairs=4,
        ratio=(1, 3),
        seed=0,
        groups=GroupRule("session", ("1", "2")),
    )
    refused(
        DataError,
        "no genuine pairs across 'session' exist (4 images of 2 identities, 2 with two or more); "
        "lower --num-pairs or add images",
        *(sample_pairs, images.drop(index=2)),
        num_pairs=None,
        seed=0,
        groups=RULES[0],
    )


def test_without_a_number_a_rule_gives_what_its_own_pairs_carry():
    images = pd.DataFrame(
        [(f"{who}/{s}-{i}", f"p{who}", f"s{s}") for who in range(8) for s in range(2) for i in range(2)],
        columns=["path", "identity", "session"],
    )
    frame = sample_pairs(images, num_pairs=None, seed=0, groups=RULES[0])
    # Four pairs across sessions in each identity, all of which are taken.
    assert (frame["same"].sum(), (~frame["same"]).sum()) == (32, 32)


def test_folds_follow_a_rule_too():
    images = pd.DataFrame(
        [(f"{who}/{s}-{i}", f"p{who:02}", f"s{s}") for who in range(12) for s in range(2) for i in range(2)],
        columns=["path", "identity", "session"],
    )
    frame = sample_folds(images, 3, 48, (1, 1), 0, groups=RULES[0])
    assert (frame["left_group"] != frame["right_group"]).all()
    assert (frame.groupby(["fold", "same"]).size() == 8).all()
    session = images.set_index("path")["session"]
    assert session.loc[frame["left"]].tolist() == frame["left_group"].tolist()
    folds_of = pd.concat([frame.groupby(f"{side}_identity")["fold"].nunique() for side in ("left", "right")])
    assert folds_of.max() == 1
