"""The tables of pairs, triplets and quadruplets: what they hold, checked once, counted, and held against the disk.

Pairs: `left, right, same` with optional `fold, left_identity, right_identity, group`.
Triplets: `anchor, positive, negative` with optional `anchor_identity, negative_identity`.
Quadruplets: `anchor, positive, negative, negative2` with optional `anchor_identity, negative_identity,
negative2_identity`: two images of one identity and one image each of two others (Chen et al., "Beyond triplet loss: a
deep quadruplet network for person re-identification", CVPR 2017).
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.errors import PairFileError
from siamese.pairing.columns import fold_column, identity_column, path_column, same_column
from siamese.pairing.presence import present as present
from siamese.pairing.rows import row_name
from siamese.pairing.table_columns import PAIR_COLUMNS, QUADRUPLET_COLUMNS, TRIPLET_COLUMNS, require_columns

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
_QUADRUPLET_READERS: dict[str, _Reader] = {
    "anchor": path_column,
    "positive": path_column,
    "negative": path_column,
    "negative2": path_column,
    "anchor_identity": identity_column,
    "negative_identity": identity_column,
    "negative2_identity": identity_column,
}


def check_pairs(
    frame: pd.DataFrame, where: str, *, need_same: bool = True, same_label: str | None = None
) -> pd.DataFrame:
    """Bring a pair table to its types, or say what is wrong with it.

    Args:
        frame: at least `left, right, same`; it is not changed. Duplicate rows stay as they are.
        where: the file (or other origin) that messages name.
        need_same: if False, a table without the column `same` gets one in which every label is missing.
        same_label: the value of `same` that means same, see `same_column`.

    Returns:
        Known columns first, in the order of this module's title, others after them as they came:
        `left`, `right` text; `same` nullable boolean; `fold` int64 from 0; identities and `group` text, NaN
        where missing. Text that comes as categories stays categorical. The index is that of `frame`.

    Raises:
        PairFileError: a column is missing, a path is empty, a label or fold has another form.
    """
    if not need_same and "same" not in frame.columns:
        frame = frame.assign(same=pd.array([pd.NA] * len(frame), dtype="boolean"))
    require_columns(list(frame.columns), PAIR_COLUMNS, where)
    if same_label is not None:
        frame = frame.assign(same=same_column(frame, "same", where, same_label))
    return _checked(frame, where, PAIR_COLUMNS, _PAIR_READERS)


def check_triplets(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """Bring a triplet table to its types, or say what is wrong with it; see `check_pairs`.

    Raises:
        PairFileError: a column is missing or a path is empty.
    """
    return _checked(frame, where, TRIPLET_COLUMNS, _TRIPLET_READERS)


def check_quadruplets(frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """Bring a quadruplet table to its types, or say what is wrong with it; see `check_pairs`.

    Raises:
        PairFileError: a column is missing or a path is empty.
    """
    return _checked(frame, where, QUADRUPLET_COLUMNS, _QUADRUPLET_READERS)


def pair_counts(frame: pd.DataFrame) -> dict[str, int | None]:
    """Count the rows of a pair table.

    Returns:
        `pairs`, `genuine`, `impostor` (pairs without a label are in neither), and `identities`: how many
        distinct ones the identity columns name, None where the table has no identity columns.
    """
    names = [name for name in ("left_identity", "right_identity") if name in frame.columns]
    # Distinct per side first: ten million categorical cells are never expanded.
    sides = [np.asarray(frame[name].dropna().unique(), dtype=object) for name in names]
    identities = len(pd.unique(np.concatenate(sides))) if names else None
    genuine = int(frame["same"].sum())
    labelled = int(frame["same"].notna().sum())
    return {
        "pairs": len(frame),
        "genuine": genuine,
        "impostor": labelled - genuine,
        "identities": identities,
    }


def unique_images(frame: pd.DataFrame) -> list[str]:
    """Each image of a pair, triplet or quadruplet table once, in the order in which the rows name them."""
    codes, paths = _image_codes(frame, image_columns(frame))
    return list(paths[pd.unique(codes.reshape(-1))])


def check_files_exist(frame: pd.DataFrame, root: str | Path, where: str) -> None:
    """Check that every image of a pair, triplet or quadruplet table is a file; each unique path is looked up once.

    Args:
        frame: a checked table; if it was read from a file, its index must not have been reset since.
        root: the folder that relative paths start from.
        where: the file that the message names.

    Raises:
        PairFileError: names the first row and column whose image is missing, and how many others are.
    """
    columns = image_columns(frame)
    codes, paths = _image_codes(frame, columns)
    there = present(root, paths)
    if there.all():
        return
    first = int((~there[codes]).reshape(-1).argmax())
    row, column = divmod(first, len(columns))
    others = int((~there).sum()) - 1
    also = f"; {others:,} other image{'s are' if others != 1 else ' is'} missing too" if others else ""
    raise PairFileError(
        f"{where} {row_name(frame, row)}: column {columns[column]} names {paths[codes[row, column]]!r}, "
        f"which is no file below {root}{also}; check the root folder"
    )


def _checked(frame: pd.DataFrame, where: str, required: Sequence[str], readers: dict[str, _Reader]) -> pd.DataFrame:
    require_columns(list(frame.columns), required, where)
    known = {name: read(frame, name, where) for name, read in readers.items() if name in frame.columns}
    others = {str(name): frame[name] for name in frame.columns if name not in readers}
    result = pd.DataFrame(known | others, index=frame.index)
    result.attrs = dict(frame.attrs)
    return result


def image_columns(frame: pd.DataFrame) -> tuple[str, ...]:
    """The columns that name images: of a table of pairs two, of triplets three, of quadruplets four."""
    if "anchor" not in frame.columns:
        return PAIR_COLUMNS[:2]
    return QUADRUPLET_COLUMNS if "negative2" in frame.columns else TRIPLET_COLUMNS


def _image_codes(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    """Codes (rows, columns) of the images, and the distinct paths that they count into."""
    # Column by column, since categorical columns are coded already; only distinct paths are compared as text.
    coded = [pd.factorize(frame[name]) for name in columns]
    merged, paths = pd.factorize(np.concatenate([np.asarray(values, dtype=object) for _, values in coded]))
    starts = np.cumsum([0, *(len(values) for _, values in coded[:-1])])
    shifted = [merged[codes + start] for (codes, _), start in zip(coded, starts, strict=True)]
    return np.column_stack(shifted).astype(np.int64), np.asarray(paths, dtype=object)
