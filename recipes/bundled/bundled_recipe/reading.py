"""What a model makes of the images of the recipe: each embedded once, pairs scored from that."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bundled_recipe.records import Record
from bundled_recipe.workplace import Workplace
from siamese.errors import ImageError
from siamese.evaluation.intervals import Estimate
from siamese.inference.verifier import Verifier
from siamese.pairing.formats import read_pairs
from siamese.pairing.pair_identities import pair_identities
from siamese.pairing.table import unique_images

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Pairs:
    """Labelled pairs of images.

    Attributes:
        left, right: paths of the images, shape (N,).
        same: labels, shape (N,).
        left_person, right_person: whom they show, as codes, shape (N,).
    """

    left: pd.Index
    right: pd.Index
    same: Bools
    left_person: Ints
    right_person: Ints

    @classmethod
    def of(cls, table: pd.DataFrame) -> "Pairs":
        """Of a labelled pair table."""
        people = pair_identities(table)
        same = table["same"].to_numpy(dtype=bool)
        return cls(pd.Index(table["left"]), pd.Index(table["right"]), same, people.left, people.right)

    @property
    def images(self) -> list[str]:
        """Every image once."""
        return list(dict.fromkeys([*self.left, *self.right]))


def lfw_pairs(place: Workplace, name: str) -> Pairs:
    """The pairs of an official file of LFW, paths below the work folder; those without a crop are left out."""
    table = read_pairs(place.protocol(name))
    table = table.assign(left="images/lfw/" + table["left"], right="images/lfw/" + table["right"])
    there = {path for path in unique_images(table) if (place.work / path).is_file()}
    return Pairs.of(table[table["left"].isin(there) & table["right"].isin(there)].reset_index(drop=True))


def val_pairs(place: Workplace) -> Pairs:
    """The validation pairs."""
    return Pairs.of(read_pairs(place.val_pairs))


class Reading:
    """Embeddings of images by a model.

    Args:
        verifier: the model.
        root: what paths are relative to.
    """

    def __init__(self, verifier: Verifier, root: Path) -> None:
        self.verifier = verifier
        self._root = root
        self._rows: dict[str, int] = {}
        self._vectors = np.zeros((0, verifier.embedding_dim), np.float32)

    def embed(self, paths: Iterable[str]) -> NDArray[np.float32]:
        """Unit embeddings of images in the order asked for, shape (N, D); none is embedded twice.

        Raises:
            ImageError: an image cannot be read.
        """
        wanted = list(paths)
        new = [path for path in dict.fromkeys(wanted) if path not in self._rows]
        if new:
            found = self.verifier.embed([self._root / path for path in new])
            if not found.usable.all():
                row = int((~found.usable).argmax())
                raise ImageError(f"{self._root / new[row]}: {found.outcomes[row].detail}; run --step prepare again")
            self._rows |= dict(zip(new, range(len(self._rows), len(self._rows) + len(new)), strict=True))
            self._vectors = np.concatenate([self._vectors, found.vectors])
        return np.asarray(self._vectors[[self._rows[path] for path in wanted]])

    def scores(self, pairs: Pairs) -> Floats:
        """Similarities of pairs, shape (N,)."""
        self.embed(pairs.images)
        return self.verifier.similarity(self.embed(pairs.left), self.embed(pairs.right))


def described(estimate: Estimate) -> Record:
    """An estimate for the record: its value, its 95 % interval, and why one of them is missing."""
    interval = estimate.interval
    ends = None if interval is None else [interval.low, interval.high]
    return {"value": estimate.value, "interval": ends, **({"reason": estimate.reason} if estimate.reason else {})}
