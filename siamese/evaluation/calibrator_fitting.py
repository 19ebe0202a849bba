"""Fitting each form of calibrator to labelled similarities, weighted to a prior."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from siamese.errors import DataError
from siamese.evaluation.calibration_prior import Bools, Floats, logit, pair_weights
from siamese.evaluation.calibrators import (
    BetaCalibrator,
    Calibrator,
    IsotonicCalibrator,
    PlattCalibrator,
    beta_features,
)

# Newton's method on 2 or 3 parameters takes some ten steps; more only where halved steps crawl.
_STEPS = 100
# Of the loss, in nats, that the last step may still have had to gain.
_GAIN = 1e-14
# Pairs above which Newton's method starts from the optimum of an even sample of this many: two or three steps on all
# pairs then do.
_SAMPLE = 100_000


class _Regression(NamedTuple):
    coefficients: Floats
    intercept: float
    loss: float


def fit_platt(scores: Floats, same: Bools, prior: float) -> PlattCalibrator:
    """Platt scaling by Newton's method.

    The targets are Platt's, (N+ + 1) / (N+ + 2) for the N+ genuine pairs and 1 / (N- + 2) for the N- impostor pairs,
    so the fit is finite for kinds that are perfectly separated. A slope that would be negative is 0, and the
    probability then the prior, whatever the similarity; so it is where all scores are the same.

    Args:
        scores: similarities, shape (N,), finite.
        same: labels, shape (N,), of both kinds.
        prior: share that genuine pairs weigh, in (0, 1).

    Raises:
        DataError: scores so large or so close to each other that the slope is no finite number.
    """
    # Scaled first: squares of scores as they come may overflow, and those of tiny ones vanish.
    size = float(np.abs(scores).max())
    found = _regress((scores / size,) if size > 0 else (scores,), _targets(same), pair_weights(same, prior))
    with np.errstate(over="ignore"):
        slope = float(found.coefficients[0]) / size if size > 0 else 0.0
    if slope <= 0.0:
        return PlattCalibrator(slope=0.0, intercept=float(logit(prior)))
    if not np.isfinite([slope, found.intercept]).all():
        raise DataError(f"scores from {scores.min():g} to {scores.max():g}: too close to each other to be calibrated")
    return PlattCalibrator(slope=slope, intercept=found.intercept)


def fit_beta(scores: Floats, same: Bools, prior: float) -> BetaCalibrator:
    """Beta calibration of Platt's probability, with Platt's targets.

    The optimum under slopes of at least 0 is exact: the loss is convex, so where the free optimum has a negative
    slope the constrained one has a slope of 0, and is the better one of both such fits.

    Args:
        scores: similarities, shape (N,), finite.
        same: labels, shape (N,), of both kinds.
        prior: share that genuine pairs weigh, in (0, 1).

    Raises:
        DataError: as `fit_platt`.
    """
    platt = fit_platt(scores, same, prior)
    if platt.slope == 0.0:
        return BetaCalibrator(platt=platt, below=1.0, above=1.0, intercept=0.0)
    below, above = beta_features(platt.log_odds(scores))
    targets, weights = _targets(same), pair_weights(same, prior)
    # Both features rise with similarity and nearly together; their sum and difference are told apart better.
    free = _regress((below + above, above - below), targets, weights)
    common, bend = (float(value) for value in free.coefficients)
    if common >= abs(bend):
        return BetaCalibrator(platt=platt, below=common - bend, above=common + bend, intercept=free.intercept)
    fits = [(_regress((feature,), targets, weights), side) for feature, side in ((below, "below"), (above, "above"))]
    # One of them rises: both together are Platt's log-odds, which do.
    best, side = min(((fit, side) for fit, side in fits if fit.coefficients[0] >= 0), key=lambda pair: pair[0].loss)
    slopes = {"below": 0.0, "above": 0.0, side: float(best.coefficients[0])}
    return BetaCalibrator(platt=platt, intercept=best.intercept, **slopes)


def fit_isotonic(scores: Floats, same: Bools, prior: float) -> IsotonicCalibrator:
    """Isotonic regression by pooling adjacent violators.

    Two pairs are added that were not seen, a genuine one at the lowest score and an impostor pair at the highest, so
    no probability is 0 or 1: where k of the N+ genuine pairs score above all N- impostor pairs, the likelihood ratio
    is k (N- + 1) / (N+ + 1) and not infinite. With constant scores the probability is the prior.

    Args:
        scores: similarities, shape (N,), finite.
        same: labels, shape (N,), of both kinds.
        prior: share that genuine pairs weigh, in (0, 1).
    """
    from sklearn.isotonic import IsotonicRegression

    values = np.concatenate((scores, [scores.min(), scores.max()]))
    labels = np.concatenate((same, [True, False]))
    # Fitted to ranks: scikit-learn takes scores for equal that are less than 1e-15 apart, whatever their size.
    levels, ranks = np.unique(values, return_inverse=True)
    fit = IsotonicRegression(increasing=True).fit(ranks, labels, pair_weights(labels, prior))
    knots = levels[np.rint(fit.X_thresholds_).astype(np.int64)]
    # Pooled means may differ from each other by rounding alone.
    heights = np.maximum.accumulate(fit.y_thresholds_)
    return IsotonicCalibrator(scores=tuple(knots.tolist()), probabilities=tuple(heights.tolist()))


# From the simplest to the most flexible: of equally good ones the first is chosen.
CALIBRATORS: dict[str, Callable[[Floats, Bools, float], Calibrator]] = {
    "platt": fit_platt,
    "beta": fit_beta,
    "isotonic": fit_isotonic,
}


def _targets(same: Bools) -> Floats:
    genuine = int(np.count_nonzero(same))
    return np.where(same, (genuine + 1.0) / (genuine + 2.0), 1.0 / (len(same) - genuine + 2.0))


def _regress(columns: tuple[Floats, ...], targets: Floats, weights: Floats) -> _Regression:
    """Logistic regression by Newton's method; a column that does not vary gets the coefficient 0."""
    centres = np.array([weights @ column for column in columns]) / weights.sum()
    spreads = np.array(
        [np.sqrt(weights @ np.square(column - centre)) for column, centre in zip(columns, centres, strict=True)]
    )
    # What is left of a constant column is rounding.
    varied = spreads > 1e-12 * np.array([np.abs(column).max() for column in columns])
    rows = [np.ones_like(targets)]
    rows += [(columns[i] - centres[i]) / spreads[i] for i in np.flatnonzero(varied)]
    design = np.stack(rows)
    found, loss = _newton(design, targets, weights, _start(design, targets, weights))
    coefficients = np.zeros(len(columns))
    with np.errstate(over="ignore"):
        coefficients[varied] = found[1:] / spreads[varied]
    return _Regression(coefficients, float(found[0] - coefficients @ centres), loss)


