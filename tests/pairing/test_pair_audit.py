from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from siamese.pairing.audit import (
    KINDS,
    Findings,
    Problem,
    catalog_findings,
    cheap_findings,
    listed,
    table_findings,
)
from siamese.pairing.formats import read_pairs
from siamese.pairing.sampling import sample_pairs, sample_triplets
from siamese.pairing.table import check_pairs, check_triplets


def pairs_of(text: str, folder: Path, name: str = "pairs.csv") -> pd.DataFrame:
    (folder / name).write_text(text)
    return read_pairs(folder / name, need_same=False)


def audited(text: str, folder: Path) -> list[Problem]:
    return list(table_findings({"pairs.csv": pairs_of(text, folder)}).problems)


def catalog(identities: int = 12, images: int = 4, first: int = 0) -> pd.DataFrame:
    names = [f"p{person:02}" for person in range(first, first + identities) for _ in range(images)]
    return pd.DataFrame({"path": [f"{name}/{i % images}.jpg" for i, name in enumerate(names)], "identity": names})


# every kind


BASE = "left,right,same\na,b,1\nc,d,0\n"


@pytest.mark.parametrize(
    ("rows", "kind", "where", "detail"),
    [
        ("b,a,0\n", "contradiction", "pairs.csv line 4", "says b and a are different, but line 2 says same"),
        ("d,c,1\n", "contradiction", "pairs.csv line 4", "says d and c are same, but line 3 says different"),
        ("b,a,1\n", "duplicate_pair", "pairs.csv line 4", "repeats line 2: b and a"),
        ("c,d,0\n", "duplicate_pair", "pairs.csv line 4", "repeats line 3: c and d"),
        ("e,e,1\n", "self_pair", "pairs.csv line 4", "e is paired with itself"),
        ("e,e,0\n", "self_pair", "pairs.csv line 4", "e is paired with itself"),
        ("e,f,\n", "missing_label", "pairs.csv", "1 of 3 rows have no label; the first is line 4"),
        (
            "b,c,1\na,c,0\n",
            "transitive_contradiction",
            "pairs.csv line 5",
            "a = b = c by lines 2 and 4, but line 5 says a and c are different",
        ),
    ],
)
def test_a_problem_of_rows_is_found_named_and_alone(
    tmp_path: Path, rows: str, kind: str, where: str, detail: str
) -> None:
    assert audited(BASE + rows, tmp_path) == [Problem(kind, where, detail)]  # type: ignore[arg-type]


def test_pairs_of_one_kind_are_named(tmp_path: Path) -> None:
    genuine = audited("left,right,same\na,b,1\nc,d,1\n", tmp_path)
    impostor = audited("left,right,same\na,b,0\n", tmp_path)
    assert genuine == [Problem("one_kind", "pairs.csv", "all 2 labelled pairs are genuine, none is impostor")]
    assert impostor == [Problem("one_kind", "pairs.csv", "all 1 labelled pairs are impostor, none is genuine")]


def test_a_list_without_any_label_is_no_problem_but_its_repetitions_are(tmp_path: Path) -> None:
    assert audited("left,right\na,b\nc,d\n", tmp_path) == []
    assert audited("left,right\na,b\nb,a\n", tmp_path) == [
        Problem("duplicate_pair", "pairs.csv line 3", "repeats line 2: b and a")
    ]


def test_a_row_without_a_label_repeats_the_labelled_one(tmp_path: Path) -> None:
    found = audited("left,right,same\na,b,\nc,d,0\nb,a,1\n", tmp_path)
    assert Problem("duplicate_pair", "pairs.csv line 2", "repeats line 4: a and b") in found
    assert {problem.kind for problem in found} == {"duplicate_pair", "missing_label"}


IDENTIFIED = "left,right,same,left_identity,right_identity\na,b,1,A,A\nc,d,0,C,D\n"


@pytest.mark.parametrize(
    ("row", "where", "detail"),
    [
        ("e,f,1,E,F", "pairs.csv line 4", "says same, but its identities are 'E' and 'F'"),
        ("e,f,0,E,E", "pairs.csv line 4", "says different, but its identities are 'E' and 'E'"),
        ("e,a,0,E,X", "pairs.csv line 4", "a is 'X' here and 'A' in line 2"),
    ],
)
def test_identity_columns_that_contradict_the_label_or_each_other_are_found(
    tmp_path: Path, row: str, where: str, detail: str
) -> None:
    assert audited(f"{IDENTIFIED}{row}\n", tmp_path) == [Problem("identity_contradiction", where, detail)]


def test_an_identity_that_is_not_given_contradicts_nothing(tmp_path: Path) -> None:
    assert audited(f"{IDENTIFIED}a,e,1,A,\nf,b,1,,A\n", tmp_path) == []


def test_images_that_two_files_share_are_found(tmp_path: Path) -> None:
    tables = {"train.csv": pairs_of(BASE, tmp_path), "val.csv": pairs_of("left,right,same\ne,b,1\ng,h,0\n", tmp_path)}
    assert table_findings(tables).problems == (Problem("split_overlap", "train.csv, val.csv", "image b is in both"),)


def test_identities_that_two_files_share_are_found_and_their_images_are_not_told_again(tmp_path: Path) -> None:
    other = "left,right,same,left_identity,right_identity\na,a2,1,A,A\nc,y,0,Z,Y\n"
    tables = {"train.csv": pairs_of(IDENTIFIED, tmp_path), "val.csv": pairs_of(other, tmp_path)}
    assert table_findings(tables).problems == (
        Problem("split_overlap", "train.csv, val.csv", "identity 'A' is in both"),
        Problem("split_overlap", "train.csv, val.csv", "image c is in both"),
    )


