import re

import pandas as pd
import pytest

from siamese.errors import PairFileError
from siamese.pairing.formats import kind_of, read_pairs, write_pairs
from siamese.pairing.table import pair_counts

FOLDS = "2\t1\nAnn_Lee\t1\t12\nAnn_Lee\t1\tBob\t2\nCy\t3\t4\nCy\t3\tDi\t10000\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "pairs.txt"


def refused(path, text, expected):
    path.write_text(text)
    with pytest.raises(PairFileError, match=f"^{re.escape(f'{path}{expected}')}$"):
        read_pairs(path)


def test_rows_become_paths_identities_and_folds(path):
    path.write_text(FOLDS)
    frame = read_pairs(path)
    assert frame["left"].tolist()[:2] == ["Ann_Lee/Ann_Lee_0001.jpg"] * 2
    assert frame["right"].tolist() == [
        "Ann_Lee/Ann_Lee_0012.jpg",
        "Bob/Bob_0002.jpg",
        "Cy/Cy_0004.jpg",
        "Di/Di_10000.jpg",
    ]
    assert frame["same"].tolist() == [True, False, True, False]
    assert frame["fold"].tolist() == [0, 0, 1, 1]
    assert frame["right_identity"].tolist() == ["Ann_Lee", "Bob", "Cy", "Di"]
    assert kind_of(path) == "pairs"


def test_the_suffix_of_the_images_can_be_chosen(path):
    path.write_text(FOLDS)
    assert read_pairs(path, suffix=".png")["left"].str.endswith("_0001.png").sum() == 2


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_the_form_without_folds_is_told_by_its_header(path, newline):
    path.write_bytes(newline.join(["1", "A\t1\t2", "A\t1\tB\t2", ""]).encode())
    frame = read_pairs(path)
    assert "fold" not in frame
    assert frame["same"].tolist() == [True, False]


@pytest.mark.parametrize("row", ["A\t1", "A\t1\tB", "A\tx\t2", "A 1 2", "A\t1\tB\t2\t3", "A\t1\t2\t", "\t1\t2"])
def test_a_malformed_row_is_named_with_its_line(path, row):
    refused(
        path,
        f"1\nA\t1\t2\n\n{row}\n",
        " line 4: expected NAME, number, number or NAME, number, NAME, number, separated by tabs",
    )


def test_an_impostor_row_must_name_two_people(path):
    refused(
        path,
        "1\nA\t1\t2\nA\t1\tA\t2\n",
        " line 3: an impostor row names 'A' twice; a genuine row has three values",
    )


def test_header_counts_are_held_against_the_rows(path):
    refused(
        path,
        FOLDS + "Ed\t1\t2\n",
        ": 5 rows, but its first line announces 4 (2 folds of 1 + 1); the file is cut short or changed",
    )
    refused(
        path,
        "2\nA\t1\t2\n",
        ": 1 rows, but its first line announces 4 (2 + 2); the file is cut short or changed",
    )
    refused(path, "0\n", ": its first line announces no pairs")
    refused(path, "3", ": 0 rows, but its first line announces 6 (3 + 3); the file is cut short or changed")
    refused(
        path,
        "2\t1\nA\t1\t2\nA\t1\tB\t2\nC\t1\tD\t1\nC\t1\tE\t1\n",
        ": line 4 to line 5 hold 0 genuine and 2 impostor rows, but its first line announces 1 of each",
    )


@pytest.mark.parametrize("text", [FOLDS, "1\nA\t1\t2\nA\t1\tB_C\t2\n"])
def test_writing_gives_back_the_file_that_was_read(path, text):
    path.write_text(text)
    write_pairs(read_pairs(path), path.with_name("again.txt"))
    assert path.with_name("again.txt").read_bytes() == text.encode()


