"""From similarities to answers: at a threshold, or where a calibrated probability allows one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from siamese.errors import ModelError, OptionError
from siamese.evaluation.calibration import Calibration
from siamese.evaluation.calibration_band import Answers, check_error, decide
from siamese.evaluation.calibration_prior import check_prior
from siamese.evaluation.operating_points import OperatingPoint, choose_operating_point
from siamese.progress import log


@dataclass(frozen=True)
class DecisionRule:
    """How a model's similarities become answers.

    Attributes:
        threshold: same at this similarity and above; None where probabilities decide, or nothing does.
        point: the operating point that the threshold is of; None for a threshold given by hand.
        abstain: answer only where the answer is wrong with at most this probability; None to answer by the threshold.
        calibration: from similarity to P(same); None for a model without one.
        prior: share of genuine pairs that probabilities suppose; None without a calibration.
    """

    threshold: float | None
    point: OperatingPoint | None
    abstain: float | None
    calibration: Calibration | None
    prior: float | None

    @property
    def decides(self) -> bool:
        """Whether there is anything to decide by."""
        return self.threshold is not None or self.abstain is not None

    @property
    def far(self) -> float | None:
        """Share of the impostor pairs of its split that the operating point accepts; None without one."""
        return None if self.point is None else self.point.far

    @property
    def fitted(self) -> OperatingPoint | Calibration | None:
        """What decides, with the split and the counts it was fitted on; None for a threshold given by hand."""
        return self.point if self.abstain is None else self.calibration

    def probabilities(self, scores: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """P(same) of finite similarities (N,), shape (N,); None without a calibration."""
        return None if self.calibration is None else self.calibration.probability(scores, self.prior)

    def answers(self, scores: NDArray[np.float64]) -> Answers:
        """The answers to finite similarities (N,); none at all where there is nothing to decide by."""
        probabilities = self.probabilities(scores) if self.abstain is not None else None
        if self.abstain is not None and probabilities is not None:
            return decide(probabilities, self.abstain)
        if self.threshold is None:
            return Answers(np.zeros(len(scores), bool), np.zeros(len(scores), bool))
        return Answers(scores >= self.threshold, np.ones(len(scores), bool))


def make_rule(
    name: str,
    points: tuple[OperatingPoint, ...] | None,
    calibration: Calibration | None,
    *,
    far: float | None = None,
    at: str | None = None,
    threshold: float | None = None,
    abstain: float | None = None,
    prior: float | None = None,
) -> DecisionRule:
    """The rule that options ask for; of `far`, `at`, `threshold` and `abstain` one may be given.

    Args:
        name: of the model, for messages.
        points: thresholds of the model; None for an untouched encoder, which has none.
        calibration: of the model.
        far: decide at the operating point for this FAR.
        at: decide at the operating point of this name; without anything else, at that of best accuracy.
        threshold: decide at this similarity.
        abstain: answer only where the answer is wrong with at most this probability.
        prior: share of genuine pairs among those that are compared; None for that of the calibration.

    Raises:
        OptionError: more than one way to decide, or one that the model has not; a prior or an error out of range.
    """
    given = {"--far": far, "--at": at, "--threshold": threshold, "--abstain": abstain}
    named = [option for option, value in given.items() if value is not None]
    if len(named) > 1:
        raise OptionError(f"{', '.join(named[:-1])} and {named[-1]}: give one of them")
    supposed = _prior(name, calibration, prior)
    if abstain is not None:
        check_error(abstain)
        if calibration is None:
            raise OptionError(f"--abstain {abstain:g}: {name} has no calibration; train a model folder for it")
        _warn_if_unsupported(abstain, calibration)
        return DecisionRule(None, None, abstain, calibration, supposed)
    if threshold is not None:
        if not -1 <= threshold <= 1:
            raise OptionError(f"--threshold {threshold:g}: expected a similarity from -1 to 1")
        return DecisionRule(threshold, None, None, calibration, supposed)
    if points is None:
        raise OptionError(
            f"{name} is an untouched encoder and has no threshold; give --threshold, or train a model "
            "folder with `siamese train`"
        )
    point = choose_operating_point(points, far, at)
    return DecisionRule(point.threshold, point, None, calibration, supposed)


def score_rule(name: str, calibration: Calibration | None, prior: float | None = None) -> DecisionRule:
    """The rule that decides nothing, for similarities and probabilities alone.

    Raises:
        OptionError: a prior without a calibration, or outside (0, 1).
    """
    return DecisionRule(None, None, None, calibration, _prior(name, calibration, prior))


def check_finite(name: str, score: float) -> float:
    """The similarity that a model gave.

    Raises:
        ModelError: it is no finite number.
    """
    if not np.isfinite(score):
        raise ModelError(f"{name}: gives the similarity {score}, expected a number; its weights are damaged")
    return score


def _prior(name: str, calibration: Calibration | None, prior: float | None) -> float | None:
    if calibration is None:
        if prior is not None:
            raise OptionError(f"--prior {prior:g}: {name} has no calibration; train a model folder for it")
        return None
    return calibration.prior if prior is None else check_prior(prior)


def _warn_if_unsupported(error: float, calibration: Calibration) -> None:
    """Below three expected errors no data show that an error is so rare (the rule of three)."""
    shown = 3.0 / min(calibration.genuine, calibration.impostor)
    if error < shown:
        log.warning(
            "--abstain %g: the calibration was fitted on %d genuine and %d impostor pairs, too few to show that "
            "answers are wrong less often than %.2g",
            *(error, calibration.genuine, calibration.impostor, shown),
        )
