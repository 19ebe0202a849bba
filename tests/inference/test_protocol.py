"""Protocols over pairs: which pairs count, and where thresholds come from."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score
from sklearn.model_selection import KFold

from siamese.errors import DataError, OptionError, PairFileError
from siamese.evaluation.operating_point_fitting import fit_operating_points
from siamese.evaluation.operating_points import OperatingPoint
from siamese.evaluation.thresholds import best_accuracy_threshold
from siamese.inference.protocol import Protocol, said_of

HERE = Path("pairs.csv")


def pairs(number: int = 203, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    random = np.random.default_rng(seed)
    same = random.random(number) < 0.5
    frame = pd.DataFrame({"left": "a", "right": "b", "same": same})
    return frame, np.round(random.normal(same * 0.8, 0.5), 2)


def points() -> tuple[OperatingPoint, ...]:
    frame, scores = pairs(2000, seed=5)
    return fit_operating_points(scores, frame["same"], "validation")


def test_files_without_folds_are_cut_into_ten_blocks_as_the_field_cuts_them() -> None:
    frame, scores = pairs()
    found = Protocol("folds").measure(Protocol("folds").select(frame, HERE), scores, ())
    same = frame["same"].to_numpy()
    accuracies = []
    for rest, block in KFold(10).split(scores):
        threshold = best_accuracy_threshold(scores[rest], same[rest])
        accuracies.append(accuracy_score(same[block], scores[block] >= threshold))
    assert found.accuracy == pytest.approx(np.mean(accuracies), abs=1e-12)
    assert found.accuracy_std == pytest.approx(np.std(accuracies, ddof=1), abs=1e-12)
    assert found.threshold_from == "the other 9 folds"


def test_folds_of_the_file_are_taken_as_they_are() -> None:
    frame, scores = pairs()
    frame["fold"] = np.arange(len(frame)) % 3
    assert Protocol("folds").select(frame, HERE)["fold"].tolist() == frame["fold"].tolist()
    assert Protocol("folds").measure(frame, scores, ()).threshold_from == "the other 2 folds"


def test_too_few_pairs_make_no_ten_blocks() -> None:
    with pytest.raises(PairFileError, match=r"^pairs.csv: 9 pairs; --protocol folds cuts them into 10 folds$"):
        Protocol("folds").select(pairs(9)[0], HERE)


def test_a_part_of_cfp_is_picked_with_its_folds() -> None:
    frame, scores = pairs()
    frame["group"] = np.where(np.arange(len(frame)) % 2, "FF", "FP")
    frame["fold"] = np.arange(len(frame)) // 2 % 10
    for name, group in (("cfp-ff", "FF"), ("cfp-fp", "FP")):
        selected = Protocol(name).select(frame, HERE)
        assert set(selected["group"]) == {group}
        rows = frame["group"] == group
        found = Protocol(name).measure(selected, scores[rows], ())
        assert found.genuine + found.impostor == rows.sum()
        assert found.accuracy_std is not None


def test_cfp_reads_nothing_but_its_own_folder() -> None:
    with pytest.raises(PairFileError, match=r"^pairs.csv: --protocol cfp-fp reads CFP's folder Protocol, or its Spl"):
        Protocol("cfp-fp").select(pairs()[0], HERE)
    frame = pairs()[0].assign(group="FF", fold=0)
    with pytest.raises(
        PairFileError, match=r"^pairs.csv: no pairs of FP; name the folder Protocol, or its Split/FP$"
    ):
        Protocol("cfp-fp").select(frame, HERE)


def test_lfw_without_folds_is_view_1_and_needs_pairs_to_fit_on() -> None:
    frame, scores = pairs()
    with pytest.raises(
        PairFileError, match=r"no folds; --protocol lfw reads the official pairs.txt of View 2, or pai"
    ):
        Protocol("lfw").select(frame, HERE)
    held_out = Protocol("lfw", val_pairs=Path("pairsDevTrain.txt"))
    assert held_out.select(frame, HERE) is frame
    other, other_scores = pairs(seed=1)
    fitted = (other_scores, other["same"].to_numpy())
    found = held_out.measure(frame, scores, held_out.fit(*fitted))
    assert found.threshold == fit_operating_points(*fitted, "val")[0].threshold
    assert found.threshold_from == "pairsDevTrain.txt (accuracy)"


def test_a_hold_out_leaves_folds_aside() -> None:
    frame, scores = pairs()
    frame["fold"] = np.arange(len(frame)) % 10
    other, other_scores = pairs(seed=1)
    fitted = (other_scores, other["same"].to_numpy())
    for name in ("hold-out", None):
        asked = Protocol(name, val_pairs=Path("val.csv"), at="eer")
        found = asked.measure(frame, scores, asked.fit(*fitted))
        assert found.accuracy_std is None
        assert found.threshold_from == "val.csv (eer)"
    folds = Protocol("folds", val_pairs=Path("val.csv")).measure(frame, scores, asked.fit(*fitted))
    assert folds.threshold_from == "the other 9 folds"
    with pytest.raises(
        OptionError, match=r"^--protocol hold-out: the threshold is fitted on --val-pairs; give them$"
    ):
        Protocol("hold-out")


@pytest.mark.parametrize("at", ["accuracy", "f1", "eer"])
def test_operating_points_are_chosen_by_name(at: str) -> None:
    frame, scores = pairs()
    chosen = next(point for point in points() if point.name == at)
    found = Protocol(at=at).measure(frame, scores, points())
    assert found.threshold == chosen.threshold
    assert found.threshold_from == f"validation ({at})"


def test_a_far_is_fitted_on_the_pairs_of_a_hold_out() -> None:
    frame, scores = pairs()
    other, other_scores = pairs(2000, seed=1)
    same = other["same"].to_numpy()
    asked = Protocol(val_pairs=Path("val.csv"), far=0.01)
    found = asked.measure(frame, scores, asked.fit(other_scores, same))
    assert np.mean(other_scores[~same] >= found.threshold) <= 0.01
    assert found.threshold_from == "val.csv (far=0.01)"


def test_a_threshold_by_hand_goes_before_everything() -> None:
    frame, scores = pairs()
    frame["fold"] = np.arange(len(frame)) % 10
    asked = Protocol(threshold=0.4)
    assert asked.select(frame, HERE) is frame
    found = asked.measure(frame, scores, points())
    assert found.threshold == 0.4
    assert found.accuracy == accuracy_score(frame["same"], scores >= 0.4)
    assert found.threshold_from == "nothing: given by hand"


def test_without_anything_one_half_gives_the_threshold_of_the_other() -> None:
    assert Protocol().measure(*pairs(), ()).threshold_from == "the other fold"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"far": 0.1, "at": "f1"}, "--far and --at: give one of them"),
        ({"far": 0.1, "threshold": 0.1}, "--far and --threshold: give one of them"),
        ({"at": "eer", "threshold": 0.1}, "--at and --threshold: give one of them"),
        ({"name": "lwf"}, "unknown protocol 'lwf': did you mean 'lfw'?"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        Protocol(**options)  # type: ignore[arg-type]
    assert message in str(caught.value)


@pytest.mark.parametrize("option", ["far", "at"])
def test_folds_leave_nothing_to_choose(option: str) -> None:
    frame = pairs()[0].assign(fold=0)
    with pytest.raises(
        OptionError, match=rf"^--{option}: the thresholds are fitted on the other folds here; leave it"
    ):
        Protocol(**{option: {"far": 0.1, "at": "eer"}[option]}).select(frame, HERE)  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["far", "at"])
def test_an_untouched_encoder_has_no_operating_points(option: str) -> None:
    asked = Protocol(**{option: {"far": 0.1, "at": "eer"}[option]})  # type: ignore[arg-type]
    with pytest.raises(
        OptionError, match=rf"^--{option}: nothing here has operating points; fit some with --val-pairs"
    ):
        asked.measure(*pairs(), ())


def test_pairs_found_wanting_are_named_by_their_file() -> None:
    frame, scores = pairs()
    with pytest.raises(DataError, match=r"^val.csv: 3 genuine and 0 impostor pairs: verification"):
        Protocol(val_pairs=Path("val.csv")).fit(scores[:3], np.array([True] * 3))
    with pytest.raises(DataError, match=r"^a.csv: 3 genuine and 0 impostor pairs"), said_of(Path("a.csv")):
        Protocol(threshold=0.5).measure(frame[frame["same"]].head(3), scores[:3])
    with pytest.raises(PairFileError, match=r"^b.csv: broken$"), said_of(Path("a.csv")):
        raise PairFileError("b.csv: broken")
