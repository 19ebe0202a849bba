"""`siamese classify`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from siamese_cli.arrow_alone import leave_pandas_out
from siamese_cli.options import Align, Device, FaceOption, IdentityDepth, Json, Precision, Quiet, Runtime, Seed
from siamese_cli.output import count, emit, percent, table, talking

if TYPE_CHECKING:
    from siamese.inference.classify import Classification
    from siamese.inference.submission_form import SubmissionForm

# Rows that people are shown on the screen.
_SHOWN = 20
_TOP = 5


def classify(
    data: Annotated[list[Path], typer.Argument(help="Image files, folders of images, or manifests.")],
    model: Annotated[str | None, typer.Option("--model", help="Model folder with an identity head.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Table to write, .csv or .parquet [none, printed].")
    ] = None,
    top: Annotated[
        int | None, typer.Option("--top", min=1, help="Identities to name for each image [5, or as the sample does].")
    ] = None,
    submission: Annotated[
        str | None,
        typer.Option(
            "--submission",
            metavar="SAMPLE|COLUMNS",
            help="Write a competition's form instead: as a sample submission shows it, or two column names, such as "
            "Image,Id: file name, and labels between blanks.",
        ),
    ] = None,
    identity_depth: IdentityDepth = 1,
    align: Align = "auto",
    face: FaceOption = "auto",
    runtime: Runtime = "auto",
    precision: Precision = "f32",
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Name the identity that each image shows, out of those that training knew.

    An image of anybody else is given to one of them all the same. Where DATA names identities, says how often the
    right one is first and among the first five. Nothing here is random, whatever --seed.

    Example: siamese classify photos/ --model model/ -o identities.csv
    """
    started = time.perf_counter()
    with talking(quiet=quiet):
        from siamese.errors import OptionError

        if model is None:
            raise OptionError("--model: name a model folder with an identity head, as `siamese train -o` writes it")
        if submission is not None and output is None:
            raise OptionError("--submission: needs a file to write, -o FILE.csv")
        leave_pandas_out()
        from siamese.inference import classify_output
        from siamese.inference.classify import classify as classify_images
        from siamese.inference.output_file import check_output
        from siamese.inference.verifier import Verifier

        form = None if submission is None else _form(submission)
        if output is not None:
            check_output(output, submission=form is not None, inputs=[*data, *_sample(submission)])
        shown = top if top is not None else _TOP if form is None else form.places
        loading: dict[str, Any] = {"runtime": runtime, "precision": precision, "align": align, "face": face}
        verifier = Verifier.load(model, device=device, **loading)
        result = classify_images(verifier, data, top=shown, identity_depth=identity_depth, form=form)
        if output is not None and form is not None:
            classify_output.write_submission(result, output, form)
        elif output is not None:
            classify_output.write_classification(result, output)
    seconds = time.perf_counter() - started
    where = None if output is None else str(output)
    facts = {"output": where, "model": model, "device": verifier.device, "seconds": seconds}
    emit(_as_json(result, facts), _as_text(result, facts), as_json=json)


def _form(submission: str) -> "SubmissionForm":
    from siamese.inference.submission_form import parse_submission

    return parse_submission(submission, "identity")


def _sample(submission: str | None) -> list[Path]:
    return [] if submission is None else [Path(submission)]


def _as_json(result: "Classification", facts: dict[str, Any]) -> dict[str, Any]:
    keys = ("images", "failed", "identities", "judged", "unknown", "top1", "top5")
    found = {key: getattr(result, key) for key in keys}
    if facts["output"] is None:
        found["results"] = result.table.to_pylist()
    return {**found, **facts}


def _as_text(result: "Classification", facts: dict[str, Any]) -> str:
    lines = []
    if facts["output"] is None:
        lines.append(_shown(result))
    if result.top1 is not None and result.top5 is not None:
        lines.append(f"top-1 {percent(result.top1)}, top-5 {percent(result.top5)} of {count(result.judged, 'image')}")
    if result.unknown:
        lines.append(f"{count(result.unknown, 'image')} of identities that the model does not know, not judged")
    where = "" if facts["output"] is None else f" in {facts['output']}"
    images, seconds = count(result.images, "image"), facts["seconds"]
    lines.append(f"{images}{where}, {result.failed} without an identity; the model knows {result.identities:,}")
    lines.append(f"{facts['model']} on {facts['device']}, {seconds:.1f} s, {result.images / seconds:.0f} images/s")
    return "\n".join(lines)


def _shown(result: "Classification") -> str:
    first = result.table.slice(0, _SHOWN).to_pylist()
    rows = [
        (row["path"], row["identity"], f"{row['probability']:.3f}")
        if row["status"] == "ok"
        else (row["path"], row["status"], "")
        for row in first
    ]
    text = table(("image", "identity", "probability"), rows)
    rest = result.images - len(first)
    return f"{text}\nand {count(rest, 'more image')}; -o FILE.csv writes them all" if rest else text
