"""`siamese models`."""

from typing import TYPE_CHECKING

import typer

from siamese_cli.options import Device, Json, Quiet, Seed
from siamese_cli.output import emit, table, talking

if TYPE_CHECKING:
    from siamese.encoders.listing import EncoderRow


def models(
    context: typer.Context,
    seed: Seed = 0,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """List the encoders and their weights: input, size, licence, cached or not, and where a file is expected.

    Example: siamese models --json
    """
    with talking(quiet=quiet):
        from siamese.encoders import list_encoders

        rows = list_encoders()
    lines = [
        (
            _label(row),
            "x".join(map(str, row.input_size)) if row.input_size else "-",
            str(row.feature_dim or "-"),
            f"{row.megabytes:.0f} MB" if row.megabytes else "-",
            _whereabouts(row),
            row.licence or "-",
        )
        for row in rows
    ]
    text = table(("encoder", "input", "features", "size", "cached", "licence"), lines)
    notes = [f"{row.name}: {row.note}" for row in rows if row.note]
    places = [f"{_label(row)}: expected at {row.path}" for row in rows if row.path and not row.cached]
    data = {"encoders": [{**row.model_dump(), "path": str(row.path) if row.path else None} for row in rows]}
    emit(data, "\n".join([text, *notes, *places]), as_json=json)


def _label(row: "EncoderRow") -> str:
    return row.name if row.tag is None else f"{row.name}@{row.tag}"


def _whereabouts(row: "EncoderRow") -> str:
    if not row.cached:
        return "no"
    return "packaged" if row.packaged else "yes"
