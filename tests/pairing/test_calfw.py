import re

import numpy as np
import pandas as pd
import pytest

from siamese.errors import PairFileError
from siamese.pairing.formats import kind_of, read_pairs, write_pairs
from siamese.pairing.table import check_files_exist

CPLFW = "Carl_Reiner_1.jpg 1\nCarl_Reiner_3.jpg 1\nIan_Smith_1.jpg 0\nKim_Jong-Il_2.jpg 0\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pairs_CALFW.txt"


def refused(path, expected, call, *arguments):
    with pytest.raises(PairFileError, match=f"^{re.escape(f'{path}{expected}')}$"):
        call(*arguments)


def lines(rows):
    return "".join(f"{path} {number}\n" for left, right, number in rows for path in (left, right))


def genuine(number, token):
    return f"P_{number}_0001.jpg", f"P_{number}_0002.jpg", token


def impostor(number):
    return f"P_{number}_0001.jpg", f"Q_{number}_0002.jpg", 0


def test_two_lines_are_a_pair(path):
    path.write_text(CPLFW)
    frame = read_pairs(path)
    assert frame["left"].tolist() == ["Carl_Reiner_1.jpg", "Ian_Smith_1.jpg"]
    assert frame["right"].tolist() == ["Carl_Reiner_3.jpg", "Kim_Jong-Il_2.jpg"]
    assert frame["same"].tolist() == [True, False]
    assert frame["right_identity"].tolist() == ["Carl_Reiner", "Kim_Jong-Il"]
    assert "fold" not in frame
    assert kind_of(path) == "pairs"


def test_numbers_above_one_are_genuine_and_name_the_fold(path):
    rows = [genuine(number, 1 + number // 3) for number in range(9)] + [impostor(number) for number in range(6)]
    path.write_text(lines(rows).replace("\n", "\r\n"))
    frame = read_pairs(path)
    assert frame["same"].tolist() == [True] * 9 + [False] * 6
    assert frame["fold"].tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [0, 0, 1, 1, 2, 2]


def test_the_published_counts_and_order_stand_for_ten_folds(path):
    genuine_rows = [genuine(number, 1) for number in range(3000)]
    impostor_rows = [impostor(number) for number in range(3000)]
    path.write_text(lines(genuine_rows + impostor_rows))
    frame = read_pairs(path)
    assert frame["fold"].tolist() == 2 * np.repeat(np.arange(10), 300).tolist()
    path.write_text(lines(genuine_rows + impostor_rows[:-1]))
    assert "fold" not in read_pairs(path)
    path.write_text(lines(impostor_rows + genuine_rows))
    assert "fold" not in read_pairs(path)


def test_names_that_contradict_the_labels_are_no_identities(path):
    path.write_text(CPLFW + "Ian_Smith_1.jpg 0\nIan_Smith_2.jpg 0\n")
    assert list(read_pairs(path)) == ["left", "right", "same"]


def test_broken_lines_are_named(path):
    ending = (
        "expected PATH NUMBER, where 0 means different and any other number same, on two consecutive lines a pair"
    )
    path.write_text(CPLFW + "\nA_1.jpg one\nA_2.jpg 1\n")
    refused(path, f" line 6: 'one', {ending}", read_pairs, path)
    path.write_text(CPLFW + "\nA_1.jpg 1\n")
    refused(
        path,
        " line 6: the last line has no partner, expected two lines a pair; the file is cut short or changed",
        read_pairs,
        path,
    )
    path.write_text("\n" + CPLFW + "A_1.jpg 1\nA_2.jpg 2\n")
    refused(
        path,
        " line 7: number 2, but the line before, of the same pair, has 1; expected the same number on both lines of "
        "a pair (a list PATH IDENTITY holds no pairs: make some of it with `siamese make-pairs`)",
        read_pairs,
        path,
    )
    path.write_text(CPLFW + "A_1.jpg\nA_2.jpg 2\n")
    refused(
        path, " line 5: 1 cell, but the lines before have 2; quote paths that hold the separator", read_pairs, path
    )


def test_a_missing_image_is_named_by_the_first_line_of_its_pair(path, tmp_path):
    (tmp_path / "Carl_Reiner_1.jpg").touch()
    (tmp_path / "Carl_Reiner_3.jpg").touch()
    path.write_text("\n" + CPLFW)
    with pytest.raises(PairFileError, match=r"pairs_CALFW.txt line 4: column left names 'Ian_Smith_1.jpg'"):
        check_files_exist(read_pairs(path), tmp_path, str(path))


@pytest.mark.parametrize("folds", [1, 2, 5])
def test_writing_gives_back_the_file_that_was_read(path, folds):
    rows = [genuine(number, 1 + number * folds // 10) for number in range(10)]
    path.write_text(lines(rows + [impostor(number) for number in range(2 * folds)]))
    frame = read_pairs(path)
    assert ("fold" in frame) == (folds > 1)
    write_pairs(frame.sample(frac=1, random_state=0).sort_index(), path.with_name("again"), "calfw")
    assert path.with_name("again").read_bytes() == path.read_bytes()


def test_rows_keep_their_order_without_folds_and_get_that_of_the_form_with_them(path):
    frame = pd.DataFrame({"left": list("abcd"), "right": list("efgh"), "same": [0, 1, 0, 1]})
    write_pairs(frame, path, "calfw")
    assert path.read_text() == "a 0\ne 0\nb 1\nf 1\nc 0\ng 0\nd 1\nh 1\n"
    write_pairs(frame.assign(fold=[1, 1, 0, 0]), path, "calfw")
    assert path.read_text() == "d 1\nh 1\nb 2\nf 2\nc 0\ng 0\na 0\ne 0\n"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            {"same": [1, None]},
            "row 2 has no label, and two lines a pair hold only labelled pairs",
        ),
        (
            {"left": ["a b", "c"]},
            "row 1 has left 'a b', and blanks separate the paths of this form; write CSV or Parquet",
        ),
        (
            {"fold": [0, 0]},
            "two lines a pair tell folds only if there are two or more and all have equally many impostor pairs; "
            "leave the column fold out, or write CSV, Parquet or the format lfw",
        ),
        (
            {"group": ["x", "y"]},
            "two lines a pair have no place for column 'group', unless it is an identity that all file names tell "
            "(NAME_0001.jpg); leave it out, or write CSV or Parquet",
        ),
        (
            {"left_identity": ["a", "b"]},
            "two lines a pair have no place for column 'left_identity', unless it is an identity that all file names "
            "tell (NAME_0001.jpg); leave it out, or write CSV or Parquet",
        ),
    ],
)
def test_what_the_format_cannot_hold_is_refused(path, columns, expected):
    frame = pd.DataFrame({"left": ["a", "b"], "right": ["c", "d"], "same": [1, 0]} | columns)
    refused(path, f": {expected}", write_pairs, frame, path, "calfw")
    assert not path.exists()
