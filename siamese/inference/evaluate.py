"""Evaluating verifiers on a pair file."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.encoders.bundled import path_of_model
from siamese.errors import DataError, OptionError, PairFileError
from siamese.evaluation.calibration import Calibration
from siamese.evaluation.calibration_fitting import fit_calibration
from siamese.evaluation.intervals import estimates
from siamese.evaluation.metrics import FARS
from siamese.evaluation.operating_points import OperatingPoint
from siamese.evaluation.weighted import Statistic
from siamese.inference.cohort import Cohort, EmbeddedCohort, embed_cohort
from siamese.inference.evaluation import Evaluation
from siamese.inference.pair_source import open_pairs
from siamese.inference.parts import check_columns
from siamese.inference.preprocessing import describe_preprocessing
from siamese.inference.protocol import Protocol, said_of
from siamese.inference.run_pairs import run_pairs
from siamese.inference.scoring import PairScores, score_pairs
from siamese.inference.verifier import Verifier
from siamese.pairing.face_bin import is_bin
from siamese.pairing.pair_identities import pair_identities
from siamese.pairing.rows import row_name
from siamese.progress import log

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
    protocol: Protocol | None = None,
    same_label: str | None = None,
    columns: Sequence[str] = (),
    cohort: Cohort | None = None,
) -> Evaluation:
    """Measure a verifier on labelled pairs, at a threshold fitted elsewhere.

    With folds (a `fold` column, or LFW's `pairs.txt`), on the other folds. Otherwise on the protocol's `val_pairs`,
    at the model's operating point, or for an untouched encoder without either by two-fold cross-fitting. Intervals
    allow for pairs that share people (`siamese.evaluation.intervals`). The model's calibration, or one fitted on
    `val_pairs`, is judged on the pairs.

    Args:
        verifier: the model.
        pairs: pair file in any form, also a `.bin` file, which holds its images.
        root: what relative paths start from; None for the pair file's folder.
        protocol: which pairs count and where the threshold comes from; None for what file and model allow.
        same_label: the value of the label column that means same; None: 1 or true.
        columns: that `measure_parts` will be asked for: looked for before any image is embedded.
        cohort: measure every score against these images. Operating points and calibration of the model hold for plain
            scores, and are left aside.

    Raises:
        PairFileError: the file is malformed, unlabelled, or names a file that is not there.
        OptionError: options that contradict each other, the file or the model.
        DataError: the pairs with a score are of one kind only.
    """
    asked = protocol or Protocol()
    with open_pairs(pairs, root, same_label=same_label) as (whole, base):
        frame = asked.select(whole, pairs)
        _check_labelled(frame, pairs)
        check_columns(frame, columns)
        others = None if cohort is None else embed_cohort(verifier, cohort)
        scored = _score(verifier, frame, base, pairs, others)
    fit = None if asked.val_pairs is None else _score_fit(verifier, asked.val_pairs, base, same_label, others)
    preprocessing = describe_preprocessing(verifier)
    if others is None:
        fitted = _Fitted.by(verifier)
    else:
        preprocessing["cohort"] = others.as_json()
        fitted = _Fitted()
    if fit is not None:
        fitted = replace(fitted, calibration=_calibrate(fit[0], asked.val_pairs), pairs=fit[0].frame, root=fit[1])
    found = _judge(scored, base, pairs, asked, fitted, None if fit is None else fit[0])
    return replace(found, preprocessing=preprocessing)


def evaluate_ensemble(evaluations: Sequence[Evaluation], pairs: Path, protocol: Protocol | None = None) -> Evaluation:
    """Measure several models together: the score of a pair is the mean of the similarities that they give it.

    For models that compare by cosine this is the cosine of their embeddings one behind the other, each of equal
    weight. A pair that one of them has no score for has none. Threshold and calibration come from `val_pairs`, the
    folds or cross-fitting, as for an untouched encoder: those of the models hold for their own scores.

    Args:
        evaluations: of at least two models, by `evaluate` on the same pairs with the same protocol.
        pairs: the pair file, for messages.
        protocol: theirs.

    Raises:
        OptionError: fewer than two, or a threshold asked for that only a model has.
        DataError: the pairs with a score are of one kind only.
    """
    if len(evaluations) < 2:
        raise OptionError("--ensemble: averages several models; name at least two")
    asked, first = protocol or Protocol(), evaluations[0]
    scored = _mean_of([each.scores for each in evaluations])
    fits = [each.fit for each in evaluations if each.fit is not None]
    fitted, fit = _Fitted(), None
    if fits:
        fit = _mean_of(fits)
        fitted = _Fitted(_calibrate(fit, asked.val_pairs), (), fit.frame, first.fit_root)
    found = _judge(scored, first.root, pairs, asked, fitted, fit)
    return replace(found, preprocessing={"mean_of": [each.preprocessing for each in evaluations]})


def _mean_of(scores: Sequence[PairScores]) -> PairScores:
    """Of the same pairs; what one model could not score stays NaN, and what it could not read has failed."""
    outcomes = [
        next((outcome for outcome in each if outcome.status != "ok"), each[0])
        for each in zip(*(one.outcomes for one in scores), strict=True)
    ]
    mean = np.mean([each.scores for each in scores], axis=0)
    return replace(scores[0], scores=mean, outcomes=outcomes, vectors=None)


@dataclass(frozen=True)
class _Fitted:
    """Calibration and operating points, and the pairs that they were fitted on, where those are known."""

    calibration: Calibration | None = None
    points: tuple[OperatingPoint, ...] = ()
    pairs: pd.DataFrame | None = None
    root: Path = Path()

    @classmethod
    def by(cls, verifier: Verifier) -> "_Fitted":
        """What travels with a model; its validation pairs lie beside it unless the run folder was removed."""
        known = None if verifier.card is None else run_pairs(path_of_model(verifier.name))
        return cls(verifier.calibration, verifier.operating_points, *(known or ()))


def _judge(
    scored: PairScores, base: Path, where: Path, asked: Protocol, fitted: _Fitted, fit: PairScores | None
) -> Evaluation:
    kept = scored.scored
    if not kept.any():
        first = scored.failures[0][1].detail
        raise DataError(f"{where}: none of {len(scored.frame)} pairs could be scored; first: {first}")
    frame, scores = scored.frame[kept], scored.scores[kept]
    same = frame["same"].to_numpy(dtype=bool)
    points = fitted.points if fit is None else asked.fit(*_labelled(fit))
    with said_of(where):
        measurement = asked.measure(frame, scores, points)
    _warn_of_lost_folds(scored.frame, frame, where)
    people = pair_identities(frame)
    if people.contradictory:
        log.warning("%s: %d impostor pairs contradict the genuine ones", where, people.contradictory)
    return Evaluation(
        measurement=measurement,
        pairs=len(scored.frame),
        failed=int((~kept).sum()),
        images=len(scored.images),
        scores=scored,
        people=people,
        estimates=estimates(scores, same, people.left, people.right, STATISTICS, accepted=measurement.accepted),
        calibration=fitted.calibration,
        fitted_here=_shared(scored.frame, base, fitted, str(where)),
        root=base,
        fit=fit,
        fit_root=fitted.root,
    )


def _warn_of_lost_folds(asked: pd.DataFrame, scored: pd.DataFrame, where: Path) -> None:
    if "fold" in asked.columns and (lost := set(asked["fold"]) - set(scored["fold"])):
        names = ", ".join(map(str, sorted(lost)))
        log.warning("%s: no pair of fold %s has a score; the accuracy is the mean over the others", where, names)


def _score(
    verifier: Verifier, frame: pd.DataFrame, base: Path, where: Path, cohort: EmbeddedCohort | None
) -> PairScores:
    scored = score_pairs(verifier, frame, base, str(where))
    _report_failures(scored)
    return scored if cohort is None else cohort.normalise(scored)


def _score_fit(
    verifier: Verifier, pairs: Path, base: Path, same_label: str | None, cohort: EmbeddedCohort | None
) -> tuple[PairScores, Path]:
    with open_pairs(pairs, None if is_bin(pairs) else base, same_label=same_label) as (frame, root):
        _check_labelled(frame, pairs)
        return _score(verifier, frame, root, pairs, cohort), root


def _calibrate(fit: PairScores, where: Path | None) -> Calibration:
    people = pair_identities(fit.frame[fit.scored])
    with said_of(where):
        return fit_calibration(*_labelled(fit), people.left, people.right, str(where))


def _labelled(scored: PairScores) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores and labels of the pairs that have a score."""
    return scored.scores[scored.scored], scored.frame["same"].to_numpy(dtype=bool)[scored.scored]


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
    unlabelled = frame["same"].isna().to_numpy()
    if unlabelled.any():
        first = row_name(frame, int(unlabelled.argmax()))
        raise PairFileError(
            f"{path}: {unlabelled.sum()} of {len(frame)} pairs have no label in column 'same', the first in {first}; "
            "label or remove them"
        )


def _report_failures(scored: PairScores) -> None:
    if scored.failures:
        image, outcome = scored.failures[0]
        images, pairs = (len(scored.failures), len(scored.images)), (int((~scored.scored).sum()), len(scored.frame))
        log.warning(
            "%d of %d images could not be embedded, so %d of %d pairs have no score; first: %s (%s)",
            *(*images, *pairs, image, outcome.detail),
        )
