"""From the evaluation of a model to its part of a report."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from siamese.encoders.bundled import path_of_model
from siamese.evaluation.intervals import Estimate
from siamese.evaluation.reliability import reliability_bins
from siamese.evaluation.slices import SliceRow
from siamese.inference.evaluation import Evaluation
from siamese.inference.parts import STATISTICS, Parts
from siamese.inference.verifier import Verifier
from siamese.report.content import ModelContent
from siamese.report.measured import Diagnostics, Fact, Figure, Matches, Reliability, ReliabilityBin, Slice
from siamese.report.wording import statistic_name


@dataclass(frozen=True)
class Evaluated:
    """A model and what was found.

    Attributes:
        name: as the user calls it.
        verifier: the model; None for several models together.
        evaluation: on the pairs of the report.
        parts: the same by columns.
    """

    name: str
    verifier: Verifier | None
    evaluation: Evaluation
    parts: tuple[Parts, ...] = ()


def model_content(evaluated: Evaluated) -> ModelContent:
    """All that a report shows of one model."""
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
        diagnostics=_diagnostics(evaluation.diagnostics),
    )


def _facts(evaluated: Evaluated) -> tuple[Fact, ...]:
    measured, calibration = evaluated.evaluation.measurement, evaluated.evaluation.calibration
    shared = evaluated.evaluation.fitted_here
    warning = f"{shared:,} of these pairs are among those of the fit" if shared else ""
    return (
        *_network_facts(evaluated.verifier),
        *_cohort_facts(evaluated.evaluation.preprocessing.get("cohort")),
        Fact("threshold", f"{measured.threshold:.4f}, fitted on {measured.threshold_from}", warning),
        Fact(
            "calibration",
            "none" if calibration is None else f"{calibration.method}, fitted on {calibration.split}",
        ),
    )


def _network_facts(verifier: Verifier | None) -> tuple[Fact, ...]:
    if verifier is None:
        return (Fact("score", "the mean of the similarities that the models give a pair"),)
    network = verifier.network
    spec, weights = network.input_spec, network.encoder.weights
    mirrored = ", each image with its mirror image" if verifier.flip else ""
    return (
        Fact("encoder", network.encoder.name if weights is None else f"{network.encoder.name}, {weights.source}"),
        Fact("input", f"{spec.size[0]} x {spec.size[1]} pixels, alignment {spec.alignment}{mirrored}"),
        Fact("head", network.head_name if network.pair_head is None else f"pair head, {network.pair_head.name}"),
    )


def _cohort_facts(cohort: Mapping[str, Any] | None) -> tuple[Fact, ...]:
    if cohort is None:
        return ()
    return (
        Fact("score", f"normalised ({cohort['method']}) against {cohort['images']:,} images of {cohort['data']}"),
    )


def _figure(statistic: str, found: Estimate) -> Figure:
    name, percent = statistic_name(statistic)
    interval = found.interval
    low, high = (None, None) if interval is None else (interval.low, interval.high)
    return Figure(name, found.value, low, high, "" if found.value is None else found.reason, percent)


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
    verifier = evaluated.verifier
    if verifier is None or verifier.card is None:
        return None
    file = path_of_model(verifier.name) / "run" / "history.csv"
    if not file.is_file():
        return None
    with file.open(encoding="utf-8", newline="") as lines:
        return tuple({key: float(value or "nan") for key, value in row.items()} for row in csv.DictReader(lines))


def _best_epoch(evaluated: Evaluated) -> int | None:
    card = None if evaluated.verifier is None else evaluated.verifier.card
    return None if card is None or card.training is None else card.training.best_epoch


def _slices(parts: Parts) -> list[Slice]:
    return [
        Slice(
            column=parts.column,
            value=row.value,
            genuine=row.genuine,
            impostor=row.impostor,
            figures=_slice_figures(row),
        )
        for row in parts.rows
    ]


def _slice_figures(row: SliceRow) -> tuple[Figure, ...]:
    """The same ones for every slice, so that tables have a cell for each."""
    if row.insufficient is None:
        return tuple(_figure(name, each) for name, each in row.metrics["estimates"].items())
    named = [statistic_name(str(statistic)) for statistic in STATISTICS]
    return tuple(Figure(name, None, note=row.insufficient, percent=percent) for name, percent in named)


def _matches(parts: Parts) -> Matches | None:
    found = parts.matches
    if found is None:
        return None
    return Matches(found.groups, found.far, tuple(tuple(row) for row in found.impostors.tolist()))


def _diagnostics(found: Mapping[str, Any]) -> Diagnostics:
    gap = found["gap"]
    names = ("genuine_mean", "genuine_std", "impostor_mean", "impostor_std", "d_prime")
    return Diagnostics(found["alignment"], found["uniformity"], *(gap[name] for name in names))