def test_every_two_of_three_files_are_held_against_each_other(tmp_path: Path) -> None:
    texts = {"train.csv": "a,b,1\nc,d,0", "val.csv": "e,f,1\ng,h,0", "test.csv": "i,a,0\ne,j,1"}
    tables = {name: pairs_of(f"left,right,same\n{rows}\n", tmp_path, name) for name, rows in texts.items()}
    assert [(problem.where, problem.detail) for problem in table_findings(tables).problems] == [
        ("train.csv, test.csv", "image a is in both"),
        ("val.csv, test.csv", "image e is in both"),
    ]


def test_a_catalog_names_identities_with_one_image() -> None:
    images = pd.DataFrame({"path": ["a/1", "a/2", "b/1"], "identity": ["a", "a", "b"]})
    assert catalog_findings(images).problems == (
        Problem("single_image", "b/1", "the only image of 'b': no genuine pair can be made of it"),
    )


def test_a_catalog_names_identities_of_several_splits() -> None:
    images = catalog(identities=3)
    images["split"] = ["train"] * 4 + ["train", "train", "val", "test"] + ["val", "val", "val", None]
    assert catalog_findings(images).problems == (
        Problem("split_overlap", "train, val, test", "identity 'p01' is in each of them"),
    )


# what is clean


def test_nothing_is_found_in_pairs_that_the_program_makes() -> None:
    train = sample_pairs(catalog(), num_pairs=None, seed=0)
    val = sample_pairs(catalog(first=50), num_pairs=None, seed=0)
    assert cheap_findings(train, val) == Findings()
    assert catalog_findings(catalog()) == Findings()


def test_nothing_is_found_in_triplets_that_the_program_makes() -> None:
    train = sample_triplets(catalog(), num_triplets=100, seed=0)
    val = sample_pairs(catalog(first=50), num_pairs=None, seed=0)
    assert list(cheap_findings(train, val).problems) == []


def test_triplets_are_audited_as_the_pairs_they_hold() -> None:
    columns = ["anchor", "positive", "negative"]
    rows = [("a", "b", "c"), ("b", "c", "d"), ("e", "e", "f"), ("g", "h", "g")]
    train = check_triplets(pd.DataFrame(rows, columns=columns), "test")
    val = check_pairs(pd.DataFrame([("f", "x", 1), ("x", "y", 0)], columns=["left", "right", "same"]), "test")
    assert list(cheap_findings(train, val).problems) == [
        Problem("split_overlap", "training, validation", "image f is in both"),
        Problem(
            "transitive_contradiction",
            "training row 1",
            "a = b = c by rows 1 and 2, but row 1 says a and c are different",
        ),
        Problem("self_pair", "training row 3", "e is paired with itself"),
        Problem("self_pair", "training row 4", "g is paired with itself"),
    ]


# counting


def test_all_problems_are_counted_and_the_first_are_listed(tmp_path: Path) -> None:
    rows = "".join(f"e{i},e{i},1\n" for i in range(7))
    found = table_findings({"pairs.csv": pairs_of(f"{BASE}{rows}b,a,1\n", tmp_path)}, limit=3)
    assert found.counts == {"duplicate_pair": 1, "self_pair": 7}
    lines = [problem.where for problem in found.problems if problem.kind == "self_pair"]
    assert lines == ["pairs.csv line 4", "pairs.csv line 5", "pairs.csv line 6"]


def test_a_limit_holds_over_several_files_too(tmp_path: Path) -> None:
    tables = {
        name: pairs_of(f"left,right,same\n{name}1,{name}1,1\n{name}2,{name}2,1\n{name}3,{name}4,0\n", tmp_path)
        for name in "xy"
    }
    found = table_findings(tables, limit=3)
    assert found.counts == {"self_pair": 4}
    assert [problem.where for problem in found.problems] == ["x line 2", "x line 3", "y line 2"]


def test_the_report_shows_the_first_of_each_kind_and_how_many_there_are() -> None:
    several = listed("self_pair", np.arange(5), lambda row: (f"row {row}", "is itself"))
    one = Findings((Problem("unreadable", "a.jpg", "empty"),), {"unreadable": 1})
    assert Findings.joined([several, one]).lines(shown=2) == [
        "unreadable: 1",
        "  a.jpg: empty",
        "self_pair: 5",
        "  row 0: is itself",
        "  row 1: is itself",
        "  and 3 more",
    ]


def test_the_names_of_the_kinds_are_those_that_scripts_read() -> None:
    assert set(KINDS) == {
        *("unreadable", "missing_image", "exact_duplicate", "near_duplicate", "single_image", "split_overlap"),
        *("contradiction", "transitive_contradiction", "identity_contradiction", "duplicate_pair", "self_pair"),
        *("missing_label", "one_kind", "label_suspect"),
    }


# against plain loops


@pytest.mark.parametrize("seed", range(10))
def test_repetitions_and_contradictions_are_those_of_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 8, (40, 2))
    same = rng.choice([True, False, None], 40)
    frame = check_pairs(
        pd.DataFrame({"left": cells[:, 0].astype(str), "right": cells[:, 1].astype(str), "same": same}), "test"
    )
    labels: dict[frozenset[int], bool] = {}
    for (left, right), label in zip(cells.tolist(), same, strict=True):
        if label is not None:
            labels.setdefault(frozenset((left, right)), label)
    groups = [frozenset(row) for row in cells.tolist()]
    contradictions = sum(
        label is not None and label != labels[group] for group, label in zip(groups, same, strict=True)
    )
    counts = table_findings({"pairs": frame}).counts
    assert counts.get("contradiction", 0) == contradictions
    assert counts.get("duplicate_pair", 0) == len(groups) - len(set(groups)) - contradictions
    assert counts.get("self_pair", 0) == sum(len(group) == 1 for group in groups)
