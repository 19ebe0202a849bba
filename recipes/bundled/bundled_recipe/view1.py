"""LFW's View 1, people whom nobody trained on: accuracy, AUC, EER, TAR at FARs, and how true the probabilities are.

The official protocol: the threshold comes from pairsDevTrain, the figures are read on pairsDevTest (Huang et al.,
"Labeled Faces in the Wild", 2007). Beside it, what a user gets: the model's own operating points and calibration.
"""

from collections.abc import Sequence

from bundled_recipe.reading import Floats, Pairs, Reading, described, lfw_pairs, val_pairs
from bundled_recipe.records import Record
from bundled_recipe.workplace import Workplace
from siamese.evaluation.calibration import Calibration
from siamese.evaluation.calibration_fitting import fit_calibration
from siamese.evaluation.intervals import estimates
from siamese.evaluation.metrics import FARS
from siamese.evaluation.operating_point_fitting import fit_operating_points
from siamese.evaluation.operating_points import OperatingPoint, choose_operating_point
from siamese.evaluation.reliability import brier_score, expected_calibration_error, log_loss
from siamese.evaluation.weighted import Statistic

TRAIN, TEST = "pairsDevTrain.txt", "pairsDevTest.txt"
Decisions = tuple[tuple[OperatingPoint, ...], Calibration]


def measure_view1(place: Workplace, reading: Reading) -> Record:
    """The figures of a model."""
    train, test = lfw_pairs(place, TRAIN), lfw_pairs(place, TEST)
    scores = reading.scores(test)
    fitted = choose_operating_point(fit_operating_points(reading.scores(train), train.same, TRAIN))
    curve = estimates(
        *(scores, test.same, test.left_person, test.right_person),
        ["auc", "eer", *(Statistic("tar_at_far", far) for far in FARS)],
    )
    points, calibration = decisions_of(place, reading)
    return {
        "pairs": len(scores),
        "genuine": int(test.same.sum()),
        **{name: described(each) for name, each in curve.items()},
        "devtrain_threshold": _at(fitted, scores, test),
        "own_points": {point.name: _at(point, scores, test) for point in points},
        "calibration": _judged(calibration, scores, test),
    }


def decisions_of(place: Workplace, reading: Reading) -> Decisions:
    """The model's own operating points and calibration; of an untouched encoder those fitted on the same pairs."""
    card = reading.verifier.card
    if card is not None and card.calibration is not None:
        return card.operating_points, card.calibration
    return fit_decisions(place, reading)


def fit_decisions(place: Workplace, reading: Reading) -> Decisions:
    """Operating points and calibration fitted on the validation pairs."""
    val = val_pairs(place)
    scores = reading.scores(val)
    return (
        fit_operating_points(scores, val.same, "validation"),
        fit_calibration(scores, val.same, val.left_person, val.right_person, "validation"),
    )


def _at(point: OperatingPoint, scores: Floats, pairs: Pairs) -> Record:
    wanted: Sequence[str] = ("accuracy", "far", "tar")
    found = estimates(
        *(scores, pairs.same, pairs.left_person, pairs.right_person), wanted, accepted=scores >= point.threshold
    )
    return {
        "threshold": point.threshold,
        "fitted_on": point.split,
        **{name: described(found[name]) for name in wanted},
    }


def _judged(calibration: Calibration, scores: Floats, pairs: Pairs) -> Record:
    """Of 15 bins of equal width, as the toolkit reports it at the prior of the fit, and of equal mass."""
    found, prior = calibration.probability(scores), calibration.prior
    return {
        "method": calibration.method,
        "fitted_on": calibration.split,
        "prior": prior,
        "ece": expected_calibration_error(found, pairs.same, bins=15),
        "ece_at_prior": expected_calibration_error(found, pairs.same, bins=15, prior=prior),
        "ece_equal_mass": expected_calibration_error(found, pairs.same, bins=15, binning="mass", prior=prior),
        "brier": brier_score(found, pairs.same, prior=prior).score,
        "log_loss": log_loss(found, pairs.same, prior=prior),
    }