def _start(design: Floats, targets: Floats, weights: Floats) -> Floats:
    zero = np.zeros(len(design))
    stride = len(targets) // _SAMPLE
    if stride < 2:
        return zero
    sampled, _ = _newton(design[:, ::stride], targets[::stride], weights[::stride] * stride, zero)
    # An even sample of alternating kinds may hold one of them only.
    losses = [_shares_and_loss(start @ design, targets, weights)[1] for start in (zero, sampled)]
    return sampled if losses[1] < losses[0] else zero


def _newton(design: Floats, targets: Floats, weights: Floats, start: Floats) -> tuple[Floats, float]:
    """Parameters (K,) of the lowest weighted cross-entropy for rows of features `design` (K, N), and that loss."""
    found = start
    shares, loss = _shares_and_loss(start @ design, targets, weights)
    for _ in range(_STEPS):
        slope = design @ (weights * (shares - targets))
        curvature = (design * (weights * shares * (1.0 - shares))) @ design.T
        # A ridge far below the data's own curvature, for features that vary by rounding alone.
        step = np.linalg.solve(curvature + 1e-15 * np.eye(len(found)), slope)
        gain = float(slope @ step)
        before = loss
        for halved in range(60):
            tried = found - step * 0.5**halved
            shares, loss = _shares_and_loss(tried @ design, targets, weights)
            if loss <= before + _GAIN:
                break
        found = tried
        if gain < _GAIN:
            break
    return found, loss


def _shares_and_loss(log_odds: Floats, targets: Floats, weights: Floats) -> tuple[Floats, float]:
    """Probabilities (N,) and their weighted cross-entropy with the targets, from one exponential."""
    falling = np.exp(-np.abs(log_odds))
    loss = weights @ (np.maximum(log_odds, 0.0) + np.log1p(falling) - targets * log_odds)
    return np.where(log_odds >= 0.0, 1.0, falling) / (1.0 + falling), float(loss)
