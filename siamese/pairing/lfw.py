"""The pair files of Labeled Faces in the Wild: `pairs.txt` (folds) and `pairsDev*.txt` (no folds).

Format: https://vis-www.cs.umass.edu/lfw/README.txt. A row is `NAME i j` (genuine) or `NAME i NAME j` (impostor),
tab-separated; image i of NAME is `NAME/NAME_000i.jpg`.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.atomic import write_text
from siamese.errors import PairFileError
from siamese.pairing.rows import remember_rows, row_name

_HEADER = re.compile(r"[0-9]{1,9}(\t[0-9]{1,9})?")
_ROW = r"^([^\t]+)\t([0-9]{1,9})(?:\t([^\t]+))?\t([0-9]{1,9})\Z"
_PATH = r"^([^/\t\r\n]+)/([^/\t\r\n]+)_([0-9]{4}|[1-9][0-9]{4,8})(\.[^./\t\r\n]+)\Z"
_COLUMNS = {"left", "right", "same", "fold", "left_identity", "right_identity"}


def is_lfw(text: str) -> bool:
    """Whether the first line of `text` is the header of an LFW pair file: one or two whole numbers."""
    return _HEADER.fullmatch(re.split(r"[\r\n]", text[:100], maxsplit=1)[0].rstrip()) is not None


def parse_lfw(text: str, where: str, suffix: str) -> pd.DataFrame:
    """Read the text of an LFW pair file into a pair table with identities and, from `pairs.txt`, folds.

    Raises:
        PairFileError: a row is malformed, or the rows are not those that the header counts.
    """
    lines = pd.Series(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), dtype=object)
    header = [int(number) for number in lines.iloc[0].strip().split("\t")]
    blank = (lines.str.strip() == "").to_numpy(dtype=bool)
    cells = lines[~blank].iloc[1:].reset_index(drop=True).str.extract(_ROW)
    frame = _table(cells, suffix)
    # A trailing newline leaves one blank line behind the last row, which numbers nothing.
    remember_rows(frame, "line", 2, (np.flatnonzero(blank) + 1).tolist())
    _check_rows(cells, frame, where)
    folds, each = header if len(header) == 2 else (1, header[0])
    _check_counts(frame, folds, each, where)
    if len(header) == 2:
        frame.insert(3, "fold", np.repeat(np.arange(folds, dtype=np.int64), 2 * each))
    return frame


def write_lfw(frame: pd.DataFrame, path: Path) -> None:
    """Write a checked pair table as `pairs.txt`, or as `pairsDev*.txt` if it has no column `fold`.

    Rows are ordered as the format demands: by fold, genuine before impostor.

    Raises:
        PairFileError: names the row, fold or column that the format cannot hold.
    """
    extra = [name for name in frame.columns if name not in _COLUMNS]
    if extra:
        raise PairFileError(f"{path}: the LFW form has no place for column {extra[0]!r}; write CSV or Parquet")
    left, right = _parts(frame, "left", path), _parts(frame, "right", path)
    _check_labels(frame, left, right, path)
    _check_suffix(frame, left, right, path)
    folds = frame["fold"].to_numpy() if "fold" in frame.columns else np.zeros(len(frame), dtype=np.int64)
    same = frame["same"].to_numpy(dtype=bool)
    each = _equal_count(folds, same, path)
    middle = right["name"].where(~same, "") + np.where(same, "", "\t")
    rows = left["name"] + "\t" + left["number"] + "\t" + middle + right["number"] + "\n"
    order = np.lexsort((~same, folds))
    header = f"{folds.max() + 1}\t{each}\n" if "fold" in frame.columns else f"{each}\n"
    write_text(path, header + "".join(rows.iloc[order]))


def _table(cells: pd.DataFrame, suffix: str) -> pd.DataFrame:
    same = cells[2].isna()
    left, right = cells[0], cells[2].where(~same, cells[0])
    return pd.DataFrame(
        {
            "left": left + "/" + left + "_" + cells[1].str.lstrip("0").str.zfill(4) + suffix,
            "right": right + "/" + right + "_" + cells[3].str.lstrip("0").str.zfill(4) + suffix,
            "same": same.astype("boolean"),
            "left_identity": left,
            "right_identity": right,
        }
    )


def _check_rows(cells: pd.DataFrame, frame: pd.DataFrame, where: str) -> None:
    malformed = cells[0].isna().to_numpy(dtype=bool)
    if malformed.any():
        raise PairFileError(
            f"{where} {row_name(frame, int(malformed.argmax()))}: expected NAME, number, number or "
            "NAME, number, NAME, number, separated by tabs"
        )
    equal = (cells[2] == cells[0]).to_numpy(dtype=bool)
    if equal.any():
        first = int(equal.argmax())
        raise PairFileError(
            f"{where} {row_name(frame, first)}: an impostor row names {cells[0].iloc[first]!r} twice; "
            "a genuine row has three values"
        )


def _check_counts(frame: pd.DataFrame, folds: int, each: int, where: str) -> None:
    expected = 2 * folds * each
    if len(frame) != expected:
        split = f"{folds} folds of {each} + {each}" if folds > 1 else f"{each} + {each}"
        raise PairFileError(
            f"{where}: {len(frame)} rows, but its first line announces {expected} ({split}); "
            "the file is cut short or changed"
        )
    if expected == 0:
        raise PairFileError(f"{where}: its first line announces no pairs")
    genuine = frame["same"].to_numpy(dtype=bool).reshape(folds, 2 * each).sum(axis=1)
    wrong = np.flatnonzero(genuine != each)
    if len(wrong):
        fold = int(wrong[0])
        rows = [row_name(frame, position) for position in (2 * each * fold, 2 * each * (fold + 1) - 1)]
        raise PairFileError(
            f"{where}: {rows[0]} to {rows[1]} hold {genuine[fold]} genuine and {2 * each - genuine[fold]} impostor "
            f"rows, but its first line announces {each} of each"
        )


def _parts(frame: pd.DataFrame, side: str, path: Path) -> pd.DataFrame:
    parts = frame[side].astype(object).str.extract(_PATH)
    parts.columns = pd.Index(["name", "stem", "number", "suffix"])
    bad = (parts["name"].isna() | (parts["name"] != parts["stem"])).to_numpy(dtype=bool)
    identity = f"{side}_identity"
    if bad.any():
        first = int(bad.argmax())
        raise PairFileError(
            f"{path}: {row_name(frame, first)} has {side} {frame[side].iloc[first]!r}, but the LFW form holds only "
            "NAME/NAME_0001.jpg; write CSV or Parquet"
        )
    if identity in frame.columns:
        other = (frame[identity].astype(object) != parts["name"]).to_numpy(dtype=bool)
        if other.any():
            first = int(other.argmax())
            raise PairFileError(
                f"{path}: {row_name(frame, first)} has {identity} {frame[identity].iloc[first]!r}, but the LFW form "
                f"takes it from the path: {parts['name'].iloc[first]!r}; write CSV or Parquet"
            )
    parts["number"] = parts["number"].astype(int).astype(str).astype(object)
    return parts


def _check_labels(frame: pd.DataFrame, left: pd.DataFrame, right: pd.DataFrame, path: Path) -> None:
    missing = frame["same"].isna().to_numpy(dtype=bool)
    if missing.any():
        row = row_name(frame, int(missing.argmax()))
        raise PairFileError(f"{path}: {row} has no label, and the LFW form holds only labelled pairs")
    same = frame["same"].to_numpy(dtype=bool)
    wrong = same != (left["name"] == right["name"]).to_numpy(dtype=bool)
    if wrong.any():
        first = int(wrong.argmax())
        kind = "genuine" if same[first] else "impostor"
        raise PairFileError(
            f"{path}: {row_name(frame, first)} is {kind} but its names are {left['name'].iloc[first]!r} and "
            f"{right['name'].iloc[first]!r}; the LFW form tells the two kinds apart by name"
        )


def _check_suffix(frame: pd.DataFrame, left: pd.DataFrame, right: pd.DataFrame, path: Path) -> None:
    expected = left["suffix"].iloc[0]
    other = ((left["suffix"] != expected) | (right["suffix"] != expected)).to_numpy(dtype=bool)
    if other.any():
        row = row_name(frame, int(other.argmax()))
        raise PairFileError(
            f"{path}: {row} has another file extension than the first row ({expected}), and the LFW form names none"
        )


def _equal_count(folds: NDArray[np.int64], same: NDArray[np.bool_], path: Path) -> int:
    """The number of genuine, and of impostor, pairs that every fold has."""
    present = np.unique(folds)
    if present[-1] + 1 != len(present):
        lacking = int(np.flatnonzero(~np.isin(np.arange(len(present)), present))[0])
        raise PairFileError(f"{path}: fold {lacking} has no pairs, and the LFW form numbers folds without a gap")
    genuine = np.bincount(folds, weights=same).astype(int)
    impostor = np.bincount(folds).astype(int) - genuine
    wrong = np.flatnonzero((genuine != genuine[0]) | (impostor != genuine[0]))
    if len(wrong):
        fold = int(wrong[0])
        raise PairFileError(
            f"{path}: fold {fold} has {genuine[fold]} genuine and {impostor[fold]} impostor pairs, but the LFW form "
            f"needs equal counts everywhere (fold 0 has {genuine[0]} genuine)"
        )
    return int(genuine[0])
