"""Submission files of competitions: an id and an answer a row, in the form that a sample file shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from siamese.atomic import atomic_path
from siamese.errors import DataError, OptionError, PairFileError, unknown_name
from siamese.pairing.delimited import Separator, first_line, parse_delimited, split_line
from siamese.pairing.rows import row_name
from siamese.text_file import decode_text

Answer = Literal["label", "score", "identity"]
ANSWERS: tuple[str, ...] = get_args(Answer)
_EXPECTED = "expected a sample submission: CSV with a header of two columns, an id and an answer"
_SEPARATORS: tuple[Separator, ...] = (",", "\t", ";")
_SCORE_NAMES = ("score", "similarity", "probability", "prob", "confidence")
# Different and same, as samples spell them.
_WORDS = (("0", "1"), ("False", "True"), ("false", "true"), ("FALSE", "TRUE"))


@dataclass(frozen=True, eq=False)
class SubmissionForm:
    """How a submission looks.

    Attributes:
        columns: names of the id and of the answer.
        answer: `label` is same or different, `score` a number, `identity` text.
        ids: every id that is to be answered, in order; None: those given, in the order given.
        words: what stands for different and for same in a label.
        separator: of the cells.
        source: the sample file or the option that it comes from, for messages.
    """

    columns: tuple[str, str]
    answer: Answer
    ids: "pd.Series[str] | None" = None
    words: tuple[str, str] = ("0", "1")
    separator: Separator = ","
    source: str = "--submission"


def submission_form(text: str, answer: Answer | None = None) -> SubmissionForm:
    """The form with two column names, such as `id,label`, `ID,Label` or `index,score`.

    Args:
        text: both names, separated by a comma; the first may be empty, as that of an index often is.
        answer: what the second column holds; None: a score where its name says so, else a label.

    Raises:
        OptionError: not two different names, or an unknown kind of answer.

    Example:
        >>> submission_form("index,score").answer
        'score'
    """
    names = [name.strip() for name in text.split(",")]
    if len(names) != 2 or not names[1] or names[0] == names[1]:
        raise OptionError(
            f"--submission {text!r}: expected two column names, such as id,label, or a sample submission file"
        )
    if answer is None:
        answer = "score" if names[1].lower() in _SCORE_NAMES else "label"
    return SubmissionForm((names[0], names[1]), _known(answer))


def read_sample(path: Path, answer: Answer | None = None) -> SubmissionForm:
    """The form that a sample submission shows: its column names, its ids in their order, its kind of answer.

    Labels are answers that are all 0 or 1, or all true or false, and are written as the sample spells them; scores
    are other numbers, of which one at least has a decimal point; identities are all else.

    Args:
        path: CSV with a header, cells separated by commas, tabs or semicolons.
        answer: what its second column stands for, where the sample's own answers mislead (a competition that scores
            probabilities may show a sample full of 0); None: as said above.

    Raises:
        OptionError: an unknown kind of answer.
        PairFileError: it cannot be read, has other than two columns, no rows, empty or repeated ids, or
            no answers to go by.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise PairFileError(f"{path}: cannot be read ({error.strerror}); {_EXPECTED}") from None
    text = decode_text(data, path, PairFileError, _EXPECTED)
    columns, separator = _header(text, path)
    frame = parse_delimited(text, str(path), separator)
    if not len(frame):
        raise PairFileError(f"{path}: has a header and no rows; {_EXPECTED}")
    ids, answers = frame.iloc[:, 0], frame.iloc[:, 1]
    _check_ids(frame, ids, path)
    words = next((words for words in _WORDS if answers.isin(words).all()), None)
    found = _known(answer) if answer is not None else _answer_of(answers, words, path)
    return SubmissionForm(columns, found, ids, words or ("0", "1"), separator, str(path))


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
        return _text(frame[named])
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


