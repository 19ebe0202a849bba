"""`siamese verify`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from siamese_cli.arrow_alone import leave_pandas_out
from siamese_cli.decision_text import word_fit
from siamese_cli.options import (
    Abstain,
    Align,
    At,
    Device,
    FaceOption,
    Far,
    Flip,
    InputSize,
    Json,
    Model,
    Precision,
    Prior,
    Quiet,
    Root,
    Runtime,
    SameLabel,
    Seed,
    Threshold,
    choose_model,
    parse_size,
)
from siamese_cli.output import count, emit, percent, table, talking

if TYPE_CHECKING:
    import pyarrow as pa

    from siamese.inference.submission_form import SubmissionForm
    from siamese.inference.verification import Verification

# Rows that people are shown on the screen.
_SHOWN = 20


def verify(
    pairs: Annotated[Path, typer.Argument(help="Pair file in any form, labelled or not.")],
    model: Model = None,
    root: Root = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Table to write, .csv or .parquet [none, printed].")
    ] = None,
    far: Far = None,
    at: At = None,
    threshold: Threshold = None,
    abstain: Abstain = None,
    prior: Prior = None,
    submission: Annotated[
        str | None,
        typer.Option(
            "--submission",
            metavar="SAMPLE|COLUMNS",
            help="Write a competition's form instead: as a sample submission shows it, or two column names, such as "
            "id,label or index,score.",
        ),
    ] = None,
    answer: Annotated[
        str | None,
        typer.Option("--answer", help="What the submission answers, label or score [as sample or names tell]."),
    ] = None,
    same_label: SameLabel = None,
    input_size: InputSize = None,
    flip: Flip = False,
    align: Align = "auto",
    face: FaceOption = "auto",
    runtime: Runtime = "auto",
    precision: Precision = "f32",
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score a pair file: similarity, probability, and same or different, a row to a row.

    Decided at the model's operating point of best accuracy, or as one of --far, --at, --threshold and --abstain says;
    an untouched encoder without --threshold gives similarities alone. Images that are missing, cannot be read or show
    no face fail their pairs and no others. Nothing here is random, whatever --seed. With -o the same command goes on
    with a run that was ended early: what it finished is kept in OUTPUT.work until the output is there.

    Example: siamese verify pairs.csv --model model/ --root faces/ -o scores.csv
    """
    started = time.perf_counter()
    with talking(quiet=quiet):
        leave_pandas_out()
        form = _form(submission, answer, output)
        model = choose_model(model)
        from siamese.inference import verify as verifying
        from siamese.inference.verifier import Verifier

        size = parse_size(input_size)
        loading = {"device": device, "align": align, "face": face, "input_size": size, "flip": flip}
        loading |= {"runtime": runtime, "precision": precision}
        verifier = Verifier.load(model, **loading)  # type: ignore[arg-type]
        rule = verifying.choose_rule(verifier, far=far, at=at, threshold=threshold, abstain=abstain, prior=prior)
        given = {"root": root, "same_label": same_label, "output": output, "form": form}
        result = verifying.verify(verifier, pairs, rule, keep=None if json else _SHOWN, **given)  # type: ignore[arg-type]
    seconds = time.perf_counter() - started
    facts = {
        "output": None if output is None else str(output),
        "model": model,
        "device": verifier.device,
        "seconds": seconds,
    }
    emit(_as_json(result, facts), _as_text(result, form, facts), as_json=json)


def _form(submission: str | None, answer: str | None, output: Path | None) -> "SubmissionForm | None":
    from siamese.errors import OptionError, unknown_name
    from siamese.inference.submission_form import parse_submission

    if answer is not None and answer not in ("label", "score"):
        raise unknown_name("value of --answer", answer, ("label", "score"))
    if submission is None:
        if answer is not None:
            raise OptionError(f"--answer {answer}: is for a submission; give --submission, or leave it out")
        return None
    if output is None:
        raise OptionError("--submission: needs a file to write, -o FILE.csv")
    return parse_submission(submission, answer)  # type: ignore[arg-type]


