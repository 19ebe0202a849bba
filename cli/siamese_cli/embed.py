"""`siamese embed`."""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from siamese_cli.arrow_alone import leave_pandas_out
from siamese_cli.options import (
    Align,
    Device,
    FaceOption,
    InputSize,
    Json,
    Model,
    Precision,
    Quiet,
    Runtime,
    Seed,
    choose_model,
    parse_size,
)
from siamese_cli.output import count, emit, talking

if TYPE_CHECKING:
    from siamese.inference.embed import EmbedResult

_ENGINES = ("local", "ray")


def embed(
    data: Annotated[
        Path, typer.Argument(help="Folder of images, a manifest, an image, or a text file of paths, one a line.")
    ],
    model: Model = None,
    output: Annotated[
        str, typer.Option("--output", "-o", help="Parquet file to write, or DIR/ for a file to each part.")
    ] = "embeddings.parquet",
    part_size: Annotated[
        int | None, typer.Option("--part-size", help="Images to a part: what a killed run loses at most [2048].")
    ] = None,
    engine: Annotated[str, typer.Option("--engine", help="local, or ray: all machines of a Ray cluster.")] = "local",
    workers: Annotated[
        int | None, typer.Option("--workers", help="Processes of --engine ray [one a GPU, or one a core].")
    ] = None,
    input_size: InputSize = None,
    align: Align = "auto",
    face: FaceOption = "auto",
    runtime: Runtime = "auto",
    precision: Precision = "f32",
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Embed every image: path, identity, status and a unit vector per row.

    A run that was ended goes on where it was when the same command is given again: what is done waits in
    OUTPUT.work/, and OUTPUT appears whole at the end. With -o DIR/ the parts are the output. Nothing here is random
    but the weights of NAME@random, which --seed draws.

    Example: siamese embed faces/ --model model/ -o embeddings.parquet
    """
    started = time.perf_counter()
    with talking(quiet=quiet):
        from siamese.errors import OptionError, unknown_name

        if engine not in _ENGINES:
            raise unknown_name("value of --engine", engine, _ENGINES)
        if workers is not None and engine != "ray":
            raise OptionError(f"--workers {workers}: goes with --engine ray; give that too, or leave --workers out")
        model = choose_model(model)
        loading = {"align": align, "face": face, "input_size": parse_size(input_size), "seed": seed}
        loading |= {"runtime": runtime, "precision": precision}
        partitioned = output.endswith(("/", os.sep)) or Path(output).is_dir()
        options = {"partitioned": partitioned, **({} if part_size is None else {"part_size": part_size})}
        run = _with_ray if engine == "ray" else _locally
        result, where = run(model, device, loading, data, Path(output), options, workers)
    seconds = time.perf_counter() - started
    facts = {"model": model, "device": where, "engine": engine, "seconds": seconds, "output": output}
    emit({**vars(result), **facts}, _as_text(result, facts), as_json=json)


def _locally(
    model: str,
    device: str,
    loading: dict[str, Any],
    data: Path,
    output: Path,
    options: dict[str, Any],
    _workers: int | None,
) -> "tuple[EmbedResult, str]":
    leave_pandas_out()
    from siamese.inference.embed import check_destination, embed_data
    from siamese.inference.verifier import Verifier

    check_destination(output, data, partitioned=options["partitioned"])
    verifier = Verifier.load(model, device=device, **loading)
    return embed_data(verifier, data, output, **options), verifier.device


def _with_ray(
    model: str,
    device: str,
    loading: dict[str, Any],
    data: Path,
    output: Path,
    options: dict[str, Any],
    workers: int | None,
) -> "tuple[EmbedResult, str]":
    from siamese.encoders.bundled import BUNDLED
    from siamese.inference.embed import check_destination, embed_data
    from siamese.inference.embed_ray import ModelRequest, ray_engine, require_ray

    require_ray()
    check_destination(output, data, partitioned=options["partitioned"])
    # Workers may start elsewhere than this process: what is named by a path is named from the root.
    is_path = model != BUNDLED and Path(model).is_dir()
    request = ModelRequest(os.path.abspath(model) if is_path else model, **loading)  # noqa: PTH100
    verifier = request.load("cpu")  # tells what is wrong before any worker starts; GPUs are the cluster's
    engine = ray_engine(request, verifier, device=device, workers=workers)
    return embed_data(verifier, data, output, engine=engine, **options), engine.place


def _as_text(result: "EmbedResult", facts: dict[str, Any]) -> str:
    seconds = facts["seconds"]
    lines = [f"{count(result.images, 'image')} in {facts['output']}, {result.failed:,} without an embedding"]
    if result.embedded < result.images:
        lines.append(f"{result.images - result.embedded:,} of them embedded by an earlier run")
    rate = f"{result.embedded / seconds:.0f} images/s"
    lines.append(f"{facts['model']} on {facts['device']}, {result.dimensions} dimensions, {seconds:.1f} s, {rate}")
    return "\n".join(lines)
