import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from siamese.errors import OptionError, PairFileError
from siamese.pairing.formats import (
    FORMAT_COLUMNS,
    PAIR_FORMATS,
    TUPLE_FORMATS,
    kind_of,
    read_pairs,
    read_quadruplets,
    read_triplets,
    write_pairs,
    write_quadruplets,
    write_triplets,
)
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
    "cr\rhere",
    "\r\n.jpg",
]


@pytest.fixture
def awkward():
    return pd.DataFrame(
        {
            "left": AWKWARD,
            "right": AWKWARD[::-1],
            "same": pd.array([True, False, None, True] * 3, dtype="boolean"),
            "fold": [0, 1] * 6,
            "left_identity": ["None", "nan", "Zoë, the 1st", '"', "5", "6"] * 2,
            "right_identity": pd.Series(["A", None, "B", "C", "D", "E"] * 2),
            "group": ["x"] * 12,
        }
    )


@pytest.fixture
def triplets():
    columns = {"anchor": AWKWARD, "positive": AWKWARD[::-1], "negative": AWKWARD, "anchor_identity": ["A, b"] * 12}
    return pd.DataFrame(columns)


def refused(expected, call, *arguments, **options):
    with pytest.raises(PairFileError) as caught:
        call(*arguments, **options)
    assert str(caught.value) == expected


def equal_up_to_missing(read, written):
    pd.testing.assert_frame_equal(read, written, check_dtype=False)
    assert read["same"].dtype == "boolean"


@pytest.mark.parametrize("name", ["p.csv", "p.tsv", "p.parquet", "ö ,x.pq"])
def test_a_pair_file_loses_nothing(tmp_path, awkward, name):
    write_pairs(awkward, tmp_path / name)
    equal_up_to_missing(read_pairs(tmp_path / name), awkward)
    assert kind_of(tmp_path / name) == "pairs"


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet"])
def test_a_triplet_file_loses_nothing(tmp_path, triplets, name):
    write_triplets(triplets, tmp_path / name)
    pd.testing.assert_frame_equal(read_triplets(tmp_path / name), triplets)
    assert kind_of(tmp_path / name) == "triplets"


