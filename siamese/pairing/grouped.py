"""Pairs whose two images are of one group, of two, or of two named ones: sessions, videos, poses, distortions."""

from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.errors import DataError, OptionError
from siamese.progress import log

Relation = Literal["across", "within"]

_EXPECTED = "expected across, within, or two groups such as .:distortion"


@dataclass(frozen=True)
class GroupRule:
    """Which groups the two images of a pair may be of; it holds for genuine and for impostor pairs.

    Attributes:
        column: column of the catalog that names the group of each image. In the catalog of a folder, `folder` is "."
            for an image directly in the folder of its identity, else the first folder below that.
        kind: `across`: of two groups; `within`: of one; ("A", "B"): one of group A and the other of group B.
    """

    column: str
    kind: Relation | tuple[str, str]

    def described(self) -> str:
        """The rule as messages name it, to follow a noun: "pairs across 'session'"."""
        if isinstance(self.kind, str):
            return f"{self.kind} {self.column!r}"
        return f"of {self.kind[0]!r} with {self.kind[1]!r} in {self.column!r}"


@dataclass(frozen=True)
class Grouped:
    """The rows of a catalog that a rule can pair.

    Attributes:
        catalog: those rows, indexed from 0.
        names: the groups, sorted.
        codes: index into `names` of each row, shape (N,).
        relation: what the rule asks of two of these rows.
    """

    catalog: pd.DataFrame
    names: NDArray[np.object_]
    codes: NDArray[np.int64]
    relation: Relation


def parse_groups(text: str, column: str) -> GroupRule:
    """Read a rule: `across`, `within`, or `A:B`, the names of two groups.

    Raises:
        OptionError: names what was given and what is wrong with it.

    Example:
        >>> parse_groups(".:distortion", "folder")
        GroupRule(column='folder', kind=('.', 'distortion'))
    """
    if text in get_args(Relation):
        return GroupRule(column, cast(Relation, text))
    sides = [side.strip() for side in text.split(":")]
    if len(sides) != 2 or not all(sides):
        raise OptionError(f"--groups {text!r}: {_EXPECTED}")
    return GroupRule(column, (sides[0], sides[1]))


def grouped_catalog(catalog: pd.DataFrame, rule: GroupRule) -> Grouped:
    """The rows of a catalog that a rule can pair; those without a group are left out with a warning.

    Raises:
        DataError: there is no such column or no such group; the message lists those there are.
        OptionError: the rule is of no known kind.
    """
    if rule.column not in catalog.columns:
        columns = ", ".join(map(str, catalog.columns))
        raise DataError(
            f"the catalog has no column {rule.column!r} to group by; columns found: {columns}; --group-by names one"
        )
    # A column of whole numbers with gaps comes as floats: session 2.0 is session 2.
    texts = catalog[rule.column].convert_dtypes().astype("string")
    codes, found = pd.factorize(texts.astype(object), sort=True)
    names = np.asarray(found, dtype=object)
    missing = codes < 0
    if missing.all():
        raise DataError(f"column {rule.column!r} of the catalog is empty in all {len(catalog):,} rows")
    if missing.any():
        log.warning(
            "%d of %d images have no %s: no pairs are made of them", missing.sum(), len(missing), repr(rule.column)
        )
    kept = ~missing
    relation: Relation = "across"
    if isinstance(rule.kind, tuple):
        kept &= np.isin(codes, [_code(name, names, rule) for name in rule.kind])
        relation = "within" if rule.kind[0] == rule.kind[1] else "across"
    elif rule.kind in get_args(Relation):
        relation = rule.kind
    else:
        raise OptionError(f"groups {rule.kind!r}: {_EXPECTED}")
    return Grouped(catalog[kept].reset_index(drop=True), names, codes[kept].astype(np.int64), relation)


def _code(name: str, names: NDArray[np.object_], rule: GroupRule) -> int:
    place = int(np.searchsorted(names, name))
    if place == len(names) or names[place] != name:
        shown = ", ".join(map(repr, names[:10])) + (f" and {len(names) - 10:,} more" if len(names) > 10 else "")
        raise DataError(f"--groups {':'.join(rule.kind)}: column {rule.column!r} has no {name!r}; it has {shown}")
    return place
