"""Blocks of a pair file brought to their types: by Arrow where nothing is odd, else by `check_pairs`.

What is refused, and what odd spellings stand for, is written once, in `siamese.pairing.table`, for pandas, which a
file without oddities never imports.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from siamese.pairing.arrow_columns import TEXT, WHOLE, any_of, equals, is_text, one_array, text
from siamese.pairing.file_rows import FileRows
from siamese.pairing.table_columns import PAIR_COLUMNS, PAIR_KNOWN, require_columns

if TYPE_CHECKING:
    import pandas as pd

TYPES = dict.fromkeys(PAIR_KNOWN, TEXT) | {"same": pa.bool_(), "fold": pa.int64()}
"""The Arrow types of the columns that a checked table may have, in their order."""
_MOST_FOLDS = 10_000


def check_block(rows: FileRows, where: str) -> FileRows:
    """What `check_pairs` makes of a block, in the types of `TYPES`, missing values as nulls; others are left alone.

    Args:
        rows: the block, with the column `same`.
        where: the file that messages name.

    Raises:
        PairFileError: as `check_pairs`.
    """
    table = rows.table
    require_columns(table.column_names, PAIR_COLUMNS, where)
    known: dict[str, pa.Array] = {}
    for name in PAIR_KNOWN:
        if name in table.column_names:
            column = _READERS[name](one_array(table.column(name)))
            if column is None:
                known = _by_pandas(rows, where)
                break
            known[name] = column
    others = {name: table.column(name) for name in table.column_names if name not in PAIR_KNOWN}
    return FileRows(pa.table(known | others), rows.begun, rows.names)


def checked_table(frame: "pd.DataFrame") -> pa.Table:
    """A checked pair table in the types that `check_block` gives; other columns as Arrow has them, text if empty."""
    known = pa.schema([(name, TYPES[name]) for name in PAIR_KNOWN if name in frame.columns])
    table = pa.Table.from_pandas(frame[known.names], known, preserve_index=False).replace_schema_metadata(None)
    others = pa.Table.from_pandas(frame.drop(columns=known.names), preserve_index=False)
    for name in others.column_names:
        column = others.column(name)
        table = table.append_column(name, column.cast(TEXT) if pa.types.is_null(column.type) else column)
    return table


def _by_pandas(rows: FileRows, where: str) -> dict[str, pa.Array]:
    from siamese.pairing.table import check_pairs

    checked = check_pairs(rows.frame(), where, need_same=False)
    table = checked_table(checked[[name for name in PAIR_KNOWN if name in checked.columns]])
    return {name: table.column(name) for name in table.column_names}


def _path(cells: pa.Array) -> pa.Array | None:
    """Text of which every cell has something to be seen."""
    if not is_text(cells.type) or cells.null_count:
        return None
    texts = cells.cast(TEXT)
    seen = pc.match_substring_regex(texts, "^[!-~]")
    if not pc.all(seen).as_py() and any_of(_unseen(texts.filter(pc.invert(seen)))):
        return None
    return texts


def _unseen(texts: pa.Array) -> pa.Array:
    """Texts without any sign of ASCII that is no white space by any rule."""
    return pc.invert(pc.match_substring_regex(texts, "[!-~]"))


def _identity(cells: pa.Array) -> pa.Array | None:
    """Text, or whole numbers as their digits; missing where empty."""
    if not (is_text(cells.type) or cells.type in WHOLE or pa.types.is_null(cells.type)):
        return None
    texts = cells.cast(TEXT)
    empty = equals(texts, "")
    return pc.if_else(empty, text(None), texts) if any_of(empty) else texts


def _same(cells: pa.Array) -> pa.Array | None:
    """Truth values."""
    return cells if pa.types.is_boolean(cells.type) else None


def _fold(cells: pa.Array) -> pa.Array | None:
    """Whole numbers from 0, or their digits."""
    if cells.null_count:
        return None
    if is_text(cells.type):
        coded = cells.dictionary_encode()
        if len(coded.dictionary) > _MOST_FOLDS or not all(
            each.isascii() and each.isdecimal() and len(each) < 10 for each in coded.dictionary.to_pylist()
        ):
            return None
        return coded.dictionary.cast(pa.int64()).take(coded.indices)
    if cells.type not in WHOLE:
        return None
    least, most = pc.min_max(cells).as_py().values()
    return cells.cast(pa.int64()) if least >= 0 and most < 2**31 else None


_READERS: dict[str, Callable[[pa.Array], pa.Array | None]] = {
    "left": _path,
    "right": _path,
    "same": _same,
    "fold": _fold,
    "left_identity": _identity,
    "right_identity": _identity,
    "group": _identity,
}
