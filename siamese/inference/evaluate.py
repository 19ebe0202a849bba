"""Evaluating a verifier on a pair file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from siamese.errors import DataError, OptionError, PairFileError, unknown_name
from siamese.evaluation.calibration import Calibration
from siamese.evaluation.calibration_fitting import fit_calibration
from siamese.evaluation.intervals import estimates
from siamese.evaluation.metrics import FARS
from siamese.evaluation.operating_points import choose_operating_point
from siamese.evaluation.protocols import measure_at, measure_at_point, measure_cross_fitted, measure_folds
from siamese.evaluation.thresholds import smoothed_accuracy_threshold
from siamese.evaluation.weighted import Statistic
from siamese.inference.evaluation import Evaluation
from siamese.inference.pair_source import open_pairs
from siamese.inference.parts import check_columns
from siamese.inference.scoring import PairScores, score_pairs
from siamese.inference.verifier import Verifier
from siamese.pairing.face_bin import is_bin
from siamese.pairing.formats import read_pairs
from siamese.pairing.pair_identities import pair_identities
from siamese.progress import log

PROTOCOLS = ("lfw",)
# What intervals are made for.
STATISTICS: tuple[Statistic | str, ...] = (
    *("accuracy", "auc", "eer", "f1", "precision", "recall", "far", "mcc"),
    *(Statistic("tar_at_far", far) for far in FARS),
)


def evaluate(
    verifier: Verifier,
    pairs: Path,
    *,
    root: Path | None = None,
    protocol: str | None = None,
    val_pairs: Path | None = None,
    far: float | None = None,
    same_label: str | None = None,
    columns: Sequence[str] = (),
) -> Evaluation:
    """Measure a verifier on labelled pairs, at a threshold fitted elsewhere.

    With folds (a `fold` column, or LFW's `pairs.txt`), on the other folds. Otherwise at the model's operating point;
    for an untouched encoder at the threshold of best accuracy on `val_pairs`, else by two-fold cross-fitting.
    Intervals allow for pairs that share people (`siamese.evaluation.intervals`). The model's calibration, or one
    fitted on `val_pairs`, is judged on the pairs.

    Args:
        verifier: the model.
        pairs: pair file in any form, also a `.bin` file, which holds its images.
        root: what relative paths start from; None for the pair file's folder.
        protocol: `lfw` insists on the official file with folds, and on thresholds from them.
        val_pairs: pairs to fit the calibration on, and without a protocol the threshold.
        far: measure at the model's operating point for this FAR.
        same_label: the value of the label column that means same; None: 1 or true.
        columns: that `measure_parts` will be asked for: looked for before any image is embedded.

    Raises:
        PairFileError: the file is malformed, unlabelled, or names a file that is not there.
        OptionError: an unknown protocol, or options that contradict each other.
        DataError: the pairs with a score are of one kind only.
    """
    if protocol is not None and protocol not in PROTOCOLS:
        raise unknown_name("protocol", protocol, PROTOCOLS)
    with open_pairs(pairs, root, same_label=same_label) as (frame, base):
        _check_labelled(frame, pairs)
        check_columns(frame, columns)
        if protocol == "lfw" and "fold" not in frame.columns:
            raise PairFileError(f"{pairs}: no folds; --protocol lfw reads the official pairs.txt of View 2")
        if far is not None and (val_pairs is not None or "fold" in frame.columns):
            raise OptionError("--far: the threshold is fitted on other pairs here; leave out --far or what fits it")
        scored = score_pairs(verifier, frame, base, str(pairs))
    _report_failures(scored)
    kept = scored.scored
    if not kept.any():
        raise DataError(f"{pairs}: none of {len(frame)} pairs could be scored; first: {scored.failures[0][1].detail}")
    scores, same = scored.scores[kept], frame["same"].to_numpy(dtype=bool)[kept]
    fitted = _fitted_by(verifier) if val_pairs is None else _fit_on(verifier, val_pairs, base, same_label)
    if val_pairs is not None and protocol is None:
        measurement = measure_at(scores, same, fitted.threshold, str(val_pairs))
    elif "fold" in frame.columns:
        measurement = measure_folds(scores, same, frame["fold"].to_numpy()[kept])
    elif verifier.operating_points:
        point = choose_operating_point(verifier.operating_points, far)
        measurement = measure_at_point(scores, same, point)
    else:
        measurement = measure_cross_fitted(scores, same)
    people = pair_identities(frame[kept])
    if people.contradictory:
        log.warning("%s: %d impostor pairs contradict the genuine ones", pairs, people.contradictory)
    return Evaluation(
        measurement=measurement,
        pairs=len(frame),
        failed=int((~kept).sum()),
        images=len(scored.images),
        scores=scored,
        people=people,
        estimates=estimates(scores, same, people.left, people.right, STATISTICS, accepted=measurement.accepted),
        calibration=fitted.calibration,
        fitted_here=_shared(frame, base, fitted, str(pairs)),
        root=base,
    )


@dataclass(frozen=True)
class _Fitted:
    """Threshold and calibration, and the pairs that they were fitted on, where those are known."""

    threshold: float
    calibration: Calibration | None
    pairs: pd.DataFrame | None
    root: Path


def _fitted_by(verifier: Verifier) -> _Fitted:
    """What travels with a model; its validation pairs lie beside it unless the run folder was removed."""
    folder = Path(verifier.name) / "run"
    if verifier.card is None or not (folder / "val.csv").is_file() or not (folder / "root.txt").is_file():
        return _Fitted(math.nan, verifier.calibration, None, folder)
    root = Path((folder / "root.txt").read_text(encoding="utf-8").rstrip("\n"))
    return _Fitted(math.nan, verifier.calibration, read_pairs(folder / "val.csv"), root)


def _shared(frame: pd.DataFrame, root: Path, fitted: _Fitted, where: str) -> int:
    """How many pairs are among those that the threshold or the calibration was fitted on; said aloud."""
    if fitted.pairs is None:
        return 0
    here, there = (_keys(table, base) for table, base in ((frame, root), (fitted.pairs, fitted.root)))
    shared = int(here.isin(there).sum())
    if shared:
        log.warning(
            "%s: the threshold or the calibration was fitted on %d of these %d pairs: the figures flatter",
            *(where, shared, len(frame)),
        )
    return shared


def _keys(table: pd.DataFrame, root: Path) -> pd.MultiIndex:
    """Both images of each pair, in an order that does not depend on their sides."""
    base = f"{root.absolute()}/"
    left, right = (base + table[side].astype(str) for side in ("left", "right"))
    turned = (left > right).to_numpy()
    return pd.MultiIndex.from_arrays([left.where(~turned, right), right.where(~turned, left)])


def _check_labelled(frame: pd.DataFrame, path: Path) -> None:
    unlabelled = int(frame["same"].isna().sum())
    if unlabelled:
        raise PairFileError(f"{path}: {unlabelled} of {len(frame)} pairs have no label in column 'same'")


def _fit_on(verifier: Verifier, pairs: Path, base: Path, same_label: str | None) -> _Fitted:
    with open_pairs(pairs, None if is_bin(pairs) else base, same_label=same_label) as (frame, root):
        _check_labelled(frame, pairs)
        scored = score_pairs(verifier, frame, root, str(pairs))
    _report_failures(scored)
    kept = scored.scored
    scores, same = scored.scores[kept], frame["same"].to_numpy(dtype=bool)[kept]
    people = pair_identities(frame[kept])
    calibration = fit_calibration(scores, same, people.left, people.right, str(pairs))
    return _Fitted(smoothed_accuracy_threshold(scores, same), calibration, frame, root)


def _report_failures(scored: PairScores) -> None:
    if scored.failures:
        image, outcome = scored.failures[0]
        log.warning(
            "%d images could not be embedded, so %d of %d pairs have no score; first: %s (%s)",
            *(len(scored.failures), int((~scored.scored).sum()), len(scored.frame), image, outcome.detail),
        )
