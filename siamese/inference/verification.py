"""What a model says of the pairs of a table, a row to a row."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from siamese.evaluation.calibration_band import Answers
from siamese.images.loader import Outcome
from siamese.inference.decision import DecisionRule
from siamese.inference.pandas_types import with_pandas_types
from siamese.pairing.arrow_columns import TEXT, equals, one_array, text

COLUMNS = ("similarity", "probability", "same_predicted", "status", "detail")
"""What is put beside the columns of the pair file."""


@dataclass(frozen=True, eq=False)
class JudgedPairs:
    """What a rule says of some pairs.

    Attributes:
        scores: their similarities, shape (N,), NaN where an image could not be embedded.
        probabilities: P(same), shape (N,), NaN without a score; None without a calibration.
        answers: shapes (N,); a pair without a score has none.
    """

    scores: NDArray[np.float64]
    probabilities: NDArray[np.float64] | None
    answers: Answers

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which pairs have a score, shape (N,)."""
        return np.isfinite(self.scores)


def judge(scores: NDArray[np.float64], rule: DecisionRule) -> JudgedPairs:
    """What a rule says of similarities (N,), of which those that are NaN get no answer."""
    kept = np.isfinite(scores)
    same, answered = np.zeros(len(kept), bool), np.zeros(len(kept), bool)
    given = rule.answers(scores[kept])
    same[kept], answered[kept] = given.same & given.answered, given.answered
    probabilities = rule.probabilities(scores[kept])
    everywhere = None
    if probabilities is not None:
        everywhere = np.full(len(kept), np.nan)
        everywhere[kept] = probabilities
    return JudgedPairs(scores, everywhere, Answers(same, answered))


class Failures:
    """Images that could not be embedded, and why.

    Args:
        failures: name of each as the pair file has it, and what happened.
        root: what the names are relative to.
    """

    def __init__(self, failures: Sequence[tuple[str, Outcome]], root: Path) -> None:
        reasons = [_unicode(_reason(image, root, outcome.detail)) for image, outcome in failures]
        self.first = reasons[0] if reasons else None
        self._texts = pa.array(reasons, TEXT)
        self._images = pa.array([image for image, _ in failures], TEXT)

    def details(self, lost: pa.Table) -> pa.Array:
        """Which image of each pair without a score failed, and why, shape (N,)."""
        left, right = (
            self._texts.take(pc.index_in(one_array(lost.column(side)), value_set=self._images)).fill_null("")
            for side in ("left", "right")
        )
        both = pc.and_not(pc.invert(equals(left, "")), equals(right, ""))
        one = pc.if_else(equals(left, ""), right, left)
        joined = pc.binary_join_element_wise(left, right, text("; "))
        told = pc.if_else(pc.and_(both, pc.not_equal(left, right)), joined, one)
        return pc.if_else(equals(told, ""), text("the similarity is not a number"), told)


def judged_table(table: pa.Table, judged: JudgedPairs, failures: Failures, *, labelled: bool) -> pa.Table:
    """Pairs in input order, with `COLUMNS` beside their own.

    `probability` is there with a calibration only. `same_predicted` is true, false, or missing for a pair that is
    unsure, failed, or has nothing to be decided by; `status` is `scored` or `failed`, and `detail` says which image
    failed and why. To pandas truth values and whole numbers become nullable types.

    Args:
        table: the pairs.
        judged: what was said of them.
        failures: of their images.
        labelled: whether the pair file has a label; without a single one the column `same` is left out.
    """
    if not labelled:
        table = table.drop_columns(["same"])
    lost = ~judged.scored
    columns: dict[str, pa.Array] = {"similarity": pa.array(judged.scores, pa.float64(), from_pandas=True)}
    if judged.probabilities is not None:
        columns["probability"] = pa.array(judged.probabilities, pa.float64(), from_pandas=True)
    columns["same_predicted"] = pa.array(judged.answers.same, pa.bool_(), mask=~judged.answers.answered)
    words = pa.array(["scored", "failed"], TEXT)
    columns["status"] = words.take(pa.array(lost.astype(np.int8)))
    empty = pa.array([""], TEXT).take(pa.array(np.zeros(len(lost), np.int8)))
    if lost.any():
        where = pa.array(lost)
        empty = pc.replace_with_mask(empty, where, failures.details(table.filter(where)))
    columns["detail"] = empty
    for name, column in columns.items():
        table = table.append_column(name, column)
    return with_pandas_types(table, filled=["fold"])


@dataclass(frozen=True, eq=False)
class Verification:
    """What a model said of a pair file.

    Attributes:
        rule: how similarities became answers.
        pairs: how many there are.
        scored: how many have a similarity.
        images: how many unique images they name.
        accepted: how many are called same; None where there is nothing to decide by.
        unsure: how many have a score and no answer; None where there is nothing to decide by.
        first_failure: the first image that failed and why, after its path as the pair file has it; None without any.
        rows: the table as `judged_table` gives it, or as much of it as was asked for; None where it was written.
    """

    rule: DecisionRule
    pairs: int
    scored: int
    images: int
    accepted: int | None
    unsure: int | None
    first_failure: str | None
    rows: pa.Table | None

    @property
    def failed(self) -> int:
        """How many have no similarity, since an image could not be read or showed no face."""
        return self.pairs - self.scored


def _reason(image: str, root: Path, detail: str) -> str:
    """Why an image failed, after its path as the pair file has it."""
    # What reads images names them by their whole path, of a .bin file even below a folder that is gone.
    return f"{image}: {detail.removeprefix(f'{root / image}').removeprefix(': ') or 'no face found'}"


def _unicode(text: str) -> str:
    """A reason that any file can hold: bytes of a name that are no text, as their numbers."""
    return text.encode(errors="backslashreplace").decode()
