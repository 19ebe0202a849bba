import re

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from siamese.errors import OptionError, PairFileError
from siamese.pairing.formats import kind_of, read_pairs, read_triplets, write_pairs, write_triplets
from siamese.pairing.table import check_files_exist

AWKWARD = [
    "a b/c, d.jpg",
    'q"uo"te.png',
    "ünï/日本.jpg",
    "NA",
    "null",
    " lead.jpg",
    "tab\there",
    "it's;#.jpg",
    "1",
    "x\ny",
]


@pytest.fixture
def awkward():
    return pd.DataFrame(
        {
            "left": AWKWARD,
            "right": AWKWARD[::-1],
            "same": pd.array([True, False, None, True, False] * 2, dtype="boolean"),
            "fold": [0, 1] * 5,
            "left_identity": ["None", "nan", "Zoë, the 1st", '"', "5"] * 2,
            "right_identity": pd.Series(["A", None, "B", "C", "D"] * 2),
            "group": ["x"] * 10,
        }
    )


@pytest.fixture
def triplets():
    columns = {"anchor": AWKWARD, "positive": AWKWARD[::-1], "negative": AWKWARD, "anchor_identity": ["A, b"] * 10}
    return pd.DataFrame(columns)


def refused(expected, call, *arguments, **options):
    with pytest.raises(PairFileError) as caught:
        call(*arguments, **options)
    assert str(caught.value) == expected


def equal_up_to_missing(read, written):
    pd.testing.assert_frame_equal(read, written, check_dtype=False)
    assert read["same"].dtype == "boolean"


@pytest.mark.parametrize("name", ["p.csv", "p.parquet", "ö ,x.pq"])
def test_a_pair_file_loses_nothing(tmp_path, awkward, name):
    write_pairs(awkward, tmp_path / name)
    equal_up_to_missing(read_pairs(tmp_path / name), awkward)
    assert kind_of(tmp_path / name) == "pairs"


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_triplet_file_loses_nothing(tmp_path, triplets, name):
    write_triplets(triplets, tmp_path / name)
    pd.testing.assert_frame_equal(read_triplets(tmp_path / name), triplets)
    assert kind_of(tmp_path / name) == "triplets"


