"""Pair, triplet and quadruplet files made from a catalog: what `siamese make-pairs` writes."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.errors import DataError
from siamese.pairing.everything import all_pairs, all_pairs_in_folds
from siamese.pairing.folds import sample_folds
from siamese.pairing.formats import held_columns, write_any
from siamese.pairing.hard import hard_pairs, hard_triplets
from siamese.pairing.quadruplets import sample_quadruplets
from siamese.pairing.request import Kind, MakePairs, check_job
from siamese.pairing.sampling import sample_pairs, sample_triplets
from siamese.pairing.splits import split_identities
from siamese.pairing.table import pair_counts
from siamese.progress import log

__all__ = ["MakePairs", "make_pair_files"]

SPLIT_NAMES = ("train", "val", "test")
_SUFFIXES = {"csv": ".csv", "tsv": ".tsv", "parquet": ".parquet"}  # every other form is a text file
_FILE_NAME = re.compile(r"[\w][\w .-]*")


def make_pair_files(
    catalog: pd.DataFrame, folder: Path, job: MakePairs, vectors: NDArray[np.floating] | None = None
) -> dict[str, dict[str, int | None]]:
    """Make the files; nothing is written unless everything can be.

    No identity is in two files, except where the catalog's own column `split` puts it there: then a warning says how
    many are.

    Args:
        catalog: columns `path` and `identity`; `split` where the data comes divided; those that `job.groups` names.
        folder: where the files go.
        job: what to make.
        vectors: a unit vector per row of the catalog (N, D): pairs or triplets are then the hardest of it. Files
            named `val` and `test` are drawn at random all the same, so that thresholds fitted and figures measured
            on them hold for ordinary pairs.

    Returns:
        Counts by file name: `pairs`, `genuine`, `impostor`, `identities`; for triplets `triplets`, `identities`;
        for quadruplets `quadruplets`, `identities`.

    Raises:
        DataError: the catalog cannot give what was asked for; the message has the numbers.
        OptionError: options that contradict each other.
    """
    check_job(job, hard=vectors is not None)
    tables = _tables(catalog, job, vectors)
    named = {f"{name}{_SUFFIXES.get(job.format, '.txt')}": table for name, table in tables.items()}
    for name, table in named.items():
        held = held_columns(table, folder / name, job.kind, job.format)
        write_any(table[held], folder / name, job.kind, job.format)
    return {name: _counts(table, job.kind) for name, table in named.items()}


def _tables(catalog: pd.DataFrame, job: MakePairs, vectors: NDArray[np.floating] | None) -> dict[str, pd.DataFrame]:
    if job.folds is not None:
        return {"pairs": _folds(catalog, job, job.folds)}
    parts = _parts(catalog, job)
    if parts is None:
        return {job.kind: _sample(catalog, job, job.num_pairs, 0, vectors)}
    if job.shares is None:
        numbers = _allot(job.num_pairs, tuple(part["identity"].nunique() for part in parts.values()))
    else:
        numbers = _allot(job.num_pairs, job.shares)
    tables = {}
    for position, ((name, part), number) in enumerate(zip(parts.items(), numbers, strict=True)):
        mined = None if vectors is None or name in SPLIT_NAMES[1:] else vectors[_rows(catalog, part)]
        tables[name] = _sample(part, job, number, position, mined, f"{name}: ")
    return tables


def _parts(catalog: pd.DataFrame, job: MakePairs) -> dict[str, pd.DataFrame] | None:
    """The catalog of each file by name; None for one file of everything."""
    if job.shares is not None:
        return dict(zip(SPLIT_NAMES, split_identities(catalog, job.shares, job.seed), strict=False))
    if "split" not in catalog.columns or catalog["split"].isna().all():
        return None
    split = catalog["split"].astype("string")
    missing = int(split.isna().sum())
    if missing:
        log.warning("%d of %d images are in no split: no pairs are made of them", missing, len(catalog))
    found = sorted(split.dropna().unique(), key=lambda name: (name not in SPLIT_NAMES, _place(name), name))
    bad = [name for name in found if not _FILE_NAME.fullmatch(name)]
    if bad:
        raise DataError(
            f"the catalog has a split {bad[0]!r}, which cannot be a file name; expected train, val or test"
        )
    parts = {name: catalog[(split == name).to_numpy(dtype=bool, na_value=False)] for name in found}
    splits_of = pd.concat([pd.Series(part["identity"].unique()) for part in parts.values()]).value_counts()
    shared = int((splits_of > 1).sum())
    if shared:
        log.warning(
            "%d of %d identities are in two splits or more: figures on one flatter a model trained on another",
            *(shared, len(splits_of)),
        )
    return {name: part.reset_index(drop=True) for name, part in parts.items()}


def _place(name: str) -> int:
    return SPLIT_NAMES.index(name) if name in SPLIT_NAMES else 0


def _rows(catalog: pd.DataFrame, part: pd.DataFrame) -> NDArray[np.intp]:
    """Where the images of a part are in the catalog."""
    return np.asarray(pd.Index(catalog["path"]).get_indexer(pd.Index(part["path"])))


def _folds(catalog: pd.DataFrame, job: MakePairs, folds: int) -> pd.DataFrame:
    if job.all_pairs:
        return all_pairs_in_folds(catalog, folds, seed=job.seed, groups=job.groups, categorical=True)
    return sample_folds(
        *(catalog, folds, job.num_pairs, job.ratio, job.seed),
        max_per_identity=job.max_per_identity,
        balance=job.balance,
        groups=job.groups,
        categorical=True,
    )


def _sample(
    catalog: pd.DataFrame,
    job: MakePairs,
    number: int | None,
    position: int,
    vectors: NDArray[np.floating] | None,
    what: str = "",
) -> pd.DataFrame:
    # Every file has a stream of its own, so that one file's size does not change what the others hold.
    seed = int(np.random.SeedSequence([job.seed, position]).generate_state(1)[0])
    # Text is looked up when it is written: ten million rows of it would not fit in memory.
    options: dict[str, Any] = {
        "seed": seed,
        "max_per_identity": job.max_per_identity,
        "categorical": True,
        "what": what,
    }
    if vectors is not None:
        options |= {} if job.per_image is None else {"per_image": job.per_image}
        options |= {"skip_above": job.skip_above, "skip_below": job.skip_below}
        if job.kind == "triplets":
            return hard_triplets(catalog, vectors, num_triplets=number, **options)
        return hard_pairs(catalog, vectors, num_pairs=number, ratio=job.ratio, **options)
    if job.all_pairs:
        return all_pairs(catalog, groups=job.groups, categorical=True, what=what)
    if job.kind == "quadruplets":
        return sample_quadruplets(catalog, num_quadruplets=number, **options)
    if job.kind == "triplets":
        return sample_triplets(catalog, num_triplets=number, balance=job.balance, **options)
    return sample_pairs(catalog, num_pairs=number, ratio=job.ratio, balance=job.balance, groups=job.groups, **options)


def _allot(number: int | None, shares: tuple[float, ...]) -> list[int | None]:
    """Divide a number by shares; rounding never changes the sum."""
    if number is None:
        return [None] * len(shares)
    ends = np.round(np.cumsum(shares) / sum(shares) * number).astype(int)
    return [int(share) for share in np.diff(ends, prepend=0)]


def _counts(table: pd.DataFrame, kind: Kind) -> dict[str, int | None]:
    if kind == "pairs":
        return pair_counts(table)
    names = [name for name in table.columns if name.endswith("_identity")]
    return {kind: len(table), "identities": int(pd.concat([table[name] for name in names]).nunique())}
