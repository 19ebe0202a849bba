"""From evaluations to the content of a report."""

import csv
import importlib.metadata
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import siamese
from siamese.errors import ImageError
from siamese.evaluation.intervals import Estimate
from siamese.evaluation.reliability import reliability_bins
from siamese.images.decode import decode
from siamese.inference.evaluation import Evaluation
from siamese.inference.model_comparison import ModelComparison
from siamese.inference.parts import Parts
from siamese.inference.verifier import Verifier
from siamese.report.content import (
    Comparison,
    Fact,
    Figure,
    Matches,
    Mistakes,
    ModelContent,
    Reliability,
    ReliabilityBin,
    ReportContent,
    Slice,
)
from siamese.report.mistakes import hardest_mistakes

INTERVALS = "95 %, allowing for pairs that share people (dyadic-robust variance)"
# What the statistics are called in a report, and whether they are shown as percentages.
_NAMES = {
    "accuracy": ("accuracy", True),
    "balanced_accuracy": ("balanced accuracy", True),
    "auc": ("AUC", False),
    "eer": ("EER", True),
    "f1": ("F1", False),
    "precision": ("precision", True),
    "recall": ("recall", True),
    "tar": ("TAR", True),
    "far": ("FAR", True),
    "mcc": ("Matthews correlation", False),
}


@dataclass(frozen=True)
class Evaluated:
    """A model and what was found.

    Attributes:
        name: as the user calls it.
        verifier: the model.
        evaluation: on the pairs of the report.
        parts: the same by columns.
    """

    name: str
    verifier: Verifier
    evaluation: Evaluation
    parts: tuple[Parts, ...] = ()


def report_content(
    evaluated: Sequence[Evaluated], comparisons: Sequence[ModelComparison], pairs: Path, *, flip: bool = False
) -> ReportContent:
    """All that a report shows of some models on the same pairs.

    Args:
        evaluated: the models, at least one.
        comparisons: of two of them each.
        pairs: the pair file.
        flip: whether images were embedded together with their mirror images.
    """
    first = evaluated[0].evaluation
    flattering = ""
    if any(each.evaluation.fitted_here for each in evaluated):
        flattering = "a threshold or a calibration was fitted on some of these pairs: its figures flatter"
    measured = (
        Fact(
            "pairs",
            f"{pairs}: {first.measurement.genuine:,} genuine, {first.measurement.impostor:,} impostor",
            flattering,
        ),
        Fact("images", f"{first.images:,}{', each with its mirror image' if flip else ''}"),
        Fact("without a score", f"{first.failed:,} pairs"),
        Fact("people", f"{len(np.unique((first.people.left, first.people.right))):,}, from {_source(first)}"),
    )
    return ReportContent(
        title=f"Verification on {pairs.name}",
        measured=measured,
        models=tuple(map(_model, evaluated)),
        comparisons=tuple(map(_comparison, comparisons)),
        mistakes=tuple(_mistakes(each) for each in evaluated),
        intervals=INTERVALS,
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        versions=(
            Fact("siamese", siamese.__version__),
            *(Fact(name, importlib.metadata.version(name)) for name in ("torch", "numpy", "scikit-learn")),
        ),
    )


def pictures_below(root: Path) -> Callable[[str], NDArray[np.uint8] | None]:
    """Reads pictures by their paths in the pair file; None for those that cannot be read."""

    def read(path: str) -> NDArray[np.uint8] | None:
        try:
            return decode(root / path)
        except ImageError:
            return None

    return read


def _source(evaluation: Evaluation) -> str:
    if evaluation.people.source == "columns":
        return "the columns of the file"
    return "genuine pairs; images that no such pair joins count as different people"


def _model(evaluated: Evaluated) -> ModelContent:
    evaluation, measured = evaluated.evaluation, evaluated.evaluation.measurement
    thresholds = np.unique(measured.thresholds)
    history = _history(evaluated)
    return ModelContent(
        name=evaluated.name,
        facts=_facts(evaluated),
        scores=evaluation.similarities,
        same=evaluation.same,
        accepted=measured.accepted,
        threshold=float(thresholds[0]) if len(thresholds) == 1 else None,
        figures=tuple(_figure(name, each) for name, each in evaluation.estimates.items()),
        reliability=_reliability(evaluation),
        history=history,
        best_epoch=_best_epoch(evaluated) if history else None,
        slices=tuple(each for parts in evaluated.parts for each in _slices(parts)),
        matches=next((_matches(parts) for parts in evaluated.parts if parts.matches is not None), None),
    )


