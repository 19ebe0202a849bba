"""Scored tables as pandas writes them: the very bytes of CSV, and Parquet that reads back equal."""

import csv
import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from siamese.images.loader import Outcome
from siamese.inference import pair_stream_raw
from siamese.inference.csv_text import csv_lines, header_line, is_plain
from siamese.inference.decision import DecisionRule
from siamese.inference.pair_stream import open_pair_stream
from siamese.inference.pair_stream_output import table_writer
from siamese.inference.pair_stream_sinks import MemorySink, TableSink
from siamese.inference.verification import Failures, judge
from siamese.pairing.formats import read_pairs

ROWS = 400
RULE = DecisionRule(threshold=0.1, point=None, abstain=None, calibration=None, prior=None)
FAILED = [("0.jpg", Outcome("unreadable", "cut short, at 3")), ("ü 1.jpg", Outcome("no_face", 'no "face"'))]
NASTY = [
    "",
    "plain",
    'say "hi"',
    "a,b",
    "two\nlines",
    "tab\tsemicolon;",
    " blank ",
    "NA",
    "'",
    "é",
    "\u2028",
    '"',
    ",",
]


def nasty(*, returns: bool = False) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    names = np.array(["0.jpg", "ü 1.jpg", 'q"2.jpg', "c,3.jpg", "n\n4.jpg", "plain.jpg"])
    frame = pd.DataFrame({side: rng.choice(names, ROWS) for side in ("left", "right")})
    frame["same"] = pd.array(rng.integers(0, 2, ROWS) == 1, dtype="boolean")
    frame.loc[::7, "same"] = pd.NA
    frame["fold"] = rng.integers(0, 5, ROWS)
    frame["group"] = rng.choice(["a", "b,c", ""], ROWS)
    notes = [*NASTY, "return\rhere"] if returns else NASTY
    return frame.assign(**{"a note, of mine": rng.choice(notes, ROWS)})


def awkward_floats() -> np.ndarray:
    rng = np.random.default_rng(1)
    edges = [0.0, -0.0, 1.0, 100.0, 1e-4, 9.9e-5, 1e-5, 1e15, 1e16, 123456789012345680.0, 5e-324, 1.7e308, np.nan]
    return np.concatenate(
        [edges, rng.normal(size=ROWS - len(edges)) * 10.0 ** rng.integers(-20, 20, ROWS - len(edges))]
    )


def scores() -> np.ndarray:
    found = np.tanh(awkward_floats())
    return np.where(np.arange(ROWS) % 11 == 0, np.nan, found)


def judged_by_pandas(frame: pd.DataFrame, *, labelled: bool = True) -> pd.DataFrame:
    """What a table of scored pairs holds, put together by pandas from the table as it is read whole."""
    found, reasons = scores(), {image: f"{image}: {what.detail}" for image, what in FAILED}
    details = []
    for left, right, score in zip(frame["left"], frame["right"], found, strict=True):
        told = list(dict.fromkeys(reasons[name] for name in (left, right) if name in reasons))
        details.append(("; ".join(told) or "the similarity is not a number") if np.isnan(score) else "")
    return (
        (frame if labelled else frame.drop(columns="same"))
        .assign(
            similarity=found,
            same_predicted=pd.array(found >= 0.1, dtype="boolean"),
            status=np.where(np.isnan(found), "failed", "scored"),
            detail=details,
        )
        .assign(same_predicted=lambda made: made["same_predicted"].mask(made["similarity"].isna()))
    )


def write(path: Path, out: Path, *, labelled: bool = True) -> None:
    with open_pair_stream(path, None) as (stream, base), table_writer(out, out.suffix) as writer:
        sink, begun, found = TableSink(writer, Failures(FAILED, base), labelled=labelled), 0, scores()
        for block in stream.blocks():
            sink.take(block.table, judge(found[begun : begun + len(block)], RULE))
            begun += len(block)
    assert begun == ROWS


