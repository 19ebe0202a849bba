"""`siamese doctor`."""

import platform
import time
from typing import TYPE_CHECKING, Annotated

import typer

from siamese_cli.options import Device, Json, Quiet, Seed
from siamese_cli.output import count, emit, talking

if TYPE_CHECKING:
    from siamese.doctor.diagnosis import Diagnosis

FAILED = 1


def doctor(
    model: Annotated[
        str | None, typer.Option("--model", help="Tell how this model folder, NAME or NAME@FILE is run, and why.")
    ] = None,
    measure: Annotated[bool, typer.Option("--measure", help="Time the runtimes of --model now.")] = False,
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Look at the environment: versions, devices, folders, the choice of runtime, and short tests that really run.

    Each line is ok, warn (something is missing, and what for) or fail. The exit code is 1 if a test failed, else 0.
    --device is where --model would run. Nothing here is random, whatever --seed.

    Example: siamese doctor --model model/ --measure
    """
    from siamese.errors import OptionError

    started = time.perf_counter()
    if measure and model is None:
        raise OptionError("--measure: times the runtimes of a model; give --model as well")
    with talking(quiet=quiet):
        from siamese.doctor.diagnosis import diagnose

        found = diagnose(model, device=device, measure=measure)
    seconds = time.perf_counter() - started
    result = {
        "versions": found.versions,
        "optional": found.optional,
        "devices": found.devices,
        "folders": found.folders,
        "runtimes": found.runtimes,
        "checks": [vars(each) for each in found.checks],
        "seconds": seconds,
    }
    emit(result, _as_text(found, seconds), as_json=json)
    if found.failed:
        raise typer.Exit(FAILED)


def _as_text(found: "Diagnosis", seconds: float) -> str:
    system = f"{platform.system()} {platform.machine()}"
    runtime = found.runtimes["default"]
    lines = [f"siamese {found.versions['siamese']}, Python {found.versions['python']}, {system}", ""]
    lines += [f"{each.status:4}  {each.name}: {each.detail}" for each in found.environment]
    lines += [f"ok    SIAMESE_RUNTIME: {runtime}"] if runtime != "auto" else []
    lines += ["", *(f"{each.status:4}  {each.name}: {each.detail}" for each in found.checks), ""]
    missing = sum(each.status == "warn" for each in found.environment)
    verdict = f"{count(found.failed, 'test')} failed" if found.failed else "no test failed"
    warned = f", {count(missing, 'warning')}" if missing else ""
    return "\n".join([*lines, f"{verdict}{warned}, {seconds:.1f} s"])
