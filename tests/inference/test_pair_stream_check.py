"""Blocks brought to their types by Arrow: the very values, types and complaints of `check_pairs`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from siamese.errors import PairFileError
from siamese.inference import pair_stream_check, pair_stream_labels, pair_stream_raw
from siamese.inference.pair_stream import open_pair_stream
from siamese.inference.pair_stream_check import TYPES, check_block
from siamese.inference.pair_stream_labels import LabelColumn
from siamese.pairing.columns import same_column
from siamese.pairing.file_rows import FileRows
from siamese.pairing.formats import read_pairs
from siamese.pairing.rows import RowNames
from siamese.pairing.table import _PAIR_READERS, check_pairs
from siamese.pairing.table_columns import PAIR_KNOWN

PATHS = ["a.jpg", "b/ü.png", "张伟", " x.jpg ", 'say "hi", you.jpg', "line\r\nbreak.jpg", "NA", "None", "7", "é", "-"]
# Every one of them makes a cell of a path empty by one rule or another.
BLANK = ["", " ", "\t", "\u00a0", "\u3000", "\u2003 ", "\x1c", "\u200b", "\r\n", "\x85"]
LABELS = ["1", "0", "true", "False", "TRUE", " 1 ", "1.0", "0.0", "true\t", "", " ", "-0"]
ODD_LABELS = ["yes", "2", "maybe", "-1", "1.00", "1\n", "\uff11", "nan", "NaN", "None", "tRuE", "-0.0", "İ"]
FOLDS = ["0", "1", "12", "007", "3.0", " 4", "1e2", "+5"]
ODD_FOLDS = ["", "-1", "1.5", "x", "2147483648", "99999999999999999999", "٣", "nan", "inf", " "]
NAMES = ["Ann", "", " ", "Bo Li", "李", "0", "NA", "nan"]

Draw = Callable[[np.random.Generator, int], list[Any]]


def some(values: list[Any], odd: list[Any], rarely: float = 0.05) -> Draw:
    """Values of a handful, in some blocks with few that are odd."""

    def draw(rng: np.random.Generator, rows: int) -> list[Any]:
        handful = [values[place] for place in rng.integers(0, len(values), rng.integers(1, 5))]
        found = [handful[place] for place in rng.integers(0, len(handful), rows)]
        if rng.random() < 0.4:
            for row in np.flatnonzero(rng.random(rows) < rarely):
                found[row] = odd[rng.integers(0, len(odd))]
        return found

    return draw


TEXT: dict[str, Draw] = {
    "left": some(PATHS, BLANK, 0.02),
    "right": some(PATHS, BLANK, 0.02),
    "same": some(LABELS, ODD_LABELS),
    "fold": some(FOLDS, ODD_FOLDS),
    "left_identity": some(NAMES, ["\u00a0"]),
    "right_identity": some(NAMES, [" "]),
    "group": some(NAMES, [""]),
    "note": some(["x", "", "\r"], ["é"]),
}
# Of other types than text: what Parquet may hold.
OTHER: dict[str, list[tuple[Any, Draw]]] = {
    "left": [
        (pa.int64(), some([1, 2], [None])),
        (pa.binary(), some([b"a"], [b"b"])),
        (pa.string(), some(PATHS, [None])),
    ],
    "right": [(pa.string(), some(PATHS, [None])), (pa.large_string(), some(PATHS, [None, ""]))],
    "same": [
        (pa.bool_(), some([True, False], [None])),
        (pa.int64(), some([0, 1], [None, 2])),
        (pa.uint8(), some([0, 1], [None])),
        (pa.float64(), some([0.0, 1.0], [None, float("nan"), 0.5, -0.0])),
        (pa.float32(), some([0.0, 1.0], [None])),
        (pa.string(), some(LABELS, [None])),
        (pa.null(), some([None], [None])),
        (pa.timestamp("us"), some([0], [None])),
    ],
    "fold": [
        (pa.int32(), some([0, 1], [None, -1])),
        (pa.uint64(), some([0, 9], [2**31])),
        (pa.float64(), some([0.0, 3.0], [1.5, None, float("nan")])),
        (pa.bool_(), some([True, False], [None])),
        (pa.null(), some([None], [None])),
    ],
    "group": [
        (pa.int64(), some([7, 2**60], [None])),
        (pa.float64(), some([7.0], [None])),
        (pa.bool_(), some([True], [None])),
        (pa.null(), some([None], [None])),
        (pa.string(), some(NAMES, [None])),
    ],
}


def random_block(rng: np.random.Generator) -> FileRows:
    rows = int(rng.integers(1, 40))
    names = ["left", "right", *(name for name in list(TEXT)[2:] if rng.random() < 0.6)]
    columns = {name: pa.array(TEXT[name](rng, rows), pa.large_string()) for name in names}
    for name in names:
        if name in OTHER and rng.random() < 0.3:
            kind, draw = OTHER[name][rng.integers(0, len(OTHER[name]))]
            columns[name] = pa.array(draw(rng, rows), kind)
    # In pieces, as a reader gives them.
    table = pa.table({name: pa.chunked_array([column[:3], column[3:]]) for name, column in columns.items()})
    return FileRows(table, int(rng.integers(0, 100)), RowNames("line", 2, [5, 6, 40]))


def outcome(check: Callable[..., pd.DataFrame], *given: object) -> pd.DataFrame | str:
    try:
        return check(*given)
    except PairFileError as error:
        return str(error)


def by_arrow(rows: FileRows, same_label: str | None) -> pd.DataFrame:
    label = LabelColumn("p.csv", same_label)
    checked = check_block(label.read(rows), "p.csv")
    label.check_found()
    known = [name for name in PAIR_KNOWN if name in checked.table.column_names]
    assert checked.table.column_names[: len(known)] == known
    for name in known:
        assert checked.table.schema.field(name).type == TYPES[name]
    frame = checked.frame()
    return frame.astype({"fold": "int64"}) if "fold" in frame.columns else frame


def by_pandas(rows: FileRows, same_label: str | None) -> pd.DataFrame:
    if same_label is not None:  # whether any row has it is known at the end of a file, after all else
        check_pairs(rows.frame().drop(columns="same", errors="ignore"), "p.csv", need_same=False)
    return check_pairs(rows.frame(), "p.csv", need_same=False, same_label=same_label)


@pytest.mark.parametrize("same_label", [None, "1", "0", "TRUE", "1.0", "\uff11"])
def test_values_types_and_complaints_are_those_of_check_pairs(same_label: str | None) -> None:
    rng = np.random.default_rng(sum(map(ord, same_label or "")))
    told = read = 0
    for _ in range(300 if same_label is None else 100):
        rows = random_block(rng)
        expected, found = (outcome(way, rows, same_label) for way in (by_pandas, by_arrow))
        if isinstance(expected, str):
            told += 1
            assert found == expected
        else:
            read += 1
            assert isinstance(found, pd.DataFrame), found
            pd.testing.assert_frame_equal(found, expected, check_column_type=False)
            assert found.attrs == expected.attrs
    assert told > 20
    assert read > 10 or same_label == "\uff11", "none was read: proves little"


@pytest.mark.parametrize("same_label", [" ", "forged"])
def test_a_label_that_no_row_has_is_refused_as_by_check_pairs(same_label: str) -> None:
    cells = pa.array([" Yes", "0", "1.0", None, "", "yes"], pa.large_string())
    rows = FileRows(pa.table({"left": ["a"] * 6, "right": ["b"] * 6, "same": cells}), 0, RowNames("line", 2))
    expected, found = (outcome(way, rows, same_label) for way in (by_pandas, by_arrow))
    assert found == expected
    assert f"p.csv: no row has {same_label!r} in column same; values found: 'yes', '0', '1'" in str(found)


def test_the_columns_that_are_known_are_those_that_are_checked() -> None:
    assert tuple(_PAIR_READERS) == PAIR_KNOWN == tuple(pair_stream_check._READERS) == tuple(TYPES)


@pytest.mark.parametrize("cell", [*BLANK, *PATHS])
def test_a_path_that_is_blank_by_any_rule_is_left_to_pandas(cell: str) -> None:
    rows = FileRows(pa.table({"left": ["a.jpg", cell], "right": ["b.jpg"] * 2}), 0, RowNames("line", 2))
    expected, found = (outcome(way, rows, None) for way in (by_pandas, by_arrow))
    assert isinstance(found, str) == isinstance(expected, str)
    if isinstance(expected, str):
        assert found == expected == "p.csv line 3: column left is empty, expected the path of an image"


@pytest.mark.parametrize("value", [*LABELS, *ODD_LABELS, *map(chr, range(32, 127)), "0.00", "-1.0", "00.0"])
def test_every_spelling_of_a_label_means_what_it_means_to_pandas(value: str) -> None:
    frame = pd.DataFrame({"same": [value, "1"]})
    coded, words = pair_stream_labels._words(pa.array([value, "1"]))
    expected = outcome(lambda: same_column(frame, "same", "p.csv").to_frame())
    found = pair_stream_labels._truth_values(pa.array([value, "1"]))
    if isinstance(expected, str) or words is None:
        assert found.type == pa.string(), "left as it is, for pandas to say what is wrong"
    else:
        assert pa.types.is_boolean(found.type)
        assert found.to_pylist() == [None if pd.isna(each) else each for each in expected["same"]]
    assert len(coded) == 2


def test_labels_in_every_spelling_that_is_common_are_read_by_arrow() -> None:
    for value in ("1", "0", "true", "FALSE", "True", " 1 ", "1.0", "0.0", ""):
        assert pa.types.is_boolean(pair_stream_labels._truth_values(pa.array([value])).type)


def write_nasty(path: Path, separator: str) -> None:
    rng = np.random.default_rng(3)
    rows = 300
    columns = {name: draw(rng, rows) for name, draw in TEXT.items()}
    columns["left"] = [PATHS[place % len(PATHS)] for place in range(rows)]
    columns["right"] = [f"{row}.jpg" for row in range(rows)]
    columns["same"] = ["1", "0", ""] * (rows // 3)
    columns["fold"] = [str(row % 7) for row in range(rows)]
    pd.DataFrame(columns).to_csv(path, index=False, sep=separator, quoting=1)


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_files_in_blocks_are_what_reading_whole_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, separator: str
) -> None:
    monkeypatch.setattr(pair_stream_raw, "TEXT_BLOCK", 512)
    path = tmp_path / "p.csv"
    write_nasty(path, separator)
    with open_pair_stream(path, None) as (stream, _):
        found = pd.concat([block.frame() for block in stream.blocks()]).astype({"fold": "int64"})
    pd.testing.assert_frame_equal(found, read_pairs(path, need_same=False))


def test_an_index_that_pandas_saved_is_no_column(tmp_path: Path) -> None:
    frame = pd.DataFrame({"left": ["a"], "right": ["b"], "age": [3.0]}, index=pd.Index(["x"], name="key"))
    frame.to_parquet(tmp_path / "p.parquet")
    assert "key" in parquet.read_schema(tmp_path / "p.parquet").names
    with open_pair_stream(tmp_path / "p.parquet", None) as (stream, _):
        (block,) = stream.blocks()
    assert block.table.column_names == ["left", "right", "same", "age"]


def test_a_block_without_oddities_needs_no_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    columns = {
        "left": ["a.jpg", "ü.jpg"],
        "right": ["é/b.jpg", "c.jpg"],
        "same": ["TRUE", ""],
        "fold": ["0", "1"],
        "group": ["", "x"],
    }
    label = LabelColumn("p.csv", None)
    found = check_block(label.read(FileRows(pa.table(columns), 0, RowNames("line", 2))), "p.csv").table.to_pydict()
    assert found == columns | {"same": [True, None], "fold": [0, 1], "group": [None, "x"]}
    with pytest.raises(ImportError):
        check_block(FileRows(pa.table(columns | {"same": [True, False], "left": ["", "a"]})), "p.csv")
