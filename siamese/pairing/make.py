"""Pair and triplet files made from a catalog: what `siamese make-pairs` writes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from siamese.errors import OptionError, unknown_name
from siamese.pairing.formats import Format, write_pairs, write_triplets
from siamese.pairing.sampling import sample_pairs, sample_triplets
from siamese.pairing.splits import sample_folds, split_identities
from siamese.pairing.table import pair_counts

Kind = Literal["pairs", "triplets"]
SUFFIXES: dict[str, str] = {"csv": ".csv", "parquet": ".parquet", "lfw": ".txt"}
SPLIT_NAMES = ("train", "val", "test")


@dataclass(frozen=True)
class MakePairs:
    """What to make.

    Attributes:
        kind: `pairs` or `triplets`.
        num_pairs: rows over all files together; None for as many as the data carries well, file by file.
        ratio: genuine to impostor.
        shares: shares of identities for train, validation and, if there are three, test; None for one file.
        folds: folds of a cross-validation in one file; None for none.
        format: `csv`, `parquet` or `lfw`.
        seed: the same seed gives the same bytes.
    """

    kind: Kind = "pairs"
    num_pairs: int | None = None
    ratio: tuple[float, float] = (1, 1)
    shares: tuple[float, ...] | None = None
    folds: int | None = None
    format: Format = "csv"
    seed: int = 0


def make_pair_files(catalog: pd.DataFrame, folder: Path, job: MakePairs) -> dict[str, dict[str, int | None]]:
    """Make the files; no identity is in two of them. Nothing is written unless everything can be.

    Args:
        catalog: columns `path` and `identity`.
        folder: where the files go.
        job: what to make.

    Returns:
        Counts by file name: `pairs`, `genuine`, `impostor`, `identities`; for triplets `triplets`, `identities`.

    Raises:
        DataError: the catalog cannot give what was asked for; the message has the numbers.
        OptionError: options that contradict each other.
    """
    _check(job)
    tables = _tables(catalog, job)
    write = write_pairs if job.kind == "pairs" else write_triplets
    named = {f"{name}{SUFFIXES[job.format]}": table for name, table in tables.items()}
    for name, table in named.items():
        write(table, folder / name, job.format)
    return {name: _counts(table) for name, table in named.items()}


def _check(job: MakePairs) -> None:
    if job.format not in SUFFIXES:
        raise unknown_name("format", job.format, SUFFIXES)
    if job.kind not in ("pairs", "triplets"):
        raise unknown_name("kind", job.kind, ("pairs", "triplets"))
    if job.kind == "triplets" and (job.folds is not None or job.format == "lfw"):
        raise OptionError("--kind triplets: has no folds and no LFW form; use --split and --format csv or parquet")
    if job.folds is not None and job.shares is not None:
        raise OptionError("--split and --folds: give one of them; folds are a cross-validation in one file")


def _tables(catalog: pd.DataFrame, job: MakePairs) -> dict[str, pd.DataFrame]:
    if job.folds is not None:
        return {"pairs": sample_folds(catalog, job.folds, job.num_pairs, job.ratio, job.seed)}
    if job.shares is None:
        return {job.kind: _sample(catalog, job, job.num_pairs, 0)}
    parts = split_identities(catalog, job.shares, job.seed)
    numbers = _allot(job.num_pairs, job.shares)
    names = SPLIT_NAMES[: len(parts)]
    return {
        name: _sample(part, job, number, position)
        for position, (name, part, number) in enumerate(zip(names, parts, numbers, strict=True))
    }


def _sample(catalog: pd.DataFrame, job: MakePairs, number: int | None, position: int) -> pd.DataFrame:
    # Every file has a stream of its own, so that one file's size does not change what the others hold.
    seed = int(np.random.SeedSequence([job.seed, position]).generate_state(1)[0])
    if job.kind == "triplets":
        return sample_triplets(catalog, num_triplets=number, seed=seed)
    return sample_pairs(catalog, num_pairs=number, ratio=job.ratio, seed=seed)


def _allot(number: int | None, shares: tuple[float, ...]) -> list[int | None]:
    """Divide a number by shares; rounding never changes the sum."""
    if number is None:
        return [None] * len(shares)
    ends = np.round(np.cumsum(shares) / sum(shares) * number).astype(int)
    return [int(share) for share in np.diff(ends, prepend=0)]


def _counts(table: pd.DataFrame) -> dict[str, int | None]:
    if "anchor" not in table.columns:
        return pair_counts(table)
    identities = pd.concat([table["anchor_identity"], table["negative_identity"]]).nunique()
    return {"triplets": len(table), "identities": int(identities)}
