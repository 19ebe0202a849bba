"""Tables of images and identities: CSV, TSV and Parquet with named columns, every cell as text."""

import csv
import io
import re
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import compute, parquet

from siamese.errors import DataError
from siamese.images.labels import TEXT
from siamese.text_file import decode_text

PATH_NAMES = ("path", "file", "filename", "image", "image_path", "image_id")
IDENTITY_NAMES = ("identity", "label", "id", "person", "class", "subject", "identity_id")
PARQUET_MAGIC = b"PAR1"
_EXPECTED = "expected a manifest: CSV, TSV or Parquet with path, identity, or lines of PATH LABEL"
_EXTRA = "\0"  # the column of cells beyond the header; no header can name it


def manifest_bytes(path: Path) -> bytes:
    """The bytes of a text file; of a Parquet file the first four.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(4)
            return data if data == PARQUET_MAGIC else data + file.read()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {_EXPECTED}") from error


def manifest_text(data: bytes, path: Path) -> str:
    """The text of a manifest, lines ended by a newline alone.

    Raises:
        DataError: nothing in it, binary, or not UTF-8.
    """
    if data.strip() and path.suffix.lower() in (".parquet", ".pq"):
        raise DataError(f"{path}: is no whole Parquet file; {_EXPECTED}")
    text = decode_text(data, path, DataError, _EXPECTED)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def separator_of(text: str) -> str | None:
    """What separates the cells of a header that names path and identity; None where the first line is none."""
    line = _header(text)[1]
    for separator in ("\t", ",", ";"):
        names = {name.lower() for name in _cells(line, separator)}
        if names & set(PATH_NAMES) and names & set(IDENTITY_NAMES):
            return separator
    return None


def read_delimited(text: str, path: Path) -> pd.DataFrame:
    """The columns of CSV or TSV as text, `path` and `identity` first, indexed by row of the file from 1.

    Empty cells are missing (NaN), rows without any value are skipped, and short rows are filled up.

    Raises:
        DataError: columns that are missing, doubled or ambiguous; more cells in a row than in the header; no rows.
    """
    above, line = _header(text)
    separator = separator_of(text) or ("\t" if "\t" in line else ",")
    names = _cells(line, separator)
    columns = _named(names, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pd.errors.ParserWarning)  # of the extra cells that are refused below
            frame = pd.read_csv(
                io.StringIO(text),
                sep=separator,
                names=[*names, _EXTRA],
                header=None,
                index_col=False,
                skiprows=above + 1,
                skip_blank_lines=False,
                dtype=str,
                keep_default_na=False,  # only an empty cell is missing: somebody may be called NA
                na_values=[""],
            )
    except pd.errors.EmptyDataError:
        raise DataError(f"{path}: the manifest has no rows") from None
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: cannot be read as a CSV manifest ({reason}); quote cells that hold {separator!r}"
        ) from None
    frame.index += above + 2
    extra = frame[_EXTRA].notna()
    if extra.any():
        row, expected = frame.index[int(extra.argmax())], len(names)
        message = f"more than the {expected} cells of the header; quote cells that hold {separator!r}"
        raise DataError(f"{path}, row {row}: {message}")
    frame = frame.drop(columns=_EXTRA).dropna(how="all")
    return _arranged(frame, columns)


def read_parquet(path: Path) -> pd.DataFrame:
    """The columns of a Parquet file as text, `path` and `identity` first, indexed by row from 1.

    Raises:
        DataError: the file is not whole; columns that are missing, ambiguous, or hold neither text nor numbers.
    """
    try:
        table = parquet.ParquetFile(path).read()
    except (pa.ArrowException, OSError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise DataError(f"{path}: is no whole Parquet file ({reason}); write the manifest again") from None
    names = [name for name in table.column_names if not re.fullmatch(r"__index_level_\d+__", name)]
    columns = _named(names, path)
    frame = pd.DataFrame({name: _as_text(table.column(name), name, path) for name in names})
    frame.index += 1
    frame = frame.mask(frame == "")
    return _arranged(frame, columns)


def _header(text: str) -> tuple[int, str]:
    """Number (from 0) and text of the first line that is not blank."""
    blank = re.match(r"(?:[ \t]*\n)*", text)
    start = blank.end() if blank else 0
    return text.count("\n", 0, start), text[start:].partition("\n")[0]


def _cells(line: str, separator: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:  # a line longer than any cell may be: no header of ours
        return [line]


def _as_text(column: "pa.ChunkedArray", name: str, path: Path) -> "pd.Series[str]":
    try:
        texts: pd.Series[str] = compute.cast(column, pa.string()).to_pandas().astype(TEXT)
    except pa.ArrowException:
        raise DataError(f"{path}: column {name!r} holds {column.type}, expected text or numbers") from None
    return texts


def _named(names: Sequence[str], path: Path) -> dict[str, str]:
    """Which column serves as `path` and which as `identity`."""
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        raise DataError(f"{path}: column {doubled[0]!r} appears twice; rename one of them")
    return {
        "path": _column("path", PATH_NAMES, names, path),
        "identity": _column("identity", IDENTITY_NAMES, names, path),
    }


def _column(role: str, aliases: Iterable[str], names: Sequence[str], path: Path) -> str:
    if role in names:
        return role
    same = [name for name in names if name.lower() == role]
    known = same or [name for name in names if name.lower() in aliases]
    if len(known) > 1:
        shown = " and ".join(map(repr, known[:2]))
        raise DataError(f"{path}: {shown} could both be the column {role!r}; name the right one {role!r}")
    if known:
        return known[0]
    found = ", ".join(names)
    found = found if len(found) <= 200 else found[:200] + "..."
    pairs = "; pairs are given by --pairs" if {"left", "right"} <= set(names) else ""
    raise DataError(f"{path}: no column {role!r}; found {found}; a manifest has path, identity{pairs}")


def _arranged(frame: pd.DataFrame, columns: dict[str, str]) -> pd.DataFrame:
    """`path` and `identity` first and by these names, the other columns behind them as they are."""
    others = [name for name in frame.columns if name not in columns.values()]
    chosen = frame[[*columns.values(), *others]]
    return chosen.rename(columns={given: role for role, given in columns.items()})