def csv_by_pandas(frame: pd.DataFrame, quoting: int = csv.QUOTE_MINIMAL) -> bytes:
    labels = {name: frame[name].astype("Int64") for name in ("same", "same_predicted") if name in frame.columns}
    return frame.assign(**labels).to_csv(index=False, lineterminator="\n", quoting=quoting).encode()  # type: ignore[call-overload]


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_stream_raw, "TEXT_BLOCK", 512)
    monkeypatch.setattr(pair_stream_raw, "PARQUET_ROWS", 64)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("labelled", [True, False])
def test_csv_of_text_has_the_bytes_that_pandas_writes(tmp_path: Path, labelled: bool) -> None:
    nasty().to_csv(tmp_path / "p.csv", index=False)
    write(tmp_path / "p.csv", tmp_path / "out.csv", labelled=labelled)
    expected = csv_by_pandas(judged_by_pandas(read_pairs(tmp_path / "p.csv", need_same=False), labelled=labelled))
    assert (tmp_path / "out.csv").read_bytes() == expected


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("kind", ["float64", "float32"])
def test_csv_of_parquet_has_the_bytes_that_pandas_writes(tmp_path: Path, kind: str) -> None:
    with np.errstate(over="ignore"):
        floats = awkward_floats().astype(kind)
    whole = pd.array(np.arange(ROWS) - 7, dtype="Int32")
    frame = nasty().assign(age=floats, infinite=np.where(floats > 1, np.inf, -np.inf), year=whole, member=floats > 0)
    frame.loc[3, "year"] = pd.NA
    frame["nothing"] = None
    frame.to_parquet(tmp_path / "p.parquet")
    write(tmp_path / "p.parquet", tmp_path / "out.csv")
    expected = csv_by_pandas(judged_by_pandas(frame))
    assert (tmp_path / "out.csv").read_bytes() == expected


def test_where_a_text_holds_a_carriage_return_all_texts_are_quoted(tmp_path: Path) -> None:
    nasty(returns=True).to_csv(tmp_path / "p.csv", index=False, quoting=csv.QUOTE_ALL, lineterminator="\n")
    write(tmp_path / "p.csv", tmp_path / "out.csv")
    frame = read_pairs(tmp_path / "p.csv", need_same=False)
    expected = csv_by_pandas(judged_by_pandas(frame), csv.QUOTE_NONNUMERIC)
    assert (tmp_path / "out.csv").read_bytes() == expected
    assert b'"left","right"' in expected


def test_times_lists_and_dates_are_written_as_pandas_writes_them(tmp_path: Path) -> None:
    times = pd.date_range("2024-01-01 12:30", periods=ROWS, freq="h")
    frame = nasty().assign(taken=times, day=times.date, words=[[row, row + 1] for row in range(ROWS)])
    frame.to_parquet(tmp_path / "p.parquet")
    for suffix in (".csv", ".parquet"):
        write(tmp_path / "p.parquet", tmp_path / f"out{suffix}")
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0].endswith('"a note, of mine",taken,day,words,similarity,same_predicted,status,detail')
    found = pd.read_csv(tmp_path / "out.csv", keep_default_na=False)
    assert found["taken"].tolist() == times.astype(str).tolist()
    assert found["day"].tolist() == [str(time.date()) for time in times]
    assert found["words"].tolist()[1] == "[1 2]"
    again = parquet.read_table(tmp_path / "out.parquet")
    assert again.column("taken").to_pylist() == times.to_pydatetime().tolist()
    assert again.column("words").to_pylist() == frame["words"].tolist()


@pytest.mark.usefixtures("small_blocks")
def test_parquet_reads_back_as_what_pandas_writes(tmp_path: Path) -> None:
    frame = nasty().assign(
        age=awkward_floats(),
        year=np.arange(ROWS),
        member=pd.array(np.arange(ROWS) % 2 == 0, dtype="boolean"),
        kind=pd.Categorical(np.where(np.arange(ROWS) % 3 == 0, "x", "y")),
        taken=pd.date_range("2024-01-01", periods=ROWS, tz="Europe/Berlin"),
    )
    frame.to_parquet(tmp_path / "p.parquet")
    write(tmp_path / "p.parquet", tmp_path / "out.parquet")
    expected = judged_by_pandas(frame.assign(year=frame["year"].astype("Int64"), kind=frame["kind"].astype(str)))
    expected["group"] = expected["group"].mask(expected["group"] == "")
    expected.to_parquet(tmp_path / "expected.parquet", index=False)
    found, wanted = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("out", "expected"))
    pd.testing.assert_frame_equal(found, wanted)
    one, other = (parquet.read_table(tmp_path / f"{name}.parquet") for name in ("out", "expected"))
    assert one.column_names == other.column_names
    for name in one.column_names:
        assert one.column(name).to_pylist() == other.column(name).to_pylist()
    assert one.schema.field("fold").type == pa.int64()


