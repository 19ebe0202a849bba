"""Submission files of competitions: an id and an answer a row, every id answered once."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from siamese.atomic import atomic_path
from siamese.errors import DataError, OptionError
from siamese.inference.submission_form import SubmissionForm
from siamese.inference.submission_ids import as_text


def write_submission(path: Path, ids: ArrayLike, answers: ArrayLike, form: SubmissionForm) -> None:
    """Write the answers in the form's order, whole or not at all.

    Args:
        path: ends in .csv.
        ids: of the answers, (N,); compared with the sample's as text.
        answers: (N,), none of them missing: for `label` truth values or 0 and 1; for `score` finite numbers, written
            with all their digits; for `identity` text, such as one label or the five most probable ones between
            blanks, empty for an image without any.
        form: of the file.

    Raises:
        OptionError: the file ends in something else than .csv.
        DataError: answers of another kind or missing; ids that are missing, surplus or repeated.
    """
    if path.suffix.lower() != ".csv":
        raise OptionError(f"-o {path}: a submission ends in .csv; name it so")
    try:
        table = _table(path, ids, answers, form)
        with atomic_path(path) as temporary:
            table.to_csv(
                temporary,
                header=list(form.columns),
                index=False,
                sep=form.separator,
                encoding="utf-8",
                lineterminator="\n",
            )
    except UnicodeEncodeError as error:
        raise DataError(f"{path}: {error.object[:200]!r} cannot be written as UTF-8; rename it") from None


def check_ids(
    path: Path, ids: "pd.Series[str]", form: SubmissionForm, answers: "pd.Series[Any] | None" = None
) -> None:
    """Refuse ids that are missing, surplus, repeated or without an answer, all of it in one message.

    Args:
        path: the file that is to be written, for messages.
        ids: of the answers, (N,).
        form: of the file.
        answers: (N,); None before the work that finds them.

    Raises:
        DataError: names how many there are of each kind, and the first.
    """
    problems = [] if answers is None else [_counted(ids[answers.isna()], "without an answer")]
    problems.append(_counted(ids[ids.duplicated()], "repeated"))
    expected = "one answer for each id"
    if form.ids is not None:
        problems += [
            _counted(form.ids[~form.ids.isin(ids)], "missing"),
            _counted(ids[~ids.isin(form.ids)], "surplus"),
        ]
        expected += f" of the {len(form.ids)} in {form.source}"
    found = [problem for problem in problems if problem]
    if found:
        raise DataError(f"{path}: {len(ids)} answers, ids {', '.join(found)}; expected {expected}")


def _table(path: Path, ids: ArrayLike, answers: ArrayLike, form: SubmissionForm) -> pd.DataFrame:
    """Ids and answers as they are written, checked and in the order of the form."""
    names, values = (pd.Series(column).reset_index(drop=True) for column in (ids, answers))
    if len(names) != len(values) or not len(names):
        raise DataError(f"{path}: {len(names)} ids and {len(values)} answers; expected one answer for each id")
    names = as_text(names)
    check_ids(path, names, form, values)
    table = pd.DataFrame({0: names, 1: _written(values, names, form, path)})
    return table if form.ids is None else table.iloc[pd.Index(names).get_indexer(pd.Index(form.ids))]


def _counted(ids: "pd.Series[str]", what: str) -> str:
    return f"{what}: {len(ids)} (first {ids.iloc[0]!r})" if len(ids) else ""


def _written(answers: "pd.Series[Any]", ids: "pd.Series[str]", form: SubmissionForm, path: Path) -> "pd.Series[Any]":
    """The answers as the form has them."""
    if form.answer == "identity":
        return as_text(answers).astype(object)
    numbers = pd.to_numeric(answers, errors="coerce")
    if pd.api.types.is_bool_dtype(numbers.dtype):
        numbers = numbers.astype(np.int64)
    if form.answer == "label":
        good, expected = numbers.isin([0, 1]).to_numpy(dtype=bool), "0 or 1"
    else:
        good = np.isfinite(numbers.to_numpy(dtype=np.float64, na_value=np.nan))
        expected = "a finite number"
    if not good.all():
        first = int((~good).argmax())
        raise DataError(
            f"{path}: the answer for id {ids.iloc[first]!r} is {str(answers.iloc[first])!r}, "
            f"expected {expected}, as column {form.columns[1]} of {form.source} holds {form.answer}s"
        )
    if form.answer == "score":
        return numbers
    return pd.Series(np.array(form.words, dtype=object)[numbers.to_numpy(dtype=np.int64)])
