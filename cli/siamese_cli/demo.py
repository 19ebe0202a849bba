"""`siamese demo`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from siamese_cli.options import Device, Json, Quiet, Seed
from siamese_cli.output import emit, percent, table, talking

if TYPE_CHECKING:
    from siamese.demo.job import DemoResult
    from siamese.evaluation.protocols import Measurement


def demo(
    output: Annotated[Path, typer.Option("--out", "-o", help="Folder for everything.")] = Path("demo"),
    quick: Annotated[bool, typer.Option("--quick", help="Less of everything: under a minute on two cores.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the whole job on faces that the program renders itself; nothing is downloaded.

    Data, pairs, baseline, training, evaluation on identities that training never saw, a report, two comparisons.
    Training starts from the verifier that ships with siamese, where there is one.

    Example: siamese demo --quick
    """
    with talking(quiet=quiet):
        from siamese.demo.job import run_demo

        result = run_demo(output, quick=quick, seed=seed, device=device)
    emit(_as_json(result), _as_text(result), as_json=json)


def _as_json(result: "DemoResult") -> dict[str, Any]:
    return {
        "encoder": result.encoder,
        "pairs": result.pairs,
        "baseline": result.baseline.as_json(),
        "trained": result.trained.as_json(),
        "best_epoch": result.training.best_epoch,
        "comparisons": [
            {"images": [str(left), str(right)], "same": answer.same, "similarity": answer.similarity}
            for left, right, answer in result.comparisons
        ],
        "report": str(result.report),
        "written": [str(path) for path in result.written],
        "device": result.training.device,
        "seconds": result.seconds,
    }


def _as_text(result: "DemoResult") -> str:
    baseline, trained = result.baseline.measurement, result.trained.measurement
    names = ("AUC", "accuracy", "EER", "TAR at FAR 0.01")
    rows = [(name, _figure(name, baseline), _figure(name, trained)) for name in names]
    lines = [
        f"{trained.genuine} genuine and {trained.impostor} impostor pairs of identities that training never saw:",
        table(("", "untouched encoder", "trained"), rows),
        "",
    ]
    for left, right, answer in result.comparisons:
        verdict, sign = ("same", ">=") if answer.same else ("different", "<")
        lines.append(
            f"{_short(left)} and {_short(right)}: {verdict} ({answer.similarity:.2f} {sign} {answer.threshold:.2f})"
        )
    written = "  ".join(f"{path}/" for path in result.written)
    training = result.training
    lines += [
        "",
        f"written: {written}",
        f"report, to be opened from disk: {result.report}",
        f"{result.seconds:.0f} s on {training.device}, from {result.encoder}, "
        f"training at {training.images_per_second:.0f} images/s",
        f"try: siamese compare {result.comparisons[0][0]} {result.comparisons[1][1]} --model {training.model_folder}",
    ]
    return "\n".join(lines)


def _figure(name: str, measured: "Measurement") -> str:
    if name == "AUC":
        return f"{measured.auc:.4f}"
    if name == "TAR at FAR 0.01":
        return percent(measured.tar_at_far["0.01"])
    return percent(measured.accuracy if name == "accuracy" else measured.eer)


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
