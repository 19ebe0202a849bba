"""Pairs for cross-validation, in the form of LFW's View 2: folds that share no identity and have the same counts."""

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.errors import DataError, OptionError
from siamese.pairing.cells import Cells
from siamese.pairing.drawing import Balance, check_balance, pair_rows
from siamese.pairing.grouped import Grouped, GroupRule, grouped_catalog
from siamese.pairing.identities import IdentityIndex
from siamese.pairing.splits import assign_folds
from siamese.pairing.supply import PairSupply, check_number, check_ratio, seeded
from siamese.pairing.taking import Taking

Ints = NDArray[np.int64]


def sample_folds(
    catalog: pd.DataFrame,
    folds: int,
    num_pairs: int | None,
    ratio: tuple[float, float],
    seed: int,
    *,
    max_per_identity: int | None = None,
    balance: Balance = "identity",
    groups: GroupRule | None = None,
    categorical: bool = False,
) -> pd.DataFrame:
    """Draw pairs for cross-validation: no identity in two folds, the same counts in every fold.

    Args:
        catalog: a row per image: `path`, `identity`.
        folds: how many, at least 2.
        num_pairs: the total. Each fold gets num_pairs / folds, divided by the ratio, each kind rounded down, so
            the total may be lower than asked for; None gives every fold what `sample_pairs` would give
            the poorest.
        ratio: genuine to impostor, both above 0.
        seed: 0 or more; the same seed gives the same rows.
        max_per_identity: the most genuine pairs of one identity, over all folds, since each is in one only.
        balance: as in `sample_pairs`.
        groups: as in `sample_pairs`.
        categorical: as in `sample_pairs`.

    Returns:
        A pair table with `left, right, same, fold, left_identity, right_identity` and, with `groups`,
        `left_group, right_group`, ordered by fold, shuffled within. The folds are those of `assign_folds` with the
        same seed.

    Raises:
        DataError: a fold cannot give so many; the message says how many there are.
        OptionError: an option is out of its range.
    """
    check_ratio(ratio)
    check_balance(balance)
    if max_per_identity is not None:
        check_number("--max-per-identity", max_per_identity)
    taking, inside = folded(catalog, folds, seed, groups, categorical=categorical)
    supplies = [_supply(taking, part, groups, max_per_identity, f"fold {fold}: ") for fold, part in enumerate(inside)]
    genuine, impostor = _fold_counts(supplies, num_pairs, ratio)
    # The folds took the first numbers of this seed; their pairs are drawn from a stream of their own.
    rng = seeded(seed).spawn(1)[0]
    drawn = [pair_rows(rng, supply, genuine, impostor, balance) for supply in supplies]
    left, right = (
        np.concatenate([part[pair[side]] for part, pair in zip(inside, drawn, strict=True)]) for side in (0, 1)
    )
    table = taking.pairs(left, right, np.concatenate([pair[2] for pair in drawn]))
    table.insert(3, "fold", np.repeat(np.arange(folds, dtype=np.int64), genuine + impostor))
    return table


def folded(
    catalog: pd.DataFrame, folds: int, seed: int, groups: GroupRule | None, *, categorical: bool
) -> tuple[Taking, list[Ints]]:
    """The rows of a catalog that a rule can pair, and which of them are in each fold of `assign_folds`.

    Raises:
        DataError, OptionError: as `assign_folds` and `grouped_catalog` do.
    """
    fold_of = assign_folds(catalog, folds, seed)
    grouped = None if groups is None else grouped_catalog(catalog, groups)
    taking = Taking.of(catalog, grouped, categorical=categorical)
    of_row = fold_of.loc[list(taking.index.names)].to_numpy()[taking.index.codes]
    return taking, [np.flatnonzero(of_row == fold) for fold in range(folds)]


def _supply(
    taking: Taking, rows: Ints, rule: GroupRule | None, max_per_identity: int | None, what: str
) -> PairSupply:
    """What the rows of one fold can give."""
    if not len(rows):
        raise DataError(f"{what}has no image that can be paired {'' if rule is None else rule.described()}")
    index = IdentityIndex.of(taking.catalog.iloc[rows])
    grouped: Grouped | None = taking.grouped
    cells = Cells.of(index) if grouped is None else Cells.of(index, grouped.codes[rows], grouped.relation)
    return PairSupply(index, cells, rule, max_per_identity, what)


def _fold_counts(supplies: list[PairSupply], num_pairs: int | None, ratio: tuple[float, float]) -> tuple[int, int]:
    """Genuine and impostor pairs of every fold."""
    if num_pairs is None:
        counts = [supply.default_counts(ratio) for supply in supplies]
        return min(count[0] for count in counts), min(count[1] for count in counts)
    check_number("--num-pairs", num_pairs)
    each = num_pairs // len(supplies)
    # 0.6 * 5 is 2.9999...: what is whole up to rounding error counts as whole.
    genuine, impostor = (math.floor(each * side / sum(ratio) + 1e-9) for side in ratio)
    if not genuine or not impostor:
        raise OptionError(
            f"--num-pairs {num_pairs}: too few for one genuine and one impostor pair in each of "
            f"{len(supplies)} folds at ratio {ratio[0]:g}:{ratio[1]:g}"
        )
    return genuine, impostor
