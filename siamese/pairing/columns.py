"""Columns of pair and triplet tables, each brought to its type or refused with the row that is wrong."""

from collections.abc import Sequence
from typing import cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.errors import PairFileError
from siamese.pairing.rows import row_name

# pandas 3 keeps text as `str`, pandas 2 as `object`; both mark what is missing with NaN.
_TEXT = pd.Series(["text"]).dtype
_TRUE = ("1", "true", "1.0")  # 1.0: a label column with gaps passes through float in many tools
_FALSE = ("0", "false", "0.0")


def require_columns(found: Sequence[str], required: Sequence[str], where: str) -> None:
    """Refuse a table that lacks one of `required` or names a column twice.

    Raises:
        PairFileError: names the missing or doubled column and the columns found.
    """
    names = [str(name) for name in found]
    shown = ", ".join(repr(name) for name in names)
    shown = shown if len(shown) <= 200 else shown[:200] + "..."
    missing = [name for name in required if name not in names]
    if missing:
        raise PairFileError(
            f"{where}: no column {missing[0]!r}; columns found: {shown}; expected at least {', '.join(required)}"
        )
    doubled = [name for name in names if names.count(name) > 1]
    if doubled:
        raise PairFileError(f"{where}: column {doubled[0]!r} appears twice; columns found: {shown}")


def path_column(frame: pd.DataFrame, name: str, where: str) -> "pd.Series[str]":
    """The column `name` as text, every cell filled.

    Raises:
        PairFileError: a cell is empty, or the column holds something other than text.
    """
    texts = identity_column(frame, name, where)
    empty = (texts.isna() | (texts.str.strip() == "")).to_numpy(dtype=bool)
    if empty.any():
        row = row_name(frame, int(empty.argmax()))
        raise PairFileError(f"{where} {row}: column {name} is empty, expected the path of an image")
    return texts


def identity_column(frame: pd.DataFrame, name: str, where: str) -> "pd.Series[str]":
    """The column `name` as text; an empty cell is missing (NaN). Whole numbers become their digits.

    Raises:
        PairFileError: the column holds something other than text.
    """
    cells = frame[name].astype(object)
    kind = pd.api.types.infer_dtype(cells, skipna=True)
    if kind == "integer":
        cells = cells.where(cells.isna(), cells.astype("string").astype(object))
    elif kind not in ("string", "empty"):
        raise PairFileError(f"{where}: column {name} holds {kind} values, expected text")
    present = cells.notna() & (cells != "")
    try:
        return cast("pd.Series[str]", cells.where(present, np.nan).astype(_TEXT))
    except UnicodeEncodeError as error:  # a file name of undecodable bytes, as the operating system gives it
        raise PairFileError(
            f"{where}: column {name} holds {error.object[:200]!r}, which is not Unicode; rename it"
        ) from None


def same_column(frame: pd.DataFrame, name: str, where: str) -> pd.Series:
    """The label column as nullable booleans, from 1/0, true/false in any case, or empty for missing.

    Raises:
        PairFileError: names the first cell that is none of these.
    """
    if isinstance(frame[name].dtype, pd.BooleanDtype):
        return frame[name]
    texts = frame[name].astype(object).astype("string").str.strip().str.lower()
    true = texts.isin(_TRUE).to_numpy(dtype=bool)
    missing = (texts.isna() | (texts == "")).to_numpy(dtype=bool)
    bad = ~(true | missing | texts.isin(_FALSE).to_numpy(dtype=bool))
    if bad.any():
        first = int(bad.argmax())
        value = str(frame[name].iloc[first])
        raise PairFileError(
            f"{where} {row_name(frame, first)}: {name} is {value!r}, expected 1 or 0, true or false, or empty"
        )
    return pd.Series(pd.arrays.BooleanArray(true, missing), index=frame.index, name=name)


def fold_column(frame: pd.DataFrame, name: str, where: str) -> "pd.Series[int]":
    """The column `name` as int64, whole numbers from 0.

    Raises:
        PairFileError: names the first cell that is missing or is no such number.
    """
    numbers: NDArray[np.float64] = pd.to_numeric(frame[name].astype(object), errors="coerce").to_numpy(
        dtype=np.float64, na_value=np.nan
    )
    good = (numbers >= 0) & (numbers < 2**31) & (numbers == np.floor(numbers))
    if not good.all():
        first = int((~good).argmax())
        value = frame[name].iloc[first]
        found = "empty" if pd.isna(value) or value == "" else repr(str(value))
        raise PairFileError(f"{where} {row_name(frame, first)}: {name} is {found}, expected a whole number from 0")
    return cast("pd.Series[int]", pd.Series(numbers.astype(np.int64), index=frame.index, name=name))