def _facts(evaluated: Evaluated) -> tuple[Fact, ...]:
    network, measured = evaluated.verifier.network, evaluated.evaluation.measurement
    spec, weights, calibration = network.input_spec, network.encoder.weights, evaluated.evaluation.calibration
    shared = evaluated.evaluation.fitted_here
    warning = f"{shared:,} of these pairs are among those of the fit" if shared else ""
    return (
        Fact("encoder", network.encoder.name if weights is None else f"{network.encoder.name}, {weights.source}"),
        Fact("input", f"{spec.size[0]} x {spec.size[1]} pixels, alignment {spec.alignment}"),
        Fact("head", network.head_name if network.pair_head is None else f"pair head, {network.pair_head.name}"),
        Fact("threshold", f"{measured.threshold:.4f}, fitted on {measured.threshold_from}", warning),
        Fact(
            "calibration",
            "none" if calibration is None else f"{calibration.method}, fitted on {calibration.split}",
        ),
    )


def _figure(statistic: str, found: Estimate) -> Figure:
    name, percent = _named(statistic)
    interval = found.interval
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    return Figure(name, found.value, low, high, "" if found.value is None else found.reason, percent)


def _named(statistic: str) -> tuple[str, bool]:
    """What a statistic is called in a report, and whether it is shown as a percentage."""
    name, _, far = statistic.partition("=")
    return (f"TAR at FAR {far}", True) if far else _NAMES[name]


def _reliability(evaluation: Evaluation) -> Reliability | None:
    probabilities, figures = evaluation.probabilities, evaluation.calibration_figures
    if probabilities is None or figures is None:
        return None
    found = reliability_bins(probabilities, evaluation.same, prior=figures["prior"])
    columns = (found.probability, found.genuine, found.interval_low, found.interval_high)
    rows = zip(*(column.tolist() for column in columns), found.pairs.tolist(), strict=True)
    return Reliability(
        bins=tuple(ReliabilityBin(*row) for row in rows),
        ece=figures["ece"],
        brier=figures["brier"],
    )


def _history(evaluated: Evaluated) -> tuple[dict[str, float], ...] | None:
    """The evaluations of the training, where its run folder still lies beside the model."""
    file = Path(evaluated.verifier.name) / "run" / "history.csv"
    if evaluated.verifier.card is None or not file.is_file():
        return None
    with file.open(encoding="utf-8", newline="") as lines:
        return tuple({key: float(value or "nan") for key, value in row.items()} for row in csv.DictReader(lines))


def _best_epoch(evaluated: Evaluated) -> int | None:
    card = evaluated.verifier.card
    return None if card is None or card.training is None else card.training.best_epoch


def _slices(parts: Parts) -> list[Slice]:
    return [
        Slice(
            column=parts.column,
            value=row.value,
            genuine=row.genuine,
            impostor=row.impostor,
            figures=tuple(_figure(name, each) for name, each in row.metrics.get("estimates", {}).items()),
        )
        for row in parts.rows
    ]


def _matches(parts: Parts) -> Matches | None:
    found = parts.matches
    if found is None:
        return None
    return Matches(found.groups, found.far, tuple(tuple(row) for row in found.impostors.tolist()))


def _comparison(found: ModelComparison) -> Comparison:
    differences = []
    for statistic, each in found.statistics.items():
        low, high = (None, None) if each.interval is None else (each.interval.low, each.interval.high)
        name, percent = _named(statistic)
        differences.append(Figure(name, each.difference, low, high, percent=percent))
    auc = found.statistics["auc"]
    verdict = f"AUC: {auc.verdict}. Decisions: {found.decisions.verdict} (McNemar)."
    return Comparison(found.first, found.second, tuple(differences), verdict, auc.p_value)


def _mistakes(evaluated: Evaluated) -> Mistakes:
    evaluation = evaluated.evaluation
    frame = evaluation.scores.frame[evaluation.scores.scored]
    names = ("left_identity", "right_identity")
    identities = tuple(frame[name].tolist() for name in names) if set(names) <= set(frame.columns) else None
    return hardest_mistakes(
        evaluated.name,
        evaluation.similarities,
        evaluation.same,
        evaluation.measurement.thresholds,
        (frame["left"].tolist(), frame["right"].tolist()),
        identities,  # type: ignore[arg-type]
    )
