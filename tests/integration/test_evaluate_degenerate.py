"""Pairs that hardly allow a measurement, through `siamese evaluate`: one clear line, or values that are defined."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from siamese.demo.folder import write_identities
from siamese.model.folder import load_model, save_model
from siamese.model.network import SiameseNetwork

from .conftest import ENCODER, Outcome, Siamese

UNTOUCHED = (ENCODER, "--input-size", 32)
PEOPLE = 6
FARS = ("0.1", "0.01", "0.001", "0.0001", "1e-05", "1e-06")
Row = tuple[object, ...]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("few") / "faces"
    write_identities(folder, identities=PEOPLE, images=4, seed=1, size=48)
    return folder


def image(person: int, number: int) -> str:
    return f"person_{person % PEOPLE + 1:03d}/{number:03d}.jpg"


GENUINE: list[Row] = [(image(person, 1), image(person, 2), 1) for person in range(PEOPLE)]
IMPOSTOR: list[Row] = [(image(person, 1), image(person + 1, 2), 0) for person in range(PEOPLE)]
# Of each person's fourth image, which `unreadable_fourth_images` spoils.
SPOILT: list[Row] = [(image(person, 1), image(person, 4), 1) for person in range(PEOPLE)]


def write(path: Path, rows: Iterable[Row], folds: Iterable[int] | None = None) -> Path:
    table = pd.DataFrame(list(rows), columns=["left", "right", "same"])
    if folds is not None:
        table["fold"] = list(folds)
    table.to_csv(path, index=False)
    return path


@pytest.fixture
def unreadable_fourth_images(few: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "spoilt"
    shutil.copytree(few, folder)
    for person in range(PEOPLE):
        (folder / image(person, 4)).write_text("I am not an image.")
    return folder


@pytest.fixture
def one_face(few: Path, tmp_path: Path) -> Path:
    """Every file holds the same image, so that every similarity is the same."""
    folder = tmp_path / "one face"
    for person in range(PEOPLE):
        for number in (1, 2):
            (folder / image(person, number)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(few / image(0, 1), folder / image(person, number))
    return folder


def refused(outcome: Outcome, words: str) -> None:
    """The last line of stderr says it; what failed before it may have been said above."""
    assert outcome.code == 2, outcome.err
    assert outcome.out == ""
    assert "Traceback" not in outcome.err
    last = outcome.err.splitlines()[-1]
    assert last.startswith("siamese: ")
    assert words in last


@pytest.mark.parametrize(
    ("rows", "found"),
    [(GENUINE, "6 genuine and 0 impostor pairs"), (IMPOSTOR, "0 genuine and 6 impostor pairs")],
)
@pytest.mark.parametrize("trained", [False, True])
def test_pairs_of_one_kind_are_refused(
    siamese: Siamese, model: Path, few: Path, tmp_path: Path, rows: list[Row], found: str, trained: bool
) -> None:
    pairs = write(tmp_path / "pairs.csv", rows)
    outcome = siamese("evaluate", *((model,) if trained else UNTOUCHED), "--pairs", pairs, "--root", few)
    refused(outcome, f"{found}: verification is measured on both kinds; add the missing one")


def test_validation_pairs_of_one_kind_are_refused(siamese: Siamese, few: Path, tmp_path: Path) -> None:
    pairs, val = write(tmp_path / "pairs.csv", GENUINE + IMPOSTOR), write(tmp_path / "val.csv", GENUINE)
    outcome = siamese("evaluate", *UNTOUCHED, "--pairs", pairs, "--val-pairs", val, "--root", few)
    refused(outcome, "6 genuine and 0 impostor pairs: verification is measured on both kinds; add the missing one")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("pairs.csv", "", "pairs.csv: is empty; expected CSV or TSV with a header"),
        ("pairs.csv", "left,right,same\n", "pairs.csv: has columns but no rows below its header"),
        ("pairs.txt", "", "pairs.txt: is empty; expected CSV or TSV with a header"),
        ("pairs.txt", "10\t0\n", "pairs.txt: its first line announces no pairs"),
        ("pairs.txt", "10\t300\n", "pairs.txt: 0 rows, but its first line announces 6000 (10 folds of 300 + 300)"),
    ],
)
def test_a_pair_file_without_pairs_is_refused(
    siamese: Siamese, few: Path, tmp_path: Path, name: str, content: str, words: str
) -> None:
    (tmp_path / name).write_text(content)
    for protocol in ((), ("--protocol", "lfw")):
        refused(siamese("evaluate", *UNTOUCHED, "--pairs", tmp_path / name, "--root", few, *protocol), words)


def test_two_pairs_do_not_allow_cross_fitting(siamese: Siamese, few: Path, tmp_path: Path) -> None:
    pairs = write(tmp_path / "pairs.csv", [GENUINE[0], IMPOSTOR[0]])
    refused(
        siamese("evaluate", *UNTOUCHED, "--pairs", pairs, "--root", few),
        "1 genuine and 1 impostor pairs: a threshold fitted on one half and used on the other needs two of each; "
        "add pairs",
    )


def test_two_pairs_have_every_figure_at_a_model_s_operating_point_and_no_interval(
    siamese: Siamese, model: Path, few: Path, tmp_path: Path
) -> None:
    pairs = write(tmp_path / "pairs.csv", [GENUINE[0], IMPOSTOR[0]])
    options = ("evaluate", model, "--pairs", pairs, "--root", few, "-o", tmp_path / "out")
    outcome = siamese(*options, "--json")
    assert outcome.code == 0, outcome.err
    result, scores = outcome.json, pd.read_csv(tmp_path / "out" / "scores.csv")
    genuine, impostor = scores["similarity"]
    right = float(genuine > impostor)
    accepted = scores["accepted"].tolist()
    assert (result["genuine"], result["impostor"], result["accuracy_std"]) == (1, 1, None)
    assert (result["auc"], result["eer"]) == (right, 1 - right)
    assert (result["recall"], result["far"]) == (accepted[0], accepted[1])
    assert result["accuracy"] == (accepted[0] + 1 - accepted[1]) / 2
    assert result["best_f1"]["f1"] == pytest.approx(1 if right else 2 / 3, abs=1e-12)
    assert result["tar_at_far"] == result["frr_at_far"] == dict.fromkeys(FARS)
    assert set(result["intervals"].values()) == {None}
    assert (tmp_path / "out" / "report.html").is_file()
    text = siamese(*options, "--no-report").out
    assert "insufficient data" in text
    assert "nan" not in text.replace(str(tmp_path), "") and "None" not in text


@pytest.mark.parametrize("folds", [None, [0, 0, 0, 1, 1, 1] * 2])
@pytest.mark.parametrize("trained", [False, True])
def test_constant_scores_tell_nothing_and_say_so(
    siamese: Siamese, model: Path, one_face: Path, tmp_path: Path, folds: list[int] | None, trained: bool
) -> None:
    pairs = write(tmp_path / "pairs.csv", GENUINE + IMPOSTOR, folds)
    verifier = (model,) if trained else UNTOUCHED
    outcome = siamese("evaluate", *verifier, "--pairs", pairs, "--root", one_face, "-o", tmp_path / "out", "--json")
    assert outcome.code == 0, outcome.err
    result, scores = outcome.json, pd.read_csv(tmp_path / "out" / "scores.csv")
    assert (scores["similarity"] == scores["similarity"][0]).all()
    assert scores["similarity"][0] == pytest.approx(1, abs=1e-6)
    expected = {"accuracy": 0.5, "auc": 0.5, "eer": 0.5, "mcc": 0.0, "average_precision": 0.5}
    assert {name: result[name] for name in expected} == expected
    # All or nothing is accepted, and neither is better.
    (accepted,) = scores["accepted"].unique()
    assert (result["recall"], result["far"]) == (accepted, accepted)
    assert (result["precision"], result["f1"]) == ((0.5, 2 / 3) if accepted else (0.0, 0.0))
    assert result["best_f1"]["f1"] == 2 / 3
    assert result["min_detection_cost"] == 1
    assert result["tar_at_far"] == result["frr_at_far"] == dict.fromkeys(FARS)
    assert set(result["intervals"].values()) == {None}
    if trained:
        assert result["calibration"]["brier"] >= 0.25, "no probability is better than one half for all"
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_calibration_fitted_on_constant_scores_says_one_half(
    siamese: Siamese, one_face: Path, tmp_path: Path
) -> None:
    pairs = write(tmp_path / "pairs.csv", GENUINE + IMPOSTOR)
    val = write(tmp_path / "val.csv", (GENUINE + IMPOSTOR)[::2])
    options = ("--pairs", pairs, "--val-pairs", val, "--root", one_face, "-o", tmp_path / "out", "--json")
    outcome = siamese("evaluate", *UNTOUCHED, *options)
    assert outcome.code == 0, outcome.err
    assert outcome.json["fitted_here"] == 6
    assert outcome.json["calibration"]["brier"] == pytest.approx(0.25, abs=1e-9)
    probability = pd.read_csv(tmp_path / "out" / "scores.csv")["probability"]
    assert probability.to_numpy() == pytest.approx(0.5, abs=1e-6)


def test_pairs_of_one_kind_that_all_failed_leave_nothing_to_measure(
    siamese: Siamese, unreadable_fourth_images: Path, tmp_path: Path
) -> None:
    pairs = write(tmp_path / "pairs.csv", SPOILT + IMPOSTOR)
    outcome = siamese("evaluate", *UNTOUCHED, "--pairs", pairs, "--root", unreadable_fourth_images)
    assert "images could not be embedded, so 6 of 12 pairs have no score; first: person_001/004.jpg" in outcome.err
    refused(outcome, f"{pairs}: 0 genuine and 6 impostor pairs: verification is measured on both kinds")


def test_pairs_that_all_failed_are_refused_with_the_first_reason(
    siamese: Siamese, unreadable_fourth_images: Path, tmp_path: Path
) -> None:
    pairs = write(tmp_path / "pairs.csv", SPOILT)
    outcome = siamese("evaluate", *UNTOUCHED, "--pairs", pairs, "--root", unreadable_fourth_images)
    first = unreadable_fourth_images / image(0, 4)
    refused(outcome, f"{pairs}: none of 6 pairs could be scored; first: {first}: not an image in a known format")


def test_a_fold_whose_pairs_all_failed_does_not_count(
    siamese: Siamese, unreadable_fourth_images: Path, tmp_path: Path
) -> None:
    rows = GENUINE[:4] + IMPOSTOR[:4] + SPOILT[4:]
    pairs = write(tmp_path / "pairs.csv", rows, [0, 0, 1, 1] * 2 + [2, 2])
    options = ("--pairs", pairs, "--root", unreadable_fourth_images, "-o", tmp_path / "out", "--no-report", "--json")
    outcome = siamese("evaluate", *UNTOUCHED, *options)
    assert outcome.code == 0, outcome.err
    assert (outcome.json["pairs"], outcome.json["failed"], outcome.json["genuine"]) == (10, 2, 4)
    assert outcome.json["threshold_from"] == "the other fold"
    scores = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert scores["status"].tolist() == ["scored"] * 8 + ["failed"] * 2
    assert scores.loc[8:, ["similarity", "accepted"]].isna().all(axis=None)


@pytest.mark.parametrize("protocol", [(), ("--protocol", "lfw")])
def test_one_fold_has_no_others_to_fit_on(
    siamese: Siamese, few: Path, tmp_path: Path, protocol: tuple[str, ...]
) -> None:
    pairs = write(tmp_path / "pairs.csv", GENUINE + IMPOSTOR, [7] * 12)
    outcome = siamese("evaluate", *UNTOUCHED, "--pairs", pairs, "--root", few, *protocol)
    refused(outcome, f"{pairs}: 1 fold: cross-validation needs at least two; leave the column out, or add folds")


def test_a_fold_of_one_kind_is_measured_if_the_others_hold_both(siamese: Siamese, few: Path, tmp_path: Path) -> None:
    folds = [0, 0, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2]
    pairs = write(tmp_path / "pairs.csv", GENUINE + IMPOSTOR, folds)
    options = ("--pairs", pairs, "--root", few, "-o", tmp_path / "out", "--no-report", "--json")
    outcome = siamese("evaluate", *UNTOUCHED, *options)
    assert outcome.code == 0, outcome.err
    scores = pd.read_csv(tmp_path / "out" / "scores.csv")
    right = (scores["accepted"] == scores["same"]).groupby(scores["fold"]).mean()
    assert outcome.json["accuracy"] == pytest.approx(right.mean(), abs=1e-12)
    assert outcome.json["accuracy_std"] == pytest.approx(right.std(), abs=1e-12)


def test_folds_that_leave_one_kind_to_fit_on_are_refused(siamese: Siamese, few: Path, tmp_path: Path) -> None:
    pairs = write(tmp_path / "pairs.csv", GENUINE + IMPOSTOR, [0] * 6 + [1] * 6)
    outcome = siamese("evaluate", *UNTOUCHED, "--pairs", pairs, "--root", few)
    only = "the other folds hold impostor pairs only, and its threshold needs both; deal both kinds to every fold"
    refused(outcome, f"{pairs}: fold 0: {only}")


def test_an_image_paired_with_itself_is_a_perfect_genuine_pair(
    siamese: Siamese, model: Path, few: Path, tmp_path: Path
) -> None:
    same: Row = (image(0, 1), image(0, 1), 1)
    pairs = write(tmp_path / "pairs.csv", [same, *IMPOSTOR])
    options = ("--pairs", pairs, "--root", few, "-o", tmp_path / "out", "--no-report", "--json")
    outcome = siamese("evaluate", model, *options)
    assert outcome.code == 0, outcome.err
    assert (outcome.json["auc"], outcome.json["eer"]) == (1, 0)
    scores = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert scores["similarity"][0] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_weights_that_give_no_numbers_are_named(
    siamese: Siamese, model: Path, few: Path, tmp_path: Path, value: float, command: str
) -> None:
    network, card = load_model(model)
    with torch.no_grad():
        list(network.encoder.parameters())[-1].fill_(value)
    broken = tmp_path / "broken"
    save_model(broken, network, card)
    arguments = {
        "evaluate": (broken, "--pairs", write(tmp_path / "pairs.csv", GENUINE + IMPOSTOR), "--root", few),
        "compare": (few / image(0, 1), few / image(0, 2), "--model", broken),
    }
    words = {
        "evaluate": f"{broken}: makes no numbers of any image, its weights are damaged; fetch or train it again",
        "compare": f"{broken}: gives the similarity nan, expected a number; its weights are damaged",
    }
    refused(siamese(command, *arguments[command]), words[command])


def test_an_image_of_which_the_model_makes_no_numbers_fails_alone(
    siamese: Siamese, model: Path, few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = SiameseNetwork.forward

    def without_the_first(self: SiameseNetwork, images: torch.Tensor) -> torch.Tensor:
        embeddings = forward(self, images)
        embeddings[0] = np.nan
        return embeddings

    monkeypatch.setattr(SiameseNetwork, "forward", without_the_first)
    pairs = write(tmp_path / "pairs.csv", GENUINE + IMPOSTOR)  # of twelve images, which are one batch
    options = ("--pairs", pairs, "--root", few, "-o", tmp_path / "out", "--no-report", "--json")
    outcome = siamese("evaluate", model, *options)
    assert outcome.code == 0, outcome.err
    assert "1 of 12 images could not be embedded, so 2 of 12 pairs have no score; first: person_001/0" in outcome.err
    assert "(the model makes no numbers of it)" in outcome.err
    scores = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert scores.loc[scores["status"] == "failed", "left"].tolist() == [image(0, 1)] * 2
    assert (outcome.json["failed"], outcome.json["genuine"], outcome.json["impostor"]) == (2, 5, 5)


def test_images_that_all_failed_when_they_were_aligned_leave_nothing_to_measure(
    siamese: Siamese, model: Path, tmp_path: Path
) -> None:
    crops = tmp_path / "crops"
    crops.mkdir()
    names = sorted({name for row in GENUINE + IMPOSTOR for name in map(str, row[:2])})
    lines = [f"{name},no_face,no face found" for name in names]
    (crops / "align.csv").write_text("\n".join(["path,status,detail", *lines]) + "\n")
    pairs = write(tmp_path / "pairs.csv", GENUINE + IMPOSTOR)
    outcome = siamese("evaluate", model, "--pairs", pairs, "--root", crops)
    refused(outcome, f"{pairs}: none of 12 pairs could be scored; first: no face found")
