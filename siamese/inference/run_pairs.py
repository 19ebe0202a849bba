"""The validation pairs that a run left beside its model: what thresholds and calibration were fitted on."""

from pathlib import Path

import pandas as pd

from siamese.pairing.formats import read_pairs
from siamese.training.kept_pairs import ROOT_FILE, VAL_FILE
from siamese.training.run_folder import RUN


def run_pairs(model: Path) -> tuple[pd.DataFrame, Path] | None:
    """The validation pairs of a model folder's run and what their paths are relative to; None where they are gone.

    Raises:
        PairFileError: the file was changed, and is none of pairs.
    """
    pairs, root = model / RUN / VAL_FILE, model / RUN / ROOT_FILE
    if not (pairs.is_file() and root.is_file()):
        return None
    return read_pairs(pairs), Path(root.read_text(encoding="utf-8").rstrip("\n"))
