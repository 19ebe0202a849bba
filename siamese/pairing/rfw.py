"""The pair files of Racial Faces in the Wild: rows of LFW's form without its first line.

RFW (Wang et al., "Racial faces in the wild: reducing racial bias by information maximization adaptation network",
ICCV 2019) lists per group ten folds of 300 genuine and 300 impostor rows, one after the other, and does not say so in
the file: the folds are those of the alternation.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.atomic import write_text
from siamese.errors import PairFileError
from siamese.pairing.lfw import equal_count
from siamese.pairing.lfw_rows import format_rows, parse_rows, text_lines

# Rows that alternate one by one are in no order at all, and no folds.
_LEAST = 2


def parse_rfw(text: str, where: str, suffix: str) -> pd.DataFrame:
    """Read rows without a header into a pair table with identities.

    A block of genuine rows and the block of impostor rows after it are a fold, if there are several such and all have
    the same counts, at least two of each kind; otherwise there is no column `fold`.

    Raises:
        PairFileError: a row is malformed.
    """
    frame = parse_rows(text_lines(text), where, suffix, 1)
    folds = _alternation(frame["same"].to_numpy(dtype=bool))
    if folds is not None:
        frame.insert(3, "fold", folds)
    return frame


def write_rfw(frame: pd.DataFrame, path: Path) -> None:
    """Write a checked pair table as rows without a header, by fold, genuine before impostor.

    Raises:
        PairFileError: names the row, fold or column that the form cannot hold.
    """
    rows = format_rows(frame, path)
    same = frame["same"].to_numpy(dtype=bool)
    folds = np.zeros(len(frame), dtype=np.int64)
    if "fold" in frame.columns:
        folds = frame["fold"].to_numpy()
        each = equal_count(folds, same, path)
        if each < _LEAST or folds.max() == 0:
            raise PairFileError(
                f"{path}: {folds.max() + 1} folds of {each} genuine and {each} impostor pairs; a file without a "
                f"header tells folds only where there are two or more, of {_LEAST} or more pairs of each kind; "
                "write the format lfw"
            )
    write_text(path, "\n".join(rows.iloc[np.lexsort((~same, folds))]) + "\n")


def _alternation(same: NDArray[np.bool_]) -> NDArray[np.int64] | None:
    """The fold of each row: one more wherever a genuine row follows an impostor one."""
    folds = np.concatenate([[0], np.cumsum(~same[:-1] & same[1:])]).astype(np.int64)
    genuine = np.bincount(folds, weights=same).astype(np.int64)
    impostor = np.bincount(folds) - genuine
    equal = (genuine == genuine[0]).all() and (impostor == genuine[0]).all()
    return folds if len(genuine) > 1 and genuine[0] >= _LEAST and equal else None
