"""What an evaluation found, and the files that hold it."""

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.atomic import atomic_path, write_text
from siamese.errors import OptionError
from siamese.evaluation.calibration import Calibration
from siamese.evaluation.calibration_band import Abstaining, measure_abstaining
from siamese.evaluation.diagnostics import alignment, score_gap, uniformity
from siamese.evaluation.intervals import Estimate
from siamese.evaluation.protocols import Measurement
from siamese.evaluation.reliability import brier_score, expected_calibration_error, log_loss
from siamese.inference.scoring import PairScores
from siamese.pairing.pair_identities import PairIdentities


@dataclass(frozen=True)
class Evaluation:
    """A measurement and what it rests on.

    Attributes:
        measurement: on the pairs that have a score.
        pairs: pairs in the file.
        failed: pairs without a score, since an image could not be read or showed no face.
        images: unique images.
        scores: the pairs with their scores.
        people: whom the pairs with a score show.
        estimates: statistics with their intervals, by name.
        calibration: from similarity to P(same), fitted elsewhere; None for a model without one.
        fitted_here: how many of the pairs the threshold or the calibration was fitted on.
        root: what paths of images are relative to.
        fit: the pairs of `--val-pairs` with their scores, which threshold and calibration were fitted on; or None.
        fit_root: what their paths are relative to.
        preprocessing: what was done to the images, as `describe_preprocessing` says.
    """

    measurement: Measurement
    pairs: int
    failed: int
    images: int
    scores: PairScores
    people: PairIdentities
    estimates: dict[str, Estimate]
    calibration: Calibration | None
    fitted_here: int
    root: Path
    fit: PairScores | None = None
    fit_root: Path = Path()
    preprocessing: dict[str, Any] = field(default_factory=dict)

    @property
    def similarities(self) -> NDArray[np.float64]:
        """Of the pairs that have one, shape (N,)."""
        return self.scores.scores[self.scores.scored]

    @property
    def same(self) -> NDArray[np.bool_]:
        """Labels of those pairs, shape (N,)."""
        return self.scores.frame["same"].to_numpy(dtype=bool)[self.scores.scored]

    @property
    def probabilities(self) -> NDArray[np.float64] | None:
        """P(same) of those pairs, shape (N,); None without a calibration."""
        return None if self.calibration is None else self.calibration.probability(self.similarities)

    def as_json(self) -> dict[str, Any]:
        """The keys that `siamese evaluate --json` prints, without model, device and seconds."""
        return {
            "pairs": self.pairs,
            "failed": self.failed,
            "images": self.images,
            **self.measurement.as_json(),
            "intervals": {name: _ends(each) for name, each in self.estimates.items()},
            "calibration": self.calibration_figures,
            "diagnostics": self.diagnostics,
            "fitted_here": self.fitted_here,
            "preprocessing": self.preprocessing,
        }

    @cached_property
    def diagnostics(self) -> dict[str, Any]:
        """How the embeddings lie: `alignment`, `uniformity` (None without embeddings), and the `gap` of the scores.

        Of the images that a pair with a score shows; the gap's standard deviations are None of a single pair.
        """
        gap = score_gap(self.similarities, self.same)
        found: dict[str, Any] = {"alignment": None, "uniformity": None, "gap": asdict(gap)}
        scores, kept = self.scores, self.scores.scored
        if scores.vectors is None:
            return found
        rows = np.concatenate([scores.left[kept], scores.right[kept]])
        shown, first = np.unique(rows, return_index=True)
        codes = np.concatenate([self.people.left, self.people.right])[first]
        vectors = scores.vectors[shown]
        return found | {"alignment": alignment(vectors, codes), "uniformity": uniformity(vectors)}

    @cached_property
    def calibration_figures(self) -> dict[str, Any] | None:
        """How far the probabilities can be believed, at the prior of the fit; None without a calibration."""
        probabilities = self.probabilities
        if self.calibration is None or probabilities is None:
            return None
        same, prior = self.same, self.calibration.prior
        return {
            "method": self.calibration.method,
            "prior": prior,
            "split": self.calibration.split,
            "ece": expected_calibration_error(probabilities, same, prior=prior),
            "brier": brier_score(probabilities, same, prior=prior).score,
            "log_loss": log_loss(probabilities, same, prior=prior),
        }

    def abstaining(self, error: float) -> Abstaining:
        """What answering only where the probability of an error is at most `error` would do, at the prior of the fit.

        Args:
            error: above 0 and below .5.

        Raises:
            OptionError: no calibration, or numbers out of their range.
        """
        if self.calibration is None:
            raise OptionError("--abstain: needs probabilities, and there is no calibration; fit one with --val-pairs")
        prior = self.calibration.prior
        return measure_abstaining(self.calibration.probability(self.similarities), self.same, error, prior)


def _ends(estimate: Estimate) -> list[float] | None:
    interval = estimate.interval
    return None if interval is None else [interval.low, interval.high]


def save_evaluation(evaluation: Evaluation, folder: Path, extra: dict[str, Any]) -> None:
    """Write `metrics.json` and `scores.csv` of one model."""
    write_metrics({**evaluation.as_json(), **extra}, folder)
    write_scores(evaluation, folder)


def write_metrics(figures: dict[str, Any], folder: Path) -> Path:
    """Write `metrics.json` into a folder."""
    path = folder / "metrics.json"
    write_text(path, json.dumps(figures, indent=2) + "\n")
    return path


def write_scores(evaluation: Evaluation, folder: Path) -> Path:
    """Write `scores.csv` into a folder.

    The table holds the pairs in input order with `similarity`, `probability` where there is a calibration, `accepted`
    and `status`.
    """
    path = folder / "scores.csv"
    scores, kept = evaluation.scores, evaluation.scores.scored
    columns: dict[str, Any] = {"similarity": scores.scores}
    probabilities = evaluation.probabilities
    if probabilities is not None:
        columns["probability"] = np.full(len(kept), np.nan)
        columns["probability"][kept] = probabilities
    columns["accepted"] = pd.array(np.zeros(len(kept), np.int64), dtype="Int64")
    columns["accepted"][kept] = evaluation.measurement.accepted.astype(np.int64)
    columns["accepted"][~kept] = pd.NA
    columns["status"] = np.where(kept, "scored", "failed")
    with atomic_path(path) as temporary:
        # Nine digits bring a float32 back: who reads the scores decides as was decided here.
        table = scores.frame.assign(**columns)
        table.to_csv(temporary, index=False, lineterminator="\n", float_format="%.9g")
    return path
