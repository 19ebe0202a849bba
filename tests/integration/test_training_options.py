"""What `siamese train` offers beside the main job: heads, classifiers, checks, configuration files, trackers."""

import csv
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from siamese.model.card import read_card

from .conftest import ENCODER, TRAIN, Siamese

FEW = ["--encoder", ENCODER, "--input-size", "32", "--epochs", "1", "--quiet"]


def test_a_configuration_that_a_run_saved_trains_the_same_model_again(
    siamese: Siamese, faces: Path, tmp_path: Path
) -> None:
    options = [
        "--loss",
        "sup_con",
        "--batches",
        "identities",
        "--ema",
        "0.9",
        "--clip",
        "1",
        "--track",
        "tensorboard",
    ]
    first = siamese("train", faces, *FEW, *options, "-o", tmp_path / "a")
    assert first.code == 0, first.err
    assert list((tmp_path / "a/run/tensorboard").rglob("events.*"))
    again = siamese("train", "--config", tmp_path / "a/run/config.yaml", "-o", tmp_path / "b")
    assert again.code == 0, again.err
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


def test_without_data_on_the_command_line_or_in_a_file_the_mistake_is_named(siamese: Siamese) -> None:
    outcome = siamese("train", "--epochs", 1)
    assert outcome.code == 2
    assert "--data" in outcome.err


