"""From similarity to the probability that a pair is the same, at any prior.

A `Calibration` is fitted once, on validation pairs (`siamese.evaluation.calibration_fitting`), kept with the model,
and applied with NumPy alone.
"""

from typing import Annotated, Self

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field, model_validator

from siamese.evaluation.calibration_prior import Floats, check_prior, check_vector, logit, sigmoid
from siamese.evaluation.calibrators import Calibrator, Share

_CONFIG = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Candidate(BaseModel):
    """A form of calibrator and how it did in cross-validation.

    Attributes:
        method: `platt`, `beta` or `isotonic`.
        log_loss: mean over held-out identities, in nats per pair, with the kinds weighted to the prior of the fit; at
            a prior of .5, ln 2 = .693 is what knowing nothing gives. None where the pairs do not allow
            cross-validation.
    """

    model_config = _CONFIG

    method: str
    log_loss: float | None


class Calibration(BaseModel):
    """A map from similarity to P(same), with what it was fitted on.

    The log-odds are ln P(same) / P(different). Bayes' rule makes them the sum of what the similarity says and the
    log-odds of the prior, so another prior shifts all of them by logit(new) - logit(old) and changes no order.

    Attributes:
        calibrator: the fitted form and its parameters.
        prior: share that genuine pairs weighed in the fit, whatever their share among the pairs; in (0, 1).
        split: the pairs it was fitted on.
        genuine: how many genuine pairs those are.
        impostor: how many impostor pairs those are.
        candidates: every form that was compared, from the simplest.

    Example:
        >>> from siamese.evaluation.calibrators import PlattCalibrator
        >>> calibration = Calibration(
        ...     calibrator=PlattCalibrator(slope=20.0, intercept=-6.0),
        ...     prior=0.5, split="validation", genuine=300, impostor=3000,
        ...     candidates=(Candidate(method="platt", log_loss=0.05),),
        ... )
        >>> calibration.probability([0.3, 0.5]).round(3)
        array([0.5  , 0.982])
        >>> calibration.probability([0.3, 0.5], prior=0.01).round(3)
        array([0.01 , 0.355])
    """

    model_config = _CONFIG

    calibrator: Calibrator
    prior: Share
    split: str
    genuine: Annotated[int, Field(ge=1)]
    impostor: Annotated[int, Field(ge=1)]
    candidates: tuple[Candidate, ...]

    @property
    def method(self) -> str:
        """The form: `platt`, `beta` or `isotonic`."""
        return self.calibrator.method

    @property
    def log_loss(self) -> float | None:
        """Cross-validated log loss of the form that was chosen; None where there was no cross-validation."""
        return next(candidate.log_loss for candidate in self.candidates if candidate.method == self.method)

    @model_validator(mode="after")
    def _check_candidates(self) -> Self:
        methods = [candidate.method for candidate in self.candidates]
        if self.method not in methods:
            raise ValueError(f"the method {self.method!r} is not among the candidates {methods}")
        return self

    def log_odds(self, scores: ArrayLike, prior: float | None = None) -> Floats:
        """Log-odds that pairs are the same.

        Args:
            scores: similarities, shape (N,); N may be 0.
            prior: share of genuine pairs where the calibration is used, in (0, 1); None for that of the fit.

        Returns:
            Shape (N,), finite, non-decreasing in similarity.

        Raises:
            DataError: scores that are not finite.
            OptionError: a prior outside (0, 1).
        """
        fitted = self.calibrator.log_odds(check_vector(scores, "scores"))
        if prior is None:
            return fitted
        return np.asarray(fitted + (logit(check_prior(prior)) - logit(self.prior)))

    def probability(self, scores: ArrayLike, prior: float | None = None) -> Floats:
        """P(same), in [0, 1], shape (N,); arguments and errors as for `log_odds`."""
        return sigmoid(self.log_odds(scores, prior))
