"""Pair, triplet and quadruplet files turned from one form into another."""

from pathlib import Path
from typing import Any

import pandas as pd

from siamese.errors import OptionError
from siamese.pairing.face_bin import is_bin, unpack_bin, write_bin
from siamese.pairing.formats import TableKind, held_columns, read_any, write_any
from siamese.pairing.table import pair_counts
from siamese.pairing.table_columns import PAIR_COLUMNS
from siamese.progress import log

BIN = "bin"


def convert_file(
    source: Path,
    target: Path,
    *,
    format: str | None = None,  # noqa: A002
    same_label: str | None = None,
    suffix: str = ".jpg",
    root: Path | None = None,
) -> dict[str, Any]:
    """Read a file in any form and write it in another.

    The images that a `.bin` file holds are unpacked into a folder beside `target` that is named for the file, and the
    paths written are relative to the folder of `target`. Columns that its form has no place for are left out with a
    warning.

    Args:
        source: pairs, triplets or quadruplets in any form that is read, or a `.bin` file.
        target: the file to write.
        format: one of `formats.PAIR_FORMATS`, or `bin`; None goes by the extension of `target`.
        same_label: the value of the label column that means same; None: 1 or true.
        suffix: extension of the images that an LFW or RFW file stands for.
        root: what the paths of `source` are relative to, where images are packed; None for its folder.

    Returns:
        `kind`, and the counts: of pairs as `pair_counts` has them, else of rows.

    Raises:
        PairFileError: `source` is damaged, or holds what the form of `target` cannot.
        OptionError: an unknown form, or a label where the form tells it.
    """
    packed = format == BIN or (format is None and target.suffix.lower() == f".{BIN}")
    kind, table = _read(source, target, same_label, suffix)
    if packed:
        if kind != "pairs":
            raise OptionError(f"--format {BIN}: packs pairs, and {source} holds {kind}; choose csv, tsv or parquet")
        held = [name for name in table.columns if name in (*PAIR_COLUMNS, "fold")]
        write_bin(table[held], root if root is not None else source.parent, target)
    else:
        held = held_columns(table, target, kind, format)
        write_any(table[held], target, kind, format)
    if len(held) < len(table.columns):
        lost = ", ".join(str(name) for name in table.columns if name not in held)
        log.warning("%s: its form has no place for %s, left out", target, lost)
    counts: dict[str, Any] = dict(pair_counts(table)) if kind == "pairs" else {kind: len(table)}
    return {"kind": kind, **counts}


def _read(source: Path, target: Path, same_label: str | None, suffix: str) -> tuple[TableKind, pd.DataFrame]:
    if is_bin(source):
        if same_label is not None:
            raise OptionError(f"--same-label {same_label}: {source} holds truth values, its form tells; leave it out")
        folder = source.stem or source.name
        table = unpack_bin(source, target.parent / folder)
        return "pairs", table.assign(left=f"{folder}/" + table["left"], right=f"{folder}/" + table["right"])
    return read_any(source, suffix=suffix, need_same=False, same_label=same_label)
