"""Rows of a file in Arrow, and columns of Arrow as NumPy has them."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from siamese.pairing.arrow_columns import as_numpy, equals, one_array, repeated
from siamese.pairing.delimited import parse_delimited, read_delimited
from siamese.pairing.file_rows import FileRows
from siamese.pairing.rows import RowNames, row_name, row_names

TEXT = "left,right\na,b\n\nc,d\n,\n,\ne,f\n"


def test_rows_are_named_as_the_frame_of_them_names_them() -> None:
    rows = read_delimited(TEXT, "p.csv")
    frame = rows.frame()
    assert [rows.row_name(row) for row in range(3)] == ["line 2", "line 4", "line 7"]
    assert [row_name(frame, row) for row in range(3)] == ["line 2", "line 4", "line 7"]
    pd.testing.assert_frame_equal(frame, parse_delimited(TEXT, "p.csv"))
    later = FileRows(rows.table.slice(2), 2, rows.names)
    assert (later.row_name(0), row_name(later.frame(), 0), len(later)) == ("line 7", "line 7", 1)
    assert later.frame().index.tolist() == [2]


def test_rows_of_no_file_are_counted_from_one() -> None:
    rows = FileRows(pa.table({"a": ["x", "y"]}))
    assert (rows.row_name(1), row_name(rows.frame(), 1)) == ("row 2", "row 2")
    assert row_names(rows.frame()) is None


def test_a_row_of_several_is_named_by_the_first() -> None:
    names = RowNames("line", 1, [4], each=2)
    assert [names.name(row) for row in range(3)] == ["line 1", "line 3", "line 6"]


def test_truth_values_and_whole_numbers_with_gaps_keep_their_types() -> None:
    table = pa.table({"truth": [True, None], "whole": pa.array([None, 7], pa.uint8())})
    frame = FileRows(table).frame()
    assert frame.dtypes.astype(str).to_dict() == {"truth": "boolean", "whole": "UInt8"}
    assert frame["whole"].tolist() == [pd.NA, 7]


@pytest.mark.parametrize("kind", ["int32", "uint8", "float32", "float64", "bool"])
def test_columns_become_arrays_of_their_type(kind: str) -> None:
    values = np.array([0, 1, 1, 0, 1] * 5).astype(kind)
    column = pa.array(values)
    for found, expected in ((column, values), (column.slice(3, 9), values[3:12]), (column[:0], values[:0])):
        array = as_numpy(found)
        assert array.dtype == values.dtype
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("pieces", [0, 1, 3])
def test_a_column_of_any_number_of_pieces_is_one(pieces: int) -> None:
    column = pa.chunked_array([pa.array(["a", "b"], pa.large_string())] * pieces, pa.large_string())
    assert one_array(column).to_pylist() == ["a", "b"] * pieces


def test_values_that_stood_earlier_are_marked() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        values = pd.Series(rng.integers(0, 9, rng.integers(0, 20))).astype(str)
        found = repeated(pa.array(values.tolist(), pa.large_string()))
        assert found.tolist() == values.duplicated().tolist()
    assert equals(pa.array(["a", None, "b"]), "a").to_pylist() == [True, None, False]
