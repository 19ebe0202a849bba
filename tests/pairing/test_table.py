import re

import pandas as pd
import pytest

from siamese.errors import PairFileError
from siamese.pairing import table
from siamese.pairing.rows import remember_rows, row_name


def pairs(**columns):
    base = {"left": ["a/1.jpg", "a/2.jpg"], "right": ["a/2.jpg", "b/1.jpg"], "same": [1, 0]}
    return pd.DataFrame(base | columns)


@pytest.mark.parametrize(
    "values",
    [
        [True, False, None],
        ["1", "0", ""],
        ["TRUE", "False", None],
        [" true ", "FALSE", float("nan")],
        [1.0, 0.0, float("nan")],
        pd.array([True, False, None], dtype="boolean"),
        pd.array([1, 0, None], dtype="Int64"),
    ],
)
def test_labels_of_every_accepted_form_become_nullable_booleans(values):
    frame = pd.DataFrame({"left": list("abc"), "right": list("def"), "same": values})
    same = table.check_pairs(frame, "p.csv")["same"]
    assert same.dtype == "boolean"
    assert same[:2].tolist() == [True, False]
    assert same[2] is pd.NA


@pytest.mark.parametrize("bad", ["yes", "2", "-1", "0.5", "nan"])
def test_a_bad_label_is_named_with_its_row(bad):
    expected = f"p.csv row 2: same is {bad!r}, expected 1 or 0, true or false, or empty; "
    expected += "--same-label names the value that means same"
    with pytest.raises(PairFileError, match=f"^{re.escape(expected)}$"):
        table.check_pairs(pairs(same=["1", bad]), "p.csv")


def test_a_missing_column_is_named_with_those_found():
    frame = pairs().rename(columns={"right": "rigth"})
    expected = "p.csv: no column 'right'; columns found: 'left', 'rigth', 'same'; expected at least left, right, same"
    with pytest.raises(PairFileError, match=re.escape(expected)):
        table.check_pairs(frame, "p.csv")


def test_labels_may_be_left_out_only_where_they_are_not_needed():
    frame = pairs().drop(columns="same")
    assert table.check_pairs(frame, "p.csv", need_same=False)["same"].isna().all()
    with pytest.raises(PairFileError, match="no column 'same'"):
        table.check_pairs(frame, "p.csv")


def test_a_doubled_column_is_refused():
    frame = pairs()
    frame.columns = pd.Index(["left", "left", "same"])
    frame["right"] = "x"
    with pytest.raises(PairFileError, match="column 'left' appears twice"):
        table.check_pairs(frame, "p.csv")


@pytest.mark.parametrize("empty", ["", None, "  "])
def test_an_empty_path_is_named_with_its_row(empty):
    with pytest.raises(PairFileError, match=r"^p\.csv row 2: column right is empty, expected the path"):
        table.check_pairs(pairs(right=["a", empty]), "p.csv")


def test_a_column_that_is_no_text_is_refused():
    with pytest.raises(PairFileError, match="column left holds floating values, expected text"):
        table.check_pairs(pairs(left=[0.5, 1.5]), "p.csv")


@pytest.mark.parametrize(
    ("bad", "found"), [("-1", "'-1'"), ("", "empty"), (None, "empty"), ("1.5", "'1.5'"), ("x", "'x'")]
)
def test_a_bad_fold_is_named_with_its_row(bad, found):
    expected = f"p.csv row 2: fold is {found}, expected a whole number from 0"
    with pytest.raises(PairFileError, match=re.escape(expected)):
        table.check_pairs(pairs(fold=["0", bad]), "p.csv")


def test_optional_columns_get_their_types_and_their_order():
    frame = pairs(extra=[1.5, 2.5], group=["x", ""], fold=["3", "0"], left_identity=[7, 8])
    checked = table.check_pairs(frame, "p.csv")
    assert list(checked) == ["left", "right", "same", "fold", "left_identity", "group", "extra"]
    assert checked["fold"].dtype == "int64"
    assert checked["fold"].tolist() == [3, 0]
    assert checked["left_identity"].tolist() == ["7", "8"]
    assert checked["group"].isna().tolist() == [False, True]
    assert checked["extra"].tolist() == [1.5, 2.5]


