"""Protocols over pairs: which pairs of a file count, which folds they are in, and where the threshold comes from."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.errors import DataError, OptionError, PairFileError, unknown_name
from siamese.evaluation.operating_point_fitting import fit_operating_points
from siamese.evaluation.operating_points import OperatingPoint, choose_operating_point
from siamese.evaluation.protocols import (
    Measurement,
    measure_at,
    measure_at_point,
    measure_cross_fitted,
    measure_folds,
)

PAIR_PROTOCOLS = ("lfw", "cfp-ff", "cfp-fp", "folds", "hold-out")
IDENTITY_PROTOCOLS = ("identification", "one-shot")
# AgeDB-30, CALFW and CPLFW are told as ten consecutive blocks of the file, and their `.bin` files name none.
FOLDS = 10


@contextmanager
def said_of(where: Path | None) -> Iterator[None]:
    """Name the pair file that numbers were found wanting in: whoever counts pairs knows of no file."""
    try:
        yield
    except PairFileError:
        raise
    except DataError as error:
        raise DataError(f"{where}: {error}") from error


@dataclass(frozen=True)
class Protocol:
    """How pairs are measured.

    Attributes:
        name: `lfw` (View 2 of the official file by its folds, View 1 on `val_pairs`), `cfp-ff` and `cfp-fp` (a part
            of CFP's protocol by its folds), `folds` (those of the file, else ten consecutive blocks of it, as AgeDB,
            CALFW and CPLFW are reported), `hold-out` (threshold from `val_pairs`, whatever the file has); None for
            what the file and the model allow.
        val_pairs: what the threshold of a hold-out and the calibration are fitted on.
        far: the threshold is that for this FAR.
        at: it is that at `accuracy`, `f1` or `eer`.
        threshold: it is this one.
    """

    name: str | None = None
    val_pairs: Path | None = None
    far: float | None = None
    at: str | None = None
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.name is not None and self.name not in PAIR_PROTOCOLS:
            raise unknown_name("protocol", self.name, (*PAIR_PROTOCOLS, *IDENTITY_PROTOCOLS))
        if self.name == "hold-out" and self.val_pairs is None:
            raise OptionError("--protocol hold-out: the threshold is fitted on --val-pairs; give them")
        if len(self._given) > 1:
            raise OptionError(f"{' and '.join(self._given)}: give one of them")

    @property
    def _given(self) -> list[str]:
        """The options that choose a threshold."""
        given = {"--far": self.far, "--at": self.at, "--threshold": self.threshold}
        return [name for name, value in given.items() if value is not None]

    def select(self, frame: pd.DataFrame, where: Path) -> pd.DataFrame:
        """The pairs of a file that the protocol is about, with the folds it asks for.

        Raises:
            PairFileError: the file is not what the protocol reads.
            OptionError: an option that picks a threshold where folds give it.
        """
        if self.name in ("cfp-ff", "cfp-fp"):
            frame = _group_of_cfp(frame, str(self.name), where)
        if self.name == "folds" and "fold" not in frame.columns:
            if len(frame) < FOLDS:
                raise PairFileError(f"{where}: {len(frame)} pairs; --protocol folds cuts them into {FOLDS} folds")
            sizes = [len(part) for part in np.array_split(np.arange(len(frame)), FOLDS)]
            frame = frame.assign(fold=np.repeat(np.arange(FOLDS), sizes))
        if self.name == "lfw" and "fold" not in frame.columns and self.val_pairs is None:
            raise PairFileError(
                f"{where}: no folds; --protocol lfw reads the official pairs.txt of View 2, or pairsDevTest.txt of "
                "View 1 with --val-pairs pairsDevTrain.txt"
            )
        if self._given and self.by_folds(frame):
            raise OptionError(
                f"{self._given[0]}: the thresholds are fitted on the other folds here; leave it out, or give "
                "--protocol hold-out with --val-pairs"
            )
        return frame

    def by_folds(self, frame: pd.DataFrame) -> bool:
        """Whether the threshold of a pair comes from the other folds."""
        if "fold" not in frame.columns or self.name == "hold-out" or self.threshold is not None:
            return False
        return self.name is not None or self.val_pairs is None

    def fit(self, scores: NDArray[np.float64], same: NDArray[np.bool_]) -> tuple[OperatingPoint, ...]:
        """Operating points of `val_pairs`, which go before those of the model.

        Args:
            scores: of `val_pairs`, shape (M,).
            same: labels, shape (M,).

        Raises:
            DataError: pairs of one kind only.
        """
        with said_of(self.val_pairs):
            return fit_operating_points(scores, same, str(self.val_pairs))

    def measure(
        self, frame: pd.DataFrame, scores: NDArray[np.float64], points: tuple[OperatingPoint, ...] = ()
    ) -> Measurement:
        """Measure pairs at the threshold that the protocol gives.

        Args:
            frame: the pairs, from `select`.
            scores: of them, shape (N,).
            points: operating points, from `fit` or of the model.

        Raises:
            OptionError: no operating point like the one asked for.
            DataError: pairs of one kind only, or too few of them.
        """
        same = frame["same"].to_numpy(dtype=bool)
        if self.threshold is not None:
            return measure_at(scores, same, self.threshold, "nothing: given by hand")
        if self.by_folds(frame):
            return measure_folds(scores, same, frame["fold"].to_numpy())
        if points:
            return measure_at_point(scores, same, choose_operating_point(points, far=self.far, at=self.at))
        if self._given:
            raise OptionError(
                f"{self._given[0]}: nothing here has operating points; fit some with --val-pairs, or give --threshold"
            )
        return measure_cross_fitted(scores, same)


def _group_of_cfp(frame: pd.DataFrame, protocol: str, where: Path) -> pd.DataFrame:
    wanted = protocol.removeprefix("cfp-").upper()
    if "group" not in frame.columns or "fold" not in frame.columns:
        raise PairFileError(f"{where}: --protocol {protocol} reads CFP's folder Protocol, or its Split/{wanted}")
    mine = frame[frame["group"] == wanted]
    if not len(mine):
        raise PairFileError(f"{where}: no pairs of {wanted}; name the folder Protocol, or its Split/{wanted}")
    return mine
