"""Columns of pair, triplet and quadruplet tables, each brought to its type or refused with the row that is wrong.

A table may have ten million rows over a million images: text that comes as categories is checked by category and
stays categorical, and no other column is walked cell by cell in Python.
"""

from typing import Any, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.errors import PairFileError
from siamese.pairing.rows import row_name

# pandas 3 keeps text as `str`, pandas 2 as `object`; both mark what is missing with NaN.
_TEXT = pd.Series(["text"]).dtype
_TRUE, _FALSE = "1", "0"


def path_column(frame: pd.DataFrame, name: str, where: str) -> "pd.Series[str]":
    """The column `name` as text, every cell filled; categories stay categories.

    Raises:
        PairFileError: a cell is empty, or the column holds something other than text.
    """
    texts = identity_column(frame, name, where)
    empty = _blank(texts)
    if empty.any():
        row = row_name(frame, int(empty.argmax()))
        raise PairFileError(f"{where} {row}: column {name} is empty, expected the path of an image")
    return texts


def identity_column(frame: pd.DataFrame, name: str, where: str) -> "pd.Series[str]":
    """The column `name` as text; an empty cell is missing (NaN). Whole numbers become their digits.

    Categories of text stay categories.

    Raises:
        PairFileError: the column holds something other than text.
    """
    cells = frame[name]
    if isinstance(cells.dtype, pd.CategoricalDtype):
        return _text_categories(cells, name, where)
    if not isinstance(cells.dtype, pd.StringDtype):
        cells = _text_objects(cells.astype(object), name, where)
    try:
        texts = cells.astype(_TEXT)
    except UnicodeEncodeError as error:  # a file name of undecodable bytes, as the operating system gives it
        raise PairFileError(
            f"{where}: column {name} holds {error.object[:200]!r}, which is not Unicode; rename it"
        ) from None
    empty = (texts == "").to_numpy(dtype=bool, na_value=False)
    return cast("pd.Series[str]", texts.mask(empty, np.nan) if empty.any() else texts)


def same_column(frame: pd.DataFrame, name: str, where: str, same_label: str | None = None) -> pd.Series:
    """The label column as nullable booleans, from 1/0, true/false in any case, or empty for missing.

    Args:
        frame: the table.
        name: the column.
        where: the file that messages name.
        same_label: the value that means *same*, in any case; every other value that is not empty then means
            different. Sets of signatures write 0 for genuine and 1 for forged.

    Raises:
        PairFileError: names the first cell that is none of these; no cell holds `same_label`.
    """
    if same_label is None and isinstance(frame[name].dtype, pd.BooleanDtype):
        return frame[name]
    codes, values = pd.factorize(frame[name])
    # One more at the end, for what is missing: its code is -1.
    words = np.array([*_words(values), ""], dtype=object)
    true, missing = words == _TRUE, words == ""
    if same_label is not None:
        true = _chosen(words, same_label, name, where)
    elif (bad := ~(true | missing | (words == _FALSE))[codes]).any():
        first = int(bad.argmax())
        value = str(frame[name].iloc[first])
        raise PairFileError(
            f"{where} {row_name(frame, first)}: {name} is {value!r}, expected 1 or 0, true or false, or empty; "
            "--same-label names the value that means same"
        )
    return pd.Series(pd.arrays.BooleanArray(true[codes], missing[codes]), index=frame.index, name=name)


def fold_column(frame: pd.DataFrame, name: str, where: str) -> "pd.Series[int]":
    """The column `name` as int64, whole numbers from 0.

    Raises:
        PairFileError: names the first cell that is missing or is no such number.
    """
    cells = frame[name] if pd.api.types.is_numeric_dtype(frame[name].dtype) else frame[name].astype(object)
    numbers: NDArray[np.float64] = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    good = (numbers >= 0) & (numbers < 2**31) & (numbers == np.floor(numbers))
    if not good.all():
        first = int((~good).argmax())
        value = frame[name].iloc[first]
        found = "empty" if pd.isna(value) or value == "" else repr(str(value))
        raise PairFileError(f"{where} {row_name(frame, first)}: {name} is {found}, expected a whole number from 0")
    return cast("pd.Series[int]", pd.Series(numbers.astype(np.int64), index=frame.index, name=name))


def _text_objects(cells: "pd.Series[Any]", name: str, where: str) -> "pd.Series[Any]":
    kind = pd.api.types.infer_dtype(cells, skipna=True)
    if kind == "integer":
        return cells.where(cells.isna(), cells.astype("string").astype(object))
    if kind not in ("string", "empty"):
        raise PairFileError(f"{where}: column {name} holds {kind} values, expected text")
    return cells


def _text_categories(cells: "pd.Series[Any]", name: str, where: str) -> "pd.Series[str]":
    texts = identity_column(cells.cat.categories.to_frame(index=False, name=name), name, where)
    unnamed = texts.isna().to_numpy(dtype=bool)
    if unnamed.any():
        cells = cells.cat.remove_categories(cells.cat.categories[unnamed])
        texts = texts[~unnamed]
    if cells.cat.categories.dtype == texts.dtype:
        return cells
    # Codes and an index: a list would make a Python string of every category.
    codes = pd.Categorical.from_codes(cells.cat.codes.to_numpy(), categories=pd.Index(texts), validate=False)
    return cast("pd.Series[str]", pd.Series(codes, index=cells.index, name=name))


def _blank(texts: "pd.Series[str]") -> NDArray[np.bool_]:
    """Where a cell is missing or holds nothing but white space."""
    if not isinstance(texts.dtype, pd.CategoricalDtype):
        return (texts.isna() | (texts.str.strip() == "")).to_numpy(dtype=bool)
    # The last place stands for what is missing: its code is -1.
    blank = np.append(texts.cat.categories.to_series().str.strip().to_numpy() == "", True)
    codes = texts.cat.codes.to_numpy()
    return blank[codes] if blank[:-1].any() else codes < 0


def _words(values: Any) -> list[str]:
    """Distinct labels in one spelling: lower case, no blanks around, 1 and 0 for truth values and whole floats."""
    texts = pd.Series(values).astype(object).astype("string").str.strip().str.lower()
    # A label column with gaps passes through float in many tools.
    texts = texts.str.replace(r"^(-?[0-9]+)\.0$", r"\1", regex=True).replace({"true": _TRUE, "false": _FALSE})
    return [str(text) for text in texts]


def _chosen(words: NDArray[Any], same_label: str, name: str, where: str) -> NDArray[np.bool_]:
    label = _words([same_label])[0]
    true = words == label
    if not label or not true.any():
        found = ", ".join(repr(word) for word in words[:-1][:10]) or "none"
        raise PairFileError(
            f"{where}: no row has {same_label!r} in column {name}; values found: {found}; "
            "give --same-label the one that means same"
        )
    return np.asarray(true, dtype=bool)
