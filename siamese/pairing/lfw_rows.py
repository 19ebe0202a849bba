"""Rows of LFW pair files: `NAME i j` (genuine) and `NAME i NAME j` (impostor), read and written.

Image i of NAME is `NAME/NAME_000i.jpg`: https://vis-www.cs.umass.edu/lfw/README.txt. Tabs separate the values; where
a file has none at all, blanks do.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from siamese.errors import PairFileError
from siamese.pairing.rows import remember_rows, row_name

if TYPE_CHECKING:
    import pandas as pd

_ROW = r"^([^\t]+)\t([0-9]{1,9})(?:\t([^\t]+))?\t([0-9]{1,9})\Z"
_PATH = r"^([^/\t\r\n]+)/([^/\t\r\n]+)_([0-9]{4}|[1-9][0-9]{4,8})(\.[^./\t\r\n]+)\Z"
_COLUMNS = {"left", "right", "same", "fold", "left_identity", "right_identity"}


def text_lines(text: str) -> "pd.Series[str]":
    """The lines of a text, values separated by tabs."""
    import pandas as pd

    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "\t" not in text:
        text = re.sub(" +", "\t", re.sub(r"(?m)^ +| +$", "", text))
    return pd.Series(text.split("\n"), dtype=object)


def parse_rows(lines: "pd.Series[str]", where: str, suffix: str, first: int) -> "pd.DataFrame":
    """Read rows into a pair table with identities.

    Args:
        lines: of the file, from its first row on; blank ones are skipped.
        where: the file that messages name.
        suffix: extension of the images.
        first: the number of the first of these lines in the file.

    Raises:
        PairFileError: names the line that is malformed.
    """
    blank = (lines.str.strip() == "").to_numpy(dtype=bool)
    cells = lines[~blank].reset_index(drop=True).str.extract(_ROW)
    frame = _table(cells, suffix)
    # A trailing newline leaves one blank line behind the last row, which numbers nothing.
    remember_rows(frame, "line", first, (np.flatnonzero(blank) + first).tolist())
    _check_rows(cells, frame, where)
    return frame


def format_rows(frame: "pd.DataFrame", path: Path) -> "pd.Series[str]":
    """The text of each row of a checked pair table, without its line break.

    Raises:
        PairFileError: names the row or column that the form cannot hold.
    """
    extra = [name for name in frame.columns if name not in _COLUMNS]
    if extra:
        raise PairFileError(f"{path}: the LFW form has no place for column {extra[0]!r}; write CSV or Parquet")
    left, right = _parts(frame, "left", path), _parts(frame, "right", path)
    _check_labels(frame, left, right, path)
    _check_suffix(frame, left, right, path)
    same = frame["same"].to_numpy(dtype=bool)
    middle = right["name"].where(~same, "") + np.where(same, "", "\t")
    return left["name"] + "\t" + left["number"] + "\t" + middle + right["number"]


def _table(cells: "pd.DataFrame", suffix: str) -> "pd.DataFrame":
    import pandas as pd

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


def _check_rows(cells: "pd.DataFrame", frame: "pd.DataFrame", where: str) -> None:
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


def _parts(frame: "pd.DataFrame", side: str, path: Path) -> "pd.DataFrame":
    import pandas as pd

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


def _check_labels(frame: "pd.DataFrame", left: "pd.DataFrame", right: "pd.DataFrame", path: Path) -> None:
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


def _check_suffix(frame: "pd.DataFrame", left: "pd.DataFrame", right: "pd.DataFrame", path: Path) -> None:
    expected = left["suffix"].iloc[0]
    other = ((left["suffix"] != expected) | (right["suffix"] != expected)).to_numpy(dtype=bool)
    if other.any():
        row = row_name(frame, int(other.argmax()))
        raise PairFileError(
            f"{path}: {row} has another file extension than the first row ({expected}), and the LFW form names none"
        )