def test_a_pair_head_decides_in_training_evaluation_and_comparison(
    siamese: Siamese, faces: Path, pairs: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    options = ["--pair-head", "chi-square+product", "--pair-hidden", 8, "--freeze", "none", "--head", "linear"]
    trained = siamese("train", faces, *TRAIN, *options, "-o", folder, "--json")
    assert trained.code == 0, trained.err
    if trained.json["best"]["epoch"]:
        assert read_card(folder).pair_head is not None
    evaluated = siamese("evaluate", folder, "--pairs", pairs / "test.csv", "--root", faces, "--json")
    assert evaluated.code == 0, evaluated.err
    first, second = sorted(faces.rglob("*.jpg"))[:2] or sorted(faces.rglob("*.png"))[:2]
    compared = siamese("compare", first, second, "--model", folder, "--json").json
    assert -1 <= compared["similarity"] <= 1
    assert compared["same"] == (compared["similarity"] >= compared["threshold"])


def test_a_pair_head_needs_the_loss_that_trains_it(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    outcome = siamese("train", faces, *FEW, "--pair-head", "difference", "--loss", "triplet", "-o", tmp_path / "m")
    assert outcome.code == 2
    assert "pairwise" in outcome.err


@pytest.mark.parametrize(
    "loss", ["cross_entropy", "cross_entropy:1.0+arcface:1.5", "subcenter_arcface", "proxy_anchor"]
)
def test_a_classifier_is_judged_on_held_out_images_saved_and_used(
    siamese: Siamese, faces: Path, tmp_path: Path, loss: str
) -> None:
    folder = tmp_path / "model"
    trained = siamese(
        *(
            "train",
            faces,
            *FEW,
            "--epochs",
            2,
            "--lr",
            0.003,
            "--loss",
            loss,
            "--val-images",
            2,
            "-o",
            folder,
            "--json",
        )
    )
    assert trained.code == 0, trained.err
    figures = trained.json["best"]
    assert 0 <= figures["top1"] <= figures["top5"] <= 1
    assert figures["top1"] >= trained.json["baseline"]["top1"], "the untouched encoder's class means compete"
    card = read_card(folder)
    assert card.identities is not None
    assert len(card.identities) == 24
    held_out = pd.read_csv(folder / "run/held_out.csv")
    assert (held_out["identity"].value_counts() == 2).all()
    named = siamese("classify", faces, "--model", folder, "--json")
    assert named.code == 0, named.err
    assert named.json["images"] == 144


def test_top1_cannot_select_without_held_out_images(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    outcome = siamese("train", faces, *FEW, "--loss", "arcface", "--select", "top1", "-o", tmp_path / "m")
    assert outcome.code == 2
    assert outcome.err.strip().endswith("needs --val-images and a loss with a classifier, such as arcface")


def test_the_overfit_check_passes_where_training_learns_and_fails_loudly_where_it_cannot(
    siamese: Siamese, faces: Path, tmp_path: Path
) -> None:
    learns = siamese("train", faces, *FEW, "--overfit", 24, "--lr", 0.003, "-o", tmp_path / "m", "--json")
    assert learns.code == 0, learns.err
    assert learns.json["passed"]
    assert learns.json["end"] < learns.json["start"] / 2
    stuck = siamese("train", faces, *FEW, "--overfit", 24, "--lr", 1e-9, "-o", tmp_path / "m")
    assert stuck.code == 2
    assert "--overfit 24: failed" in stuck.err
    assert not (tmp_path / "m").exists(), "a check writes no model"


def test_the_search_for_a_learning_rate_writes_its_curve_and_trains_nothing(
    siamese: Siamese, faces: Path, tmp_path: Path
) -> None:
    outcome = siamese("train", faces, *FEW, "--find-lr", "--loss", "triplet", "-o", tmp_path / "m", "--json")
    assert outcome.code == 0, outcome.err
    found = outcome.json
    with Image.open(found["plot"]) as plot:
        assert min(plot.size) > 300
    with Path(found["csv"]).open(encoding="utf-8") as file:
        assert len(list(csv.reader(file))) > 20
    assert not (tmp_path / "m" / "model.json").exists()
    both = siamese("train", faces, *FEW, "--find-lr", "--overfit", 5, "-o", tmp_path / "m")
    assert both.code == 2
    forced = siamese("train", faces, *FEW, "--find-lr", "--force", "-o", tmp_path / "m")
    assert forced.code == 2
    assert "a check starts none" in forced.err


def test_a_rate_out_of_all_bounds_is_noticed_and_named_with_files(
    siamese: Siamese, faces: Path, tmp_path: Path
) -> None:
    options = [*FEW[:-1], "--epochs", 30, "--loss", "triplet+mining=hard", "--lr", 1000, "--on-collapse", "stop"]
    outcome = siamese("train", faces, *options, "-o", tmp_path / "m", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["events"]["collapse"] == 1
    steps = pd.read_csv(tmp_path / "m/run/steps.csv")
    assert len(steps) <= 50
    line = next(line for line in outcome.err.splitlines() if "collapse:" in line)
    assert "person_" in line


@pytest.mark.parametrize(("answer", "ends"), [("skip", False), ("stop", True)])
def test_numbers_that_are_not_finite_never_reach_the_weights(
    siamese: Siamese, faces: Path, tmp_path: Path, answer: str, ends: bool
) -> None:
    options = [*FEW[:-1], "--lr", "1e30", "--on-nonfinite", answer, "--on-collapse", "warn"]
    outcome = siamese("train", faces, *options, "-o", tmp_path / "m", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["events"]["nonfinite"] >= 1
    assert "is not finite" in outcome.err
    norms = pd.read_csv(tmp_path / "m/run/steps.csv")["grad_norm"]
    assert norms.isna().any(), "a batch that was left out has no norm"
    assert (norms.dropna() > 0).all()
    assert outcome.json["best"]["epoch"] == 0


def test_frozen_features_are_cached_by_themselves_and_it_is_said(
    siamese: Siamese, faces: Path, tmp_path: Path
) -> None:
    outcome = siamese("train", faces, *FEW[:-1], "--freeze", "all", "-o", tmp_path / "m", "--json")
    assert outcome.json["cached_features"]
    assert "computed once" in outcome.err
    live = siamese("train", faces, *FEW, "--features", "cached", "-o", tmp_path / "n")
    assert live.code == 2
    assert "--freeze all" in live.err
