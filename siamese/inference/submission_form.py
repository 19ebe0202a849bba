"""What a competition's submission looks like: told by a sample file, or by the names of its two columns."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import pyarrow as pa
import pyarrow.compute as pc

from siamese.errors import OptionError, PairFileError, unknown_name
from siamese.pairing.arrow_columns import TEXT, any_of, equals, one_array, repeated
from siamese.pairing.delimited import Separator, first_line, read_delimited, split_line
from siamese.pairing.file_rows import FileRows
from siamese.text_file import decode_text

Answer = Literal["label", "score", "identity"]
ANSWERS: tuple[str, ...] = get_args(Answer)
SUBMITTED = 5
"""Identities to an image where nothing tells: what competitions that score the mean average precision of five ask."""
_EXPECTED = "expected a sample submission: CSV with a header of two columns, an id and an answer"
_SEPARATORS: tuple[Separator, ...] = (",", "\t", ";")
_SCORE_NAMES = ("score", "similarity", "probability", "prob", "confidence")
# Different and same, as samples spell them.
_WORDS = (("0", "1"), ("False", "True"), ("false", "true"), ("FALSE", "TRUE"))
_NUMBER = r"^\s*[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|(?i:inf(inity)?))\s*$"


@dataclass(frozen=True, eq=False)
class SubmissionForm:
    """How a submission looks.

    Attributes:
        columns: names of the id and of the answer.
        answer: `label` is same or different, `score` a number, `identity` text.
        ids: every id that is to be answered, in order, an Arrow array of text; None: those given, in the order given.
        words: what stands for different and for same in a label.
        separator: of the cells.
        source: the sample file or the option that it comes from, for messages.
        places: how many identities an answer names, between blanks.
    """

    columns: tuple[str, str]
    answer: Answer
    ids: pa.Array | None = None
    words: tuple[str, str] = ("0", "1")
    separator: Separator = ","
    source: str = "--submission"
    places: int = SUBMITTED


def parse_submission(text: str, answer: Answer | None = None) -> SubmissionForm:
    """The form that an option names: a sample submission file, or two column names.

    Args:
        text: path of a sample (`read_sample`), or names with a comma between them (`submission_form`).
        answer: what the second column holds; None: what the sample or the name says.

    Raises:
        OptionError: neither.
        PairFileError: the sample cannot be read, or shows no form.
    """
    path = Path(text)
    if path.is_file() or path.suffix.lower() in (".csv", ".tsv", ".txt"):
        return read_sample(path, answer)
    return submission_form(text, answer)


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
        example = "Image,Id" if answer == "identity" else "id,label"
        raise OptionError(
            f"--submission {text!r}: expected two column names, such as {example}, or a sample submission file"
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
    rows = read_delimited(text, str(path), separator)
    if not len(rows):
        raise PairFileError(f"{path}: has a header and no rows; {_EXPECTED}")
    ids, answers = (one_array(column).cast(TEXT) for column in rows.table.columns)
    _check_ids(rows, ids, path)
    words = next((words for words in _WORDS if _all_in(answers, words)), None)
    found = _known(answer) if answer is not None else _answer_of(answers, words, path)
    places = _most_words(answers) if found == "identity" else SUBMITTED
    return SubmissionForm(columns, found, ids, words or ("0", "1"), separator, str(path), places or SUBMITTED)


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


def _check_ids(rows: FileRows, ids: pa.Array, path: Path) -> None:
    empty = pc.index(ids, "").as_py()
    if empty >= 0:
        raise PairFileError(f"{path} {rows.row_name(empty)}: the id is empty; name each row")
    again = repeated(ids)
    if again.any():
        first = int(again.argmax())
        raise PairFileError(
            f"{path} {rows.row_name(first)}: the id {ids[first].as_py()!r} stands in an earlier row too; "
            "each id is answered once"
        )


def _all_in(answers: pa.Array, words: tuple[str, str]) -> bool:
    return bool(pc.all(pc.is_in(answers, value_set=pa.array(words, TEXT))).as_py())


def _answer_of(answers: pa.Array, words: tuple[str, str] | None, path: Path) -> Answer:
    if not any_of(pc.invert(equals(answers, ""))):
        raise PairFileError(
            f"{path}: shows no answers, so that labels cannot be told from scores; say --answer label or "
            "--answer score"
        )
    if words is not None:
        return "label"
    numbers = pc.match_substring_regex(answers, _NUMBER)
    whole = pc.match_substring_regex(answers, r"^\s*[+-]?[0-9]+\s*$")
    return "score" if pc.all(numbers).as_py() and not pc.all(whole).as_py() else "identity"


def _most_words(answers: pa.Array) -> int:
    """The most words in an answer."""
    texts = pc.utf8_trim_whitespace(answers)
    most = pc.max(pc.list_value_length(pc.utf8_split_whitespace(texts))).as_py()
    return int(most) if any_of(pc.invert(equals(texts, ""))) else 0
