"""`siamese evaluate`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from siamese_cli.evaluation_text import word_comparison, word_evaluation, word_parts
from siamese_cli.options import Align, Device, FaceOption, InputSize, Json, Quiet, Root, SameLabel, Seed, parse_size
from siamese_cli.output import emit, talking

if TYPE_CHECKING:
    from siamese.report.of_evaluations import Evaluated


def evaluate(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Model folders, NAME, NAME@TAG or NAME@FILE.")
    ],
    pairs: Annotated[Path, typer.Option("--pairs", help="Labelled pair file.")],
    root: Root = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="lfw: ten folds, the threshold from the other nine.")
    ] = None,
    val_pairs: Annotated[
        Path | None,
        typer.Option("--val-pairs", help="Fit the calibration on these pairs, and without --protocol the threshold."),
    ] = None,
    far: Annotated[float | None, typer.Option("--far", help="Use the model's operating point for this FAR.")] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by", help="Also by the values of this column, or of left_NAME and right_NAME; may be repeated."
        ),
    ] = None,
    same_label: SameLabel = None,
    input_size: InputSize = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for report.html with its charts, metrics.json and scores.csv."),
    ] = None,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write the report.")] = True,
    flip: Annotated[bool, typer.Option("--flip", help="Embed each image together with its mirror image.")] = False,
    align: Align = "auto",
    face: FaceOption = "auto",
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure models on labelled pairs, at thresholds that were fitted on other pairs.

    With folds in the file, on the other folds; else at the model's operating point, or for an untouched encoder on
    --val-pairs or by two-fold cross-fitting. Several models are compared with the first one, pair by pair. Nothing
    here is random, whatever --seed.

    Example: siamese evaluate model/ --pairs pairs/test.csv --root faces/
    """
    started = time.perf_counter()
    with talking(quiet=quiet):
        from siamese.inference.evaluate import evaluate as measure
        from siamese.inference.model_comparison import compare_models
        from siamese.inference.parts import measure_parts
        from siamese.inference.verifier import Verifier
        from siamese.report.of_evaluations import Evaluated, pictures_below, report_content

        size = parse_size(input_size)
        options = {"root": root, "protocol": protocol, "val_pairs": val_pairs, "far": far, "same_label": same_label}
        loading = {"device": device, "align": align, "face": face, "input_size": size, "flip": flip}
        verifiers = [Verifier.load(model, **loading) for model in models]  # type: ignore[arg-type]
        found, results, texts = [], [], []
        for model, verifier in zip(models, verifiers, strict=True):  # all loaded: a wrong name costs no evaluation
            begun = time.perf_counter()
            evaluation = measure(verifier, pairs, columns=by or [], **options)  # type: ignore[arg-type]
            parts = measure_parts(evaluation, by or [])
            found.append(Evaluated(model, verifier, evaluation, parts))
            extra = {"parts": [each.as_json() for each in parts]} if by else {}
            seconds = time.perf_counter() - (begun if len(models) > 1 else started)
            results.append({**evaluation.as_json(), **extra, **_facts(model, verifier.device, seconds)})
            texts += [word_evaluation(evaluation, model, verifier.device), *map(word_parts, parts)]
        comparisons = compare_models([(each.name, each.evaluation) for each in found])
        result = results[0] if len(models) == 1 else _together(results, [each.as_json() for each in comparisons])
        texts += map(word_comparison, comparisons)
        if output is not None:
            written = _write(found, results, result, output)
            if report:
                from siamese.report.page import write_report  # matplotlib, for those who asked for charts

                content = report_content(found, comparisons, pairs, flip=flip)
                written = [*write_report(content, output, pictures_below(found[0].evaluation.root))[:1], *written]
            texts.append("written: " + ", ".join(map(str, written)))
    emit(result, "\n\n".join(texts) if len(texts) > 2 else "\n".join(texts), as_json=json)


def _facts(model: str, device: str, seconds: float) -> dict[str, Any]:
    return {"model": model, "device": device, "seconds": seconds}


def _together(results: list[dict[str, Any]], comparisons: list[dict[str, Any]]) -> dict[str, Any]:
    return {"models": results, "comparisons": comparisons, "seconds": sum(each["seconds"] for each in results)}


def _write(
    found: list["Evaluated"], results: list[dict[str, Any]], result: dict[str, Any], folder: Path
) -> list[Path]:
    """One model's files lie in the folder itself; of several each has a folder of its own there."""
    from siamese.inference.evaluation import write_metrics, write_scores

    if len(found) == 1:
        return [write_metrics(result, folder), write_scores(found[0].evaluation, folder)]
    files = [write_metrics(result, folder)]
    for number, (one, figures) in enumerate(zip(found, results, strict=True), 1):
        own = folder / f"{number}-{Path(one.name).name.replace('@', '-')}"
        files += [write_metrics(figures, own), write_scores(one.evaluation, own)]
    return files
