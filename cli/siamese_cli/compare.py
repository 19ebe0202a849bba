"""`siamese compare`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from siamese_cli.decision_text import word_fit, word_probability
from siamese_cli.options import Abstain, Align, At, Device, FaceOption, Far, Json, Prior, Quiet, Seed, Threshold
from siamese_cli.output import emit, percent, talking

if TYPE_CHECKING:
    from siamese.images.loader import Outcome
    from siamese.inference.verifier import Comparison


def compare(
    left: Annotated[Path, typer.Argument(metavar="IMG1", help="First image.")],
    right: Annotated[Path, typer.Argument(metavar="IMG2", help="Second image.")],
    model: Annotated[str | None, typer.Option("--model", help="Model folder, NAME, NAME@TAG or NAME@FILE.")] = None,
    far: Far = None,
    at: At = None,
    threshold: Threshold = None,
    abstain: Abstain = None,
    prior: Prior = None,
    align: Align = "auto",
    face: FaceOption = "auto",
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Same or different?

    Decided at the model's operating point of best accuracy, or as one of --far, --at, --threshold and --abstain says.
    Nothing here is random, whatever --seed.

    Example: siamese compare a.jpg b.jpg --model model/ --far 0.001
    """
    started = time.perf_counter()
    with talking(quiet=quiet):
        from siamese.errors import OptionError
        from siamese.images.decode import open_image

        if model is None:
            raise OptionError("--model: name a model folder, as `siamese train -o` writes it, or an encoder")
        for path in (left, right):  # before the seconds that a model takes to load
            open_image(path).close()
        from siamese.inference.verifier import Verifier

        verifier = Verifier.load(model, device=device, align=align, face=face)  # type: ignore[arg-type]
        result = verifier.compare(left, right, far=far, at=at, threshold=threshold, abstain=abstain, prior=prior)
    seconds = time.perf_counter() - started
    facts = {"model": model, "device": verifier.device, "seconds": seconds}
    emit(_as_json(result, facts), _as_text(result, facts), as_json=json)


def _as_json(result: "Comparison", facts: dict[str, Any]) -> dict[str, Any]:
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
    }


def _face(outcome: "Outcome") -> dict[str, Any]:
    if outcome.face is None:
        return {"status": "not_searched", "box": None}
    return {"status": "found", "box": [round(float(value), 1) for value in outcome.face.box]}


def _as_text(result: "Comparison", facts: dict[str, Any]) -> str:
    lines = [
        f"{_verdict(result)} ({_origin(result)})",
        *_probability_lines(result),
        f"{facts['model']} on {facts['device']}, {facts['seconds']:.1f} s",
    ]
    found = [outcome.faces for outcome in result.outcomes]
    if any(number is not None for number in found):
        words = ("no search: taken as an aligned crop" if number is None else f"{number} found" for number in found)
        lines.append(f"faces: {', '.join(words)}")
    return "\n".join(lines)


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
