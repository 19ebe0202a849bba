"""Lists without a header: what a line holds is told by the shape of the first lines.

`PATH PATH LABEL`, or `PATH PATH` in a test list whose answers are kept elsewhere; `PATH PATH PATH` (triplets) and
four paths (quadruplets); `NAME i j` and `NAME i NAME j` (LFW without its header); `PATH NUMBER` (half a pair, as in
CALFW).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from siamese.atomic import write_text
from siamese.errors import PairFileError
from siamese.pairing.delimited import Separator, parse_delimited, split_line
from siamese.pairing.rows import row_name
from siamese.pairing.table_columns import PAIR_COLUMNS, QUADRUPLET_COLUMNS, TRIPLET_COLUMNS

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["pairs", "unlabelled", "triplets", "quadruplets", "lfw-rows", "halves"]
COLUMNS: dict[Kind, tuple[str, ...]] = {
    "pairs": PAIR_COLUMNS,
    "unlabelled": PAIR_COLUMNS[:2],
    "triplets": TRIPLET_COLUMNS,
    "quadruplets": QUADRUPLET_COLUMNS,
}
_SEPARATORS: tuple[Separator, ...] = ("\t", ",", ";", " ")
_SAMPLE = 50
_SAMPLE_CHARACTERS = 2**20
_PATH = re.compile(r"[/\\]|\.[A-Za-z][A-Za-z0-9]{1,4}$")
_LABEL = re.compile(r"-?[01](\.0)?|true|false", re.IGNORECASE)


@dataclass(frozen=True)
class Shape:
    """What the lines of a list hold, and what separates their cells."""

    kind: Kind
    separator: Separator


def shape_of(text: str) -> Shape | None:
    """The shape of a list without a header, None where it is none.

    Of the separators that make sense of the first line, the one that makes the same sense of the lines after it is
    taken; else the first, and the line that differs is found when the list is read.
    """
    head = re.split(r"[\r\n]+", text[:_SAMPLE_CHARACTERS])
    # The last piece may be half a line.
    lines = [line for line in (head[:-1] or head) if line.strip()][:_SAMPLE]
    if not lines:
        return None
    possible = [Shape(kind, separator) for separator in _SEPARATORS if (kind := _kind(lines[0], separator))]
    for shape in possible:
        if all(_kind(line, shape.separator) == shape.kind for line in lines):
            return shape
    return possible[0] if possible else None


def parse_lines(text: str, where: str, shape: Shape) -> "pd.DataFrame":
    """Read a list of pairs, triplets or quadruplets; every cell is text, without blanks around it.

    Raises:
        PairFileError: a line has more or fewer cells than the others.
    """
    frame = parse_delimited(text, where, shape.separator, COLUMNS[shape.kind])
    for name in frame.columns:
        frame[name] = frame[name].str.strip()
    return frame


def write_lines(frame: "pd.DataFrame", path: Path) -> None:
    """Write a checked table without a header: cells separated by one blank, labels as 1 and 0.

    Pairs without any label become an unlabelled list.

    Raises:
        PairFileError: names the row, column or value that the form cannot hold.
    """
    kind = _kind_of_table(frame)
    names = COLUMNS[kind]
    allowed = PAIR_COLUMNS if kind in ("pairs", "unlabelled") else names
    extra = [name for name in frame.columns if name not in allowed]
    if extra:
        raise PairFileError(
            f"{path}: lines of {', '.join(allowed)} have no place for column {extra[0]!r}; "
            "leave it out, or write CSV or Parquet"
        )
    if kind == "pairs":
        frame = frame.assign(same=_label_texts(frame, path))
    for name in names:
        refuse_blanks(frame, name, path)
    rows = frame[names[0]].astype(object)
    for name in names[1:]:
        rows = rows + " " + frame[name].astype(object)
    text = "\n".join(rows) + "\n"
    if shape_of(text) != Shape(kind, " "):
        raise PairFileError(
            f"{path}: {row_name(frame, 0)} ({rows.iloc[0][:200]!r}) would not be recognised without a header, since "
            "its cells do not look like paths of images; write CSV or Parquet"
        )
    write_text(path, text)


def refuse_blanks(frame: "pd.DataFrame", name: str, path: Path) -> None:
    """Refuse the first cell of a column of paths that holds white space.

    Raises:
        PairFileError: names its row.
    """
    blank = frame[name].astype(object).str.contains(r"\s", regex=True).to_numpy(dtype=bool)
    if blank.any():
        first = int(blank.argmax())
        raise PairFileError(
            f"{path}: {row_name(frame, first)} has {name} {frame[name].iloc[first]!r}, and blanks separate the paths "
            "of this form; write CSV or Parquet"
        )


def _kind(line: str, separator: Separator) -> Kind | None:
    cells = [cell.strip() for cell in split_line(line, separator)]
    numbers = "".join("n" if cell.isdecimal() and cell.isascii() else "t" for cell in cells)
    paths = [_PATH.search(cell) is not None for cell in cells]
    if numbers in ("tnn", "tntn"):
        return "lfw-rows"
    if len(cells) == 2:
        if numbers == "tn" and not re.search(r"\s", cells[0]):
            return "halves"
        return "unlabelled" if all(paths) else None
    if len(cells) == 3:
        if all(paths):
            return "triplets"
        labelled = _LABEL.fullmatch(cells[2]) is not None and all(cells)
        return "pairs" if all(paths[:2]) or labelled else None
    return "quadruplets" if len(cells) == 4 and all(paths) else None


def _kind_of_table(frame: "pd.DataFrame") -> Kind:
    if "negative2" in frame.columns:
        return "quadruplets"
    if "anchor" in frame.columns:
        return "triplets"
    return "unlabelled" if frame["same"].isna().all() else "pairs"


def _label_texts(frame: "pd.DataFrame", path: Path) -> "pd.Series":
    missing = frame["same"].isna().to_numpy(dtype=bool)
    if missing.any():
        row = row_name(frame, int(missing.argmax()))
        raise PairFileError(
            f"{path}: {row} has no label and others have; lines hold labels for all pairs or for none; "
            "write CSV or Parquet"
        )
    return frame["same"].astype("int8").astype(str)
