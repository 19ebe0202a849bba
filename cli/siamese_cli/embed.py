"""`siamese embed`."""

import time
from pathlib import Path
from typing import Annotated

import typer

from siamese_cli.options import Align, Device, FaceOption, InputSize, Json, Quiet, Seed, parse_size
from siamese_cli.output import count, emit, talking


def embed(
    data: Annotated[Path, typer.Argument(help="Folder of images, a manifest, or an image.")],
    model: Annotated[str | None, typer.Option("--model", help="Model folder, NAME, NAME@TAG or NAME@FILE.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Parquet file to write.")] = Path(
        "embeddings.parquet"
    ),
    input_size: InputSize = None,
    align: Align = "auto",
    face: FaceOption = "auto",
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Embed every image: path, identity, status and a unit vector per row.

    Nothing here is random, whatever --seed.

    Example: siamese embed faces/ --model model/ -o embeddings.parquet
    """
    started = time.perf_counter()
    with talking(quiet=quiet):
        from siamese.errors import OptionError

        if model is None:
            raise OptionError("--model: name a model folder, as `siamese train -o` writes it, or an encoder")
        from siamese.inference.embed import embed_data
        from siamese.inference.verifier import Verifier

        size = parse_size(input_size)
        verifier = Verifier.load(model, device=device, align=align, face=face, input_size=size)  # type: ignore[arg-type]
        result = embed_data(verifier, data, output)
    seconds = time.perf_counter() - started
    text = (
        f"{count(result.images, 'image')} in {output}, {result.failed} without an embedding\n"
        f"{model} on {verifier.device}, {result.dimensions} dimensions, {seconds:.1f} s, "
        f"{result.images / seconds:.0f} images/s"
    )
    facts = {"model": model, "device": verifier.device, "seconds": seconds, "output": str(output)}
    emit({**vars(result), **facts}, text, as_json=json)
