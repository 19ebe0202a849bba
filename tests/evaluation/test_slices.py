from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest

from siamese.errors import DataError, OptionError
from siamese.evaluation import metrics
from siamese.evaluation.slices import (
    Groups,
    SlicePairs,
    group_column,
    group_pair_columns,
    group_quantiles,
    group_sides,
    measure_slices,
)


def named(groups: Groups) -> list[str | None]:
    return [None if code < 0 else groups.names[code] for code in groups.codes]


def test_text_is_grouped_by_value_in_its_order() -> None:
    groups = group_column(["profile", "frontal", None, "profile", ""])
    assert groups.names == ("frontal", "profile")
    assert named(groups) == ["profile", "frontal", None, "profile", None]


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(["b", "a", None], dtype=object),
        pd.Series(["b", "a", None], dtype="string"),
        pd.Series(["b", "a", None], dtype="category"),
        pd.Series(["b", "a", None], index=[7, 3, 3]),
        np.array(["b", "a", ""]),
        pd.Series(["b", "a", "  "]).astype("category"),
    ],
)
def test_every_kind_of_text_column_is_read(column: Any) -> None:
    groups = group_column(column)
    assert groups.names == ("a", "b")
    assert groups.codes.tolist() == [1, 0, -1]


@pytest.mark.parametrize(
    ("column", "names"),
    [
        ([10, 9, 100], ("9", "10", "100")),
        ([10.0, 9.5, np.nan], ("9.5", "10")),
        (["10", "9", "100"], ("9", "10", "100")),
        ([True, False, True], ("False", "True")),
        (np.array([True, None, False], dtype=object), ("False", "True")),
        ([1234567.0, 1234568.0], ("1234567", "1234568")),
        ([0, 1, "x"], ("0", "1", "x")),
    ],
)
def test_few_numbers_are_values_in_their_order(column: Any, names: tuple[str, ...]) -> None:
    assert group_column(column).names == names


@pytest.mark.parametrize("as_text", [False, True])
def test_many_numbers_are_cut_into_bins_of_equal_size(as_text: bool) -> None:
    ages = np.random.default_rng(0).permutation(100)
    groups = group_column([str(age) for age in ages] if as_text else ages)
    assert groups.names == ("0 to 19", "20 to 39", "40 to 59", "60 to 79", "80 to 99")
    assert np.bincount(groups.codes).tolist() == [20] * 5
    assert [groups.names[code] for code in groups.codes[ages == 20]] == ["20 to 39"]


@pytest.mark.parametrize("seed", range(5))
def test_bins_hold_what_their_names_say(seed: int) -> None:
    random = np.random.default_rng(seed)
    numbers = np.concatenate((np.zeros(40), random.integers(-5, 30, 200), np.full(3, np.nan)))
    groups = group_quantiles(numbers, bins=7)
    assert (groups.codes == -1).tolist() == np.isnan(numbers).tolist()
    ends = []
    for code, name in enumerate(groups.names):
        low, _, high = name.partition(" to ")
        inside = numbers[groups.codes == code]
        assert (inside.min(), inside.max()) == (float(low), float(high or low))
        ends += [inside.min(), inside.max()]
    assert ends == sorted(ends)
    assert len(set(groups.names)) == len(groups.names) <= 7


def test_a_value_that_fills_bins_is_in_one() -> None:
    groups = group_quantiles([0] * 90 + list(range(1, 11)), bins=4)
    assert groups.names == ("0", "1 to 10")
    assert np.bincount(groups.codes).tolist() == [90, 10]
    assert group_quantiles([3.0, 3.0]).names == ("3",)
    assert group_quantiles([np.nan]).names == ()


def test_names_of_bins_have_the_digits_that_tell_them_apart() -> None:
    assert group_quantiles([0.123451, 0.123452, 0.123453, 0.123454], bins=2).names == (
        "0.123451 to 0.123452",
        "0.123453 to 0.123454",
    )
    assert group_quantiles([0.1 + 0.2, 0.5, 0.7, 0.9], bins=2).names == ("0.3 to 0.5", "0.7 to 0.9")


def test_pairs_of_values_have_no_order() -> None:
    groups = group_pair_columns(["f", "m", "f", "m", None, "f"], ["f", "f", "m", "m", "m", ""])
    assert groups.names == ("f | f", "f | m", "m | m")
    assert named(groups) == ["f | f", "f | m", "f | m", "m | m", None, None]
    assert group_pair_columns(["a"], ["b"]).codes.tolist() == [0]


def test_of_many_numbers_the_gap_is_binned() -> None:
    random = np.random.default_rng(1)
    left, right = random.integers(0, 90, 500), random.integers(0, 90, 500)
    expected = group_quantiles(np.abs(left - right), bins=4)
    for first, second in ((left, right), (right, left), (left.astype(str), right.astype(str))):
        groups = group_pair_columns(first, second, bins=4)
        assert groups.names == expected.names
        assert groups.codes.tolist() == expected.codes.tolist()
    assert expected.names[0].startswith("0 to ")


def test_both_sides_are_grouped_by_the_same_names() -> None:
    left, right = group_sides(["b", "a"], ["c", None])
    assert left.names == right.names == ("a", "b", "c")
    assert left.codes.tolist() == [1, 0]
    assert right.codes.tolist() == [2, -1]


def test_columns_that_name_no_groups_are_refused() -> None:
    names = [f"image{number}.jpg" for number in range(1001)]
    with pytest.raises(DataError, match="path: 1001 different values, expected groups, at most 1000; name another"):
        group_column(names, what="path")
    with pytest.raises(DataError, match="pose: 2 values left and 1 right; expected one each for a pair"):
        group_pair_columns(["a", "b"], ["c"], what="pose")
    with pytest.raises(DataError, match="pair: 1035 different values"):
        group_pair_columns(*np.array(names[:46])[np.array(np.triu_indices(46, 1))], what="pair")
    with pytest.raises(OptionError, match="1 bins: expected 2 or more"):
        group_quantiles([1.0, 2.0], bins=1)


