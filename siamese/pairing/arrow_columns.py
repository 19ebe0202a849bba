"""Columns of Arrow, and NumPy arrays of them, without what makes pyarrow import pandas.

pyarrow imports pandas, which takes longer than many a command, to find out the type of a value that comes without
one, and for its own way to NumPy.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

TEXT = pa.large_string()
"""The type of text: offsets of 64 bits, since a file may hold more than two gigabytes."""
WHOLE = (
    *(pa.int8(), pa.int16(), pa.int32(), pa.int64()),
    *(pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
)
"""The types of whole numbers."""
NULLABLE = {pa.bool_(): "boolean"} | {kind: str(kind).replace("i", "I").replace("u", "U") for kind in WHOLE}
"""The names that pandas gives to types that may have gaps, of truth values and whole numbers."""


def text(value: str | None, kind: pa.DataType = TEXT) -> pa.Scalar:
    """One text, as what a column of that type is compared, joined or filled with."""
    return pa.scalar(value, kind)


def is_text(kind: pa.DataType) -> bool:
    """Whether a type is one of text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def one_array(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def as_numpy(column: pa.Array) -> NDArray[Any]:
    """Numbers or truth values of which none is missing, shape (N,), not to be written to."""
    if not len(column):
        return np.zeros(0, bool if pa.types.is_boolean(column.type) else column.type.to_pandas_dtype())
    if pa.types.is_boolean(column.type):
        return np.from_dlpack(column.cast(pa.uint8())).view(bool)
    return np.from_dlpack(column)


def any_of(marks: pa.Array) -> bool:
    """Whether any is true."""
    return bool(pc.any(marks).as_py())


def equals(column: pa.Array, value: str) -> pa.Array:
    """Where a column of text holds a text; missing where it is missing."""
    return pc.equal(column, pa.scalar(value, column.type))


def repeated(values: pa.Array) -> NDArray[np.bool_]:
    """Which values stood earlier too, shape (N,)."""
    # Codes count up as new values come.
    highest = np.maximum.accumulate(as_numpy(values.dictionary_encode().indices))
    return np.asarray(np.diff(highest, prepend=-1) == 0, dtype=bool)