def test_an_image_with_itself_and_duplicates_stay_as_read():
    frame = pairs(left=["x", "x"], right=["x", "x"], same=[1, 1])
    assert len(table.check_pairs(frame, "p.csv")) == 2


def test_the_input_is_not_changed():
    frame = pairs()
    before = frame.copy()
    table.check_pairs(frame, "p.csv")
    pd.testing.assert_frame_equal(frame, before)


def test_triplets_are_checked_like_pairs():
    frame = pd.DataFrame({"anchor": ["a"], "positive": ["b"], "negative": ["c"], "anchor_identity": ["A"]})
    assert list(table.check_triplets(frame, "t.csv")) == ["anchor", "positive", "negative", "anchor_identity"]
    with pytest.raises(PairFileError, match=r"t\.csv row 1: column negative is empty"):
        table.check_triplets(frame.assign(negative=""), "t.csv")
    with pytest.raises(PairFileError, match=r"t\.csv: no column 'positive'; columns found: 'anchor'"):
        table.check_triplets(frame[["anchor"]], "t.csv")


def test_counts_leave_unlabelled_pairs_out_of_both_kinds():
    frame = pd.DataFrame({"left": list("abc"), "right": list("def"), "same": ["1", "0", ""]})
    counts = table.pair_counts(table.check_pairs(frame, "p.csv"))
    assert counts == {"pairs": 3, "genuine": 1, "impostor": 1, "identities": None}


def test_identities_are_counted_over_both_sides():
    frame = table.check_pairs(pairs(left_identity=["A", "A"], right_identity=["A", "B"]), "p.csv")
    assert table.pair_counts(frame)["identities"] == 2


def test_unique_images_come_in_the_order_of_the_rows():
    assert table.unique_images(pairs()) == ["a/1.jpg", "a/2.jpg", "b/1.jpg"]
    triplets = pd.DataFrame({"anchor": ["z", "y"], "positive": ["y", "x"], "negative": ["w", "z"]})
    assert table.unique_images(triplets) == ["z", "y", "w", "x"]


