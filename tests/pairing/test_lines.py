import re

import pandas as pd
import pytest

from siamese.errors import PairFileError
from siamese.pairing.formats import (
    kind_of,
    read_pairs,
    read_quadruplets,
    read_triplets,
    write_pairs,
    write_quadruplets,
    write_triplets,
)
from siamese.pairing.table import check_files_exist


@pytest.fixture
def path(tmp_path):
    return tmp_path / "list"


def refused(expected, call, *arguments, **options):
    with pytest.raises(PairFileError, match=f"^{re.escape(expected)}$"):
        call(*arguments, **options)


PAIRS = [["data/00041961.jpg", "data/00044353.jpg", True], ["data/00007133.jpg", "data/00060449.jpg", False]]


@pytest.mark.parametrize(
    "text",
    [
        "data/00041961.jpg data/00044353.jpg 1\ndata/00007133.jpg data/00060449.jpg 0\n",
        "data/00041961.jpg\tdata/00044353.jpg\t1\r\ndata/00007133.jpg\tdata/00060449.jpg\t0",
        "data/00041961.jpg,data/00044353.jpg,1\n\ndata/00007133.jpg, data/00060449.jpg, 0\n",
        "data/00041961.jpg;data/00044353.jpg;true\ndata/00007133.jpg;data/00060449.jpg;FALSE\n",
        '"data/00041961.jpg","data/00044353.jpg","1"\ndata/00007133.jpg,data/00060449.jpg,0\n',
        "\ufeff\n  data/00041961.jpg   data/00044353.jpg \t 1  \ndata/00007133.jpg data/00060449.jpg 0\n\n",
    ],
)
def test_pairs_without_a_header_are_recognised(path, text):
    path.write_bytes(text.encode())
    assert read_pairs(path).to_numpy().tolist() == PAIRS
    assert kind_of(path) == "pairs"


def test_names_without_an_ending_are_recognised_by_their_labels(path):
    path.write_text("x12 y7 1\n13 14 0\n")
    assert read_pairs(path).to_numpy().tolist() == [["x12", "y7", True], ["13", "14", False]]


def test_paths_with_blanks_are_read_where_tabs_or_commas_separate(path):
    path.write_text("a b/1.jpg\tc d/2.jpg\t1\n")
    assert read_pairs(path)["right"].tolist() == ["c d/2.jpg"]
    path.write_text('"a, b/1.jpg",c d/2.jpg,1\n')
    assert read_pairs(path)["left"].tolist() == ["a, b/1.jpg"]


def test_a_comma_in_a_path_does_not_hide_the_blanks_that_separate(path):
    path.write_text("a/1,x.jpg b/2.jpg 1\na/3.jpg b/4.jpg 0\n")
    assert read_pairs(path)["left"].tolist() == ["a/1,x.jpg", "a/3.jpg"]


def test_an_unlabelled_list_is_read_only_where_labels_are_not_needed(path):
    path.write_text("data/00020839.jpg data/00035322.jpg\ndata/00031848.jpg data/00021799.jpg\n")
    frame = read_pairs(path, need_same=False)
    assert frame["same"].isna().tolist() == [True, True]
    assert frame["right"].tolist() == ["data/00035322.jpg", "data/00021799.jpg"]
    assert kind_of(path) == "pairs"
    refused(
        f"{path}: is an unlabelled list, two paths a line; expected PATH PATH LABEL, where the label is 1 for same "
        "and 0 for different",
        read_pairs,
        path,
    )


def test_words_are_labels_only_if_the_one_for_same_is_named(path):
    path.write_text("a/1.png b/2.png genuine\na/1.png c/2.png forged\n")
    assert read_pairs(path, same_label="genuine")["same"].tolist() == [True, False]
    refused(
        f"{path} line 1: same is 'genuine', expected 1 or 0, true or false, or empty; "
        "--same-label names the value that means same",
        read_pairs,
        path,
    )


def test_inverted_labels_can_be_named(path):
    path.write_text("a/1.png b/2.png 0\na/1.png c/2.png 1\n")
    assert read_pairs(path, same_label="0")["same"].tolist() == [True, False]


@pytest.mark.parametrize(
    ("row", "separator", "cells"),
    [("a/1.jpg b/1.jpg", " ", "2 cells"), ("a/1.jpg b/1.jpg 1 0", " ", "4 cells"), ("a/1.jpg", ",", "1 cell")],
)
def test_a_line_of_another_length_is_named(path, row, separator, cells):
    good = separator.join(["a/1.jpg", "a/2.jpg", "1"])
    path.write_text(f"{good}\n\n{good}\n{row}\n{good}\n")
    refused(
        f"{path} line 4: {cells}, but the lines before have 3; quote paths that hold the separator", read_pairs, path
    )


