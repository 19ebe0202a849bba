"""Evaluating a verifier on a pair file."""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from siamese.atomic import atomic_path, write_text
from siamese.errors import DataError, OptionError, PairFileError, unknown_name
from siamese.evaluation.operating_points import choose_operating_point
from siamese.evaluation.protocols import (
    Measurement,
    measure_at,
    measure_at_point,
    measure_cross_fitted,
    measure_folds,
)
from siamese.evaluation.thresholds import smoothed_accuracy_threshold
from siamese.inference.pair_source import open_pairs
from siamese.inference.scoring import PairScores, score_pairs
from siamese.inference.verifier import Verifier
from siamese.pairing.face_bin import is_bin
from siamese.progress import log

PROTOCOLS = ("lfw",)


@dataclass(frozen=True)
class Evaluation:
    """A measurement and what it rests on.

    Attributes:
        measurement: on the pairs that have a score.
        pairs: pairs in the file.
        failed: pairs without a score, since an image could not be read or showed no face.
        images: unique images.
        scores: the pairs with their scores.
    """

    measurement: Measurement
    pairs: int
    failed: int
    images: int
    scores: PairScores

    def as_json(self) -> dict[str, object]:
        """The keys that `siamese evaluate --json` prints, without model, device and seconds."""
        return {
            "pairs": self.pairs,
            "failed": self.failed,
            "images": self.images,
            **self.measurement.as_json(),
            "intervals": {},
        }


def evaluate(
    verifier: Verifier,
    pairs: Path,
    *,
    root: Path | None = None,
    protocol: str | None = None,
    val_pairs: Path | None = None,
    far: float | None = None,
    same_label: str | None = None,
) -> Evaluation:
    """Measure a verifier on labelled pairs, at a threshold fitted elsewhere.

    With folds (a `fold` column, or LFW's `pairs.txt`), on the other folds. Otherwise at the model's operating point;
    for an untouched encoder at the threshold of best accuracy on `val_pairs`, else by two-fold cross-fitting.

    Args:
        verifier: the model.
        pairs: pair file in any form, also a `.bin` file, which holds its images.
        root: what relative paths start from; None for the pair file's folder.
        protocol: `lfw` insists on the official file with folds.
        val_pairs: pairs to fit the threshold on.
        far: measure at the model's operating point for this FAR.
        same_label: the value of the label column that means same; None: 1 or true.

    Raises:
        PairFileError: the file is malformed, unlabelled, or names a file that is not there.
        OptionError: an unknown protocol, or options that contradict each other.
        DataError: the pairs with a score are of one kind only.
    """
    if protocol is not None and protocol not in PROTOCOLS:
        raise unknown_name("protocol", protocol, PROTOCOLS)
    with open_pairs(pairs, root, same_label=same_label) as (frame, base):
        _check_labelled(frame, pairs)
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
    if val_pairs is not None:
        threshold = _fit_on(verifier, val_pairs, None if is_bin(val_pairs) else base, same_label)
        measurement = measure_at(scores, same, threshold, str(val_pairs))
    elif "fold" in frame.columns:
        measurement = measure_folds(scores, same, frame["fold"].to_numpy()[kept])
    elif verifier.operating_points:
        point = choose_operating_point(verifier.operating_points, far)
        measurement = measure_at_point(scores, same, point)
    else:
        measurement = measure_cross_fitted(scores, same)
    return Evaluation(measurement, len(frame), int((~kept).sum()), len(scored.images), scored)


def save_evaluation(evaluation: Evaluation, folder: Path, extra: dict[str, object]) -> None:
    """Write `metrics.json` and `scores.csv` (the pairs in input order, with `similarity` and `status`)."""
    text = json.dumps({**evaluation.as_json(), **extra}, indent=2)
    write_text(folder / "metrics.json", text + "\n")
    scores = evaluation.scores
    status = pd.Series("scored", index=scores.frame.index).where(scores.scored, "failed")
    table = scores.frame.assign(similarity=scores.scores, status=status)
    with atomic_path(folder / "scores.csv") as temporary:
        # Nine digits bring a float32 back: who reads the scores decides as was decided here.
        table.to_csv(temporary, index=False, lineterminator="\n", float_format="%.9g")


def _check_labelled(frame: pd.DataFrame, path: Path) -> None:
    unlabelled = int(frame["same"].isna().sum())
    if unlabelled:
        raise PairFileError(f"{path}: {unlabelled} of {len(frame)} pairs have no label in column 'same'")


def _fit_on(verifier: Verifier, pairs: Path, root: Path | None, same_label: str | None) -> float:
    with open_pairs(pairs, root, same_label=same_label) as (frame, base):
        _check_labelled(frame, pairs)
        scored = score_pairs(verifier, frame, base, str(pairs))
    _report_failures(scored)
    kept = scored.scored
    threshold = smoothed_accuracy_threshold(scored.scores[kept], frame["same"].to_numpy(dtype=bool)[kept])
    if not math.isfinite(threshold):
        raise DataError(f"{pairs}: no threshold separates anything")
    return threshold


def _report_failures(scored: PairScores) -> None:
    if scored.failures:
        image, outcome = scored.failures[0]
        log.warning(
            "%d images could not be embedded, so %d of %d pairs have no score; first: %s (%s)",
            *(len(scored.failures), int((~scored.scored).sum()), len(scored.frame), image, outcome.detail),
        )
