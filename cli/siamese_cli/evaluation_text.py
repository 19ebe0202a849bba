"""Evaluations in words."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from siamese_cli.output import count, percent, table

if TYPE_CHECKING:
    from siamese.evaluation.calibration_band import Abstaining
    from siamese.evaluation.paired import Comparison
    from siamese.inference.evaluation import Evaluation
    from siamese.inference.model_comparison import ModelComparison
    from siamese.inference.parts import Parts

# Parts shown of a column; all are in metrics.json.
_SHOWN = 10


def word_evaluation(evaluation: "Evaluation", model: str, device: str, abstaining: "Abstaining | None" = None) -> str:
    """Figures of one model with their intervals."""
    measured = evaluation.measurement
    rows = [
        _row(evaluation, "accuracy", "accuracy", measured.accuracy, percent),
        _row(evaluation, "AUC", "auc", measured.auc, "{:.4f}".format),
        _row(evaluation, "EER", "eer", measured.eer, percent),
        _row(evaluation, "F1", "f1", measured.f1, "{:.4f}".format),
        *(
            _row(evaluation, f"TAR at FAR {far}", f"tar_at_far={far}", tar, percent)
            for far, tar in _down_to_insufficient(measured.tar_at_far)
        ),
    ]
    lines = [
        f"{count(measured.genuine, 'genuine pair')} and {count(measured.impostor, 'impostor pair')} "
        f"of {count(evaluation.images, 'image')}; {evaluation.failed} of {evaluation.pairs:,} pairs without a score",
        table((model, device, "95 % interval"), rows),
        f"threshold {measured.threshold:.4f}, fitted on {measured.threshold_from}",
    ]
    if measured.accuracy_std is not None:
        lines.append(f"standard deviation of the folds' accuracies: {percent(measured.accuracy_std)}")
    if evaluation.fitted_here:
        lines.append(f"flattering: {evaluation.fitted_here:,} of these pairs are among those of the fit")
    calibrated = evaluation.calibration_figures
    if calibrated is not None:
        method, split = calibrated["method"], calibrated["split"]
        lines.append(f"calibration error {percent(calibrated['ece'])} ({method}, fitted on {split})")
    if abstaining is not None:
        lines.append(_word_abstaining(abstaining))
    lines.append(_word_scores(evaluation.diagnostics))
    return "\n".join(lines)


def _word_abstaining(found: "Abstaining") -> str:
    wrong = "" if found.error is None else f", {percent(found.error)} of the answers wrong"
    answered = f"{percent(found.answered)} answered"
    return f"answering only at {percent(found.allowed)} chance of error or less: {answered}{wrong}"


def _word_scores(diagnostics: dict[str, Any]) -> str:
    """Where the scores and the embeddings lie."""
    gap = diagnostics["gap"]
    words = [f"genuine scores {_spread(gap, 'genuine')}, impostor scores {_spread(gap, 'impostor')}"]
    words += [
        f"{name} {value:.3f}"
        for name, value in (
            ("d'", gap["d_prime"]),
            *((name, diagnostics[name]) for name in ("alignment", "uniformity")),
        )
        if value is not None
    ]
    return ", ".join(words)


def _spread(gap: dict[str, Any], kind: str) -> str:
    deviation = gap[f"{kind}_std"]
    return f"{gap[f'{kind}_mean']:.3f}" + ("" if deviation is None else f" +- {deviation:.3f}")


def _row(
    evaluation: "Evaluation", name: str, key: str, value: float | None, word: Callable[[float], str]
) -> tuple[str, ...]:
    """A figure with its interval, or with the reason why it has none."""
    found = evaluation.estimates[key]
    interval = "" if found.interval is None else f"{word(found.interval.low)} to {word(found.interval.high)}"
    return name, "insufficient data" if value is None else word(value), interval


def _down_to_insufficient(figures: dict[str, float | None]) -> list[tuple[str, float | None]]:
    """Figures by falling FAR, up to the first that the data does not support: those below it say the same."""
    supported = [far for far, figure in figures.items() if figure is not None]
    return list(figures.items())[: len(supported) + 1]


def word_parts(parts: "Parts") -> str:
    """The parts of the pairs by one column, worst first."""
    rows = [
        (
            row.value,
            f"{row.genuine:,}",
            f"{row.impostor:,}",
            *(percent(row.metrics.get(name)) for name in ("balanced_accuracy", "eer")),
            percent(row.far),
        )
        for row in parts.rows[:_SHOWN]
    ]
    header = (f"by {parts.column}", "genuine", "impostor", "balanced accuracy", "EER", "FAR")
    more = len(parts.rows) - len(rows)
    return table(header, rows) + (f"\nand {count(more, 'more part')}" if more else "")


def word_comparison(comparison: "ModelComparison") -> str:
    """What two models differ by, with intervals of the differences."""
    from siamese.report.wording import statistic_name

    rows = []
    for name, each in comparison.statistics.items():
        if each.difference is not None:
            ends = "" if each.interval is None else f"{each.interval.low:+.4f} to {each.interval.high:+.4f}"
            rows.append((statistic_name(name)[0], f"{each.difference:+.4f}", ends, _verdict(each)))
    header = ("difference", f"{comparison.second} - {comparison.first}", "95 % interval", "")
    decisions = f"decisions on {count(comparison.pairs, 'pair')}: {comparison.decisions.verdict} (McNemar)"
    return f"{table(header, rows)}\n{decisions}"


def _verdict(difference: "Comparison") -> str:
    """The verdict without the numbers that stand beside it."""
    return difference.verdict.partition(":")[0]
