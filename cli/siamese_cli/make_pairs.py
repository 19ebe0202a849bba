"""`siamese make-pairs`."""

import time
from pathlib import Path
from typing import Annotated

import typer

from siamese_cli.options import Device, Identities, IdentityDepth, Json, Quiet, Seed
from siamese_cli.output import emit, table, talking


def make_pairs(
    data: Annotated[Path, typer.Argument(help="Folder of identity folders, or a manifest (CSV, Parquet).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files.")] = Path("pairs"),
    kind: Annotated[str, typer.Option("--kind", help="pairs or triplets.")] = "pairs",
    num_pairs: Annotated[
        int | None, typer.Option("--num-pairs", help="Rows over all files [as many as the data carries well].")
    ] = None,
    ratio: Annotated[str, typer.Option("--ratio", help="Genuine to impostor pairs, such as 1:1 or 6:4.")] = "1:1",
    split: Annotated[
        str | None,
        typer.Option("--split", help="Shares of identities for train, val and test, such as 0.8,0.1,0.1."),
    ] = None,
    folds: Annotated[
        int | None, typer.Option("--folds", help="One file with this many folds, identities disjoint between them.")
    ] = None,
    file_format: Annotated[str, typer.Option("--format", help="csv, parquet or lfw.")] = "csv",
    identity_depth: IdentityDepth = 1,
    identities: Identities = None,
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make pair or triplet files from images grouped by identity.

    Without --split one file, pairs.csv; with it train.csv, val.csv and, with three shares, test.csv. No identity is
    in two files, no pair is made twice. Nothing is computed on --device here.

    Example: siamese make-pairs faces/ --split 0.8,0.1,0.1 --num-pairs 10000 -o pairs/
    """
    started = time.perf_counter()
    with talking(quiet=quiet):
        from siamese.images.catalog import read_catalog
        from siamese.pairing.make import MakePairs, make_pair_files
        from siamese.pairing.splits import parse_ratio, parse_shares

        shares = None if split is None else parse_shares(split)
        job = MakePairs(kind, num_pairs, parse_ratio(ratio), shares, folds, file_format, seed)  # type: ignore[arg-type]
        catalog = read_catalog(data, identity_depth=identity_depth)
        if identities is not None:
            catalog = catalog.restricted_to(identities)
        files = make_pair_files(catalog.images, output, job)
    columns = list(next(iter(files.values())))
    rows = [(str(output / name), *(f"{counts[key]:,}" for key in columns)) for name, counts in files.items()]
    result = {"files": files, "unreadable": len(catalog.unreadable), "seconds": time.perf_counter() - started}
    emit(result, table(("file", *columns), rows), as_json=json)
