"""Tables as CSV text, in the very bytes that `DataFrame.to_csv` writes: no index, quotes where they are needed.

Truth values are True and False, floats the shortest digits that give the same float again, what is missing is empty.
"""

import csv
import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from siamese.pairing.arrow_columns import TEXT, WHOLE, as_numpy, is_text, one_array, text


def header_line(names: Sequence[str], separator: str = ",") -> bytes:
    """The first line, with its end."""
    line = io.StringIO()
    csv.writer(line, delimiter=separator, lineterminator="\n").writerow(names)
    return line.getvalue().encode()


def is_plain(table: pa.Table) -> bool:
    """Whether `csv_lines` can write a table: it holds text, numbers and truth values."""
    return all(_is_plain(kind) for kind in table.schema.types)


def csv_lines(table: pa.Table, separator: str = ",") -> pa.Buffer:
    """The rows of a table of two or more columns as UTF-8, each with its end."""
    cells = [_cells(one_array(column), separator) for column in table.columns]
    cells[-1] = _joined(cells[-1], "\n", between="")
    data = _joined(*cells, between=separator)
    return _data(data)


def holds(table: pa.Table, character: str) -> bool:
    """Whether any text of a table holds a character of ASCII."""
    texts = [one_array(column) for column in table.columns if is_text(column.type)]
    return any(_has(column.cast(TEXT), character) for column in texts)


def _is_plain(kind: pa.DataType) -> bool:
    return bool(
        is_text(kind)
        or kind in WHOLE
        or kind in (pa.float32(), pa.float64())
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    )


def _cells(column: pa.Array, separator: str) -> pa.Array:
    if is_text(column.type):
        return _quoted(column.cast(TEXT), separator)
    if pa.types.is_floating(column.type):
        return _digits(column)
    if pa.types.is_boolean(column.type):
        return pc.if_else(column, text("True"), text("False"))
    return column.cast(TEXT)


def _quoted(texts: pa.Array, separator: str) -> pa.Array:
    special = [character for character in (separator, '"', "\n", "\r") if _has(texts, character)]
    if not special:
        return texts
    needed = pc.match_substring(texts, special[0])
    for character in special[1:]:
        needed = pc.or_(needed, pc.match_substring(texts, character))
    return pc.if_else(needed, _joined('"', pc.replace_substring(texts, '"', '""'), '"', between=""), texts)


def _digits(numbers: pa.Array) -> pa.Array:
    values = as_numpy(numbers.fill_null(pa.scalar(0, numbers.type)))
    # Arrow writes small and whole numbers otherwise (0.00001, 1), and takes longer than `repr`, as does NumPy, which
    # alone knows the digits of a float32.
    texts = list(map(repr, values.tolist())) if values.dtype == np.float64 else values.astype(str)
    gaps = as_numpy(numbers.is_null())
    return pa.array(texts, TEXT, mask=gaps if gaps.any() else None)


def _joined(*cells: pa.Array | str, between: str) -> pa.Array:
    scalars = [text(cell) if isinstance(cell, str) else cell for cell in (*cells, between)]
    return pc.binary_join_element_wise(*scalars, null_handling="replace", null_replacement="")


def _has(texts: pa.Array, character: str) -> bool:
    # Bytes of ASCII stand for themselves alone, and finding one among all is quicker than among those of each text.
    return character.encode() in _data(texts).to_pybytes()


def _data(texts: pa.Array) -> pa.Buffer:
    """The bytes of all texts, one behind the other."""
    _, offsets, data = texts.buffers()
    if not len(texts) or data is None:
        return pa.py_buffer(b"")
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return data.slice(int(ends[0]), int(ends[-1] - ends[0]))