def _as_json(result: "Verification", facts: dict[str, Any]) -> dict[str, Any]:
    keys = ("pairs", "scored", "failed", "images", "accepted", "unsure")
    found: dict[str, Any] = {key: getattr(result, key) for key in keys}
    rule = result.rule
    found |= {
        "threshold": rule.threshold,
        "far": rule.far,
        "point": None if rule.point is None else rule.point.name,
        "abstain": rule.abstain,
        "prior": rule.prior,
    }
    if (rows := result.rows) is not None:
        found["results"] = [{name: _in_json(value) for name, value in row.items()} for row in rows.to_pylist()]
    return {**found, **facts}


def _in_json(value: Any) -> Any:
    """A cell as JSON has it; times and what else it has no form for as text."""
    return value if value is None or isinstance(value, str | int | float | list | dict) else str(value)


def _as_text(result: "Verification", form: "SubmissionForm | None", facts: dict[str, Any]) -> str:
    lines = [] if result.rows is None else [_shown(result, result.rows)]
    where = "" if facts["output"] is None else f" in {facts['output']}"
    counts = (
        f"{count(result.pairs, 'pair')} of {count(result.images, 'image')}{where}, {result.failed:,} without a score"
    )
    lines += [counts, _word_answers(result)]
    if form is not None:
        lines.append(_word_submission(result, form))
    seconds = facts["seconds"]
    lines.append(f"{facts['model']} on {facts['device']}, {seconds:.1f} s, {result.pairs / seconds:,.0f} pairs/s")
    return "\n".join(lines)


def _word_answers(result: "Verification") -> str:
    """How many are called what, and by which rule."""
    rule, accepted, unsure = result.rule, result.accepted, result.unsure
    if accepted is None or unsure is None:
        return "similarities alone: the model has no threshold; give --threshold to decide"
    told = f"{accepted:,} same, {result.scored - accepted - unsure:,} different"
    fit = "" if rule.fitted is None else word_fit(rule.fitted.split, rule.fitted.genuine, rule.fitted.impostor)
    if rule.abstain is not None:
        return (
            f"{told}, {unsure:,} unsure: answers are wrong with at most {percent(rule.abstain)} where "
            f"{percent(rule.prior)} of pairs are the same (calibration on {fit})"
        )
    origin = "given by hand"
    if rule.point is not None:
        origin = f"operating point {rule.point.name}, FAR {percent(rule.far)} on {fit}"
    return f"{told}: threshold {rule.threshold:.4f} ({origin})"


def _word_submission(result: "Verification", form: "SubmissionForm") -> str:
    column = form.columns[1]
    if form.answer == "label":
        return f"submission: {' and '.join(form.words)} in column {column}; --answer score writes scores instead"
    kind = "similarities" if result.rule.calibration is None else "probabilities"
    return f"submission: {kind} in column {column}; --answer label writes same or different instead"


def _shown(result: "Verification", first: "pa.Table") -> str:
    names = ["left", "right", "similarity", *(["probability"] if "probability" in first.column_names else [])]
    unsure = "unsure" if result.rule.abstain is not None else ""
    words = [
        _word_answer(row["same_predicted"], unsure) if row["status"] == "scored" else "failed"
        for row in first.select(["same_predicted", "status"]).to_pylist()
    ]
    cells = [
        [value if isinstance(value, str) else _number(value) for value in first.column(name).to_pylist()]
        for name in names
    ]
    text = table((*names, ""), list(zip(*cells, words, strict=True)))
    rest = result.pairs - len(first)
    return f"{text}\nand {count(rest, 'more pair')}; -o FILE.csv writes them all" if rest else text


def _word_answer(same: bool | None, unsure: str) -> str:
    if same is None:
        return unsure
    return "same" if same else "different"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
