import re

import numpy as np
import pandas as pd
import pytest

from siamese.errors import PairFileError
from siamese.pairing.formats import kind_of, read_pairs, write_pairs

# Names of RFW are those of MS-Celeb-1M.
FOLD = "m.0cy6q8\t1\t2\nm.026p3wd\t2\t4\nm.0cy6q8\t1\tm.044hmr\t3\nm.044hmr\t2\tm.026p3wd\t1\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "African_pairs.txt"


def refused(path, expected, call, *arguments):
    with pytest.raises(PairFileError, match=f"^{re.escape(f'{path}{expected}')}$"):
        call(*arguments)


def test_folds_are_those_of_the_alternation(path):
    path.write_text(FOLD * 10)
    frame = read_pairs(path)
    assert frame["left"].tolist()[:2] == ["m.0cy6q8/m.0cy6q8_0001.jpg", "m.026p3wd/m.026p3wd_0002.jpg"]
    assert frame["right_identity"].tolist()[:4] == ["m.0cy6q8", "m.026p3wd", "m.044hmr", "m.026p3wd"]
    assert frame["same"].tolist() == [True, True, False, False] * 10
    assert frame["fold"].tolist() == np.repeat(np.arange(10), 4).tolist()
    assert kind_of(path) == "pairs"
    assert read_pairs(path, suffix=".png")["right"][0] == "m.0cy6q8/m.0cy6q8_0002.png"


@pytest.mark.parametrize(
    "text",
    [
        FOLD,
        "A\t1\t2\nA\t1\tB\t1\n" * 8,  # in no order: pairs that alternate one by one
        FOLD + "A\t1\t2\nA\t1\tB\t1\n",
        FOLD[FOLD.index("m.026p3wd\t2") :] + FOLD,
        "A\t1\t2\nB\t1\t2\n",
        "A\t1\tB\t2\nB\t1\tC\t2\n",
    ],
)
def test_without_equal_blocks_there_are_no_folds(path, text):
    path.write_text(text)
    assert "fold" not in read_pairs(path)


def test_blanks_separate_where_there_is_no_tab(path):
    path.write_text(FOLD.replace("\t", " "))
    with_blanks = read_pairs(path)
    path.write_text(FOLD)
    pd.testing.assert_frame_equal(with_blanks, read_pairs(path))


def test_a_malformed_row_is_named_with_its_line(path):
    path.write_text(FOLD + "\nm.0cy6q8\t1\n")
    refused(
        path,
        " line 6: expected NAME, number, number or NAME, number, NAME, number, separated by tabs",
        read_pairs,
        path,
    )
    path.write_text("A\t1\tA\t2\n")
    refused(path, " line 1: an impostor row names 'A' twice; a genuine row has three values", read_pairs, path)


@pytest.mark.parametrize("text", [FOLD * 10, FOLD, "A\t1\t2\nB\t1\t2\n", "A\t1\t2\nA\t1\tB\t12345\nA\t2\tB\t1\n"])
def test_writing_gives_back_the_file_that_was_read(path, text):
    path.write_text(text)
    write_pairs(read_pairs(path), path.with_name("again"), "rfw")
    assert path.with_name("again").read_bytes() == text.encode()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", ["lfw", "rfw"])
def test_tables_of_random_names_and_folds_survive_a_round_trip(path, seed, name):
    rng = np.random.default_rng(seed)
    folds, each = int(rng.integers(2, 6)), int(rng.integers(2, 9))
    same = np.tile(np.repeat([True, False], each), folds)
    names = np.array(["Zoë", "O'Neil, Ed", "\U0001f600", "x y", "m.0c_1"], dtype=object)
    left = rng.integers(0, 5, len(same))
    right = np.where(same, left, (left + rng.integers(1, 5, len(same))) % 5)
    numbers = rng.choice([1, 22, 333, 4444, 55555], (2, len(same)))
    path_of = np.frompyfunc(lambda who, number: f"{who}/{who}_{number:04d}.jpg", 2, 1)
    frame = pd.DataFrame(
        {
            "left": path_of(names[left], numbers[0]).astype(str),
            "right": path_of(names[right], numbers[1]).astype(str),
            "same": pd.array(same, dtype="boolean"),
            "fold": np.repeat(np.arange(folds), 2 * each),
            "left_identity": pd.Series(names[left], dtype=str),
            "right_identity": pd.Series(names[right], dtype=str),
        }
    )
    write_pairs(frame, path, name)
    pd.testing.assert_frame_equal(read_pairs(path), frame, check_dtype=False)


def test_folds_that_the_rows_could_not_tell_are_refused(path):
    frame = pd.DataFrame({"left": ["A/A_0001.jpg"] * 2, "right": ["A/A_0002.jpg", "B/B_0001.jpg"], "same": [1, 0]})
    ending = (
        "a file without a header tells folds only where there are two or more, of 2 or more pairs of each kind; "
        "write the format lfw"
    )
    refused(
        path, f": 1 folds of 1 genuine and 1 impostor pairs; {ending}", write_pairs, frame.assign(fold=0), path, "rfw"
    )
    twice = pd.concat([frame, frame]).assign(fold=[0, 0, 1, 1])
    refused(path, f": 2 folds of 1 genuine and 1 impostor pairs; {ending}", write_pairs, twice, path, "rfw")
    refused(
        path,
        ": the LFW form has no place for column 'group'; write CSV or Parquet",
        write_pairs,
        frame.assign(group="x"),
        path,
        "rfw",
    )
    assert not path.exists()