def test_csv_is_written_in_the_documented_form(tmp_path):
    frame = pd.DataFrame({"left": ["a", "ä,"], "right": ["b", "c"], "same": [True, None]})
    write_pairs(frame, tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_bytes() == 'left,right,same\na,b,1\n"ä,",c,\n'.encode()


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_what_was_read_is_written_back_byte_for_byte(tmp_path, awkward, name):
    write_pairs(awkward, tmp_path / name)
    write_pairs(read_pairs(tmp_path / name), tmp_path / f"again-{name}")
    assert (tmp_path / name).read_bytes() == (tmp_path / f"again-{name}").read_bytes()


@pytest.mark.parametrize(
    "text",
    [
        "left,right,same\na,b,1\nc,d,0\n",
        "left\tright\tsame\na\tb\ttrue\nc\td\tFalse",
        "\ufeffleft,right,same\r\na,b,1\r\nc,d,0\r\n",
        '"left","right","same"\n"a","b","1"\n\nc,d,0\n,,\n',
        "same,right,left\n1,b,a\n0,d,c\n",
    ],
)
def test_csv_is_recognised_whatever_its_name(tmp_path, text):
    path = tmp_path / "list of pairs"
    path.write_bytes(text.encode())
    frame = read_pairs(path)
    assert frame[["left", "right", "same"]].to_numpy().tolist() == [["a", "b", True], ["c", "d", False]]
    assert list(frame.index) == [0, 1]


def test_parquet_is_recognised_whatever_its_name(tmp_path, awkward):
    write_pairs(awkward, tmp_path / "p.csv", format="parquet")
    equal_up_to_missing(read_pairs(tmp_path / "p.csv"), awkward)


def test_labels_may_be_left_out_only_where_they_are_not_needed(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("left,right\na,b\n")
    assert read_pairs(path, need_same=False)["same"].isna().all()
    refused(
        f"{path}: no column 'same'; columns found: 'left', 'right'; expected at least left, right, same",
        read_pairs,
        path,
    )


EXPECTED = "expected CSV with a header, Parquet, or an LFW pairs file"


@pytest.mark.parametrize("call", [read_pairs, read_triplets, kind_of])
def test_what_is_no_such_file_is_refused_in_one_line(tmp_path, call):
    path = tmp_path / "p.csv"
    refused(f"{path}: no such file, {EXPECTED}", call, path)
    refused(f"{tmp_path}: is a folder, {EXPECTED}", call, tmp_path)
    path.write_bytes(b" \n\n")
    refused(f"{path}: is empty, {EXPECTED}", call, path)
    path.write_bytes(b"\x89PNG\r\n\0\0\0")
    refused(f"{path}: holds binary data, {EXPECTED}", call, path)
    path.write_bytes("left,right,same\nä,b,1\nü,c,1\n".encode("latin-1"))
    refused(f"{path} line 2: byte 0xe4 is not UTF-8; save the file as UTF-8", call, path)
    path.write_bytes("left,right,same\na,b,1\n".encode("utf-16"))
    refused(f"{path} line 1: byte 0xff is not UTF-8; save the file as UTF-8", call, path)


@pytest.mark.parametrize("call", [read_pairs, read_triplets, kind_of])
def test_a_broken_parquet_file_is_refused_in_one_line(tmp_path, call, awkward):
    path = tmp_path / "p.parquet"
    write_pairs(awkward, path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(PairFileError, match=r"is no whole Parquet file \(.*\); write it again$") as caught:
        call(path)
    assert "\n" not in str(caught.value)


def test_prose_is_refused_by_its_columns(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("Dear all,\nthis is no pair file, is it\n")
    refused(
        f"{path}: no column 'left'; columns found: 'Dear all', ''; expected at least left, right, same",
        read_pairs,
        path,
    )
    path.write_text("x" * 200_000)
    with pytest.raises(PairFileError, match=r"no column 'left'; columns found: 'x{199}\.\.\.; expected"):
        read_pairs(path)


def test_a_file_of_neither_kind_is_refused(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("path,identity\na,b\n")
    refused(
        f"{path}: no column 'left'; columns found: 'path', 'identity'; expected at least left, right", kind_of, path
    )


@pytest.mark.parametrize("text", ["left,right,same\n", "left,right,same", "left,right,same\n\n,,\n"])
def test_a_header_without_rows_is_refused(tmp_path, text):
    path = tmp_path / "p.csv"
    path.write_text(text)
    refused(f"{path}: has columns but no rows below its header", read_pairs, path)


@pytest.mark.parametrize(("row", "cells"), [("c", "1 cell"), ("c,d,1,2", "4 cells"), ("c d, e, f, 1", "4 cells")])
def test_a_row_of_another_length_is_named_with_its_line(tmp_path, row, cells):
    path = tmp_path / "p.csv"
    path.write_text(f"left,right,same\na,b,1\n\n{row}\n")
    refused(f"{path} line 4: {cells}, but the header has 3; quote paths that hold the separator", read_pairs, path)


def test_an_unclosed_quote_is_named_with_its_line(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text('left,right,same\na,b,1\n"c,d,1\ne,f,1\n')
    with pytest.raises(PairFileError, match=r"p\.csv line 3: 1 cell, but the header has 3"):
        read_pairs(path)


def test_lines_are_those_of_the_file_in_spite_of_blank_ones(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("left,right,same\n\na,b,1\n\n\nc,d,maybe\n")
    refused(f"{path} line 6: same is 'maybe', expected 1 or 0, true or false, or empty", read_pairs, path)
    path.write_text("left,right,same\n\na,b,1\n\n\nc,,1\n")
    refused(f"{path} line 6: column right is empty, expected the path of an image", read_pairs, path)


def test_missing_images_are_named_by_the_line_of_the_file(tmp_path):
    for name in "ab":
        (tmp_path / name).touch()
    path = tmp_path / "p.csv"
    path.write_text("left,right,same\na,b,1\na,b,\na,c,1\n")
    labelled = read_pairs(path).dropna(subset="same")
    with pytest.raises(PairFileError, match=r"p\.csv line 4: column right names 'c'.*; check the root folder"):
        check_files_exist(labelled, tmp_path, str(path))


def test_rows_of_parquet_count_from_one(tmp_path):
    path = tmp_path / "p.parquet"
    parquet.write_table(pa.table({"left": ["a", "b"], "right": ["c", None], "same": [1, 0]}), path)
    refused(f"{path} row 2: column right is empty, expected the path of an image", read_pairs, path)


def test_a_parquet_file_of_categories_and_a_pandas_index_is_read(tmp_path):
    path = tmp_path / "p.parquet"
    frame = pd.DataFrame({"left": ["a", "b"], "right": ["c", "d"], "same": [1.0, None]}, index=[7, 9])
    frame.astype({"left": "category"}).to_parquet(path)
    read = read_pairs(path)
    assert list(read) == ["left", "right", "same"]
    assert read["left"].tolist() == ["a", "b"]
    assert list(read.index) == [0, 1]


def test_triplets_are_not_read_from_a_pair_file(tmp_path, awkward):
    write_pairs(awkward, tmp_path / "p.csv")
    with pytest.raises(PairFileError, match="no column 'anchor'; columns found: 'left', 'right'"):
        read_triplets(tmp_path / "p.csv")
    (tmp_path / "p.txt").write_text("1\nA\t1\t2\nA\t1\tB\t2\n")
    refused(f"{tmp_path / 'p.txt'}: an LFW file holds pairs, expected triplets", read_triplets, tmp_path / "p.txt")


def test_an_unknown_format_is_refused(tmp_path, awkward, triplets):
    with pytest.raises(OptionError, match=r"extension '\.xls' names no format; end it in \.csv, \.parquet or \.txt"):
        write_pairs(awkward, tmp_path / "p.xls")
    with pytest.raises(OptionError, match="unknown format 'parket': did you mean 'parquet'"):
        write_pairs(awkward, tmp_path / "p.csv", format="parket")
    with pytest.raises(OptionError, match="unknown format 'lfw': known: csv, parquet"):
        write_triplets(triplets, tmp_path / "t.txt")


def test_nothing_is_written_when_the_table_is_refused(tmp_path, awkward):
    refused(
        f"{tmp_path / 'p.csv'}: the table has no rows, nothing to write", write_pairs, awkward[:0], tmp_path / "p.csv"
    )
    refused(
        f"{tmp_path / 'p.csv'} row 1: column left is empty, expected the path of an image",
        write_pairs,
        awkward.assign(left=""),
        tmp_path / "p.csv",
    )
    refused(
        f"{tmp_path}: is a folder, expected the name of a file to write", write_pairs, awkward, tmp_path, format="csv"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_a_name_that_is_no_unicode_is_refused(tmp_path, name):
    frame = pd.DataFrame({"left": pd.Series(["a\udce9"], dtype=object), "right": ["b"], "same": [1]})
    with pytest.raises(PairFileError, match=re.escape(f"{tmp_path / name}")) as caught:
        write_pairs(frame, tmp_path / name)
    assert r"'a\udce9'" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