@pytest.mark.parametrize("keep", [None, 1, 70, 10_000])
def test_rows_that_are_kept_are_the_first_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: int) -> None:
    monkeypatch.setattr(pair_stream_raw, "TEXT_BLOCK", 512)
    nasty().to_csv(tmp_path / "p.csv", index=False)
    frame = judged_by_pandas(read_pairs(tmp_path / "p.csv", need_same=False))
    with open_pair_stream(tmp_path / "p.csv", None) as (stream, base):
        sink, begun = MemorySink(Failures(FAILED, base), labelled=True, keep=keep), 0
        for block in stream.blocks():
            sink.take(block.table, judge(scores()[begun : begun + len(block)], RULE))
            begun += len(block)
    found = sink.table().to_pandas()
    pd.testing.assert_frame_equal(found, frame.head(ROWS if keep is None else keep))


def test_every_float_has_the_digits_that_pandas_gives_it() -> None:
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2**63, 20_000, dtype=np.int64).view(np.float64)
    for values in (bits[np.isfinite(bits)], rng.uniform(-1, 1, 5000), rng.uniform(-1, 1, 5000).astype(np.float32)):
        text = csv_lines(pa.table({"a": values, "b": values})).to_pybytes().decode()
        expected = pd.DataFrame({"a": values, "b": values}).to_csv(index=False, header=False, lineterminator="\n")
        assert text == expected


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_any_text_is_quoted_where_the_csv_module_quotes_it(separator: str) -> None:
    cells = [*NASTY, *map(chr, [*range(1, 13), *range(14, 256)]), None, "a" * 300]
    table = pa.table({"one": cells, "two, three": cells[::-1]}).slice(3)
    expected = table.to_pandas().to_csv(index=False, sep=separator, lineterminator="\n").encode()
    assert header_line(table.column_names, separator) + csv_lines(table, separator).to_pybytes() == expected


def test_a_carriage_return_in_a_cell_is_read_back() -> None:
    cells = ["a\rb", "c\r\n", "plain"]
    lines = csv_lines(pa.table({"one": cells, "two": cells[::-1]})).to_pybytes().decode()
    assert list(csv.reader(io.StringIO(lines, newline=""))) == [
        list(row) for row in zip(cells, cells[::-1], strict=True)
    ]
    assert lines == '"a\rb",plain\n"c\r\n","c\r\n"\nplain,"a\rb"\n'


def test_plain_tables_are_written_without_pandas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = pa.table({"text": ["ü,"], "whole": [1], "number": [0.5], "truth": [True], "none": pa.nulls(1)})
    assert is_plain(plain)
    assert not is_plain(pa.table({"words": [["a"]]}))
    monkeypatch.setitem(sys.modules, "pandas", None)
    with table_writer(tmp_path / "out.csv", ".csv") as writer:
        writer.write(plain)
    assert (tmp_path / "out.csv").read_bytes() == 'text,whole,number,truth,none\n"ü,",1,0.5,True,\n'.encode()


def test_reasons_that_are_not_unicode_are_written_by_their_bytes(tmp_path: Path) -> None:
    failures = Failures([("a.jpg", Outcome("unreadable", "/bad\udcff/a.jpg: gone"))], tmp_path)
    assert failures.first == "a.jpg: /bad\\udcff/a.jpg: gone"
    assert failures.details(pa.table({"left": ["a.jpg"], "right": ["b.jpg"]})).to_pylist() == [failures.first]
