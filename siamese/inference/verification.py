"""What a model says of the pairs of a table, a row to a row."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.evaluation.calibration_band import Answers
from siamese.inference.decision import DecisionRule
from siamese.inference.scoring import PairScores

COLUMNS = ("similarity", "probability", "same_predicted", "status", "detail")
"""What is put beside the columns of the pair file."""


@dataclass(frozen=True, eq=False)
class Verification:
    """What a model says of a pair file.

    Attributes:
        scores: the pairs with their similarities.
        rule: how they became answers.
        probabilities: P(same), shape (N,), NaN without a score; None without a calibration.
        answers: shapes (N,); a pair without a score has none.
        root: what the paths of images were relative to.
    """

    scores: PairScores
    rule: DecisionRule
    probabilities: NDArray[np.float64] | None
    answers: Answers
    root: Path

    @property
    def pairs(self) -> int:
        """How many there are."""
        return len(self.scores.scores)

    @property
    def scored(self) -> int:
        """How many have a similarity."""
        return int(np.count_nonzero(self.scores.scored))

    @property
    def failed(self) -> int:
        """How many have none, since an image could not be read or showed no face."""
        return self.pairs - self.scored

    @property
    def images(self) -> int:
        """How many unique images they name."""
        return len(self.scores.images)

    @property
    def accepted(self) -> int | None:
        """How many are called same; None where there is nothing to decide by."""
        return int(np.count_nonzero(self.answers.same & self.answers.answered)) if self.rule.decides else None

    @property
    def unsure(self) -> int | None:
        """How many have a score and no answer; None where there is nothing to decide by."""
        return self.scored - int(np.count_nonzero(self.answers.answered)) if self.rule.decides else None

    def table(self, rows: slice = slice(None)) -> pd.DataFrame:
        """The pairs in input order, with `COLUMNS` beside their own.

        `probability` is there with a calibration only. `same_predicted` is True, False, or missing for a pair that is
        unsure, failed, or has nothing to be decided by; `status` is `scored` or `failed`, and `detail` says which
        image failed and why. A column `same` without a single label is left out.

        Args:
            rows: which of them.
        """
        frame = self.scores.frame.iloc[rows]
        if self.scores.frame["same"].isna().all():
            frame = frame.drop(columns="same")
        scored = self.scores.scored[rows]
        answers = pd.arrays.BooleanArray(self.answers.same[rows].copy(), ~self.answers.answered[rows])
        columns: dict[str, Any] = {"similarity": self.scores.scores[rows]}
        if self.probabilities is not None:
            columns["probability"] = self.probabilities[rows]
        columns["same_predicted"] = answers
        columns["status"] = np.where(scored, "scored", "failed")
        columns["detail"] = self._details(frame, scored)
        return frame.assign(**columns)

    def _details(self, frame: pd.DataFrame, scored: NDArray[np.bool_]) -> NDArray[np.object_]:
        details = np.full(len(frame), "", dtype=object)
        failures = self.scores.failures
        reasons = [_reason(image, self.root, outcome.detail) for image, outcome in failures]
        texts = np.array([*reasons, ""], dtype=object)  # -1, of an image that did not fail, is the last
        lookup, lost = pd.Index([image for image, _ in failures], dtype=object), frame[~scored]
        left, right = (texts[lookup.get_indexer(pd.Index(lost[side].astype(object)))] for side in ("left", "right"))
        right = np.where(left == right, "", right)
        told = left + np.where((left != "") & (right != ""), "; ", "").astype(object) + right
        details[~scored] = np.where(told == "", "the similarity is not a number", told)
        return details

    @property
    def first_failure(self) -> str | None:
        """The first image that failed and why, after its path as the pair file has it; None without any."""
        first = next(iter(self.scores.failures), None)
        return None if first is None else _reason(first[0], self.root, first[1].detail)


def judge(scores: PairScores, rule: DecisionRule, root: Path) -> Verification:
    """What a rule says of scored pairs.

    Args:
        scores: of the rule's model.
        rule: how they become answers.
        root: what the paths of images are relative to.
    """
    kept = scores.scored
    same, answered = np.zeros(len(kept), bool), np.zeros(len(kept), bool)
    given = rule.answers(scores.scores[kept])
    same[kept], answered[kept] = given.same & given.answered, given.answered
    probabilities = rule.probabilities(scores.scores[kept])
    everywhere = None
    if probabilities is not None:
        everywhere = np.full(len(kept), np.nan)
        everywhere[kept] = probabilities
    return Verification(scores, rule, everywhere, Answers(same, answered), root)


def _reason(image: str, root: Path, detail: str) -> str:
    """Why an image failed, after its path as the pair file has it."""
    # What reads images names them by their whole path, of a .bin file even below a folder that is gone.
    return f"{image}: {detail.removeprefix(f'{root / image}').removeprefix(': ') or 'no face found'}"
