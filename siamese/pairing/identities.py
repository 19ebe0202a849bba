"""A catalog seen by identity: which images each has, as arrays."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.errors import DataError


@dataclass(frozen=True)
class IdentityIndex:
    """The images of a catalog, grouped by identity.

    Attributes:
        names: the identities, sorted, shape (G,).
        codes: index into `names` of each row of the catalog, shape (N,).
        order: rows of the catalog, identity by identity, each in catalog order, shape (N,).
        sizes: images per identity, shape (G,).
        starts: where each identity begins in `order`, shape (G,).
    """

    names: NDArray[np.object_]
    codes: NDArray[np.int64]
    order: NDArray[np.int64]
    sizes: NDArray[np.int64]
    starts: NDArray[np.int64]

    @classmethod
    def of(cls, catalog: pd.DataFrame) -> Self:
        """Group a catalog, a table with `path` and `identity`.

        Raises:
            DataError: it has no images, lacks a column or an identity, or names an image twice.
        """
        _check_catalog(catalog)
        codes, names = pd.factorize(catalog["identity"].to_numpy(dtype=object), sort=True)
        return cls.of_codes(codes.astype(np.int64), np.asarray(names, dtype=object))

    @classmethod
    def of_codes(cls, codes: NDArray[np.int64], names: NDArray[np.object_]) -> Self:
        """Group images by the code of each, shape (N,), an index into `names`; a name may have none."""
        sizes = np.bincount(codes, minlength=len(names)).astype(np.int64)
        return cls(
            names=names,
            codes=codes,
            order=np.argsort(codes, kind="stable"),
            sizes=sizes,
            starts=np.cumsum(sizes) - sizes,
        )

    @property
    def images(self) -> int:
        """The number of images."""
        return len(self.codes)

    @property
    def paired(self) -> NDArray[np.bool_]:
        """Which identities have at least two images, shape (G,)."""
        return self.sizes >= 2

    def described(self) -> str:
        """The numbers that messages give: images, identities, identities with two or more images."""
        return (
            f"{self.images:,} image{'s' if self.images != 1 else ''} of {len(self.names):,} "
            f"identit{'ies' if len(self.names) != 1 else 'y'}, {int(self.paired.sum()):,} with two or more"
        )


def _check_catalog(catalog: pd.DataFrame) -> None:
    for name in ("path", "identity"):
        if name not in catalog.columns:
            raise DataError(f"the catalog has no column {name!r}; it needs path and identity")
    if catalog.empty:
        raise DataError("the catalog has no images")
    unnamed = catalog["identity"].isna().to_numpy(dtype=bool)
    if unnamed.any():
        path = catalog["path"].iloc[int(unnamed.argmax())]
        raise DataError(f"the catalog gives no identity for {int(unnamed.sum()):,} images, the first is {path!r}")
    twice = catalog["path"].duplicated().to_numpy(dtype=bool)
    if twice.any():
        path = catalog["path"].iloc[int(twice.argmax())]
        raise DataError(f"the catalog names {path!r} twice; every image must appear once")