def test_files_that_exist_pass(tmp_path):
    for name in ("a/1.jpg", "a/2.jpg", "b/1.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    table.check_files_exist(pairs(), tmp_path, "p.csv")
    absolute = pairs(left=[str(tmp_path / "a/1.jpg")] * 2)
    table.check_files_exist(absolute, tmp_path, "p.csv")


def test_the_first_missing_file_is_named_and_the_others_counted(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.jpg").touch()
    expected = (
        f"p.csv row 1: column right names 'a/2.jpg', which is no file below {tmp_path}; "
        "1 other image is missing too; check the root folder"
    )
    with pytest.raises(PairFileError, match=f"^{re.escape(expected)}$"):
        table.check_files_exist(pairs(), tmp_path, "p.csv")


def test_a_folder_is_no_image(tmp_path):
    (tmp_path / "a/1.jpg").mkdir(parents=True)
    with pytest.raises(PairFileError, match=r"column left names 'a/1\.jpg'.*2 other images are missing too"):
        table.check_files_exist(pairs(), tmp_path, "p.csv")


def test_row_names_step_over_rows_without_data():
    frame = pd.DataFrame({"x": range(4)})
    remember_rows(frame, "line", 2, [2, 4, 5, 8])
    assert [row_name(frame, position) for position in range(4)] == ["line 3", "line 6", "line 7", "line 9"]


def test_row_names_survive_filtering_and_reordering():
    frame = pd.DataFrame({"x": range(5)})
    remember_rows(frame, "line", 2)
    assert row_name(frame[frame["x"] > 2].iloc[::-1], 0) == "line 6"


def test_a_row_made_of_several_rows_of_the_file_is_named_by_the_first():
    frame = pd.DataFrame({"x": range(3)})
    remember_rows(frame, "line", 1, [3], each=2)
    assert [row_name(frame, position) for position in range(3)] == ["line 1", "line 4", "line 6"]


def categories(codes, names):
    return pd.Categorical.from_codes(codes, categories=names)


def test_categories_of_text_stay_categories():
    frame = pairs(left=categories([1, 0], ["x", "y", "unused"]), group=categories([0, -1], ["g"]))
    checked = table.check_pairs(frame, "p.csv")
    assert isinstance(checked["left"].dtype, pd.CategoricalDtype)
    assert checked["left"].tolist() == ["y", "x"]
    assert checked["group"].isna().tolist() == [False, True]


def test_categories_are_checked_like_text():
    with pytest.raises(PairFileError, match=r"^p\.csv row 2: column left is empty, expected the path of an image$"):
        table.check_pairs(pairs(left=categories([0, -1], ["x"])), "p.csv")
    for blank in ("", "  "):
        with pytest.raises(PairFileError, match=r"^p\.csv row 2: column left is empty, expected the path"):
            table.check_pairs(pairs(left=categories([1, 0], [blank, "x"])), "p.csv")
        assert table.check_pairs(pairs(left=categories([1, 1], [blank, "x"])), "p.csv")["left"].tolist() == ["x", "x"]
    checked = table.check_pairs(pairs(left_identity=categories([1, 0], ["", "A"])), "p.csv")
    assert checked["left_identity"].tolist()[0] == "A"
    assert checked["left_identity"].isna().tolist() == [False, True]
    assert table.check_pairs(pairs(left=categories([1, 0], [7, 8])), "p.csv")["left"].tolist() == ["8", "7"]
    with pytest.raises(PairFileError, match=r"^p\.csv: column left holds floating values, expected text$"):
        table.check_pairs(pairs(left=categories([0, 1], [0.5, 1.5])), "p.csv")
    with pytest.raises(PairFileError, match=r"column left holds 'a\\udce9', which is not Unicode; rename it$"):
        table.check_pairs(pairs(left=categories([0, 1], pd.Index(["a\udce9", "b"], dtype=object))), "p.csv")


def test_categories_are_counted_and_looked_up_like_text(tmp_path):
    names = pd.Index(["b/1.jpg", "unused.jpg", "a/1.jpg"])
    frame = pairs(left=categories([2, 0], names), right=["b/1.jpg", "c/1.jpg"])
    frame["left_identity"] = categories([1, 0], ["B", "A", "C"])
    frame["right_identity"] = ["B", "D"]
    checked = table.check_pairs(frame, "p.csv")
    assert table.unique_images(checked) == ["a/1.jpg", "b/1.jpg", "c/1.jpg"]
    assert table.pair_counts(checked)["identities"] == 3
    for name in ("a/1.jpg", "b/1.jpg"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    with pytest.raises(PairFileError, match=r"^p\.csv row 2: column right names 'c/1\.jpg', which is no file below"):
        table.check_files_exist(checked, tmp_path, "p.csv")


def test_quadruplets_are_checked_and_looked_up_like_triplets(tmp_path):
    columns = {"anchor": ["a"], "positive": ["b"], "negative": ["c"], "negative2": ["d"], "negative2_identity": [4]}
    frame = table.check_quadruplets(pd.DataFrame(columns), "q.csv")
    assert list(frame) == [*table.QUADRUPLET_COLUMNS, "negative2_identity"]
    assert frame["negative2_identity"].tolist() == ["4"]
    assert table.unique_images(frame) == ["a", "b", "c", "d"]
    for name in "abc":
        (tmp_path / name).touch()
    with pytest.raises(PairFileError, match=r"^q\.csv row 1: column negative2 names 'd', which is no file below"):
        table.check_files_exist(frame, tmp_path, "q.csv")
    expected = "q.csv: no column 'negative2'; columns found: 'anchor', 'positive', 'negative'; expected at least "
    with pytest.raises(PairFileError, match=re.escape(f"{expected}anchor, positive, negative, negative2")):
        table.check_quadruplets(frame[["anchor", "positive", "negative"]], "q.csv")


def test_missing_files_are_found_wherever_they_stand(tmp_path):
    (tmp_path / "a").touch()
    frame = table.check_pairs(pairs(left=["a", "a"], right=["a", "z"]), "p.csv")
    with pytest.raises(PairFileError, match=r"^p\.csv row 2: column right names 'z'.*; check the root folder$"):
        table.check_files_exist(frame, tmp_path, "p.csv")
