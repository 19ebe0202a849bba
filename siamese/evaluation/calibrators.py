"""From similarity to log-odds of same: the forms that a calibration may take, with NumPy alone.

Each form is a frozen model whose parameters serialise to JSON and back without loss. All are non-decreasing in
similarity, defined for every finite similarity, bounded or not, and give finite log-odds at the prior that they were
fitted at. Similarities beyond those that they were fitted on are extended, never refused.
"""

from typing import Annotated, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from siamese.evaluation.calibration_prior import Floats, logit

_CONFIG = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

# Log-odds of similarities that are absurdly far out end here, so that products with them stay finite.
_FURTHEST = 1e150

Share = Annotated[float, Field(gt=0.0, lt=1.0)]
Slope = Annotated[float, Field(ge=0.0)]


class PlattCalibrator(BaseModel):
    """Platt scaling: log-odds = slope * similarity + intercept.

    J. Platt, "Probabilistic outputs for support vector machines and comparisons to regularized likelihood methods",
    1999.

    Attributes:
        slope: of log-odds per unit of similarity, at least 0; at 0 the similarity says nothing.
        intercept: log-odds at similarity 0.
    """

    model_config = _CONFIG

    method: Literal["platt"] = "platt"
    slope: Slope
    intercept: float

    def log_odds(self, scores: Floats) -> Floats:
        """Log-odds of similarities (N,), shape (N,)."""
        with np.errstate(over="ignore"):
            return np.clip(self.slope * scores + self.intercept, -_FURTHEST, _FURTHEST)


class BetaCalibrator(BaseModel):
    """Beta calibration of Platt's probability: log-odds = below * ln u - above * ln(1 - u) + intercept.

    M. Kull, T. Silva Filho, P. Flach, "Beta calibration", AISTATS 2017, equation 6, where below, above and intercept
    are a, b and c. It is defined on scores in (0, 1). u is the probability by Platt scaling, so the form works for
    similarities of any range and unit: it does not change when similarity is scaled or shifted, and it is Platt
    scaling itself at below = above = 1, intercept = 0. It bends Platt's line where u is .5, and so allows the tails
    of genuine and impostor pairs to fall off at rates of their own.

    Attributes:
        platt: maps similarity to u.
        below: slope, against Platt's, of the log-odds of pairs that look different, at least 0.
        above: the same for pairs that look the same, at least 0.
        intercept: what is added to the log-odds.
    """

    model_config = _CONFIG

    method: Literal["beta"] = "beta"
    platt: PlattCalibrator
    below: Slope
    above: Slope
    intercept: float

    def log_odds(self, scores: Floats) -> Floats:
        """Log-odds of similarities (N,), shape (N,)."""
        below, above = beta_features(self.platt.log_odds(scores))
        return np.asarray(self.below * below + self.above * above + self.intercept)


class IsotonicCalibrator(BaseModel):
    """Isotonic regression: the probability is linear between knots, and level beyond the first and the last.

    B. Zadrozny, C. Elkan, "Transforming classifier scores into accurate multiclass probability estimates", KDD 2002.

    Attributes:
        scores: similarity at each knot, rising, shape (K,) with K at least 1.
        probabilities: at each knot, at the prior of the fit, in (0, 1), non-decreasing, shape (K,).
    """

    model_config = _CONFIG

    method: Literal["isotonic"] = "isotonic"
    scores: tuple[float, ...] = Field(min_length=1)
    probabilities: tuple[Share, ...]

    @model_validator(mode="after")
    def _check_knots(self) -> Self:
        if len(self.scores) != len(self.probabilities):
            raise ValueError(
                f"{len(self.scores)} scores and {len(self.probabilities)} probabilities: expected as many"
            )
        if (np.diff(self.scores) <= 0).any():
            raise ValueError("the scores of the knots must rise")
        if (np.diff(self.probabilities) < 0).any():
            raise ValueError("the probabilities of the knots must not fall")
        return self

    def log_odds(self, scores: Floats) -> Floats:
        """Log-odds of similarities (N,), shape (N,)."""
        return logit(np.interp(scores, self.scores, self.probabilities))


Calibrator = Annotated[PlattCalibrator | BetaCalibrator | IsotonicCalibrator, Field(discriminator="method")]


def beta_features(log_odds: Floats) -> tuple[Floats, Floats]:
    """ln u and -ln(1 - u) of log-odds of u, without rounding u to 0 or 1."""
    return np.asarray(-np.logaddexp(0.0, -log_odds)), np.asarray(np.logaddexp(0.0, log_odds))
