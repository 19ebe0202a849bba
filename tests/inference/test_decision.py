"""Rules of decision, on a model of known thresholds and a logistic calibration."""

import logging
import re

import numpy as np
import pytest

from siamese.errors import ModelError, OptionError
from siamese.evaluation.calibration import Calibration, Candidate
from siamese.evaluation.calibrators import PlattCalibrator
from siamese.evaluation.operating_point_fitting import fit_operating_points
from siamese.inference.decision import check_finite, make_rule, score_rule

POINTS = fit_operating_points([0.0, 0.2, 0.4, 0.6, 0.3, 0.5, 0.7, 0.9], [False] * 4 + [True] * 4, "validation")
CALIBRATION = Calibration(
    calibrator=PlattCalibrator(slope=10.0, intercept=-4.0),
    prior=0.5,
    split="validation",
    genuine=300,
    impostor=3000,
    candidates=(Candidate(method="platt", log_loss=None),),
)
SCORES = np.array([-0.5, 0.39, 0.4, 0.41, 0.9])


def test_a_threshold_by_hand_is_one_also_at_zero() -> None:
    rule = make_rule("m", POINTS, CALIBRATION, threshold=0.0)
    assert (rule.threshold, rule.point, rule.far, rule.fitted) == (0.0, None, None, None)
    assert rule.answers(np.array([-0.1, 0.0, 0.1])).same.tolist() == [False, True, True]
    assert rule.answers(SCORES).answered.all()
    assert rule.decides


@pytest.mark.parametrize("name", ["accuracy", "f1", "eer"])
def test_a_point_of_a_name_gives_its_threshold_split_and_counts(name: str) -> None:
    rule = make_rule("m", POINTS, None, at=name)
    point = next(point for point in POINTS if point.name == name)
    assert (rule.threshold, rule.point, rule.fitted, rule.far) == (point.threshold, point, point, point.far)
    assert rule.probabilities(SCORES) is None
    assert rule.prior is None


def test_best_accuracy_decides_unless_told_otherwise() -> None:
    rule = make_rule("m", POINTS, None)
    assert rule.point is not None
    assert rule.point.name == "accuracy"


def test_abstaining_answers_by_the_probability_at_the_prior() -> None:
    even, rare = (make_rule("m", POINTS, CALIBRATION, abstain=0.4, prior=prior) for prior in (None, 0.01))
    # Log-odds -9, -.1, 0, .1, 5 at even odds: the three in the middle are wrong with more than 40 %.
    assert even.answers(SCORES).answered.tolist() == [True, False, False, False, True]
    assert even.answers(SCORES).same[[0, 4]].tolist() == [False, True]
    assert rare.answers(SCORES).answered.tolist() == [True, True, True, True, False]
    assert not rare.answers(SCORES).same[:4].any()
    assert (even.threshold, even.point, even.far, even.fitted) == (None, None, None, CALIBRATION)
    assert (even.prior, rare.prior) == (0.5, 0.01)
    np.testing.assert_allclose(even.probabilities(SCORES), 1 / (1 + np.exp(4 - 10 * SCORES)))


def test_a_rule_for_scores_alone_gives_no_answers() -> None:
    rule = score_rule("m", CALIBRATION, 0.2)
    assert not rule.decides
    assert not rule.answers(SCORES).answered.any()
    assert rule.probabilities(np.array([0.4]))[0] == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"far": 0.1, "threshold": 0.5}, "--far and --threshold: give one of them"),
        ({"at": "eer", "threshold": 0.5}, "--at and --threshold: give one of them"),
        ({"far": 0.1, "at": "eer"}, "--far and --at: give one of them"),
        ({"threshold": 0.0, "abstain": 0.1}, "--threshold and --abstain: give one of them"),
        ({"far": 0.1, "at": "eer", "abstain": 0.1}, "--far, --at and --abstain: give one of them"),
        ({"threshold": 1.5}, "--threshold 1.5: expected a similarity from -1 to 1"),
        ({"threshold": float("nan")}, "--threshold nan: expected a similarity from -1 to 1"),
        ({"prior": 1.0}, "prior 1: expected the share of genuine pairs, above 0 and below 1"),
        (
            {"abstain": 0.5},
            "--abstain 0.5: expected the probability of a wrong answer that is allowed, above 0 and below 0.5",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        make_rule("m", POINTS, CALIBRATION, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"abstain": 0.1}, "--abstain 0.1: enc has no calibration; train a model folder for it"),
        ({"threshold": 0.1, "prior": 0.1}, "--prior 0.1: enc has no calibration; train a model folder for it"),
        (
            {},
            "enc is an untouched encoder and has no threshold; give --threshold, or train a model folder with "
            "`siamese train`",
        ),
    ],
)
def test_what_an_untouched_encoder_lacks_is_said(options: dict, message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        make_rule("enc", None, None, **options)


def test_an_error_too_rare_for_the_pairs_of_the_calibration_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="siamese"):
        make_rule("m", POINTS, CALIBRATION, abstain=0.01)
        assert caplog.messages == []
        make_rule("m", POINTS, CALIBRATION, abstain=0.0099)
    assert caplog.messages == [
        "--abstain 0.0099: the calibration was fitted on 300 genuine and 3000 impostor pairs, too few to show that "
        "answers are wrong less often than 0.01"
    ]


def test_a_similarity_that_is_no_number_is_a_damaged_model() -> None:
    assert check_finite("m", -0.5) == -0.5
    with pytest.raises(
        ModelError, match=r"^m: gives the similarity nan, expected a number; its weights are damaged$"
    ):
        check_finite("m", float("nan"))
