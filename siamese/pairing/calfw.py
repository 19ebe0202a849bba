"""The pair files of Cross-Age and Cross-Pose LFW: two consecutive lines a pair, `PATH NUMBER`.

CALFW (Zheng et al. 2017) and CPLFW (Zheng & Deng 2018) repeat the number on both lines of a pair. 0 means impostor in
both. In `pairs_CPLFW.txt` 1 means genuine; in `pairs_CALFW.txt` the numbers 1 to 10 mean genuine *and* name the fold
of that pair, so that reading only 1 as genuine would lose nine tenths of them. Both list their 3,000 genuine pairs
first, then their 3,000 impostors; fold k is the k-th tenth of either. Sources: the loaders of FaceX-Zoo
(`test_protocol/lfw/pairs_parser.py`, `CALFW_PairsParser`, `CPLFW_PairsParser`), which evaluate so.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.atomic import write_text
from siamese.errors import PairFileError
from siamese.pairing.delimited import Separator, parse_delimited
from siamese.pairing.lines import refuse_blanks
from siamese.pairing.rows import remember_rows, row_name, skipped_rows

_NAME = r"^(?:.*/)?([^/]+)_[0-9]+\.[^./]+\Z"
_OFFICIAL = 3000  # pairs of each kind in both published files
_FOLDS = 10
_COLUMNS = ("left", "right", "same", "fold")


def parse_calfw(text: str, where: str, separator: Separator) -> pd.DataFrame:
    """Read pairs of lines `PATH NUMBER` into a pair table.

    Folds are there if the numbers of the genuine pairs name them (more than one number above 0, impostors in as
    many equal parts), or if the file has the counts and the order of the published ones. Identities are there if
    every file name is `NAME_0001.jpg` or alike and the names agree with the labels.

    Raises:
        PairFileError: a number is none, the two lines of a pair differ in it, or a line is left over.
    """
    lines = parse_delimited(text, where, separator, ("path", "number"))
    lines["number"] = lines["number"].str.strip()
    _check_lines(lines, where)
    numbers = lines["number"].to_numpy(dtype=np.int64)[::2]
    paths = lines["path"].str.strip()
    frame = pd.DataFrame({"left": paths[::2].to_numpy(), "right": paths[1::2].to_numpy()})
    frame["same"] = pd.array(numbers > 0, dtype="boolean")
    folds = _folds(numbers)
    if folds is not None:
        frame["fold"] = folds
    frame = frame.join(_identities(frame))
    remember_rows(frame, "line", 1, skipped_rows(lines), each=2)
    return frame


def write_calfw(frame: pd.DataFrame, path: Path) -> None:
    """Write a checked pair table as two lines a pair; with folds, genuine pairs first, each kind by fold.

    Raises:
        PairFileError: names the row, fold or column that the form cannot hold.
    """
    _check_columns(frame, path)
    for side in ("left", "right"):
        refuse_blanks(frame, side, path)
    same = frame["same"].to_numpy(dtype=bool)
    numbers = same.astype(np.int64)
    order = np.arange(len(frame))
    if "fold" in frame.columns:
        numbers = np.where(same, frame["fold"].to_numpy() + 1, 0)
        order = np.lexsort((frame["fold"].to_numpy(), ~same))
        _check_folds(frame, numbers[order], order, path)
    ends = pd.Series(numbers.astype(str), dtype=object).to_numpy()
    left, right = (frame[side].astype(object).to_numpy() for side in ("left", "right"))
    rows = left + " " + ends + "\n" + right + " " + ends + "\n"
    write_text(path, "".join(rows[order]))


def _check_lines(lines: pd.DataFrame, where: str) -> None:
    numbers = lines["number"]
    bad = ~numbers.str.fullmatch("[0-9]{1,9}").to_numpy(dtype=bool)
    if bad.any():
        first = int(bad.argmax())
        raise PairFileError(
            f"{where} {row_name(lines, first)}: {numbers.iloc[first]!r}, expected PATH NUMBER, where 0 means "
            "different and any other number same, on two consecutive lines a pair"
        )
    if len(lines) % 2:
        raise PairFileError(
            f"{where} {row_name(lines, len(lines) - 1)}: the last line has no partner, expected two lines a pair; "
            "the file is cut short or changed"
        )
    values = numbers.astype("int64").to_numpy()
    differing = values[::2] != values[1::2]
    if differing.any():
        first = 2 * int(differing.argmax())
        raise PairFileError(
            f"{where} {row_name(lines, first + 1)}: number {values[first + 1]}, but the line before, of the same "
            f"pair, has {values[first]}; expected the same number on both lines of a pair "
            "(a list PATH IDENTITY holds no pairs: make some of it with `siamese make-pairs`)"
        )


def _folds(numbers: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The fold of each pair, None where the file does not tell."""
    genuine = numbers > 0
    count = int(numbers.max())
    if count > 1:
        even = [~genuine]
    elif np.array_equal(genuine, np.arange(2 * _OFFICIAL) < _OFFICIAL):
        count, even = _FOLDS, [genuine, ~genuine]
    else:
        return None
    folds = numbers - 1
    for kind in even:
        each, rest = divmod(int(kind.sum()), count)
        if rest:
            return None
        folds[kind] = np.arange(kind.sum()) // max(each, 1)
    return folds


def _identities(frame: pd.DataFrame) -> pd.DataFrame:
    names = {f"{side}_identity": frame[side].str.extract(_NAME, expand=False) for side in ("left", "right")}
    found = pd.DataFrame(names)
    agree = (found["left_identity"] == found["right_identity"]) == frame["same"]
    return found if found.notna().all(axis=None) and agree.all() else pd.DataFrame(index=frame.index)


def _check_columns(frame: pd.DataFrame, path: Path) -> None:
    implied = _identities(frame) if not frame["same"].isna().any() else pd.DataFrame()
    for name in frame.columns:
        if name in _COLUMNS:
            continue
        if name not in implied.columns or not (frame[name].astype(object) == implied[name].astype(object)).all():
            raise PairFileError(
                f"{path}: two lines a pair have no place for column {name!r}, unless it is an identity that all file "
                "names tell (NAME_0001.jpg); leave it out, or write CSV or Parquet"
            )
    missing = frame["same"].isna().to_numpy(dtype=bool)
    if missing.any():
        row = row_name(frame, int(missing.argmax()))
        raise PairFileError(f"{path}: {row} has no label, and two lines a pair hold only labelled pairs")


def _check_folds(frame: pd.DataFrame, numbers: NDArray[np.int64], order: NDArray[np.int64], path: Path) -> None:
    """Refuse folds that a reader could not tell: it knows those of genuine pairs, and divides impostors evenly."""
    found = _folds(numbers)
    if found is None or not np.array_equal(found, frame["fold"].to_numpy()[order]):
        raise PairFileError(
            f"{path}: two lines a pair tell folds only if there are two or more and all have equally many impostor "
            "pairs; leave the column fold out, or write CSV, Parquet or the format lfw"
        )
