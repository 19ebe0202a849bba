"""`siamese evaluate` on a pair file."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese_cli.evaluation_text import word_comparison, word_evaluation, word_parts
from siamese_cli.output import folder_of

if TYPE_CHECKING:
    from siamese.inference.cohort import Cohort
    from siamese.inference.evaluation import Evaluation
    from siamese.inference.model_comparison import ModelComparison
    from siamese.inference.protocol import Protocol
    from siamese.inference.verifier import Verifier
    from siamese.report.of_evaluations import Evaluated


@dataclass(frozen=True)
class PairQuestion:
    """What is asked of models on a pair file; the options of the command by their names.

    Attributes:
        baseline: also evaluate the encoder that a trained model started from; None: where a report of a single model
            is written, and the encoder is on the disk.
    """

    pairs: Path
    protocol: "Protocol"
    root: Path | None
    same_label: str | None
    by: list[str]
    cohort: "Cohort | None"
    ensemble: bool
    baseline: bool | None
    abstain: float | None
    output: Path | None
    report: bool


@dataclass
class _Found:
    """Models evaluated so far."""

    models: "list[Evaluated]" = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)


def evaluate_pairs(
    models: list[str], loading: dict[str, Any], question: PairQuestion, started: float
) -> tuple[dict[str, Any], str]:
    """Evaluate models, compare them, and write what was asked for.

    Args:
        models: as the user names them.
        loading: further arguments of `Verifier.load`.
        question: what is asked.
        started: when the command was, by `time.perf_counter`.

    Returns:
        What `--json` prints, and the text.
    """
    from siamese.inference.baseline import BASELINE
    from siamese.inference.model_comparison import compare_models
    from siamese.inference.verifier import Verifier

    # All of them first: a wrong name costs no evaluation.
    verifiers = [Verifier.load(model, **loading) for model in models]
    _check_abstain(verifiers, question)
    baseline = _baseline(verifiers, question)
    found, untouched = _Found(), _Found()
    for name, verifier in zip(models, verifiers, strict=True):
        _measure(found, name, verifier, question, started if len(models) == 1 else time.perf_counter())
    if question.ensemble:
        _measure_together(found, question)
    if isinstance(baseline, Verifier):
        baseline = _measure_baseline(untouched, baseline, question)
    compared = [*untouched.models, *found.models]
    comparisons = compare_models([(each.name, each.evaluation) for each in compared])
    result = _result(found, untouched, comparisons)
    texts = [*found.texts, *untouched.texts, *map(word_comparison, comparisons)]
    if question.output is not None:
        content = {
            "baseline": BASELINE if untouched.models else None,
            "no_baseline": baseline if isinstance(baseline, str) else "",
        }
        written = _write(found, compared, comparisons, result, question, content)
        texts.append("written: " + ", ".join(map(str, written)))
    return result, ("\n\n" if len(texts) > 2 else "\n").join(texts)


def _check_abstain(verifiers: "list[Verifier]", question: PairQuestion) -> None:
    """Refuse what `Evaluation.abstaining` would, before hours of embedding."""
    from siamese.errors import OptionError
    from siamese.evaluation.calibration_band import check_error

    if question.abstain is None:
        return
    check_error(question.abstain)
    fitted = question.cohort is None and not question.ensemble and all(each.calibration for each in verifiers)
    if question.protocol.val_pairs is None and not fitted:
        raise OptionError(
            f"--abstain {question.abstain:g}: needs probabilities, and there is no calibration for all of these "
            "scores; fit one with --val-pairs"
        )


def _measure(found: _Found, name: str, verifier: "Verifier", question: PairQuestion, started: float) -> None:
    from siamese.inference.evaluate import evaluate

    evaluation = evaluate(
        verifier,
        question.pairs,
        root=question.root,
        protocol=question.protocol,
        same_label=question.same_label,
        columns=question.by,
        cohort=question.cohort,
    )
    _add(found, name, verifier, evaluation, question, started)


def _measure_together(found: _Found, question: PairQuestion) -> None:
    from siamese.inference.evaluate import evaluate_ensemble

    started = time.perf_counter()
    together = evaluate_ensemble([each.evaluation for each in found.models], question.pairs, question.protocol)
    _add(found, f"mean of {len(found.models)} models", None, together, question, started)


def _add(
    found: _Found,
    name: str,
    verifier: "Verifier | None",
    evaluation: "Evaluation",
    question: PairQuestion,
    started: float,
) -> None:
    from siamese.inference.parts import measure_parts
    from siamese.report.of_evaluations import Evaluated

    parts = measure_parts(evaluation, question.by)
    device = found.results[0]["device"] if verifier is None else verifier.device
    result = evaluation.as_json()
    if question.by:
        result["parts"] = [each.as_json() for each in parts]
    abstaining = None if question.abstain is None else evaluation.abstaining(question.abstain)
    if abstaining is not None:
        result["abstain"] = abstaining.as_json()
    facts = {"model": name, "device": device, "seconds": time.perf_counter() - started}
    found.models.append(Evaluated(name, verifier, evaluation, parts))
    found.results.append({**result, **facts})
    found.texts += [word_evaluation(evaluation, name, device, abstaining), *map(word_parts, parts)]


def _baseline(verifiers: "list[Verifier]", question: PairQuestion) -> "Verifier | str | None":
    """The encoder that the only model started from if that is wanted, or why it is not to be had."""
    from siamese.errors import OptionError
    from siamese.inference.baseline import load_baseline
    from siamese.progress import log

    by_itself = len(verifiers) == 1 and verifiers[0].card is not None and question.output is not None
    wanted = by_itself and question.report if question.baseline is None else question.baseline
    if not wanted:
        return None
    if len(verifiers) > 1:
        raise OptionError(f"--baseline: belongs to one model, and {len(verifiers)} are given; leave it out")
    # With --val-pairs both are fitted on those.
    found = load_baseline(verifiers[0], fit=question.protocol.val_pairs is None)
    if isinstance(found, str):
        if question.baseline:
            raise OptionError(f"--baseline: {found}")
        log.info("no comparison with the untouched encoder: %s", found)
    return found


def _measure_baseline(untouched: _Found, baseline: "Verifier", question: PairQuestion) -> "Verifier | str":
    """Measure the untouched encoder; why it cannot be, where that was not asked for by name."""
    from siamese.errors import SiameseError
    from siamese.inference.baseline import BASELINE
    from siamese.progress import log

    try:
        _measure(untouched, BASELINE, baseline, question, time.perf_counter())
    except SiameseError as error:  # such as no operating point where the run's validation pairs are gone
        if question.baseline:
            raise
        log.info("no comparison with the untouched encoder: %s", error)
        return str(error)
    return baseline


def _result(found: _Found, untouched: _Found, comparisons: "tuple[ModelComparison, ...]") -> dict[str, Any]:
    """One model's figures are the result itself; those of several stand in a list."""
    compared = [each.as_json() for each in comparisons]
    if untouched.results:
        return {**found.results[0], "baseline": untouched.results[0], "comparisons": compared}
    if len(found.results) == 1:
        return found.results[0]
    seconds = sum(each["seconds"] for each in found.results)
    return {"models": found.results, "comparisons": compared, "seconds": seconds}


def _write(
    found: _Found,
    compared: "list[Evaluated]",
    comparisons: "tuple[ModelComparison, ...]",
    result: dict[str, Any],
    question: PairQuestion,
    content: dict[str, Any],
) -> list[Path]:
    """Write metrics, scores and report; one model's files lie in the folder itself, of several each has its own."""
    from siamese.inference.evaluation import write_metrics, write_scores

    folder = question.output
    assert folder is not None  # noqa: S101 - asked by the caller
    written: list[Path] = []
    if question.report:
        from siamese.report.of_evaluations import report_content
        from siamese.report.page import write_report  # matplotlib, for those who asked for charts
        from siamese.report.pictures import pictures_of

        page = report_content(compared, comparisons, question.pairs, **content)
        with pictures_of(question.pairs, compared[0].evaluation.root) as pictures:
            written.append(write_report(page, folder, pictures)[0])
    written.append(write_metrics(result, folder))
    if len(found.models) == 1:
        written.append(write_scores(found.models[0].evaluation, folder))
    else:
        for number, (one, figures) in enumerate(zip(found.models, found.results, strict=True), 1):
            own = folder / folder_of(number, one.name)
            written += [write_metrics(figures, own), write_scores(one.evaluation, own)]
    return written