def test_csv_is_written_in_the_documented_form(tmp_path):
    frame = pd.DataFrame({"left": ["a", "ä,"], "right": ["b", "c"], "same": [True, None]})
    write_pairs(frame, tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_bytes() == 'left,right,same\na,b,1\n"ä,",c,\n'.encode()


@pytest.mark.parametrize("name", ["p.csv", "p.tsv", "p.parquet"])
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
        "left;right;same\na;b;1\nc;d;0\n",
        "left right same\na b 1\n\nc  d 0 \n",
        "image1,image2,label\na,b,1\nc,d,0\n",
        "IMG_1\tImg_2\tIs Same\na\tb\t1\nc\td\t0\n",
        "path1,path2,issame,more\na,b,1,x\nc,d,0,x\n",
        "file_x,file_y,match\na,b,true\nc,d,false\n",
        "First,Second,Target\na,b,1\nc,d,0\n",
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


EXPECTED = (
    "expected CSV or TSV with a header, Parquet, lines PATH PATH LABEL, or the pairs of LFW, RFW, CALFW, CPLFW or CFP"
)


@pytest.mark.parametrize("call", [read_pairs, read_triplets, kind_of])
def test_what_is_no_such_file_is_refused_in_one_line(tmp_path, call):
    path = tmp_path / "p.csv"
    refused(f"{path}: no such file, {EXPECTED}", call, path)
    refused(f"{tmp_path}: is a folder, {EXPECTED} (the folder Protocol)", call, tmp_path)
    path.write_bytes(b" \n\n")
    refused(f"{path}: is empty; {EXPECTED}", call, path)
    path.write_bytes(b"\x89PNG\r\n\0\0\0")
    refused(f"{path}: holds binary data; {EXPECTED}", call, path)
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


@pytest.mark.parametrize("text", ["Dear all,\nthis is no pair file, is it\n", "x" * 200_000, "\n{}\n", "<html>\n"])
@pytest.mark.parametrize("call", [read_pairs, read_triplets, read_quadruplets, kind_of])
def test_what_is_no_table_is_refused_with_what_was_expected(tmp_path, call, text):
    path = tmp_path / "p.csv"
    path.write_text(text)
    line = text.split("\n")[0][:100]
    refused(f"{path}: is not recognised, its first line is {line!r}; {EXPECTED}", call, path)


def test_a_header_of_other_columns_is_refused_by_them(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("left,rigth,same\na,b,1\n")
    refused(
        f"{path}: no column 'right'; columns found: 'left', 'rigth', 'same'; expected at least left, right, same",
        read_pairs,
        path,
    )


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
    expected = "expected 1 or 0, true or false, or empty; --same-label names the value that means same"
    refused(f"{path} line 6: same is 'maybe', {expected}", read_pairs, path)
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
    refused(f"{tmp_path / 'p.txt'}: holds pairs, expected triplets", read_triplets, tmp_path / "p.txt")


def test_an_unknown_format_is_refused(tmp_path, awkward, triplets):
    with pytest.raises(
        OptionError, match=r"extension '\.xls' names no format; end it in \.csv, \.tsv, \.parquet or \.txt"
    ):
        write_pairs(awkward, tmp_path / "p.xls")
    with pytest.raises(OptionError, match="unknown format 'parket': did you mean 'parquet'"):
        write_pairs(awkward, tmp_path / "p.csv", format="parket")
    with pytest.raises(OptionError, match="unknown format 'lfw': known: csv, lines, parquet, tsv"):
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


def test_the_canonical_name_wins_over_the_others(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("left,image1,right,Same,label\na,x,b,1,0\n")
    frame = read_pairs(path)
    assert list(frame) == ["left", "right", "same", "image1", "label"]
    assert (frame["left"][0], frame["same"][0], frame["label"][0]) == ("a", True, "0")


def test_two_columns_that_could_be_the_same_one_are_refused(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("image1,path1,right,same\na,b,c,1\n")
    expected = "columns 'image1' and 'path1' could both be the column left; rename the right one to left"
    for call in (read_pairs, kind_of):
        refused(f"{path}: {expected}", call, path)
    path = tmp_path / "p.parquet"
    pd.DataFrame({"left": ["a"], "right": ["b"], "target": [1], "label": [1]}).to_parquet(path)
    expected = "columns 'target' and 'label' could both be the column same; rename the right one to same"
    refused(f"{path}: {expected}", read_pairs, path)


def test_other_names_of_columns_are_known_in_parquet_too(tmp_path):
    path = tmp_path / "p.parquet"
    pd.DataFrame({"img1": ["a"], "img2": ["b"], "label": [1.0], "Fold": [3]}).to_parquet(path)
    frame = read_pairs(path)
    assert frame.to_dict("list") == {"left": ["a"], "right": ["b"], "same": [True], "fold": [3]}
    assert kind_of(path) == "pairs"


@pytest.mark.parametrize(
    ("cells", "same_label", "same"),
    [
        (["0", "1", "", "0"], "0", [True, False, None, True]),
        ([0, 1, 1, 0], "0", [True, False, False, True]),
        ([0.0, 1.0, None, 0.0], "0", [True, False, None, True]),
        ([False, True, True, False], "0", [True, False, False, True]),
        (["genuine", "forged", "Forged ", " GENUINE"], "Genuine", [True, False, False, True]),
        (["-1", "1", "1", "-1"], "1", [False, True, True, False]),
        (["2", "7", None, "2"], "2", [True, False, None, True]),
    ],
)
@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_the_label_that_means_same_can_be_named(tmp_path, cells, same_label, same, name):
    path = tmp_path / name
    frame = pd.DataFrame({"left": list("abcd"), "right": list("efgh"), "label": cells})
    frame.to_parquet(path) if name.endswith("parquet") else frame.to_csv(path, index=False)
    read = read_pairs(path, same_label=same_label)["same"]
    assert [None if value is pd.NA else value for value in read] == same


def test_a_label_that_no_row_has_is_refused_with_those_found(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("left,right,same\na,b,genuine\nc,d,forged\n")
    refused(
        f"{path}: no row has 'genuin' in column same; values found: 'genuine', 'forged'; "
        "give --same-label the one that means same",
        lambda: read_pairs(path, same_label="genuin"),
    )
    with pytest.raises(PairFileError, match=r"no row has ' ' in column same"):
        read_pairs(path, same_label=" ")
    refused(
        f"{path} line 2: same is 'genuine', expected 1 or 0, true or false, or empty; "
        "--same-label names the value that means same",
        read_pairs,
        path,
    )


@pytest.mark.parametrize("text", ["1\nA\t1\t2\nA\t1\tB\t2\n", "A\t1\t2\n", "a_1.jpg 1\na_2.jpg 1\n"])
def test_a_label_is_not_named_for_a_form_that_tells_it(tmp_path, text):
    path = tmp_path / "pairs.txt"
    path.write_text(text)
    with pytest.raises(OptionError) as caught:
        read_pairs(path, same_label="0")
    assert str(caught.value) == f"--same-label 0: {path} has no column of labels, its form tells; leave it out"


QUADRUPLETS = {
    "anchor": ["a/1.jpg", "b, c/2.jpg"],
    "positive": ["a/2.jpg", "b, c/3.jpg"],
    "negative": ["d/1.jpg", "e/1.jpg"],
    "negative2": ["f/1.jpg", "g/1.jpg"],
    "anchor_identity": ["a", "b, c"],
    "negative_identity": ["d", "e"],
    "negative2_identity": ["f", "g"],
}


@pytest.mark.parametrize("name", ["q.csv", "q.tsv", "q.parquet"])
def test_a_quadruplet_file_loses_nothing(tmp_path, name):
    frame = pd.DataFrame(QUADRUPLETS)
    write_quadruplets(frame, tmp_path / name)
    pd.testing.assert_frame_equal(read_quadruplets(tmp_path / name), frame)
    assert kind_of(tmp_path / name) == "quadruplets"
    refused(f"{tmp_path / name}: holds quadruplets, expected triplets", read_triplets, tmp_path / name)


def test_quadruplets_are_not_read_from_triplets_nor_pairs(tmp_path, triplets, awkward):
    write_triplets(triplets, tmp_path / "t.csv")
    with pytest.raises(PairFileError, match="no column 'negative2'; columns found: 'anchor', 'positive', 'negative'"):
        read_quadruplets(tmp_path / "t.csv")
    write_pairs(awkward, tmp_path / "p.csv")
    with pytest.raises(PairFileError, match="no column 'anchor'; columns found: 'left', 'right'"):
        read_quadruplets(tmp_path / "p.csv")
    with pytest.raises(
        PairFileError, match=r"q\.csv row 1: column negative2 is empty, expected the path of an image"
    ):
        write_quadruplets(pd.DataFrame(QUADRUPLETS).assign(negative2=""), tmp_path / "q.csv")


def coded(texts, categories):
    return pd.Categorical(texts, categories=categories)


@pytest.mark.parametrize("kind", [object, "str"])
def test_categories_are_written_as_a_dictionary_and_read_as_text(tmp_path, kind):
    names = pd.Index(["ü.jpg", "b c.jpg", "unused.jpg"], dtype=kind)
    frame = pd.DataFrame(
        {
            "left": coded(["ü.jpg", "b c.jpg", "ü.jpg"], names),
            "right": coded(["b c.jpg", "ü.jpg", "b c.jpg"], names),
            "same": pd.array([True, False, None], dtype="boolean"),
            "left_identity": coded(["A", None, "B"], ["A", "B"]),
        }
    )
    path = tmp_path / "p.parquet"
    write_pairs(frame, path)
    written = parquet.read_schema(path)
    assert [pa.types.is_dictionary(written.field(name).type) for name in ("left", "right")] == [True, True]
    expected = frame.assign(**{name: frame[name].astype("str") for name in ("left", "right", "left_identity")})
    read = read_pairs(path)
    equal_up_to_missing(read, expected)
    assert not isinstance(read["left"].dtype, pd.CategoricalDtype)
    write_pairs(frame, tmp_path / "p.csv")
    equal_up_to_missing(read_pairs(tmp_path / "p.csv"), expected)


LETTERS = list("aZ09 ,;'\"#%&=()[]{}@!~^$+_-.\t/\\üßñ日本😀👩\u200d🚀\u0301\xa0")


def random_texts(rng, number, ending=""):
    lengths = rng.integers(1, 12, number)
    return ["x" + "".join(rng.choice(LETTERS, length)) + ending for length in lengths]


def random_pairs(rng, number):
    """Texts that no format may change, with every optional column and missing values."""
    identities = [None if rng.random() < 0.2 else text for text in random_texts(rng, 2 * number)]
    return pd.DataFrame(
        {
            "left": random_texts(rng, number, ".jpg"),
            "right": random_texts(rng, number),
            "same": pd.array(rng.choice([True, False, None], number), dtype="boolean"),
            "fold": rng.integers(0, 4, number),
            "left_identity": pd.Series(identities[:number], dtype="str"),
            "right_identity": pd.Series(identities[number:], dtype="str"),
            "group": random_texts(rng, number),
        }
    )


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", ["csv", "tsv", "parquet"])
def test_any_table_survives_a_round_trip(tmp_path, seed, name):
    rng = np.random.default_rng(seed)
    frame = random_pairs(rng, 40)
    write_pairs(frame, tmp_path / "file", name)
    equal_up_to_missing(read_pairs(tmp_path / "file"), frame)
    columns = {column: random_texts(rng, 40) for column in QUADRUPLETS}
    write_quadruplets(pd.DataFrame(columns), tmp_path / "file", name)
    pd.testing.assert_frame_equal(read_quadruplets(tmp_path / "file"), pd.DataFrame(columns))


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("name", ["lines", "calfw"])
def test_any_table_survives_a_round_trip_as_lines_or_is_refused(tmp_path, seed, name):
    rng = np.random.default_rng(seed)
    frame = random_pairs(rng, 40)[["left", "right", "same"]].dropna().reset_index(drop=True)
    blanks = frame[["left", "right"]].map(lambda text: re.search(r"\s", text) is not None)
    assert blanks["left"].any()
    first = blanks["left"].argmax() + 1
    with pytest.raises(PairFileError, match=rf"row {first} has left .* write CSV or Parquet$"):
        write_pairs(frame, tmp_path / "file", name)
    clean = frame[~blanks.any(axis=1)].reset_index(drop=True)
    clean["right"] += ".png"
    write_pairs(clean, tmp_path / "file", name)
    equal_up_to_missing(read_pairs(tmp_path / "file"), clean)


def test_every_format_is_named_and_known(tmp_path):
    frame = pd.DataFrame({"left": ["A/A_0001.jpg"] * 2, "right": ["A/A_0002.jpg", "B/B_0001.jpg"], "same": [1, 0]})
    for name in PAIR_FORMATS:
        write_pairs(frame, tmp_path / name, name)
        read = read_pairs(tmp_path / name)
        assert read["right"].tolist() == frame["right"].tolist(), name
        assert read["same"].tolist() == [True, False], name
        assert set(read) <= set(FORMAT_COLUMNS.get(name, read)), name
    tuples = pd.DataFrame({column: ["a.jpg"] for column in ("anchor", "positive", "negative")})
    for name in TUPLE_FORMATS:
        write_triplets(tuples, tmp_path / name, name)
        pd.testing.assert_frame_equal(read_triplets(tmp_path / name), tuples)