def _table(path: Path, ids: ArrayLike, answers: ArrayLike, form: SubmissionForm) -> pd.DataFrame:
    """Ids and answers as they are written, checked and in the order of the form."""
    names, values = (pd.Series(column).reset_index(drop=True) for column in (ids, answers))
    if len(names) != len(values) or not len(names):
        raise DataError(f"{path}: {len(names)} ids and {len(values)} answers; expected one answer for each id")
    names = _text(names)
    _check_counts(names, values, form, path)
    table = pd.DataFrame({0: names, 1: _written(values, names, form, path)})
    return table if form.ids is None else table.iloc[pd.Index(names).get_indexer(pd.Index(form.ids))]


def _known(answer: Answer) -> Answer:
    if answer not in ANSWERS:
        raise unknown_name("kind of answer", answer, ANSWERS)
    return answer


def _header(text: str, path: Path) -> tuple[tuple[str, str], Separator]:
    line = first_line(text)
    for separator in _SEPARATORS:
        names = split_line(line, separator)
        if len(names) == 2 and names[0] != names[1]:
            return (names[0], names[1]), separator
    raise PairFileError(f"{path} line 1: the header is {line[:200]!r}; {_EXPECTED}")


def _check_ids(frame: pd.DataFrame, ids: "pd.Series[str]", path: Path) -> None:
    empty = (ids == "").to_numpy(dtype=bool)
    if empty.any():
        raise PairFileError(f"{path} {row_name(frame, int(empty.argmax()))}: the id is empty; name each row")
    repeated = ids.duplicated().to_numpy(dtype=bool)
    if repeated.any():
        first = int(repeated.argmax())
        raise PairFileError(
            f"{path} {row_name(frame, first)}: the id {ids.iloc[first]!r} stands in an earlier row too; "
            "each id is answered once"
        )


def _answer_of(answers: "pd.Series[str]", words: tuple[str, str] | None, path: Path) -> Answer:
    if (answers == "").all():
        raise PairFileError(
            f"{path}: shows no answers, so that labels cannot be told from scores; name the kind of answer: "
            f"{', '.join(ANSWERS)}"
        )
    if words is not None:
        return "label"
    numbers = pd.to_numeric(answers, errors="coerce")
    whole = answers.str.fullmatch(r"\s*[+-]?[0-9]+\s*")
    return "score" if numbers.notna().all() and not whole.all() else "identity"


def _text(column: "pd.Series[Any]") -> "pd.Series[str]":
    return column.astype("string").fillna("").astype(str)


def _spelled(paths: "pd.Series[str]", way: str) -> "pd.Series[str]":
    """Paths in one spelling; `stem` leaves the suffix out."""
    texts = _text(paths).str.replace("\\", "/", regex=False)
    if not way.startswith("path"):
        texts = texts.str.replace(r"^.*/", "", regex=True)
    if way.endswith("stem"):
        texts = texts.str.replace(r"(?<=[^/])\.[^./]*$", "", regex=True)
    return texts


def _best_known(candidates: Sequence["pd.Series[str]"], ids: "pd.Series[str]") -> "pd.Series[str]":
    """The candidate of which most are among the ids; of equals the first."""
    known = [int(texts.isin(ids).sum()) for texts in candidates]
    return candidates[int(np.argmax(known))]


def _check_counts(ids: "pd.Series[str]", answers: "pd.Series[Any]", form: SubmissionForm, path: Path) -> None:
    """Refuse what is missing, surplus or repeated, all of it in one message."""
    problems = [_counted(ids[answers.isna()], "without an answer"), _counted(ids[ids.duplicated()], "repeated")]
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


def _counted(ids: "pd.Series[str]", what: str) -> str:
    return f"{what}: {len(ids)} (first {ids.iloc[0]!r})" if len(ids) else ""


def _written(answers: "pd.Series[Any]", ids: "pd.Series[str]", form: SubmissionForm, path: Path) -> "pd.Series[Any]":
    """The answers as the form has them."""
    if form.answer == "identity":
        return _text(answers).astype(object)
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
