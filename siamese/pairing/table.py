"""The pair table and the triplet table: what they hold, checked once, counted, and held against the disk.

Pairs: `left, right, same` with optional `fold, left_identity, right_identity, group`.
Triplets: `anchor, positive, negative` with optional `anchor_identity, negative_identity`.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from siamese.errors import PairFileError
from siamese.pairing.columns import fold_column, identity_column, path_column, require_columns, same_column
from siamese.pairing.rows import row_name

PAIR_COLUMNS = ("left", "right", "same")
TRIPLET_COLUMNS = ("anchor", "positive", "negative")

_Reader = Callable[[pd.DataFrame, str, str], pd.Series]
_PAIR_READERS: dict[str, _Reader] = {
    "left": path_column,
    "right": path_column,
    "same": same_column,
    "fold": fold_column,
    "left_identity": identity_column,
    "right_identity": identity_column,
    "group": identity_column,
}
_TRIPLET_READERS: dict[str, _Reader] = {
    "anchor": path_column,
    "positive": path_column,
    "negative": path_column,
    "anchor_identity": identity_column,
    "negative_identity": identity_column,
}
PAIR_KNOWN = tuple(_PAIR_READERS)


def check_pairs(frame: pd.DataFrame, where: str, *, need_same: bool = True) -> pd.DataFrame:
    """Bring a pair table to its types, or say what is wrong with it.

    Args:
        frame: at least `left, right, same`; it is not changed. Duplicate rows stay as they are.
        where: the file (or other origin) that messages name.
        need_same: if False, a table without the column `same` gets one in which every label is missing.

    Returns:
        Known columns first, in the order of this module's title, others after them as they came:
        `left`, `right` text; `same` nullable boolean; `fold` int64 from 0; identities and `group` text, NaN
        where missing. The index is that of `frame`.

    Raises:
        PairFileError: a column is missing, a path is empty, a label or fold has another form.
    """
    if not need_same and "same" not in frame.columns:
        frame = frame.assign(same=pd.array([pd.NA] * len(frame), dtype="boolean"))
    return _checked(frame, where, PAIR_COLUMNS, _PAIR_READERS)


def check_triplets(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """Bring a triplet table to its types, or say what is wrong with it; see `check_pairs`.

    Raises:
        PairFileError: a column is missing or a path is empty.
    """
    return _checked(frame, where, TRIPLET_COLUMNS, _TRIPLET_READERS)


def pair_counts(frame: pd.DataFrame) -> dict[str, int | None]:
    """Count the rows of a pair table.

    Returns:
        `pairs`, `genuine`, `impostor` (pairs without a label are in neither), and `identities`: how many
        distinct ones the identity columns name, None where the table has no identity columns.
    """
    names = [name for name in ("left_identity", "right_identity") if name in frame.columns]
    identities = pd.concat([frame[name] for name in names]).nunique() if names else None
    genuine = int(frame["same"].sum())
    labelled = int(frame["same"].notna().sum())
    return {
        "pairs": len(frame),
        "genuine": genuine,
        "impostor": labelled - genuine,
        "identities": identities,
    }


def unique_images(frame: pd.DataFrame) -> list[str]:
    """Each image of a pair or triplet table once, in the order in which the rows name them."""
    columns = _image_columns(frame)
    paths = np.column_stack([frame[name].to_numpy(dtype=object) for name in columns])
    return list(pd.unique(paths.reshape(-1)))


def check_files_exist(frame: pd.DataFrame, root: str | Path, where: str) -> None:
    """Check that every image of a pair or triplet table is a file; each unique path is looked up once.

    Args:
        frame: a checked table; if it was read from a file, its index must not have been reset since.
        root: the folder that relative paths start from.
        where: the file that the message names.

    Raises:
        PairFileError: names the first row and column whose image is missing, and how many others are.
    """
    columns = _image_columns(frame)
    cells = np.column_stack([frame[name].to_numpy(dtype=object) for name in columns])
    codes, paths = pd.factorize(cells.reshape(-1))
    # A million Path objects cost several times what the look-ups cost.
    present = np.fromiter((os.path.isfile(os.path.join(root, path)) for path in paths), bool, len(paths))  # noqa: PTH113, PTH118
    if present.all():
        return
    first = int((~present[codes]).argmax())
    row, column = divmod(first, len(columns))
    others = int((~present).sum()) - 1
    also = f"; {others:,} other image{'s are' if others != 1 else ' is'} missing too" if others else ""
    raise PairFileError(
        f"{where} {row_name(frame, row)}: column {columns[column]} names {cells[row, column]!r}, "
        f"which is no file below {root}{also}; check the root folder"
    )


def _checked(frame: pd.DataFrame, where: str, required: Sequence[str], readers: dict[str, _Reader]) -> pd.DataFrame:
    require_columns(list(frame.columns), required, where)
    known = {name: read(frame, name, where) for name, read in readers.items() if name in frame.columns}
    others = {str(name): frame[name] for name in frame.columns if name not in readers}
    result = pd.DataFrame(known | others, index=frame.index)
    result.attrs = dict(frame.attrs)
    return result


def _image_columns(frame: pd.DataFrame) -> tuple[str, ...]:
    return TRIPLET_COLUMNS if "anchor" in frame.columns else PAIR_COLUMNS[:2]
