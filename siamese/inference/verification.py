"""What a model says of the pairs of a table, a row to a row."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.evaluation.calibration_band import Answers
from siamese.images.loader import Outcome
from siamese.inference.decision import DecisionRule

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
        reasons = [_reason(image, root, outcome.detail) for image, outcome in failures]
        self.first = reasons[0] if reasons else None
        # -1, of an image that did not fail, is the last.
        self._texts = np.array([*reasons, ""], dtype=object)
        self._lookup = pd.Index([image for image, _ in failures], dtype=object)

    def details(self, lost: pd.DataFrame) -> NDArray[np.object_]:
        """Which image of each pair without a score failed, and why, shape (N,)."""
        left, right = (
            self._texts[self._lookup.get_indexer(pd.Index(lost[side].astype(object)))] for side in ("left", "right")
        )
        right = np.where(left == right, "", right)
        told = left + np.where((left != "") & (right != ""), "; ", "").astype(object) + right
        return np.asarray(np.where(told == "", "the similarity is not a number", told), dtype=object)


def judged_table(frame: pd.DataFrame, judged: JudgedPairs, failures: Failures, *, labelled: bool) -> pd.DataFrame:
    """Pairs in input order, with `COLUMNS` beside their own.

    `probability` is there with a calibration only. `same_predicted` is True, False, or missing for a pair that is
    unsure, failed, or has nothing to be decided by; `status` is `scored` or `failed`, and `detail` says which image
    failed and why.

    Args:
        frame: the pairs.
        judged: what was said of them.
        failures: of their images.
        labelled: whether the pair file has a label; without a single one the column `same` is left out.
    """
    if not labelled:
        frame = frame.drop(columns="same")
    scored = judged.scored
    columns: dict[str, Any] = {"similarity": judged.scores}
    if judged.probabilities is not None:
        columns["probability"] = judged.probabilities
    columns["same_predicted"] = pd.arrays.BooleanArray(judged.answers.same.copy(), ~judged.answers.answered)
    columns["status"] = np.where(scored, "scored", "failed")
    details = np.full(len(frame), "", dtype=object)
    if not scored.all():
        details[~scored] = failures.details(frame[~scored])
    columns["detail"] = details
    return frame.assign(**columns)


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
    rows: pd.DataFrame | None

    @property
    def failed(self) -> int:
        """How many have no similarity, since an image could not be read or showed no face."""
        return self.pairs - self.scored


def _reason(image: str, root: Path, detail: str) -> str:
    """Why an image failed, after its path as the pair file has it."""
    # What reads images names them by their whole path, of a .bin file even below a folder that is gone.
    return f"{image}: {detail.removeprefix(f'{root / image}').removeprefix(': ') or 'no face found'}"
