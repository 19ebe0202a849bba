"""What classification writes, held against what pandas writes of the same table; and who comes first."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from siamese.errors import OptionError
from siamese.inference import classify_output
from siamese.inference.classify import Classification, most_probable
from siamese.inference.classify_output import write_classification

NASTY = [
    'a,b/"c".jpg',
    "a\nb.jpg",
    "a\rb.jpg",
    " blank ",
    "Ödön/日本.jpg",
    "'q'",
    '"',
    "\t",
    "NA",
    "null",
    "1.5",
    "a;b",
    "",
]


def classification(rows: int = len(NASTY)) -> Classification:
    """A table with every odd name at every place, and with rows that could not be classified."""
    names = [NASTY[row % len(NASTY)] for row in range(rows)]
    failed = np.arange(rows) % 3 == 2
    shares = np.random.default_rng(0).uniform(size=rows)
    shares[:3] = 0.0, 1.0, 1e-9
    table = pa.table(
        {
            "path": names,
            "identity": pa.array(names[::-1], pa.string(), mask=failed),
            "probability": pa.array(shares, mask=failed),
            "status": ["no_face" if bad else "ok" for bad in failed],
            "detail": ['no face in "x, y"' if bad else "" for bad in failed],
            "true_identity": [None, *names[1:]],
        }
    )
    return Classification(table, 3, 0, 0, None, None)


def test_csv_is_what_pandas_writes(tmp_path: Path) -> None:
    made = classification()
    write_classification(made, tmp_path / "out.csv")
    made.table.to_pandas().to_csv(
        tmp_path / "expected.csv", index=False, lineterminator="\n", float_format="%.6f", encoding="utf-8"
    )
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()
    read = pd.read_csv(tmp_path / "out.csv", keep_default_na=False, dtype=str, lineterminator="\n")
    assert read["path"].tolist() == NASTY


def test_blocks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = classification(50)
    write_classification(made, tmp_path / "one.csv")
    monkeypatch.setattr(classify_output, "BLOCK", 7)
    write_classification(made, tmp_path / "many.csv")
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "many.csv").read_bytes()


def test_parquet_reads_back_equal(tmp_path: Path) -> None:
    made = classification()
    write_classification(made, tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").equals(made.table)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "out.parquet"), made.table.to_pandas())


def test_a_table_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"out\.xlsx: a table ends in \.csv or \.parquet; name it so"):
        write_classification(classification(), tmp_path / "out.xlsx")
    assert list(tmp_path.iterdir()) == []


def test_failures_are_counted() -> None:
    made = classification()
    assert (made.images, made.failed) == (13, 4)
    assert Classification(made.table.slice(0, 0), 3, 0, 0, None, None).failed == 0


@pytest.mark.parametrize("top", [1, 2, 5, 9])
def test_the_most_probable_are_those_of_a_stable_sort(top: int) -> None:
    rng = np.random.default_rng(top)
    coarse = rng.integers(0, 4, (200, 9)) / 4  # many are equal
    fine = rng.dirichlet(np.full(9, 0.1), 200)
    for given in (coarse, fine, np.zeros((3, 9)), np.eye(9), np.zeros((0, 9))):
        probabilities = given.astype(np.float32)
        expected = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
        np.testing.assert_array_equal(most_probable(probabilities, top), expected)