def test_lines_are_those_of_the_file_in_spite_of_blank_ones(path, tmp_path):
    path.write_text("\na/1.jpg a/2.jpg 1\n\n \na/1.jpg a/2.jpg 3\n")
    expected = "expected 1 or 0, true or false, or empty; --same-label names the value that means same"
    refused(f"{path} line 5: same is '3', {expected}", read_pairs, path)
    path.write_text("\na/1.jpg a/2.jpg 1\n")
    with pytest.raises(PairFileError, match=r"list line 2: column left names 'a/1.jpg'"):
        check_files_exist(read_pairs(path), tmp_path, str(path))


def test_triplets_and_quadruplets_are_told_by_their_number_of_paths(path):
    path.write_text("a/1.jpg a/2.jpg b/1.jpg\na/1.jpg a/3.jpg c/1.jpg\n")
    assert kind_of(path) == "triplets"
    assert read_triplets(path)["negative"].tolist() == ["b/1.jpg", "c/1.jpg"]
    refused(f"{path}: holds triplets, expected pairs", read_pairs, path)
    refused(f"{path}: holds triplets, expected quadruplets", read_quadruplets, path)
    path.write_text("a/1.jpg,a/2.jpg,b/1.jpg,c/1.jpg\n")
    assert kind_of(path) == "quadruplets"
    assert read_quadruplets(path)["negative2"].tolist() == ["c/1.jpg"]
    refused(f"{path}: holds quadruplets, expected triplets", read_triplets, path)
    path.write_text("a/1.jpg a/2.jpg 1\n")
    refused(f"{path}: holds pairs, expected triplets", read_triplets, path)


def test_pairs_are_written_one_a_line(path):
    frame = pd.DataFrame({"left": ["a/1.jpg", "ü.jpg"], "right": ["a/2.jpg", "b,c.jpg"], "same": [1, 0]})
    write_pairs(frame, path, "lines")
    assert path.read_bytes() == "a/1.jpg a/2.jpg 1\nü.jpg b,c.jpg 0\n".encode()
    write_pairs(frame.assign(same=None), path, "lines")
    assert path.read_bytes() == "a/1.jpg a/2.jpg\nü.jpg b,c.jpg\n".encode()
    assert read_pairs(path, need_same=False)["right"].tolist() == ["a/2.jpg", "b,c.jpg"]


def test_triplets_and_quadruplets_are_written_one_a_line(path):
    frame = pd.DataFrame({"anchor": ["a/1.jpg"], "positive": ["a/2.jpg"], "negative": ["b/1.jpg"]})
    write_triplets(frame, path, "lines")
    assert path.read_text() == "a/1.jpg a/2.jpg b/1.jpg\n"
    pd.testing.assert_frame_equal(read_triplets(path), frame)
    frame["negative2"] = "c/1.jpg"
    write_quadruplets(frame, path, "lines")
    pd.testing.assert_frame_equal(read_quadruplets(path), frame)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            {"right": ["b.jpg", "c d.jpg"]},
            "row 2 has right 'c d.jpg', and blanks separate the paths of this form; write CSV or Parquet",
        ),
        (
            {"fold": [0, 1]},
            "lines of left, right, same have no place for column 'fold'; leave it out, or write CSV or Parquet",
        ),
        (
            {"same": [1, None]},
            "row 2 has no label and others have; lines hold labels for all pairs or for none; write CSV or Parquet",
        ),
        (
            {"same": [None, None], "left": ["x", "y"]},
            "row 1 ('x b.jpg') would not be recognised without a header, since its cells do not look like paths of "
            "images; write CSV or Parquet",
        ),
        (
            {"left": ["12", "y"], "right": ["2", "z"], "same": [1, 0]},
            None,
        ),
        (
            {"left": ["x", "y"], "right": ["2", "z"]},
            "row 1 ('x 2 1') would not be recognised without a header, since its cells do not look like paths of "
            "images; write CSV or Parquet",
        ),
    ],
)
def test_what_lines_cannot_hold_is_refused(path, columns, expected):
    frame = pd.DataFrame({"left": ["a.jpg", "b.jpg"], "right": ["b.jpg", "c.jpg"], "same": [1, 0]} | columns)
    if expected is None:
        write_pairs(frame, path, "lines")
        assert read_pairs(path)["left"].tolist() == ["12", "y"]
        return
    refused(f"{path}: {expected}", write_pairs, frame, path, "lines")
    assert not path.exists()