def pairs(seed: int, count: int = 600) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    same = random.random(count) < 0.5
    return random.normal(same * 1.0, 1.0), same, np.array(["easy", "hard", "odd"])[random.integers(3, size=count)]


def accuracy_and_auc(part: SlicePairs) -> Mapping[str, Any]:
    return {"accuracy": float((part.accepted == part.same).mean()), "auc": metrics.auc(part.scores, part.same)}


def test_slices_agree_with_a_loop_over_values() -> None:
    scores, same, values = pairs(0)
    accepted = scores >= 0.5
    rows = measure_slices(scores, same, accepted, group_column(values), accuracy_and_auc, worst_by="auc")
    assert [row.metrics["auc"] for row in rows] == sorted(row.metrics["auc"] for row in rows)
    assert {row.value for row in rows} == {"easy", "hard", "odd"}
    for row in rows:
        inside = values == row.value
        assert (row.pairs, row.genuine) == (inside.sum(), same[inside].sum())
        assert row.genuine + row.impostor == row.pairs
        assert row.metrics["auc"] == metrics.auc(scores[inside], same[inside])
        assert row.metrics["accuracy"] == np.mean(accepted[inside] == same[inside])
        assert row.far == np.mean(accepted[inside & ~same])
        assert row.frr == pytest.approx(np.mean(~accepted[inside & same]))
        assert row.insufficient is None


def test_one_slice_of_all_pairs_is_the_whole() -> None:
    scores, same, _ = pairs(1)
    (row,) = measure_slices(
        scores, same, scores >= 0, Groups(np.zeros(600, int), ("all",)), accuracy_and_auc, worst_by="auc"
    )
    assert row.metrics["auc"] == metrics.auc(scores, same)


def test_a_slice_gets_its_own_rows_in_order() -> None:
    scores, same, values = pairs(2)
    seen: list[np.ndarray] = []

    def look(part: SlicePairs) -> Mapping[str, Any]:
        seen.append(part.rows)
        assert (part.scores == scores[part.rows]).all()
        assert (part.same == same[part.rows]).all()
        assert (part.accepted == (scores >= 0.5)[part.rows]).all()
        assert (np.diff(part.rows) > 0).all()
        return {"size": len(part.rows)}

    measure_slices(scores, same, scores >= 0.5, group_column(values), look, worst_by="size")
    assert sorted(np.concatenate(seen)) == list(range(600))


@pytest.mark.parametrize("higher", [True, False])
def test_the_worst_is_first_whichever_way_the_metric_goes(higher: bool) -> None:
    scores, same, _ = pairs(3)
    groups = Groups(np.arange(600) % 4, ("a", "b", "c", "d"))
    given = iter([0.3, None, 0.1, 0.2])
    rows = measure_slices(
        scores, same, same, groups, lambda _: {"m": next(given)}, worst_by="m", higher_is_better=higher
    )
    assert [row.metrics["m"] for row in rows] == ([0.1, 0.2, 0.3, None] if higher else [0.3, 0.2, 0.1, None])


def test_slices_below_the_minimum_are_insufficient_and_last() -> None:
    values = np.repeat(["big", "few genuine", "impostors", "tiny"], [60, 33, 40, 4])
    same = np.concatenate((np.arange(60) % 2 == 0, np.arange(33) < 3, np.zeros(40, bool), np.arange(4) < 2))
    scores = np.linspace(0, 1, len(same))
    rows = measure_slices(scores, same, scores >= 0.5, group_column(values), accuracy_and_auc, worst_by="auc")
    assert [row.value for row in rows] == ["big", "impostors", "few genuine", "tiny"]
    assert [row.insufficient for row in rows] == [
        None,
        "0 genuine pairs, fewer than 10",
        "3 genuine pairs, fewer than 10",
        "2 genuine and 2 impostor pairs, fewer than 10",
    ]
    assert [dict(row.metrics) for row in rows[1:]] == [{}, {}, {}]
    # One kind of pair is enough for its own rate.
    assert rows[1].far == np.mean(scores[93:133] >= 0.5)
    assert rows[1].frr is None
    assert (rows[3].far, rows[3].frr) == (None, None)
    assert rows[3].false_accepts == 2


def test_pairs_without_a_value_are_a_slice() -> None:
    scores, same, values = pairs(4)
    blanked = np.where(np.arange(600) < 100, "", values)
    rows = measure_slices(scores, same, same, group_column(blanked), accuracy_and_auc, worst_by="auc")
    assert {row.value: row.pairs for row in rows}["(missing)"] == 100


def test_what_cannot_be_sliced_is_refused() -> None:
    scores, same, values = pairs(5)
    groups = group_column(values)
    with pytest.raises(OptionError, match=r"unknown metric to order slices by 'acuracy': did you mean 'accuracy'\?"):
        measure_slices(scores, same, same, groups, accuracy_and_auc, worst_by="acuracy")
    with pytest.raises(OptionError, match="minimum of 0 pairs: expected 1 or more"):
        measure_slices(scores, same, same, groups, accuracy_and_auc, worst_by="auc", minimum=0)
    with pytest.raises(
        DataError, match=r"scores \(600,\), decisions \(2,\) and groups \(600,\): expected one of each"
    ):
        measure_slices(scores, same, [True, False], groups, accuracy_and_auc, worst_by="auc")
    with pytest.raises(DataError, match="scores are not finite numbers"):
        measure_slices(np.full(600, np.nan), same, same, groups, accuracy_and_auc, worst_by="auc")
