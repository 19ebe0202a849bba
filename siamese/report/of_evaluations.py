"""From evaluations to the content of a report."""

import importlib.metadata
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import siamese
from siamese.evaluation import paired
from siamese.inference.evaluation import Evaluation
from siamese.inference.model_comparison import ModelComparison
from siamese.report.content import Comparison, Mistakes, ReportContent
from siamese.report.measured import Fact, Figure
from siamese.report.mistakes import hardest_mistakes
from siamese.report.of_models import Evaluated, model_content
from siamese.report.wording import p_value, statistic_name

__all__ = ["Evaluated", "report_content"]

INTERVALS = "95 %, allowing for pairs that share people (dyadic-robust variance)"


def report_content(
    evaluated: Sequence[Evaluated],
    comparisons: Sequence[ModelComparison],
    pairs: Path,
    *,
    baseline: str | None = None,
    no_baseline: str = "",
) -> ReportContent:
    """All that a report shows of some models on the same pairs.

    Args:
        evaluated: the models, at least one.
        comparisons: of two of them each.
        pairs: the pair file.
        baseline: name of the one among them that is the untouched encoder; the comparison that has it first becomes
            a section of its own, and its mistakes are not shown.
        no_baseline: in words, why there is none.
    """
    # The untouched encoder last: the order of slices, and the first look, are those of the model.
    models = sorted(evaluated, key=lambda each: each.name == baseline)
    first = models[0].evaluation
    flattering = ""
    if any(each.evaluation.fitted_here for each in models):
        flattering = "a threshold or a calibration was fitted on some of these pairs: its figures flatter"
    measured = (
        Fact(
            "pairs",
            f"{pairs}: {first.measurement.genuine:,} genuine, {first.measurement.impostor:,} impostor",
            flattering,
        ),
        Fact("images", f"{first.images:,}"),
        Fact("without a score", f"{first.failed:,} pairs"),
        Fact("people", f"{len(np.unique((first.people.left, first.people.right))):,}, from {_source(first)}"),
    )
    return ReportContent(
        title=f"Verification on {pairs.name}",
        measured=measured,
        models=tuple(map(model_content, models)),
        comparisons=tuple(_comparison(each) for each in comparisons if each.first != baseline),
        baseline=next((_comparison(each) for each in comparisons if each.first == baseline), None),
        no_baseline=no_baseline,
        mistakes=tuple(_mistakes(each) for each in models if each.name != baseline),
        intervals=INTERVALS,
        command=shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        versions=(
            Fact("siamese", siamese.__version__),
            *(Fact(name, importlib.metadata.version(name)) for name in ("torch", "numpy", "scikit-learn")),
        ),
    )


def _source(evaluation: Evaluation) -> str:
    if evaluation.people.source == "columns":
        return "the columns of the file"
    return "genuine pairs; images that no such pair joins count as different people"


def _comparison(found: ModelComparison) -> Comparison:
    names, decisions = (found.first, found.second), found.decisions
    auc = found.statistics["auc"]
    verdict = f"AUC: {_verdict('auc', auc, names)}{_tested(auc.p_value)}. "
    verdict += f"Decisions: {decisions.verdict}{_tested(decisions.p_value, 'McNemar, ')}."
    differences = tuple(_difference(statistic, each) for statistic, each in found.statistics.items())
    return Comparison(*names, differences, verdict)


def _tested(p: float | None, test: str = "") -> str:
    return "" if p is None else f" ({test}{p_value(p)})"


def _difference(statistic: str, found: paired.Comparison) -> Figure:
    low, high = (None, None) if found.interval is None else (found.interval.low, found.interval.high)
    name, percent = statistic_name(statistic)
    return Figure(name, found.difference, low, high, _verdict(statistic, found, None), percent)


def _verdict(statistic: str, found: paired.Comparison, names: tuple[str, str] | None) -> str:
    """Which model is better; `better` or `worse` of the second one without names; or why neither is."""
    if found.difference is None or found.interval is None or found.interval.low <= 0 <= found.interval.high:
        return found.verdict
    second = (found.difference > 0) != (statistic.partition("=")[0] in paired.ERROR_RATES)
    if names is None:
        return "better" if second else "worse"
    return f"{names[second]} is better"


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
