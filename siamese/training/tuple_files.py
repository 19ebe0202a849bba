"""Files of pairs, triplets and quadruplets as training reads them: labelled, their images there."""

from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from siamese.errors import PairFileError
from siamese.images.alignment import failed_alignments
from siamese.pairing.formats import kind_of, read_any, read_pairs
from siamese.pairing.table import check_files_exist, image_columns
from siamese.progress import log

TupleKind = Literal["pairs", "triplets", "quadruplets"]


def read_tuples(path: Path, root: Path, same_label: str | None = None) -> pd.DataFrame:
    """Read a file of pairs, triplets or quadruplets.

    Args:
        path: the file.
        root: what its paths are relative to.
        same_label: the value of the label column that means same; None: 1 or true.

    Raises:
        PairFileError: it is malformed, unlabelled, or names a file that is not there.
    """
    # The label column may be that of the validation pairs alone.
    _, frame = read_any(path, same_label=same_label if kind_of(path) == "pairs" else None)
    return _usable(frame, root, path)


def read_labelled_pairs(path: Path, root: Path, same_label: str | None = None) -> pd.DataFrame:
    """Read a file of pairs; arguments and errors as of `read_tuples`."""
    return _usable(read_pairs(path, same_label=same_label), root, path)


def _usable(frame: pd.DataFrame, root: Path, path: Path) -> pd.DataFrame:
    if "same" in frame.columns and frame["same"].isna().any():
        raise PairFileError(f"{path}: {int(frame['same'].isna().sum())} pairs have no label in column 'same'")
    return _present(frame, root, path)


def _present(frame: pd.DataFrame, root: Path, path: Path) -> pd.DataFrame:
    """Leave out rows whose image `siamese align` found no face in; any other missing file is an error."""
    failed = failed_alignments(root)
    columns = image_columns(frame)
    lost = np.logical_or.reduce([frame[column].isin(failed) for column in columns])
    if lost.any():
        log.warning("%s: %d rows name an image without a crop and are left out", path, int(lost.sum()))
        frame = frame[~lost]
        if frame.empty:
            raise PairFileError(f"{path}: no row is left; pair images that `siamese align` found a face in")
    check_files_exist(frame, root, str(path))
    return frame


def tuple_kind(frame: pd.DataFrame) -> TupleKind:
    """What a table holds, by its columns of images."""
    return {2: "pairs", 3: "triplets", 4: "quadruplets"}[len(image_columns(frame))]  # type: ignore[return-value]
