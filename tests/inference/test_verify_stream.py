"""Pair files in blocks: the very table that reading them whole gives, and the very same complaints."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from siamese.errors import PairFileError
from siamese.inference import pair_stream, pair_stream_raw
from siamese.inference.pair_stream import StreamedPairs, WholePairs, open_pair_stream
from siamese.inference.pair_stream_images import read_images
from siamese.inference.pair_stream_output import table_writer
from siamese.inference.pair_stream_scores import PairScorer
from siamese.pairing.file_rows import FileRows
from siamese.pairing.formats import read_pairs
from siamese.pairing.rows import row_name
from siamese.pairing.table import unique_images
from siamese.similarity import normalise, pair_similarity

ROWS = 500


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_stream_raw, "TEXT_BLOCK", 1024)
    monkeypatch.setattr(pair_stream_raw, "PARQUET_ROWS", 64)
    monkeypatch.setattr(pair_stream, "ROWS", 64)


def table(rows: int = ROWS) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    names = np.array([f'person {row}/bild ü{row}, "{row}".jpg' for row in range(60)])
    frame = pd.DataFrame({side: rng.choice(names, rows) for side in ("left", "right")})
    return frame.assign(
        same=rng.integers(0, 2, rows),
        fold=rng.integers(0, 3, rows),
        group=rng.choice(["a", ""], rows),
        age=rng.random(rows),
    )


def frame_of(block: FileRows) -> pd.DataFrame:
    """A checked block as reading whole gives it: a fold is never missing."""
    frame = block.frame()
    return frame.astype({"fold": "int64"}) if "fold" in frame.columns else frame


def streamed(path: Path, **options: str) -> list[pd.DataFrame]:
    with open_pair_stream(path, None, **options) as (stream, base):  # type: ignore[arg-type]
        assert base == path.parent
        assert isinstance(stream, StreamedPairs)
        blocks = [frame_of(block) for block in stream.blocks()]
        again = [frame_of(block) for block in stream.blocks()]
    for one, other in zip(blocks, again, strict=True):
        pd.testing.assert_frame_equal(one, other)
    assert len(blocks) > 3
    return blocks


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_text_in_blocks_is_the_text_read_whole(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "p.csv"
    table().to_csv(path, index=False, sep=separator, encoding="utf-8-sig")
    whole = read_pairs(path, need_same=False)
    pd.testing.assert_frame_equal(pd.concat(streamed(path)), whole)


def test_rows_are_named_as_in_the_file_across_blocks_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    lines = table().to_csv(index=False).splitlines()
    for place in (400, 120, 7, 3):
        lines.insert(place, "" if place != 120 else ",,,,,")
    path.write_text("\n".join(lines))  # the last line without an end
    whole, blocks = read_pairs(path, need_same=False), streamed(path)
    found = [row_name(block, position) for block in blocks for position in range(len(block))]
    assert found == [row_name(whole, position) for position in range(len(whole))]
    pd.testing.assert_frame_equal(pd.concat(blocks), whole)


@pytest.mark.parametrize(
    ("row", "cells"),
    [
        (333, "a.jpg,b.jpg,1"),
        (333, "a.jpg,,1,0,a,1.0"),
        (333, "a.jpg,b.jpg,maybe,0,a,1.0"),
        (333, "a.jpg,b.jpg,1,-1,a,1.0"),
        (333, b"a.jpg,b\xff.jpg,1,0,a,1.0"),
    ],
    ids=["cells", "empty path", "label", "fold", "encoding"],
)
def test_a_bad_row_is_named_as_by_reading_whole(tmp_path: Path, row: int, cells: str | bytes) -> None:
    path = tmp_path / "p.csv"
    lines = [line.encode() for line in table().to_csv(index=False).splitlines()]
    lines[row] = cells if isinstance(cells, bytes) else cells.encode()
    path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(PairFileError) as whole:
        read_pairs(path, need_same=False)
    with pytest.raises(PairFileError) as found, open_pair_stream(path, None) as (stream, _):
        list(stream.blocks())
    assert str(found.value) == str(whole.value)
    assert f"line {row + 1}" in str(found.value)


def test_a_byte_that_is_not_utf8_behind_the_beginning_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_stream_raw, "_HEAD", 2000)
    path = tmp_path / "p.csv"
    lines = [line.encode() for line in table().to_csv(index=False).splitlines()]
    lines[333] = b"a.jpg,b\xff.jpg,1,0,a,1.0"
    path.write_bytes(b"\n".join(lines) + b"\n")
    with pytest.raises(PairFileError) as whole:
        read_pairs(path, need_same=False)
    with pytest.raises(PairFileError) as found, open_pair_stream(path, None) as (stream, _):
        assert isinstance(stream, StreamedPairs)
        list(stream.blocks())
    assert str(found.value) == str(whole.value)


def test_parquet_in_blocks_is_the_file_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    table().astype({"left": "category", "group": "category"}).assign(
        same=lambda frame: frame["same"] == 1
    ).to_parquet(path)
    whole = read_pairs(path, need_same=False)
    blocks = streamed(path)
    pd.testing.assert_frame_equal(pd.concat(blocks), whole, check_dtype=False)
    assert row_name(blocks[2], 5) == f"row {2 * 64 + 6}"


def test_whole_numbers_with_gaps_stay_whole_in_every_block(tmp_path: Path) -> None:
    path, out = tmp_path / "p.parquet", tmp_path / "out.parquet"
    years = pd.Series(np.arange(ROWS), dtype="Int64").mask(np.arange(ROWS) == 70)
    table().assign(year=years, words=[[str(row)] if row > 100 else None for row in range(ROWS)]).to_parquet(path)
    with open_pair_stream(path, None) as (stream, _), table_writer(out, ".parquet") as writer:
        for block in stream.blocks():
            writer.write(block.table)
    found = parquet.read_table(out)
    assert found.schema.field("year").type == pa.int64()
    assert found.schema.field("words").type == pa.list_(pa.string())
    assert found.column("year").to_pylist() == [None if row == 70 else row for row in range(ROWS)]
    assert found.column("words").to_pylist()[100:102] == [None, ["101"]]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_damaged_file_and_one_without_rows_are_refused_in_one_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    empty = table().iloc[:0]
    (empty.to_csv if suffix == ".csv" else empty.to_parquet)(path, index=False)
    with pytest.raises(PairFileError) as whole:
        read_pairs(path, need_same=False)
    with pytest.raises(PairFileError) as found, open_pair_stream(path, None) as (stream, _):
        list(stream.blocks())
    assert str(found.value) == str(whole.value)
    if suffix == ".parquet":
        table().to_parquet(path)
        path.write_bytes(path.read_bytes()[:-300])
        with (
            pytest.raises(PairFileError, match=r"p\.parquet: is no whole Parquet file \("),
            open_pair_stream(path, None),
        ):
            pass


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_the_label_that_means_same_need_not_stand_in_every_block(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p{suffix}"
    frame = table().drop(columns="fold").assign(same=["forged"] * ROWS)
    frame.loc[[3, 444], "same"] = "Real"
    frame.loc[5, "same"] = ""
    (frame.to_csv if suffix == ".csv" else frame.to_parquet)(path, index=False)
    blocks = streamed(path, same_label="real")
    whole = read_pairs(path, need_same=False, same_label="real")
    pd.testing.assert_series_equal(pd.concat(blocks)["same"], whole["same"])
    with pytest.raises(PairFileError) as error:
        streamed(path, same_label="genuine")
    assert "no row has 'genuine' in column same; values found: 'forged', 'real'" in str(error.value)
    assert "give --same-label the one that means same" in str(error.value)


def test_a_file_that_changes_between_two_readings_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    table().to_csv(path, index=False)
    with open_pair_stream(path, None) as (stream, _):
        list(stream.blocks())
        table(10).to_csv(path, index=False)
        with pytest.raises(
            PairFileError, match=r"p\.csv: was changed while it was being read; give the command again"
        ):
            list(stream.blocks())


def test_other_forms_are_read_whole_and_given_out_in_blocks(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    rows = [f"a/{row}.jpg b/{row}.jpg {row % 2}" for row in range(200)]
    path.write_text("\n".join(rows))
    with open_pair_stream(path, tmp_path / "root") as (stream, base):
        assert isinstance(stream, WholePairs)
        blocks = [frame_of(block) for block in stream.blocks()]
    assert base == tmp_path / "root"
    assert [len(block) for block in blocks] == [64, 64, 64, 8]
    pd.testing.assert_frame_equal(pd.concat(blocks), read_pairs(path))
    assert row_name(blocks[3], 7) == "line 200"


def test_images_are_numbered_as_rows_name_them_and_pairs_by_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    table().to_csv(path, index=False)
    whole = read_pairs(path)
    with open_pair_stream(path, None) as (stream, _):
        found = read_images(stream, pa.array([], pa.large_string()), tmp_path / "codes")
    names = np.array(found.names.to_pylist(), dtype=object)
    assert names.tolist() == unique_images(whole)
    assert (found.pairs, found.labelled) == (ROWS, True)
    assert found.named.all()
    for column, side in enumerate(("left", "right")):
        assert names[found.codes[:, column]].tolist() == whole[side].tolist()


def test_images_that_are_known_keep_their_numbers(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("left,right\nc,a\nd,c\n")
    known = pa.array(["a", "b", "c"], pa.large_string())
    with open_pair_stream(path, None) as (stream, _):
        found = read_images(stream, known, tmp_path / "codes")
    assert found.names.to_pylist() == ["a", "b", "c", "d"]
    assert found.codes.tolist() == [[2, 0], [3, 2]]
    assert found.named.tolist() == [True, False, True, True]
    assert not found.labelled


def test_scores_from_a_file_are_those_of_all_pairs_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    vectors = normalise(rng.standard_normal((50, 8), np.float32))
    vectors.tofile(tmp_path / "v")
    usable = rng.random(50) > 0.2
    codes = rng.integers(0, 50, (1000, 2)).astype(np.int32)
    monkeypatch.setattr("siamese.inference.pair_stream_scores.AT_ONCE", 37)
    scorer = PairScorer(pair_similarity, np.memmap(tmp_path / "v", np.float32, "r", shape=(50, 8)), usable)
    found = scorer.scores(codes)
    expected = np.einsum("nd,nd->n", vectors[codes[:, 0]], vectors[codes[:, 1]])
    kept = usable[codes[:, 0]] & usable[codes[:, 1]]
    assert np.isnan(found).tolist() == (~kept).tolist()
    np.testing.assert_allclose(found[kept], expected[kept], atol=1e-7)
    assert scorer.scores(codes[:0]).shape == (0,)


def test_csv_in_blocks_is_csv_written_at_once(tmp_path: Path) -> None:
    path, out = tmp_path / "p.csv", tmp_path / "out.csv"
    frame = table().assign(note=["line\r\nbreak" if row == 450 else "plain" for row in range(ROWS)])
    frame.to_csv(path, index=False)
    with open_pair_stream(path, None) as (stream, _), table_writer(out, ".csv") as writer:
        for block in stream.blocks():
            writer.write(block.table)
    pd.testing.assert_frame_equal(read_pairs(out), read_pairs(path))
    assert out.read_bytes().count(b"left,right") + out.read_bytes().count(b'"left","right"') == 1
