"""The label column of a pair file that is read in blocks: truth values, also of a value that an option calls same."""

import re
from typing import Any

import pyarrow as pa

from siamese.pairing.arrow_columns import TEXT, WHOLE, any_of, is_text, one_array
from siamese.pairing.file_rows import FileRows, as_frame

# A column with more different values is none of labels.
_MOST = 1000
_TRUTH = {"true": "1", "false": "0"}
_MEANING = {"1": True, "0": False, "": None}


class LabelColumn:
    """Reads the labels of each block; a value that means same need not stand in every block, but in one of them.

    Args:
        where: the file that messages name.
        same_label: the value that means same; None: 1 or true.
    """

    def __init__(self, where: str, same_label: str | None) -> None:
        self._where, self._same_label = where, same_label
        self._values: pa.Array | None = None
        self._found = False

    def read(self, rows: FileRows) -> FileRows:
        """The block with its column `same` as truth values; all missing where there is no such column.

        Without a value to be told from others, a column that holds anything odd stays what it is, for `check_pairs`.
        """
        table = rows.table
        if "same" not in table.column_names:
            table = table.append_column("same", pa.nulls(len(table), pa.bool_()))
        place = table.column_names.index("same")
        cells = one_array(table.column(place))
        labels = _truth_values(cells) if self._same_label is None else self._chosen(cells, self._same_label)
        return FileRows(table.set_column(place, "same", labels), rows.begun, rows.names)

    def check_found(self) -> None:
        """At the end: refuse a value that no row has.

        Raises:
            PairFileError: names the value, and some that rows do have.
        """
        if self._same_label is not None and not self._found and self._values is not None:
            _by_pandas(self._values, self._where, self._same_label)

    def _chosen(self, cells: pa.Array, same_label: str) -> pa.Array:
        if self._values is None:
            self._values = cells.unique()
        labels = _equal(cells, same_label)
        if labels is None:
            # One row more that has the value, if one can: whether any row of the file has it is known at the end.
            labels = _by_pandas(cells, self._where, same_label, more=bool(same_label.strip()))
        self._found = self._found or any_of(labels)
        return labels


def _truth_values(cells: pa.Array) -> pa.Array:
    """The labels as truth values; as they are if any is odd."""
    if pa.types.is_boolean(cells.type):
        return cells
    coded, words = _words(cells)
    if words is None or not _MEANING.keys() >= set(words):
        return cells
    return pa.array([_MEANING[word] for word in words], pa.bool_()).take(coded.indices)


def _equal(cells: pa.Array, same_label: str) -> pa.Array | None:
    """Which labels are the one that is asked for; None where that is not plain to see."""
    coded, words = _words(cells)
    if words is None or not (same_label.isascii() and same_label.isprintable()) or not (label := _word(same_label)):
        return None
    return pa.array([word == label if word else None for word in words], pa.bool_()).take(coded.indices)


def _words(cells: pa.Array) -> tuple[pa.DictionaryArray, list[str] | None]:
    """Labels as numbers of different ones, and these in the spelling that `same_column` compares.

    None where that is not plain to see: other types than text, whole numbers and truth values, other characters than
    those of ASCII that are printed.
    """
    kind = cells.type
    if not (is_text(kind) or kind in WHOLE or pa.types.is_boolean(kind) or pa.types.is_null(kind)):
        return cells, None
    coded = cells.cast(TEXT).dictionary_encode()
    if len(coded.dictionary) > _MOST:
        return coded, None
    values = coded.dictionary.to_pylist()
    plain = all(value.isascii() and value.isprintable() for value in values)
    return coded, [_word(value) for value in values] if plain else None


def _word(value: str) -> str:
    word = re.sub(r"\A(-?[0-9]+)\.0\Z", r"\1", value.strip().lower())
    return _TRUTH.get(word, word)


def _by_pandas(cells: pa.Array, where: str, same_label: str, *, more: bool = False) -> pa.Array:
    import pandas as pd

    from siamese.pairing.columns import same_column

    column: Any = as_frame(pa.table({"same": cells}))["same"].astype(object)
    if more:
        column = pd.concat([column, pd.Series([same_label])])
    labels = same_column(column.to_frame("same"), "same", where, same_label)
    return pa.array(labels, pa.bool_()).slice(0, len(cells))
