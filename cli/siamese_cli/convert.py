"""`siamese convert`."""

import time
from pathlib import Path
from typing import Annotated

import typer

from siamese_cli.options import Device, Json, Quiet, Root, SameLabel, Seed
from siamese_cli.output import count, emit, talking


def convert(
    pairs: Annotated[Path, typer.Argument(help="File of pairs, triplets or quadruplets in any form.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")],
    file_format: Annotated[
        str | None,
        typer.Option("--format", help="csv, tsv, parquet, lines, lfw, rfw, calfw or bin [by the extension of -o]."),
    ] = None,
    same_label: SameLabel = None,
    suffix: Annotated[str, typer.Option("--suffix", help="Extension of the images that an LFW file names.")] = ".jpg",
    root: Root = None,
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn a pair file from one form into another; the form of PAIRS is recognised by what it holds.

    Images packed in a .bin file are unpacked beside -o; with --format bin they are packed. Nothing here is random or
    computed on --device.

    Example: siamese convert agedb_30.bin -o agedb/pairs.csv
    """
    started = time.perf_counter()
    with talking(quiet=quiet):
        from siamese.pairing.convert import convert_file

        result = convert_file(pairs, output, format=file_format, same_label=same_label, suffix=suffix, root=root)
    kind = result["kind"]
    text = f"{output}: {count(result[kind], kind.removesuffix('s'))}"
    if kind == "pairs":
        text += f", {result['genuine']:,} genuine and {result['impostor']:,} impostor"
    emit({"file": str(output), **result, "seconds": time.perf_counter() - started}, text, as_json=json)
