"""`siamese evaluate`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from siamese_cli.options import Align, Device, FaceOption, InputSize, Json, Quiet, Root, SameLabel, Seed, parse_size
from siamese_cli.output import count, emit, percent, table, talking

if TYPE_CHECKING:
    from siamese.inference.evaluate import Evaluation


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
        from siamese.inference import evaluate as evaluating
        from siamese.inference.verifier import Verifier

        size = parse_size(input_size)
        verifier = Verifier.load(model, device=device, align=align, face=face, input_size=size, flip=flip)  # type: ignore[arg-type]
        options = {"root": root, "protocol": protocol, "val_pairs": val_pairs, "far": far, "same_label": same_label}
        evaluation = evaluating.evaluate(verifier, pairs, **options)  # type: ignore[arg-type]
        extra = {"model": model, "device": verifier.device, "seconds": time.perf_counter() - started}
        if output is not None:
            evaluating.save_evaluation(evaluation, output, extra)
    emit({**evaluation.as_json(), **extra}, _as_text(evaluation, model, verifier.device, output), as_json=json)


def _as_text(evaluation: "Evaluation", model: str, device: str, output: Path | None) -> str:
    measured = evaluation.measurement
    spread = "" if measured.accuracy_std is None else f" +- {100 * measured.accuracy_std:.2f}"
    rows = [
        ("accuracy", f"{100 * measured.accuracy:.2f}{spread} %"),
        ("AUC", f"{measured.auc:.4f}"),
        ("EER", percent(measured.eer)),
        ("F1", f"{measured.f1:.4f}"),
        *((f"TAR at FAR {far}", percent(tar)) for far, tar in _down_to_insufficient(measured.tar_at_far)),
    ]
    lines = [
        f"{count(measured.genuine, 'genuine pair')} and {count(measured.impostor, 'impostor pair')} "
        f"of {count(evaluation.images, 'image')}; {evaluation.failed} of {evaluation.pairs:,} pairs without a score",
        table((model, device), rows),
        f"threshold {measured.threshold:.4f}, fitted on {measured.threshold_from}",
    ]
    if output is not None:
        lines.append(f"written: {output / 'metrics.json'}, {output / 'scores.csv'}")
    return "\n".join(lines)


def _down_to_insufficient(figures: dict[str, float | None]) -> list[tuple[str, float | None]]:
    """Figures by falling FAR, up to the first that the data does not support: those below it say the same."""
    supported = [far for far, figure in figures.items() if figure is not None]
    return list(figures.items())[: len(supported) + 1]
