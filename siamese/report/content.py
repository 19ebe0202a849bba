"""All that a report shows, as plain values: whoever fills it decides what is measured, the report how it looks."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from siamese.errors import DataError
from siamese.evaluation.curves import check_scores

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Figure:
    """A measured number with its interval.

    Attributes:
        name: of the metric, the same in every model, such as `accuracy` or `TAR at FAR 0.001`.
        value: None is *insufficient data*.
        low: lower end of its interval, None without one.
        high: upper end of its interval, None without one.
        note: a remark in words, such as `on the split the threshold was fitted on`; may be empty.
        percent: show a share as a percentage.
    """

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    note: str = ""
    percent: bool = False


@dataclass(frozen=True)
class Fact:
    """A row of what a model is, or of what was measured.

    Attributes:
        name: such as `encoder` or `threshold fitted on`.
        value: in words.
        warning: in words, what is doubtful about it (a threshold fitted on the pairs it is read on); empty: nothing.
    """

    name: str
    value: str
    warning: str = ""


@dataclass(frozen=True)
class ReliabilityBin:
    """One bin of a reliability diagram.

    Attributes:
        probability: mean P(same) of its pairs.
        genuine: share of them that are genuine.
        low: lower end of that share's interval.
        high: upper end of that share's interval.
        pairs: how many, 1 or more.
    """

    probability: float
    genuine: float
    low: float
    high: float
    pairs: int


@dataclass(frozen=True)
class Reliability:
    """How far a model's probabilities can be believed.

    Attributes:
        bins: at rising probabilities, at least one.
        ece: expected calibration error.
        brier: Brier score.
    """

    bins: tuple[ReliabilityBin, ...]
    ece: float
    brier: float


@dataclass(frozen=True)
class Slice:
    """One part of the pairs, measured; the slices of a column are given worst first.

    Attributes:
        column: that the pairs are parted by.
        value: of that column.
        genuine: pairs in the slice.
        impostor: pairs in the slice.
        figures: the first one is drawn.
    """

    column: str
    value: str
    genuine: int
    impostor: int
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Matches:
    """False matches between groups of identities.

    Attributes:
        groups: names of the G groups.
        far: share of the impostor pairs of two groups that was accepted, G rows of G; None is *insufficient data*.
        impostors: how many pairs those are, G rows of G.
    """

    groups: tuple[str, ...]
    far: tuple[tuple[float | None, ...], ...]
    impostors: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        size = len(self.groups)
        for name, rows in (("far", self.far), ("impostors", self.impostors)):
            if [len(row) for row in rows] != [size] * size:
                raise DataError(f"false matches, {name}: expected {size} rows of {size}, one for each group")


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
        p: of the test that the verdict rests on, None without one.
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
        mistakes: of some of the models.
        intervals: in words, what the intervals are, such as `95 %, bootstrap over identities`.
        command: that wrote the report.
        versions: of the software.
    """

    title: str
    measured: tuple[Fact, ...]
    models: tuple[ModelContent, ...]
    comparisons: tuple[Comparison, ...] = ()
    mistakes: tuple[Mistakes, ...] = ()
    intervals: str = ""
    command: str = ""
    versions: tuple[Fact, ...] = ()

    def __post_init__(self) -> None:
        if not self.models:
            raise DataError("report: 0 models; expected at least one")
