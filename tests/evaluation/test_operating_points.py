import re

import numpy as np
import pytest
from pydantic import ValidationError

from siamese.errors import DataError, OptionError
from siamese.evaluation import metrics
from siamese.evaluation.operating_point_fitting import fit_operating_points
from siamese.evaluation.operating_points import OperatingPoint, choose_operating_point
from siamese.evaluation.thresholds import best_f1_threshold, smoothed_accuracy_threshold, threshold_at_far


def overlapping(genuine: int, impostor: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = np.concatenate([rng.normal(0.6, 0.2, genuine), rng.normal(0.0, 0.2, impostor)])
    order = rng.permutation(genuine + impostor)
    return scores[order], (np.arange(genuine + impostor) < genuine)[order]


def test_points_are_the_fitted_thresholds_with_the_rates_they_give() -> None:
    scores, same = overlapping(500, 400)
    points = fit_operating_points(scores, same, "validation")
    assert [point.name for point in points] == ["accuracy", "f1", "eer", "far=0.1", "far=0.01"]
    by_name = {point.name: point for point in points}
    assert by_name["accuracy"].threshold == smoothed_accuracy_threshold(scores, same)
    assert by_name["f1"].threshold == best_f1_threshold(scores, same)
    assert by_name["eer"].threshold == metrics.eer_point(scores, same)[1]
    assert by_name["far=0.01"].threshold == threshold_at_far(scores, same, 0.01)
    for point in points:
        assert point.far == np.mean(scores[~same] >= point.threshold)
        assert point.tar == np.mean(scores[same] >= point.threshold)
    for far in (0.1, 0.01):
        assert by_name[f"far={far:g}"].far <= far


def test_points_record_the_split_and_how_many_pairs_it_had() -> None:
    for point in fit_operating_points(*overlapping(70, 40), "people of View 1"):
        assert (point.split, point.genuine, point.impostor) == ("people of View 1", 70, 40)


@pytest.mark.parametrize(
    ("impostor", "supported"), [(29, 0), (30, 1), (299, 1), (300, 2), (3000, 3), (30_000, 4), (300_000, 5)]
)
def test_a_far_below_three_over_the_impostor_pairs_gets_no_point(impostor: int, supported: int) -> None:
    names = [point.name for point in fit_operating_points(*overlapping(50, impostor), "validation")]
    assert names == ["accuracy", "f1", "eer", *[f"far={far:g}" for far in metrics.FARS[:supported]]]


def test_a_far_of_one_in_a_million_is_fitted_on_three_million_impostor_pairs() -> None:
    scores = np.concatenate([np.arange(3_000_000) / 3_000_000, [0.5, 2.0]])
    points = fit_operating_points(scores, np.arange(3_000_002) >= 3_000_000, "validation")
    point = choose_operating_point(points, 1e-6)
    assert (point.name, point.tar, point.impostor) == ("far=1e-06", 0.5, 3_000_000)
    assert point.far == 3 / 3_000_000


def test_thresholds_do_not_depend_on_whether_scores_come_in_float32() -> None:
    scores, same = overlapping(100, 100)
    narrow = scores.astype(np.float32)
    assert fit_operating_points(narrow, same, "x") == fit_operating_points(narrow.astype(np.float64), same, "x")


def test_a_threshold_of_zero_is_a_threshold() -> None:
    points = fit_operating_points([-0.5, 0.5], [False, True], "validation")
    assert [(point.name, point.threshold) for point in points] == [("accuracy", 0.0), ("f1", 0.0), ("eer", 0.5)]
    assert choose_operating_point(points).threshold == 0.0


def test_a_stored_point_survives_json_exactly_and_cannot_be_changed() -> None:
    for point in fit_operating_points(*overlapping(100, 400), "validation"):
        assert OperatingPoint.model_validate_json(point.model_dump_json()) == point
        with pytest.raises(ValidationError, match="frozen"):
            point.threshold = 0.5  # type: ignore[misc]


def test_one_kind_of_pair_cannot_be_fitted() -> None:
    with pytest.raises(DataError, match=r"^2 genuine and 0 impostor pairs: verification is measured on both kinds"):
        fit_operating_points([0.1, 0.2], [True, True], "validation")


def test_the_point_of_best_accuracy_is_chosen_unless_a_far_is_named() -> None:
    points = fit_operating_points(*overlapping(300, 300), "validation")
    assert choose_operating_point(points).name == "accuracy"
    assert choose_operating_point(points, 0.1).name == "far=0.1"
    assert choose_operating_point(points, 1e-2).name == "far=0.01"
    assert choose_operating_point(points[::-1]).name == "accuracy"


def test_a_point_is_chosen_by_its_name() -> None:
    points = fit_operating_points(*overlapping(300, 300), "validation")
    for name in ("accuracy", "f1", "eer"):
        assert choose_operating_point(points, at=name).name == name
        assert choose_operating_point(points[::-1], at=name).name == name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"far": 0.1, "at": "eer"}, "--far and --at: give one of them"),
        ({"far": 0.0, "at": "accuracy"}, "--far and --at: give one of them"),
        ({"at": "err"}, "unknown value of --at 'err': did you mean 'eer'? known: accuracy, eer, f1"),
        ({"at": "far=0.1"}, "unknown value of --at 'far=0.1': known: accuracy, eer, f1"),
        ({"at": ""}, "unknown value of --at '': known: accuracy, eer, f1"),
        (
            {"at": "f1"},
            "--at f1: this model has no operating point of that name (it has accuracy, eer); choose one of those, "
            "or train it again",
        ),
    ],
)
def test_a_name_without_a_point_names_those_there_are(options: dict, message: str) -> None:
    points = fit_operating_points(*overlapping(300, 300), "validation")
    older = tuple(point for point in points if point.name != "f1")
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        choose_operating_point(older, **options)


@pytest.mark.parametrize(
    ("impostor", "far", "message"),
    [
        (
            300,
            1e-3,
            "--far 0.001: this model has no operating point for it (300 impostor validation pairs support 0.1, 0.01);"
            " choose one of those, or train with more validation pairs",
        ),
        (
            10,
            0.1,
            "--far 0.1: this model has no operating point for it (10 impostor validation pairs support none);"
            " choose one of those, or train with more validation pairs",
        ),
        (
            40,
            0.0,
            "--far 0: this model has no operating point for it (40 impostor validation pairs support 0.1);"
            " choose one of those, or train with more validation pairs",
        ),
    ],
)
def test_a_far_without_a_point_names_those_there_are(impostor: int, far: float, message: str) -> None:
    points = fit_operating_points(*overlapping(50, impostor), "validation")
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        choose_operating_point(points, far)


def test_a_model_without_points_says_so() -> None:
    message = (
        "this model was not fitted on labelled pairs and has no operating point; give --threshold, or train with "
        "--val-pairs"
    )
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        choose_operating_point(())
    with pytest.raises(OptionError, match=r"^--far 0\.1: .* \(0 impostor validation pairs support none\)"):
        choose_operating_point((), 0.1)
    with pytest.raises(
        OptionError, match=r"^--at eer: this model has no operating point of that name \(it has none\)"
    ):
        choose_operating_point((), at="eer")
