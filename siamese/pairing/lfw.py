"""The pair files of Labeled Faces in the Wild: `pairs.txt` (folds) and `pairsDev*.txt` (no folds).

Format: https://vis-www.cs.umass.edu/lfw/README.txt. The first line counts folds and pairs of each kind, or only the
latter; the rows are those of `lfw_rows`.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from siamese.atomic import write_text
from siamese.errors import PairFileError
from siamese.pairing.delimited import first_line
from siamese.pairing.lfw_rows import format_rows, parse_rows, text_lines
from siamese.pairing.rows import row_name

if TYPE_CHECKING:
    import pandas as pd

_HEADER = re.compile(r"[0-9]{1,9}([\t ]+[0-9]{1,9})?")


def is_lfw(text: str) -> bool:
    """Whether the first line of `text` is the header of an LFW pair file: one or two whole numbers."""
    return _HEADER.fullmatch(first_line(text[:100]).rstrip()) is not None


def parse_lfw(text: str, where: str, suffix: str) -> "pd.DataFrame":
    """Read the text of an LFW pair file into a pair table with identities and, from `pairs.txt`, folds.

    Raises:
        PairFileError: a row is malformed, or the rows are not those that the header counts.
    """
    lines = text_lines(text)
    header = [int(number) for number in lines.iloc[0].split()]
    frame = parse_rows(lines.iloc[1:], where, suffix, 2)
    folds, each = header if len(header) == 2 else (1, header[0])
    _check_counts(frame, folds, each, where)
    if len(header) == 2:
        frame.insert(3, "fold", np.repeat(np.arange(folds, dtype=np.int64), 2 * each))
    return frame


def write_lfw(frame: "pd.DataFrame", path: Path) -> None:
    """Write a checked pair table as `pairs.txt`, or as `pairsDev*.txt` if it has no column `fold`.

    Rows are ordered as the format demands: by fold, genuine before impostor.

    Raises:
        PairFileError: names the row, fold or column that the format cannot hold.
    """
    rows = format_rows(frame, path)
    folds = frame["fold"].to_numpy() if "fold" in frame.columns else np.zeros(len(frame), dtype=np.int64)
    same = frame["same"].to_numpy(dtype=bool)
    each = equal_count(folds, same, path)
    order = np.lexsort((~same, folds))
    header = f"{folds.max() + 1}\t{each}\n" if "fold" in frame.columns else f"{each}\n"
    write_text(path, header + "\n".join(rows.iloc[order]) + "\n")


def equal_count(folds: NDArray[np.int64], same: NDArray[np.bool_], path: Path) -> int:
    """The number of genuine, and of impostor, pairs that every fold has.

    Raises:
        PairFileError: the counts differ, or a fold between 0 and the last has no pairs.
    """
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


def _check_counts(frame: "pd.DataFrame", folds: int, each: int, where: str) -> None:
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
