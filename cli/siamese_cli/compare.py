"""`siamese compare`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from siamese_cli.options import Align, Device, FaceOption, Json, Quiet, Seed
from siamese_cli.output import emit, percent, talking

if TYPE_CHECKING:
    from siamese.images.loader import Outcome
    from siamese.inference.verifier import Comparison


def compare(
    left: Annotated[Path, typer.Argument(metavar="IMG1", help="First image.")],
    right: Annotated[Path, typer.Argument(metavar="IMG2", help="Second image.")],
    model: Annotated[str | None, typer.Option("--model", help="Model folder, NAME, NAME@TAG or NAME@FILE.")] = None,
    far: Annotated[float | None, typer.Option("--far", help="Operating point for this FAR [best accuracy].")] = None,
    threshold: Annotated[float | None, typer.Option("--threshold", help="Decide at this similarity instead.")] = None,
    prior: Annotated[
        float | None, typer.Option("--prior", help="Share of genuine pairs that the probability supposes [0.5].")
    ] = None,
    align: Align = "auto",
    face: FaceOption = "auto",
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Same or different?

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
        result = verifier.compare(left, right, far=far, threshold=threshold, prior=prior)
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
        **facts,
        "faces": [_face(outcome) for outcome in result.outcomes],
    }


def _face(outcome: "Outcome") -> dict[str, Any]:
    if outcome.face is None:
        return {"status": "not_searched", "box": None}
    return {"status": "found", "box": [round(float(value), 1) for value in outcome.face.box]}


def _as_text(result: "Comparison", facts: dict[str, Any]) -> str:
    verdict, sign = ("same", ">=") if result.same else ("different", "<")
    origin = "given by hand"
    if result.far is not None:
        origin = f"FAR {percent(result.far)} on {result.split} pairs, operating point {result.point}"
    lines = [
        f"{verdict}: similarity {result.similarity:.4f} {sign} threshold {result.threshold:.4f} ({origin})",
        *_probability_lines(result),
        f"{facts['model']} on {facts['device']}, {facts['seconds']:.1f} s",
    ]
    found = [outcome.faces for outcome in result.outcomes]
    if any(number is not None for number in found):
        words = ("no search: taken as an aligned crop" if number is None else f"{number} found" for number in found)
        lines.append(f"faces: {', '.join(words)}")
    return "\n".join(lines)


def _probability_lines(result: "Comparison") -> list[str]:
    if result.probability is None or result.prior is None:
        return []
    bounded = min(max(result.probability, 1e-4), 1 - 1e-4)  # no data supports "100.00 %"
    sign = "" if bounded == result.probability else "below " if bounded > result.probability else "above "
    return [f"probability of the same identity: {sign}{percent(bounded)}, where {percent(result.prior)} of pairs are"]
