"""`siamese audit`."""

import time
from pathlib import Path
from typing import Annotated

import typer

from siamese_cli.options import (
    Align,
    Device,
    FaceOption,
    IdentityDepth,
    InputSize,
    Json,
    Quiet,
    SameLabel,
    Seed,
    parse_size,
)
from siamese_cli.output import count, emit, talking


def audit(
    data: Annotated[Path, typer.Argument(help="Folder of images by identity, or a manifest.")],
    pairs: Annotated[
        list[Path] | None, typer.Option("--pairs", help="File of pairs or triplets; once for each file.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Look for wrong labels too: model folder, NAME, NAME@TAG, NAME@FILE."),
    ] = None,
    same_label: SameLabel = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 2 when something was found.")] = False,
    limit: Annotated[
        int, typer.Option("--limit", min=1, help="Problems of a kind to list in the JSON; all are counted.")
    ] = 1000,
    identity_depth: IdentityDepth = 1,
    input_size: InputSize = None,
    align: Align = "auto",
    face: FaceOption = "auto",
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what is wrong with a data set before it is trained on.

    Unreadable and missing images, copies under two identities, identities with one image or in two splits; with
    --pairs, pairs that contradict each other, themselves or the identities; with --model, images that look like
    another identity than their own. Nothing here is random, whatever --seed.

    Example: siamese audit faces/ --pairs pairs/train.csv --pairs pairs/val.csv --strict
    """
    started = time.perf_counter()
    with talking(quiet=quiet):
        from siamese.errors import DataError, OptionError
        from siamese.inference.audit import audit_data
        from siamese.inference.verifier import Verifier

        size = parse_size(input_size)
        if model is None and size is not None:
            raise OptionError("--input-size: is for the encoder named by --model; leave it out, or give --model")
        verifier = (
            None if model is None else Verifier.load(model, device=device, align=align, face=face, input_size=size)  # type: ignore[arg-type]
        )
        options = {"identity_depth": identity_depth, "limit": limit, "same_label": same_label}
        result = audit_data(data, pairs or (), verifier=verifier, **options)  # type: ignore[arg-type]
    seconds = time.perf_counter() - started
    found = sum(result.findings.counts.values())
    text = [
        f"{count(result.images, 'image')} of {count(result.identities, 'identity', 'identities')} ({result.layout})",
        *(result.findings.lines() or ["nothing found"]),
        f"{count(found, 'problem')}, {seconds:.1f} s" + (f", {model} on {verifier.device}" if verifier else ""),
    ]
    emit({**result.as_json(), "seconds": seconds}, "\n".join(text), as_json=json)
    if strict and found:
        kinds = ", ".join(result.findings.counts)
        raise DataError(f"--strict: {count(found, 'problem')} found in {data} ({kinds}); see the report")
