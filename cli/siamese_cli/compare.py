"""`siamese compare`."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from siamese_cli.decision_text import word_fit, word_probability
from siamese_cli.face_text import word_faces
from siamese_cli.options import (
    Abstain,
    Align,
    At,
    Device,
    FaceOption,
    Far,
    Json,
    Model,
    Precision,
    Prior,
    Quiet,
    Runtime,
    Seed,
    Threshold,
    choose_model,
)
from siamese_cli.output import emit, percent, talking

if TYPE_CHECKING:
    from siamese.images.loader import Outcome
    from siamese.inference.comparison import Comparison
    from siamese.inference.verifier import Verifier


def compare(
    left: Annotated[Path, typer.Argument(metavar="IMG1", help="First image.")],
    right: Annotated[Path, typer.Argument(metavar="IMG2", help="Second image.")],
    model: Model = None,
    far: Far = None,
    at: At = None,
    threshold: Threshold = None,
    abstain: Abstain = None,
    prior: Prior = None,
    align: Align = "auto",
    face: FaceOption = "auto",
    save: Annotated[
        Path | None,
        typer.Option("--save", help="Draw both images as the model sees them, and the verdict: PNG or JPEG."),
    ] = None,
    explain: Annotated[
        Path | None, typer.Option("--explain", help="Draw where the similarity comes from: PNG or JPEG.")
    ] = None,
    runtime: Runtime = "auto",
    precision: Precision = "f32",
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Same or different?

    Decided at the model's operating point of best accuracy, or as one of --far, --at, --threshold and --abstain says.
    Nothing here is random, whatever --seed.

    Example: siamese compare a.jpg b.jpg --far 0.01
    """
    started = time.perf_counter()
    with talking(quiet=quiet):
        from siamese.images.decode import check_image

        pictures = _Pictures((left, right), save, explain)
        pictures.check()
        for path in (left, right):  # before the seconds that a model takes to load
            check_image(path)
        model = choose_model(model)
        from siamese.inference.verifier import Verifier

        loading = {"device": device, "runtime": runtime, "precision": precision, "align": align, "face": face}
        verifier = Verifier.load(model, **loading, brief=True)  # type: ignore[arg-type]
        result = verifier.compare(left, right, far=far, at=at, threshold=threshold, abstain=abstain, prior=prior)
        said = [*_answer(result), *word_faces((left, right), result.outcomes, face)]
        pictures.draw(verifier, result, [*said, f"model: {model}"])
    facts = {"model": model, "device": verifier.device, "seconds": time.perf_counter() - started}
    text = [*said, f"{model} on {verifier.device}, {facts['seconds']:.1f} s", *pictures.written]
    emit(_as_json(result, facts, pictures), "\n".join(text), as_json=json)


@dataclass(frozen=True)
class _Pictures:
    """What --save and --explain ask for."""

    images: tuple[Path, Path]
    save: Path | None
    explain: Path | None

    def check(self) -> None:
        """Refuse files that cannot or must not be written."""
        from siamese.inference.picture_file import check_picture_file

        if self.save is not None:
            check_picture_file("--save", self.save, self.images)
        if self.explain is not None:
            check_picture_file("--explain", self.explain, [*self.images, *filter(None, [self.save])])

    def draw(self, verifier: "Verifier", result: "Comparison", lines: list[str]) -> None:
        """Draw and write them."""
        if self.save is None and self.explain is None:
            return
        from siamese.inference.comparison_picture import draw_comparison
        from siamese.inference.picture_file import write_picture

        if self.save is not None:
            write_picture(self.save, draw_comparison(result.crops, self.images, result.same, lines))
        if self.explain is not None:
            from siamese.inference.explain import explain_crops
            from siamese.inference.explanation_picture import draw_explanation

            explanation = explain_crops(verifier, result.crops)
            write_picture(self.explain, draw_explanation(explanation, self.images, lines[:1]))

    @property
    def written(self) -> list[str]:
        """What was written, in words."""
        files = [str(path) for path in (self.save, self.explain) if path is not None]
        return [f"written: {', '.join(files)}"] if files else []


def _as_json(result: "Comparison", facts: dict[str, Any], pictures: _Pictures) -> dict[str, Any]:
    return {
        "same": result.same,
        "similarity": result.similarity,
        "probability": result.probability,
        "prior": result.prior,
        "threshold": result.threshold,
        "far": result.far,
        "point": result.point,
        "split": result.split,
        "genuine": result.genuine,
        "impostor": result.impostor,
        "abstain": result.abstain,
        **facts,
        "faces": [_face(outcome) for outcome in result.outcomes],
        "saved": None if pictures.save is None else str(pictures.save),
        "explained": None if pictures.explain is None else str(pictures.explain),
    }


def _face(outcome: "Outcome") -> dict[str, Any]:
    if outcome.face is None:
        return {"status": "not_searched", "box": None, "found": None}
    box = [round(float(value), 1) for value in outcome.face.box]
    return {"status": "found", "box": box, "found": outcome.faces}


def _answer(result: "Comparison") -> list[str]:
    return [f"{_verdict(result)} ({_origin(result)})", *_probability_lines(result)]


def _verdict(result: "Comparison") -> str:
    """The answer, and the comparison that led to it."""
    similarity = f"similarity {result.similarity:.4f}"
    if result.threshold is not None:
        verdict, sign = ("same", ">=") if result.same else ("different", "<")
        return f"{verdict}: {similarity} {sign} threshold {result.threshold:.4f}"
    verdict = {True: "same", False: "different", None: "unsure"}[result.same]
    probability = 0.0 if result.probability is None else result.probability
    wrong, sign = min(probability, 1 - probability), ">" if result.same is None else "<="
    return f"{verdict}: {similarity}, wrong answer {word_probability(wrong)} {sign} {percent(result.abstain)}"


def _origin(result: "Comparison") -> str:
    if result.split is None:
        return "given by hand"
    fit = word_fit(result.split, result.genuine, result.impostor)
    if result.far is None:
        return f"calibration on {fit}"
    return f"operating point {result.point}, FAR {percent(result.far)} on {fit}"


def _probability_lines(result: "Comparison") -> list[str]:
    if result.probability is None or result.prior is None:
        return []
    shown = word_probability(result.probability)
    return [f"probability of the same identity: {shown}, where {percent(result.prior)} of pairs are"]
