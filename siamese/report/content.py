"""All that a report shows, as plain values: whoever fills it decides what is measured, the report how it looks."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from siamese.errors import DataError
from siamese.evaluation.curves import check_scores
from siamese.report.measured import Diagnostics, Fact, Figure, Matches, Reliability, Slice

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class ModelContent:
    """One model on the pairs of the report.

    Attributes:
        name: as the user calls it.
        facts: encoder, preprocessing, threshold and what it was fitted on.
        scores: similarities of the pairs, shape (N,).
        same: labels, shape (N,); of both kinds.
        accepted: decisions, shape (N,).
        threshold: the one of all decisions; None where each fold has its own.
        figures: of the summary, in its order.
        reliability: None without calibrated probabilities.
        history: a row for each evaluation of the training, the baseline (epoch 0) first; None without training.
        best_epoch: whose weights were kept; None where unknown.
        slices: those of one column together, worst first.
        matches: None without groups.
        diagnostics: of embeddings and scores; None where they were not measured.
    """

    name: str
    facts: tuple[Fact, ...]
    scores: Floats
    same: Bools
    accepted: Bools
    threshold: float | None = None
    figures: tuple[Figure, ...] = ()
    reliability: Reliability | None = None
    history: tuple[Mapping[str, float], ...] | None = None
    best_epoch: int | None = None
    slices: tuple[Slice, ...] = ()
    matches: Matches | None = None
    diagnostics: Diagnostics | None = None

    def __post_init__(self) -> None:
        check_scores(self.scores, self.same)
        if np.shape(self.accepted) != np.shape(self.scores):
            found = f"decisions {np.shape(self.accepted)} and scores {np.shape(self.scores)}"
            raise DataError(f"model {self.name!r}: {found}; expected one decision for each score")


@dataclass(frozen=True)
class Comparison:
    """Two models on the same pairs.

    Attributes:
        first: name of one model.
        second: name of the other.
        differences: second - first, with intervals.
        verdict: in words, such as `no significant difference`.
        p: of the test that the verdict rests on; None without one, or where the verdict says it.
    """

    first: str
    second: str
    differences: tuple[Figure, ...]
    verdict: str
    p: float | None = None


@dataclass(frozen=True)
class Mistake:
    """A pair that was decided wrongly.

    Attributes:
        left: path of an image.
        right: path of the other one.
        same: true for a genuine pair, which was rejected; false for an impostor pair, which was accepted.
        score: similarity.
        threshold: accepted at this score and above.
        left_identity: None where unknown.
        right_identity: None where unknown.
    """

    left: str
    right: str
    same: bool
    score: float
    threshold: float
    left_identity: str | None = None
    right_identity: str | None = None


@dataclass(frozen=True)
class Mistakes:
    """The hardest mistakes of one model.

    Attributes:
        model: its name.
        accepts: impostor pairs accepted, furthest above the threshold first.
        rejects: genuine pairs rejected, furthest below the threshold first.
        false_accepts: how many there were in all.
        false_rejects: how many there were in all.
        per_identity: at most so many of either kind were chosen from one identity.
    """

    model: str
    accepts: tuple[Mistake, ...]
    rejects: tuple[Mistake, ...]
    false_accepts: int
    false_rejects: int
    per_identity: int


@dataclass(frozen=True)
class ReportContent:
    """A report.

    Attributes:
        title: of the page.
        measured: what was measured: pairs, images, protocol, what failed.
        models: at least one, all on the same pairs.
        comparisons: of two models each.
        baseline: of the untouched encoder, first, with the model that training made of it.
        no_baseline: in words, why there is no such comparison; empty where none was asked for.
        mistakes: of some of the models.
        intervals: in words, what the intervals are, such as `95 %, bootstrap over identities`.
        command: that wrote the report.
        versions: of the software.
    """

    title: str
    measured: tuple[Fact, ...]
    models: tuple[ModelContent, ...]
    comparisons: tuple[Comparison, ...] = ()
    baseline: Comparison | None = None
    no_baseline: str = ""
    mistakes: tuple[Mistakes, ...] = ()
    intervals: str = ""
    command: str = ""
    versions: tuple[Fact, ...] = ()

    def __post_init__(self) -> None:
        if not self.models:
            raise DataError("report: 0 models; expected at least one")

    @property
    def pictures(self) -> list[str]:
        """The images of all mistakes, each once, in the order of the page."""
        mistakes = (mistake for found in self.mistakes for mistake in (*found.accepts, *found.rejects))
        return list(dict.fromkeys(path for mistake in mistakes for path in (mistake.left, mistake.right)))
