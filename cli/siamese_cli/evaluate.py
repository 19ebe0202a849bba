"""`siamese evaluate`."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from siamese_cli.options import Align, Device, FaceOption, InputSize, Json, Quiet, Root, SameLabel, Seed, parse_size
from siamese_cli.output import count, emit, percent, table, talking

if TYPE_CHECKING:
    from siamese.inference.evaluation import Evaluation


def evaluate(
    model: Annotated[str, typer.Argument(help="Model folder, NAME, NAME@TAG or NAME@FILE.")],
    pairs: Annotated[Path, typer.Option("--pairs", help="Labelled pair file.")],
    root: Root = None,
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="lfw: ten folds, the threshold from the other nine.")
    ] = None,
    val_pairs: Annotated[
        Path | None, typer.Option("--val-pairs", help="Fit the threshold on these pairs instead.")
    ] = None,
    far: Annotated[float | None, typer.Option("--far", help="Use the model's operating point for this FAR.")] = None,
    same_label: SameLabel = None,
    input_size: InputSize = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for metrics.json and scores.csv.")
    ] = None,
    flip: Annotated[bool, typer.Option("--flip", help="Embed each image together with its mirror image.")] = False,
    align: Align = "auto",
    face: FaceOption = "auto",
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure a model on labelled pairs, at a threshold that was fitted on other pairs.

    With folds in the file, on the other folds; else at the model's operating point, or for an untouched encoder on
    --val-pairs or by two-fold cross-fitting. Nothing here is random, whatever --seed.

    Example: siamese evaluate model/ --pairs pairs/test.csv --root faces/
    """
    started = time.perf_counter()
    with talking(quiet=quiet):
        from siamese.inference.evaluate import evaluate as measure
        from siamese.inference.evaluation import save_evaluation
        from siamese.inference.verifier import Verifier

        size = parse_size(input_size)
        verifier = Verifier.load(model, device=device, align=align, face=face, input_size=size, flip=flip)  # type: ignore[arg-type]
        options = {"root": root, "protocol": protocol, "val_pairs": val_pairs, "far": far, "same_label": same_label}
        evaluation = measure(verifier, pairs, **options)  # type: ignore[arg-type]
        extra = {"model": model, "device": verifier.device, "seconds": time.perf_counter() - started}
        if output is not None:
            save_evaluation(evaluation, output, extra)
    emit({**evaluation.as_json(), **extra}, _as_text(evaluation, model, verifier.device, output), as_json=json)


def _as_text(evaluation: "Evaluation", model: str, device: str, output: Path | None) -> str:
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
    calibrated = evaluation.as_json()["calibration"]
    if calibrated is not None:
        method, split = calibrated["method"], calibrated["split"]
        lines.append(f"calibration error {percent(calibrated['ece'])} ({method}, fitted on {split})")
    if output is not None:
        lines.append(f"written: {output / 'metrics.json'}, {output / 'scores.csv'}")
    return "\n".join(lines)


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
