"""`siamese evaluate`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from siamese_cli.options import (
    Align,
    At,
    Device,
    FaceOption,
    Far,
    Flip,
    InputSize,
    Json,
    Quiet,
    Root,
    SameLabel,
    Seed,
    choose_model,
    parse_size,
)
from siamese_cli.output import emit, folder_of, talking

if TYPE_CHECKING:
    from siamese.evaluation.score_normalisation import Method


def evaluate(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="[MODEL...]", help="Model folders, NAME, NAME@TAG or NAME@FILE [the one that ships]."),
    ] = None,
    pairs: Annotated[Path | None, typer.Option("--pairs", help="Labelled pair file.")] = None,
    root: Root = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            "--protocol",
            help="lfw, cfp-ff, cfp-fp, folds (those of the file, else ten blocks), hold-out (threshold from "
            "--val-pairs); with --data identification or one-shot.",
        ),
    ] = None,
    val_pairs: Annotated[
        Path | None,
        typer.Option("--val-pairs", help="Fit the calibration on these pairs, and without folds the threshold."),
    ] = None,
    far: Far = None,
    at: At = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Decide at this similarity, fitted on nothing.")
    ] = None,
    abstain: Annotated[
        float | None,
        typer.Option("--abstain", help="Also say what answering only at this chance of error or less would do."),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            "--by", help="Also by the values of this column, or of left_NAME and right_NAME; may be repeated."
        ),
    ] = None,
    same_label: SameLabel = None,
    ensemble: Annotated[
        bool, typer.Option("--ensemble", help="Also all models together, by the mean of their similarities.")
    ] = False,
    cohort: Annotated[
        Path | None,
        typer.Option("--cohort", help="Measure scores against these images of other people (folder or manifest)."),
    ] = None,
    normalise: Annotated[
        str | None,
        typer.Option(
            "--normalise", help="With --cohort: against the left image (z), the right one (t), both (s) [s]."
        ),
    ] = None,
    cohort_top: Annotated[
        int | None,
        typer.Option("--cohort-top", help="With --cohort: only this many most similar ones for each image [all]."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="For identification and one-shot: a folder of identities or a manifest."),
    ] = None,
    gallery: Annotated[
        Path | None, typer.Option("--gallery", help="For identification: the known people [drawn from --data].")
    ] = None,
    gallery_images: Annotated[
        int | None,
        typer.Option("--gallery-images", min=1, help="For identification: images drawn of each identity [1]."),
    ] = None,
    ways: Annotated[
        int | None, typer.Option("--ways", min=2, help="For one-shot: identities to choose from [20].")
    ] = None,
    runs: Annotated[
        int | None, typer.Option("--runs", min=1, help="Draws of the gallery [10], or of trials in each group [2].")
    ] = None,
    identity_depth: Annotated[
        int | None, typer.Option("--identity-depth", min=1, help="Levels of folders that name an identity [1].")
    ] = None,
    input_size: InputSize = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for report.html with its charts, metrics.json and scores.csv."),
    ] = None,
    report: Annotated[bool, typer.Option("--report/--no-report", help="Write the report.")] = True,
    baseline: Annotated[
        bool | None,
        typer.Option(
            "--baseline/--no-baseline",
            help="Also the untouched encoder that the model started from [with the report of one trained model].",
        ),
    ] = None,
    flip: Flip = False,
    align: Align = "auto",
    face: FaceOption = "auto",
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure models on labelled pairs, at thresholds that were fitted on other pairs.

    With folds in the file, on the other folds; else on --val-pairs, at the model's operating point, or for an
    untouched encoder by two-fold cross-fitting. Several models are compared with the first one, pair by pair.
    Or search people in a gallery (--protocol identification), or tell --ways of them apart after one look (--protocol
    one-shot); --seed draws those, and the weights of NAME@random.

    Example: siamese evaluate model/ --pairs pairs/test.csv --root faces/
    """
    started = time.perf_counter()
    loading = {"device": device, "align": align, "face": face, "flip": flip, "seed": seed, "runtime": "torch"}
    with talking(quiet=quiet):
        models = models or [choose_model(None)]
        loading["input_size"] = parse_size(input_size)
        of_pairs = {
            "--pairs": pairs, "--root": root, "--val-pairs": val_pairs, "--far": far, "--at": at,
            "--threshold": threshold, "--abstain": abstain, "--by": by, "--same-label": same_label,
            "--ensemble": ensemble or None, "--cohort": cohort, "--normalise": normalise, "--cohort-top": cohort_top,
            "--baseline": baseline, "--no-report": None if report else True,
        }  # fmt: skip
        of_identities = {
            "--data": data, "--gallery": gallery, "--gallery-images": gallery_images, "--ways": ways, "--runs": runs,
        }  # fmt: skip
        if protocol in ("identification", "one-shot"):
            _refuse(of_pairs, f"the options of a pair file, and --protocol {protocol} reads --data")
            source = _needed(data, "--data", "a folder of identities or a manifest")
            drawing = {
                "gallery": gallery, "gallery_images": gallery_images, "ways": ways, "runs": runs, "seed": seed,
                "identity_depth": identity_depth or 1,
            }  # fmt: skip
            result, text = _by_identity(models, loading, protocol, source, drawing, output, started)
        else:
            _refuse(of_identities, "--protocol identification or one-shot")
            only_cohort = {"--normalise": normalise, "--cohort-top": cohort_top, "--identity-depth": identity_depth}
            if cohort is None:
                _refuse(only_cohort, "--cohort, or to protocols that read --data")
            from siamese.inference.cohort import Cohort
            from siamese.inference.protocol import Protocol
            from siamese_cli.evaluate_pairs import PairQuestion, evaluate_pairs

            question = PairQuestion(
                pairs=_needed(pairs, "--pairs", "a labelled pair file"),
                protocol=Protocol(protocol, val_pairs, far, at, threshold),
                root=root,
                same_label=same_label,
                by=by or [],
                cohort=None
                if cohort is None
                else Cohort(cohort, cast("Method", normalise or "s"), cohort_top, identity_depth or 1),
                ensemble=ensemble,
                baseline=baseline,
                abstain=abstain,
                output=output,
                report=report,
            )
            result, text = evaluate_pairs(models, loading, question, started)
    emit(result, text, as_json=json)


