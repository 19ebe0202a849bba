"""What a submission calls pairs and images: by a column of ids, by file names, or by the number of the row."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from siamese.inference.submission_form import SubmissionForm


def pair_ids(frame: pd.DataFrame, form: SubmissionForm) -> "pd.Series[str]":
    """The id of each row of a pair table, (N,).

    It is the table's column of the form's name, in any case. Without one it is what makes the ids of a sample out of
    the file names of both sides (`a.jpg-b.jpg`, with or without suffixes), or else the number of the row: from 1
    where the sample has no id 0.

    Args:
        frame: pair table with `left, right`; rows without a column of ids must be in the order of the competition.
        form: of the submission.
    """
    wanted = form.columns[0].lower()
    named = next((str(name) for name in frame.columns if str(name).lower() == wanted), None)
    if named is not None:
        return as_text(frame[named])
    if form.ids is not None:
        sides = [(_spelled(frame["left"], way), _spelled(frame["right"], way)) for way in ("name", "stem", "path")]
        joined = [left + mark + right for left, right in sides for mark in ("-", "_", ",", " ", "|")]
        best = _best_known(joined, form.ids)
        if best.isin(form.ids).any():
            return best
    first = 1 if form.ids is not None and not form.ids.isin(["0"]).any() else 0
    return pd.Series(np.arange(first, first + len(frame)).astype(str), index=frame.index)


def image_ids(paths: Sequence[str], form: SubmissionForm) -> "pd.Series[str]":
    """The id of each image, (N,): the spelling of its path that most ids of the sample have, else its file name.

    Spellings are the file name, that without its suffix, the whole path, and that without its suffix.
    """
    column = pd.Series(list(paths), dtype=str)
    spellings = [_spelled(column, way) for way in ("name", "stem", "path", "path stem")]
    return spellings[0] if form.ids is None else _best_known(spellings, form.ids)


def as_text(column: "pd.Series[Any]") -> "pd.Series[str]":
    """Ids as they are compared: text, empty where missing."""
    return column.astype("string").fillna("").astype(str)


def _spelled(paths: "pd.Series[str]", way: str) -> "pd.Series[str]":
    """Paths in one spelling; `stem` leaves the suffix out."""
    texts = as_text(paths).str.replace("\\", "/", regex=False)
    if not way.startswith("path"):
        texts = texts.str.replace(r"^.*/", "", regex=True)
    if way.endswith("stem"):
        texts = texts.str.replace(r"(?<=[^/])\.[^./]*$", "", regex=True)
    return texts


def _best_known(candidates: Sequence["pd.Series[str]"], ids: "pd.Series[str]") -> "pd.Series[str]":
    """The candidate of which most are among the ids; of equals the first."""
    known = [int(texts.isin(ids).sum()) for texts in candidates]
    return candidates[int(np.argmax(known))]