def table(**columns):
    base = {
        "left": ["A/A_0001.png", "B/B_0001.png", "A/A_0001.png", "B/B_0001.png"],
        "right": ["B/B_0002.png", "B/B_0002.png", "A/A_0002.png", "A/A_0002.png"],
        "same": [False, True, True, False],
    }
    return pd.DataFrame(base | columns)


def test_rows_are_brought_into_the_order_of_the_format(path):
    write_pairs(table(fold=[1, 1, 0, 0]), path)
    assert path.read_text() == "2\t1\nA\t1\t2\nB\t1\tA\t2\nB\t1\t2\nA\t1\tB\t2\n"
    write_pairs(table(), path)
    assert path.read_text() == "2\nB\t1\t2\nA\t1\t2\nA\t1\tB\t2\nB\t1\tA\t2\n"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (
            {"group": ["x"] * 4},
            "the LFW form has no place for column 'group'; write CSV or Parquet",
        ),
        (
            {"left": ["A/A_0001.png", "B/C_0001.png", "A/A_0001.png", "B/B_0001.png"]},
            "row 2 has left 'B/C_0001.png', but the LFW form holds only NAME/NAME_0001.jpg; write CSV or Parquet",
        ),
        (
            {"right": ["B/B_0002.png", "B/B_0002.png", "A/A_02.png", "A/A_0002.png"]},
            "row 3 has right 'A/A_02.png', but the LFW form holds only NAME/NAME_0001.jpg; write CSV or Parquet",
        ),
        (
            {"right": ["B/B_0002.png", "B/B_0002.jpg", "A/A_0002.png", "A/A_0002.png"]},
            "row 2 has another file extension than the first row (.png), and the LFW form names none",
        ),
        (
            {"same": [False, True, None, False]},
            "row 3 has no label, and the LFW form holds only labelled pairs",
        ),
        (
            {"same": [True, True, True, False]},
            "row 1 is genuine but its names are 'A' and 'B'; the LFW form tells the two kinds apart by name",
        ),
        (
            {"left_identity": ["A", "B", "A", "Z"]},
            "row 4 has left_identity 'Z', but the LFW form takes it from the path: 'B'; write CSV or Parquet",
        ),
        (
            {"fold": [0, 0, 2, 2]},
            "fold 1 has no pairs, and the LFW form numbers folds without a gap",
        ),
        (
            {"fold": [0, 0, 0, 1]},
            "fold 0 has 2 genuine and 1 impostor pairs, but the LFW form needs equal counts everywhere "
            "(fold 0 has 2 genuine)",
        ),
    ],
)
def test_what_the_format_cannot_hold_is_refused(path, columns, expected):
    with pytest.raises(PairFileError, match=f"^{re.escape(f'{path}: {expected}')}$"):
        write_pairs(table(**columns), path)
    assert not path.exists()


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "each", "folds"), [("pairs.txt", 3000, 10), ("pairsDevTrain.txt", 1100, 0), ("pairsDevTest.txt", 500, 0)]
)
def test_the_official_files_are_read_and_written_back(real_data, tmp_path, name, each, folds):
    official = real_data / "data" / "lfw-protocol" / name
    frame = read_pairs(official)
    counts = pair_counts(frame)
    assert (counts["pairs"], counts["genuine"], counts["impostor"]) == (2 * each, each, each)
    assert ("fold" in frame) == bool(folds)
    if folds:
        assert (frame.groupby(["fold", "same"]).size() == each // folds).all()
    assert (frame["same"] == (frame["left_identity"] == frame["right_identity"])).all()
    assert (real_data / "data" / "lfw" / frame["right"].iloc[-1]).is_file()
    write_pairs(frame, tmp_path / name)
    assert (tmp_path / name).read_bytes() == official.read_bytes()


def test_blanks_separate_where_there_is_no_tab(path):
    path.write_text(FOLDS.replace("\t", "  "))
    with_blanks = read_pairs(path)
    path.write_text(FOLDS)
    pd.testing.assert_frame_equal(with_blanks, read_pairs(path))
