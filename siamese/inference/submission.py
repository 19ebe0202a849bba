"""Submission files of competitions: an id and an answer a row, every id answered once."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from siamese.atomic import atomic_path
from siamese.errors import DataError, OptionError
from siamese.inference.csv_text import csv_lines, header_line
from siamese.inference.submission_form import SubmissionForm
from siamese.inference.submission_ids import as_text
from siamese.pairing.arrow_columns import TEXT, as_numpy, repeated


def write_submission(path: Path, ids: Any, answers: Any, form: SubmissionForm) -> None:
    """Write the answers in the form's order, whole or not at all.

    Args:
        path: ends in .csv.
        ids: of the answers, (N,), an Arrow array, a list or what NumPy makes an array of; compared with the sample's
            as text.
        answers: (N,), likewise, none of them missing: for `label` truth values or 0 and 1; for `score` finite
            numbers, written with all their digits; for `identity` text, such as one label or the five most probable
            ones between blanks, empty for an image without any.
        form: of the file.

    Raises:
        OptionError: the file ends in something else than .csv.
        DataError: answers of another kind or missing; ids that are missing, surplus or repeated.
    """
    if path.suffix.lower() != ".csv":
        raise OptionError(f"-o {path}: a submission ends in .csv; name it so")
    try:
        table = _table(path, ids, answers, form)
    except UnicodeEncodeError as error:
        raise DataError(f"{path}: {error.object[:200]!r} cannot be written as UTF-8; rename it") from None
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.write(header_line(form.columns, form.separator))
        file.write(csv_lines(table, form.separator))


def check_ids(path: Path, ids: Any, form: SubmissionForm, missing: NDArray[np.bool_] | None = None) -> None:
    """Refuse ids that are missing, surplus, repeated or without an answer, all of it in one message.

    Args:
        path: the file that is to be written, for messages.
        ids: of the answers, (N,).
        form: of the file.
        missing: which of them have no answer, (N,); None before the work that finds the answers.

    Raises:
        DataError: names how many there are of each kind, and the first.
    """
    names = as_text(ids)
    problems = [] if missing is None else [_counted(names, missing, "without an answer")]
    problems.append(_counted(names, repeated(names), "repeated"))
    expected = "one answer for each id"
    if form.ids is not None:
        problems += [
            _counted(form.ids, _not_in(form.ids, names), "missing"),
            _counted(names, _not_in(names, form.ids), "surplus"),
        ]
        expected += f" of the {len(form.ids)} in {form.source}"
    found = [problem for problem in problems if problem]
    if found:
        raise DataError(f"{path}: {len(names)} answers, ids {', '.join(found)}; expected {expected}")


def _table(path: Path, ids: Any, answers: Any, form: SubmissionForm) -> pa.Table:
    """Ids and answers as they are written, checked and in the order of the form."""
    if len(ids) != len(answers) or not len(ids):
        raise DataError(f"{path}: {len(ids)} ids and {len(answers)} answers; expected one answer for each id")
    names = as_text(ids)
    values = np.array(answers.to_pylist()) if isinstance(answers, pa.Array) else np.asarray(answers)
    check_ids(path, names, form, _missing(values))
    table = pa.table({"0": names, "1": _written(values, names, form, path)})
    return table if form.ids is None else table.take(pc.index_in(form.ids, value_set=names))


def _counted(ids: pa.Array, chosen: NDArray[np.bool_], what: str) -> str:
    number = int(np.count_nonzero(chosen))
    return f"{what}: {number} (first {ids[int(chosen.argmax())].as_py()!r})" if number else ""


def _not_in(ids: pa.Array, others: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(~as_numpy(pc.is_in(ids, value_set=others)), dtype=bool)


def _missing(answers: NDArray[Any]) -> NDArray[np.bool_]:
    if answers.dtype.kind == "f":
        return np.asarray(np.isnan(answers), dtype=bool)
    if answers.dtype.kind != "O":
        return np.zeros(len(answers), bool)
    values = answers.tolist()
    return np.array([value is None or value != value for value in values], bool)  # NaN alone is not itself


def _written(answers: NDArray[Any], ids: pa.Array, form: SubmissionForm, path: Path) -> pa.Array:
    """The answers as the form has them."""
    if form.answer == "identity":
        return as_text(answers)
    numbers = answers.astype(np.int64) if answers.dtype.kind == "b" else _numbers(answers)
    if form.answer == "label":
        good, expected = np.isin(numbers, [0, 1]), "0 or 1"
    else:
        good, expected = np.isfinite(numbers), "a finite number"
    if not good.all():
        first = int((~good).argmax())
        raise DataError(
            f"{path}: the answer for id {ids[first].as_py()!r} is {str(answers[first])!r}, "
            f"expected {expected}, as column {form.columns[1]} of {form.source} holds {form.answer}s"
        )
    if form.answer == "score":
        return pa.array(numbers)
    return pa.array(form.words, TEXT).take(pa.array(numbers.astype(np.int8)))


def _numbers(answers: NDArray[Any]) -> NDArray[Any]:
    """Answers as numbers, NaN where they are none."""
    if answers.dtype.kind in "iuf":
        return answers
    import pandas as pd

    numbers: NDArray[Any] = pd.to_numeric(pd.Series(answers), errors="coerce").to_numpy()
    return numbers.astype(np.int64) if numbers.dtype.kind == "b" else numbers
