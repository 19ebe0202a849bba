"""Columns of a table made from rows of a catalog: text, or categoricals that hold each text once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.pairing.grouped import Grouped
from siamese.pairing.identities import IdentityIndex

Rows = NDArray[np.integer]


@dataclass(frozen=True)
class Taking:
    """The paths, identities and groups of a catalog, to be taken by row.

    Attributes:
        catalog: a row per image.
        index: the same catalog by identity.
        grouped: the same catalog by group, where pairs follow a rule of groups.
        categorical: give categoricals: ten million pairs of a million images then hold no text twice.
    """

    catalog: pd.DataFrame
    index: IdentityIndex
    grouped: Grouped | None = None
    categorical: bool = False

    @classmethod
    def of(cls, catalog: pd.DataFrame, grouped: Grouped | None = None, *, categorical: bool = False) -> Self:
        """Take from a catalog, or from the rows of it that a rule can pair.

        Raises:
            DataError: the catalog is no catalog.
        """
        rows = catalog if grouped is None else grouped.catalog
        return cls(rows, IdentityIndex.of(rows), grouped, categorical)

    def pairs(self, left: Rows, right: Rows, same: NDArray[np.bool_]) -> pd.DataFrame:
        """The pair table of rows of the catalog, both sides (K,), with identities and, under a rule, groups."""
        columns = {
            "left": self.paths(left),
            "right": self.paths(right),
            "same": pd.Series(pd.array(same, dtype="boolean")),
            "left_identity": self.identities(left),
            "right_identity": self.identities(right),
        }
        if self.grouped is not None:
            columns["left_group"], columns["right_group"] = self.groups(left), self.groups(right)
        return pd.DataFrame(columns, copy=False)

    def tuples(self, names: Sequence[str], rows: Sequence[Rows], identities: Sequence[str]) -> pd.DataFrame:
        """A table of more than two images a row: a column of paths per name, and the identities of those named."""
        of = dict(zip(names, rows, strict=True))
        columns = {name: self.paths(row) for name, row in of.items()}
        columns |= {f"{name}_identity": self.identities(of[name]) for name in identities}
        return pd.DataFrame(columns, copy=False)

    def paths(self, rows: Rows) -> pd.Series:
        """The path of each row."""
        if self.categorical:
            return _categories(rows, self._path_dtype)
        return self.catalog["path"].iloc[rows].reset_index(drop=True)

    def identities(self, rows: Rows) -> pd.Series:
        """The identity of each row."""
        if self.categorical:
            return _categories(self.index.codes.astype(np.int32)[rows], self._identity_dtype)
        return self.catalog["identity"].iloc[rows].reset_index(drop=True)

    def groups(self, rows: Rows) -> pd.Series:
        """The group of each row."""
        if self.grouped is None:
            raise ValueError("the catalog is not grouped")
        dtype = pd.CategoricalDtype(pd.Index(self.grouped.names).astype(str))
        column = _categories(self.grouped.codes[rows], dtype)
        return column if self.categorical else column.astype(dtype.categories.dtype)

    @cached_property
    def _path_dtype(self) -> pd.CategoricalDtype:
        return pd.CategoricalDtype(pd.Index(self.catalog["path"]))

    @cached_property
    def _identity_dtype(self) -> pd.CategoricalDtype:
        return pd.CategoricalDtype(pd.Index(self.index.names).astype(self.catalog["identity"].dtype))


def _categories(codes: NDArray[np.integer], dtype: pd.CategoricalDtype) -> pd.Series:
    # Made by the rows of a table, the codes need no check against the categories.
    return pd.Series(pd.Categorical.from_codes(codes.astype(np.int32, copy=False), dtype=dtype, validate=False))
