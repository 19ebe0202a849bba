"""Every pair that a catalog holds, for data small enough to look at all of it."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.errors import DataError
from siamese.pairing.cells import Cells
from siamese.pairing.distinct import sample_distinct
from siamese.pairing.folds import folded
from siamese.pairing.grouped import GroupRule, grouped_catalog
from siamese.pairing.identities import IdentityIndex
from siamese.pairing.supply import seeded
from siamese.pairing.taking import Taking

Ints = NDArray[np.int64]

Rows = NDArray[np.integer]

MOST = 50_000_000  # the pairs of 10,000 images
_AT_ONCE = 1 << 22  # so that what is computed on the way to a pair is not held for all of them


def all_pairs(
    catalog: pd.DataFrame,
    *,
    groups: GroupRule | None = None,
    limit: int = MOST,
    categorical: bool = False,
    what: str = "",
) -> pd.DataFrame:
    """Every genuine and every impostor pair, each once, in the order of the catalog.

    Args:
        catalog: a row per image: `path`, `identity`.
        groups: which groups the two images of a pair may be of; None for all pairs.
        limit: the most pairs that are made.
        categorical: as in `sample_pairs`.
        what: what messages begin with ("val: ").

    Returns:
        A pair table as `sample_pairs` gives it. `left` comes before `right` in the catalog; rows are ordered by
        `left`, then `right`.

    Raises:
        DataError: there are more than `limit`, or none; the message has the numbers.

    Example:
        >>> catalog = pd.DataFrame({"path": ["a/1", "a/2", "b/1"], "identity": ["a", "a", "b"]})
        >>> all_pairs(catalog)[["left", "right"]].to_numpy().tolist()
        [['a/1', 'a/2'], ['a/1', 'b/1'], ['a/2', 'b/1']]
    """
    grouped = None if groups is None else grouped_catalog(catalog, groups)
    taking = Taking.of(catalog, grouped, categorical=categorical)
    cells = _cells(taking, np.arange(taking.index.images))
    _check(cells, groups, limit, what)
    return taking.pairs(*_rows(cells, taking.index))


def all_pairs_in_folds(
    catalog: pd.DataFrame,
    folds: int,
    *,
    seed: int,
    groups: GroupRule | None = None,
    limit: int = MOST,
    categorical: bool = False,
) -> pd.DataFrame:
    """Every pair within each fold of `assign_folds`, with its `fold`; see `all_pairs`.

    Raises:
        DataError: there are more than `limit`, or none in a fold; the message has the numbers.
        OptionError: `folds` or the seed is out of its range.
    """
    seeded(seed)
    taking, inside = folded(catalog, folds, seed, groups, categorical=categorical)
    layouts = [_cells(taking, rows) for rows in inside]
    for fold, cells in enumerate(layouts):
        _check(cells, groups, limit, f"fold {fold}: ")
    total = sum(_total(cells) for cells in layouts)
    if total > limit:
        raise DataError(_too_many(total, groups, limit, "", taking.index.images))
    drawn = [_rows(cells, taking.index) for cells in layouts]
    left, right, same = (np.concatenate(column) for column in zip(*drawn, strict=True))
    table = taking.pairs(left, right, same)
    table.insert(3, "fold", np.repeat(np.arange(folds, dtype=np.int64), [len(pairs[0]) for pairs in drawn]))
    return table


def _cells(taking: Taking, rows: Ints) -> Cells:
    """The layout of some rows of the catalog; `order` are rows of the whole."""
    index = IdentityIndex.of(taking.catalog.iloc[rows])
    grouped = taking.grouped
    cells = Cells.of(index) if grouped is None else Cells.of(index, grouped.codes[rows], grouped.relation)
    return Cells(cells.relation, rows[cells.order], cells.identity, cells.group, cells.sizes, cells.starts)


def _total(cells: Cells) -> int:
    return int(cells.genuine_totals.sum()) + cells.impostor_total


def _check(cells: Cells, groups: GroupRule | None, limit: int, what: str) -> None:
    total, images = _total(cells), int(cells.sizes.sum())
    if total > limit:
        raise DataError(_too_many(total, groups, limit, what, images))
    if not total:
        under = "" if groups is None else f" {groups.described()}"
        raise DataError(f"{what}no pairs{under} exist among {images:,} image{'s' if images != 1 else ''}")


def _too_many(total: int, groups: GroupRule | None, limit: int, what: str, images: int) -> str:
    under = "" if groups is None else f" {groups.described()}"
    return (
        f"{what}--all-pairs: {total:,} pairs{under} exist among {images:,} images, expected at most {limit:,}; "
        "draw some of them with --num-pairs, or take fewer images"
    )


def _rows(cells: Cells, index: IdentityIndex) -> tuple[Rows, Rows, NDArray[np.bool_]]:
    """Rows of the catalog of both sides of every pair, and whether they are the same."""
    totals = cells.genuine_totals
    keys = np.empty(_total(cells), np.int64)
    # Drawing as many as there are lists them.
    keys[: totals.sum()] = _keys(cells, index, *cells.genuine(*sample_distinct(seeded(0), totals, totals)))
    impostors = keys[totals.sum() :]
    for start in range(0, len(impostors), _AT_ONCE):
        rank = np.arange(start, min(start + _AT_ONCE, len(impostors)))
        impostors[rank] = _keys(cells, index, *cells.impostor(rank))
    keys.sort()
    left, right = (keys // index.images).astype(np.int32), (keys % index.images).astype(np.int32)
    codes = index.codes.astype(np.int32)
    return left, right, codes[left] == codes[right]


def _keys(cells: Cells, index: IdentityIndex, one: Ints, other: Ints) -> Ints:
    """A number for each pair of images: ascending, the pairs are in the order of the catalog."""
    rows = cells.order[one], cells.order[other]
    keys: Ints = np.minimum(*rows) * index.images + np.maximum(*rows)
    return keys