def _by_identity(
    models: list[str],
    loading: dict[str, Any],
    protocol: str,
    data: Path,
    drawing: dict[str, Any],
    output: Path | None,
    started: float,
) -> tuple[dict[str, Any], str]:
    """Every model on the same draws; of several each has a folder of its own."""
    from siamese.inference.preprocessing import describe_preprocessing
    from siamese.inference.verifier import Verifier
    from siamese_cli.evaluate_identities import evaluate_identities

    verifiers = [Verifier.load(model, **loading) for model in models]
    results, texts = [], []
    for number, (name, verifier) in enumerate(zip(models, verifiers, strict=True), 1):
        own = output if output is None or len(models) == 1 else output / folder_of(number, name)
        begun = started if len(models) == 1 else time.perf_counter()
        extra = {"preprocessing": describe_preprocessing(verifier)}
        result, text = evaluate_identities(
            verifier, name, protocol, data, **drawing, output=own, extra=extra, started=begun
        )
        results.append(result)
        texts.append(text)
    if len(models) == 1:
        return results[0], texts[0]
    return {"models": results, "seconds": sum(each["seconds"] for each in results)}, "\n\n".join(texts)


def _refuse(options: dict[str, Any], belongs: str) -> None:
    """Refuse an option that nothing would look at."""
    from siamese.errors import OptionError

    for name, value in options.items():
        if value is not None:
            raise OptionError(f"{name}: belongs to {belongs}; leave it out")


def _needed(value: Path | None, option: str, what: str) -> Path:
    from siamese.errors import OptionError

    if value is None:
        raise OptionError(f"{option}: name {what}")
    return value
