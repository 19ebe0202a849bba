"""`siamese make-pairs`."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from siamese_cli.options import Align, Device, FaceOption, Identities, IdentityDepth, Json, Quiet, Seed
from siamese_cli.output import emit, table, talking

if TYPE_CHECKING:
    from siamese.images.catalog import Catalog


def make_pairs(
    data: Annotated[Path, typer.Argument(help="Images by identity in any known layout, or a manifest.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the files.")] = Path("pairs"),
    kind: Annotated[str, typer.Option("--kind", help="pairs, triplets or quadruplets.")] = "pairs",
    num_pairs: Annotated[
        int | None, typer.Option("--num-pairs", help="Rows over all files [as many as the data carries well].")
    ] = None,
    all_pairs: Annotated[bool, typer.Option("--all-pairs", help="Every pair there is.")] = False,
    ratio: Annotated[str, typer.Option("--ratio", help="Genuine to impostor pairs, such as 1:1 or 6:4.")] = "1:1",
    max_per_identity: Annotated[
        int | None, typer.Option("--max-per-identity", help="At most so many genuine pairs of one identity.")
    ] = None,
    balance: Annotated[
        str, typer.Option("--balance", help="What impostor pairs are even over: identity or image.")
    ] = "identity",
    groups: Annotated[
        str | None,
        typer.Option("--groups", help="Pair images across or within groups, or of two groups A:B."),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            "--group-by", help="Of --groups: column with the group, of a manifest, or folder (below the identity)."
        ),
    ] = None,
    hard: Annotated[
        str | None, typer.Option("--hard", help="Mine the hardest pairs for this MODEL instead of drawing at random.")
    ] = None,
    per_image: Annotated[int | None, typer.Option("--per-image", help="Of --hard: candidates per image.")] = None,
    skip_above: Annotated[
        float | None, typer.Option("--skip-above", help="Of --hard: impostors more similar are label errors.")
    ] = None,
    skip_below: Annotated[
        float | None, typer.Option("--skip-below", help="Of --hard: genuine pairs less similar are label errors.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="Shares of identities for train, val and test, such as 0.8,0.1,0.1."),
    ] = None,
    folds: Annotated[
        int | None, typer.Option("--folds", help="One file with this many folds, identities disjoint between them.")
    ] = None,
    file_format: Annotated[
        str, typer.Option("--format", help="csv, tsv, parquet, lines, lfw, rfw or calfw.")
    ] = "csv",
    materialize: Annotated[
        Path | None, typer.Option("--materialize", help="Write the images flat, as IDENTITY/name, to this folder.")
    ] = None,
    how: Annotated[
        str | None, typer.Option("--how", help="Of --materialize: copy, symlink or hardlink [copy].")
    ] = None,
    identity_depth: IdentityDepth = 1,
    identities: Identities = None,
    align: Align = "auto",
    face: FaceOption = "auto",
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make pair, triplet or quadruplet files from images grouped by identity.

    Without --split one file, pairs.csv; with it train.csv, val.csv and, with three shares, test.csv; a layout with
    splits of its own gives one file for each. No identity is in two files of --split, no pair is made twice. --hard
    embeds the images on --device; nothing else is computed there.

    Example: siamese make-pairs faces/ --split 0.8,0.1,0.1 --num-pairs 10000 -o pairs/
    """
    started = time.perf_counter()
    with talking(quiet=quiet):
        _refuse_alone("--group-by", group_by, "--groups", groups)
        _refuse_alone("--how", how, "--materialize", materialize)
        from siamese.images.catalog import read_catalog
        from siamese.images.materialise import materialise
        from siamese.pairing.grouped import parse_groups
        from siamese.pairing.make import make_pair_files
        from siamese.pairing.request import MakePairs, check_job
        from siamese.pairing.splits import parse_ratio, parse_shares

        job = MakePairs(
            kind=kind,  # type: ignore[arg-type]
            num_pairs=num_pairs,
            ratio=parse_ratio(ratio),
            shares=None if split is None else parse_shares(split),
            folds=folds,
            format=file_format,
            seed=seed,
            max_per_identity=max_per_identity,
            balance=balance,  # type: ignore[arg-type]
            groups=None if groups is None else parse_groups(groups, "folder" if group_by is None else group_by),
            all_pairs=all_pairs,
            per_image=per_image,
            skip_above=skip_above,
            skip_below=skip_below,
        )
        check_job(job, hard=hard is not None)
        catalog = read_catalog(data, identity_depth=identity_depth)
        if identities is not None:
            catalog = catalog.restricted_to(identities)
        if materialize is not None:
            catalog = materialise(catalog, materialize, how="copy" if how is None else how)  # type: ignore[arg-type]
        if hard is None:
            files = make_pair_files(catalog.images, output, job)
        else:
            images, vectors = _embedded(catalog, hard, device=device, align=align, face=face)
            files = make_pair_files(images, output, job, vectors)
    columns = list(next(iter(files.values())))
    rows = [(str(output / name), *(f"{counts[key]:,}" for key in columns)) for name, counts in files.items()]
    result = {"files": files, "unreadable": len(catalog.unreadable), "layout": catalog.layout}
    emit({**result, "seconds": time.perf_counter() - started}, table(("file", *columns), rows), as_json=json)


def _refuse_alone(option: str, value: str | None, other: str, needed: object) -> None:
    """Refuse an option that says how, where the one that says what is not given."""
    from siamese.errors import OptionError

    if value is not None and needed is None:
        raise OptionError(f"{option} {value}: goes with {other}; give that too, or leave {option} out")


def _embedded(catalog: "Catalog", model: str, **options: Any) -> Any:
    from siamese.inference.embed import embed_images
    from siamese.inference.verifier import Verifier

    return embed_images(Verifier.load(model, **options), catalog.root, catalog.images)
