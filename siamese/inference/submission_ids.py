"""What a submission calls pairs and images: by a column of ids, by file names, or by the number of the row."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from siamese.pairing.arrow_columns import TEXT, WHOLE, any_of, equals, is_text, one_array, text

if TYPE_CHECKING:
    from siamese.inference.submission_form import SubmissionForm


def pair_ids(table: pa.Table, form: "SubmissionForm") -> pa.Array:
    """The id of each row of a pair table, an array of text (N,).

    It is the table's column of the form's name, in any case. Without one it is what makes the ids of a sample out of
    the file names of both sides (`a.jpg-b.jpg`, with or without suffixes), or else the number of the row: from 1
    where the sample has no id 0.

    Args:
        table: pair table with `left, right`; rows without a column of ids must be in the order of the competition.
        form: of the submission.
    """
    wanted = form.columns[0].lower()
    named = next((name for name in table.column_names if name.lower() == wanted), None)
    if named is not None:
        return as_text(table.column(named))
    if form.ids is not None:
        best = _best_known(_joined_sides(table), form.ids)
        if any_of(pc.is_in(best, value_set=form.ids)):
            return best
    first = 1 if form.ids is not None and not any_of(equals(form.ids, "0")) else 0
    return pa.array(np.arange(first, first + len(table))).cast(TEXT)


def image_ids(paths: Sequence[str], form: "SubmissionForm") -> pa.Array:
    """The id of each image, an array of text (N,): as most ids of the sample spell its path, else its file name.

    Spellings are the file name, that without its suffix, the whole path, and that without its suffix.
    """
    texts = pa.array(paths, TEXT)
    spellings = (_spelled(texts, way) for way in ("name", "stem", "path", "path stem"))
    return next(spellings) if form.ids is None else _best_known(spellings, form.ids)


def as_text(values: Any) -> pa.Array:
    """Ids or answers as text, empty where missing: an Arrow array of text (N,).

    Args:
        values: an Arrow array or column, or anything that NumPy or pandas makes a column of.

    Raises:
        UnicodeEncodeError: text that is not Unicode.
    """
    if isinstance(values, pa.ChunkedArray):
        values = one_array(values)
    if not isinstance(values, pa.Array):
        values = _as_array(values)
    if not (is_text(values.type) or values.type in WHOLE or pa.types.is_null(values.type)):
        from siamese.pairing.file_rows import as_frame

        values = _by_pandas(as_frame(pa.table({"values": values}))["values"])
    return values.cast(TEXT).fill_null(text(""))


def _as_array(values: Any) -> pa.Array:
    plain = np.asarray(values)
    if plain.dtype.kind in "iu":
        return pa.array(plain)
    if plain.dtype.kind == "U" or all(value is None or isinstance(value, str) for value in plain.tolist()):
        return pa.array(plain.tolist(), TEXT)
    return _by_pandas(values)


def _by_pandas(values: Any) -> pa.Array:
    """Times, floats and mixtures, of which pandas has a spelling."""
    import pandas as pd

    return pa.array(pd.Series(values).astype("string").tolist(), TEXT, from_pandas=True)


def _joined_sides(table: pa.Table) -> Iterator[pa.Array]:
    """What the file names of both sides may make: three spellings with five marks between them."""
    left, right = (one_array(table.column(side)).cast(TEXT) for side in ("left", "right"))
    for way in ("name", "stem", "path"):
        sides = (_spelled(left, way), _spelled(right, way))
        for mark in ("-", "_", ",", " ", "|"):
            yield pc.binary_join_element_wise(*sides, text(mark))


def _spelled(paths: pa.Array, way: str) -> pa.Array:
    """Paths in one spelling; `stem` leaves the suffix out."""
    texts = pc.replace_substring(paths, "\\", "/")
    if not way.startswith("path"):
        texts = pc.replace_substring_regex(texts, r"^.*/", "")
    if way.endswith("stem"):
        texts = pc.replace_substring_regex(texts, r"([^/])\.[^./]*$", r"\1")
    return texts


def _best_known(candidates: Iterator[pa.Array], ids: pa.Array) -> pa.Array:
    """The candidate of which most are among the ids; of equals the first."""
    best, most = None, -1
    for texts in candidates:
        known = pc.sum(pc.is_in(texts, value_set=ids)).as_py() or 0
        if known > most:
            best, most = texts, known
    return best
