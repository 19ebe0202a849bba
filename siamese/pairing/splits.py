"""Catalogs divided by identity: shares for training and evaluation, folds of equally many identities."""

import math

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.errors import DataError, OptionError
from siamese.pairing.identities import IdentityIndex
from siamese.pairing.supply import seeded

Ints = NDArray[np.int64]


def parse_shares(text: str) -> tuple[float, ...]:
    """Read the shares of a split, two or three numbers above 0 that sum to 1 (within 1e-6).

    Raises:
        OptionError: names what was given and what is wrong with it.

    Example:
        >>> parse_shares("0.8,0.1,0.1")
        (0.8, 0.1, 0.1)
    """
    shares = tuple(_number(part, "--split", text) for part in text.split(","))
    if len(shares) not in (2, 3):
        count = f"{len(shares)} share{'s' if len(shares) != 1 else ''}"
        raise OptionError(f"--split {text!r}: {count}, expected two or three, such as 0.8,0.1,0.1")
    if min(shares) <= 0:
        raise OptionError(f"--split {text!r}: every share must be above 0, found {min(shares):g}")
    if abs(sum(shares) - 1) > 1e-6:
        raise OptionError(f"--split {text!r}: the shares sum to {sum(shares):g}, expected 1")
    return shares


def parse_ratio(text: str) -> tuple[float, float]:
    """Read a ratio of genuine to impostor pairs, two numbers above 0: `5:5`, `6:4`, or percentages, `70:30`.

    Only the quotient counts: 5:5 is 1:1. Percentages may carry their sign, and then they sum to 100.

    Raises:
        OptionError: names what was given and what is wrong with it.

    Example:
        >>> parse_ratio("6:4")
        (6.0, 4.0)
    """
    parts = [part.strip() for part in text.split(":")]
    signed = [part.endswith("%") for part in parts]
    sides = [_number(part.removesuffix("%").strip(), "--ratio", text) for part in parts]
    if len(sides) != 2:
        raise OptionError(f"--ratio {text!r}: expected genuine:impostor, such as 1:1")
    if min(sides) <= 0:
        raise OptionError(f"--ratio {text!r}: both sides must be above 0")
    if any(signed) and (not all(signed) or abs(sum(sides) - 100) > 1e-6):
        raise OptionError(f"--ratio {text!r}: expected two percentages that sum to 100, such as 70%:30%")
    return sides[0], sides[1]


def split_identities(catalog: pd.DataFrame, shares: tuple[float, ...], seed: int) -> list[pd.DataFrame]:
    """Divide a catalog into parts that share no identity.

    Shares count identities, rounded by largest remainder, and identities with two or more images are shared out in
    the same proportion as those with one. Every part has at least two identities, at least one of them with two
    images; where a share is too small for that, the largest part gives up what it needs.

    Args:
        catalog: a row per image: `path`, `identity`.
        shares: one per part, above 0, summing to 1.
        seed: 0 or more; the same seed gives the same parts.

    Returns:
        A catalog per share, rows in the order of `catalog`, indexed from 0.

    Raises:
        DataError: there are not enough identities; the message gives the numbers.
        OptionError: a share or the seed is out of its range.
    """
    if not shares or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
        raise OptionError(f"shares {shares}: expected numbers above 0 that sum to 1")
    index = IdentityIndex.of(catalog)
    parts = _parts(index, np.asarray(shares), seeded(seed))
    return [catalog[rows].reset_index(drop=True) for rows in _rows_of(index, parts, len(shares))]


def assign_folds(catalog: pd.DataFrame, folds: int, seed: int) -> pd.Series:
    """Give every identity a fold, folds as equal in identities as can be; see `split_identities`.

    Args:
        catalog: a row per image: `path`, `identity`.
        folds: how many, at least 2.
        seed: 0 or more; the same seed gives the same folds.

    Returns:
        Fold (int64, from 0) per identity; the index is the identities, sorted.

    Raises:
        DataError: there are not enough identities; the message gives the numbers.
        OptionError: `folds` or the seed is out of its range.
    """
    index = IdentityIndex.of(catalog)
    parts = _folds(index, folds, seeded(seed))
    return pd.Series(parts, index=pd.Index(index.names, name="identity"), name="fold")


def _number(part: str, option: str, text: str) -> float:
    try:
        number = float(part)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise OptionError(f"{option} {text!r}: {part!r} is not a number")
    return number


def _folds(index: IdentityIndex, folds: int, rng: np.random.Generator) -> Ints:
    if folds < 2:
        raise OptionError(f"--folds {folds}: expected at least 2")
    return _parts(index, np.full(folds, 1 / folds), rng)


def _rows_of(index: IdentityIndex, parts: Ints, count: int) -> list[NDArray[np.bool_]]:
    """For every part, which rows of the catalog belong to it."""
    return [parts[index.codes] == part for part in range(count)]


def _parts(index: IdentityIndex, shares: NDArray[np.float64], rng: np.random.Generator) -> Ints:
    """The part of every identity, shape (G,)."""
    count, paired = len(index.names), int(index.paired.sum())
    if count < 2 * len(shares):
        raise DataError(f"{count} identities cannot be split into {len(shares)} parts of at least 2")
    if paired < len(shares):
        raise DataError(
            f"{paired} of {count} identities have two or more images, too few to split into {len(shares)} parts "
            "that each need one"
        )
    totals = _apportion(count, shares, minimum=2)
    # In proportion to the totals, so that no part gets more of one kind than it has places.
    of_paired = _apportion(paired, totals / count, minimum=1)
    parts = np.empty(count, np.int64)
    for chosen, sizes in ((index.paired, of_paired), (~index.paired, totals - of_paired)):
        parts[rng.permutation(np.flatnonzero(chosen))] = np.repeat(np.arange(len(shares)), sizes)
    return parts


def _apportion(count: int, shares: NDArray[np.float64], minimum: int) -> Ints:
    """Divide `count` by largest remainder, then raise parts below `minimum` at the cost of the largest."""
    quotas = count * shares / shares.sum()
    parts: Ints = np.floor(quotas + 1e-9).astype(np.int64)
    remainders = np.argsort(parts - quotas, kind="stable")
    parts[remainders[: count - parts.sum()]] += 1
    while parts.min() < minimum:
        parts[parts.argmin()] += 1
        parts[parts.argmax()] -= 1
    return parts
