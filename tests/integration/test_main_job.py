"""The commands on their good paths, and the JSON keys that scripts rely on."""

import json
import logging
import math
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import brier_score_loss

from siamese.config_file import read_config_file
from siamese.demo.start import FROM_NOTHING
from siamese.encoders import bundled
from siamese.inference.verifier import Verifier
from siamese.model.card import read_card

from .conftest import ENCODER, TRAIN, Siamese


def test_make_pairs_counts_what_it_wrote_and_repeats_itself_byte_for_byte(
    siamese: Siamese, faces: Path, tmp_path: Path
) -> None:
    arguments = ("make-pairs", faces, "--split", "0.8,0.1,0.1", "--seed", "7", "--json", "-o")
    first, again = siamese(*arguments, tmp_path / "a"), siamese(*arguments, tmp_path / "b")
    assert first.code == 0
    assert set(first.json["files"]) == {"train.csv", "val.csv", "test.csv"}
    seen: set[str] = set()
    for name, counts in first.json["files"].items():
        frame = pd.read_csv(tmp_path / "a" / name)
        assert counts["pairs"] == len(frame) == counts["genuine"] + counts["impostor"]
        identities = set(frame["left_identity"]) | set(frame["right_identity"])
        assert counts["identities"] == len(identities)
        assert not identities & seen
        seen |= identities
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert again.json["files"] == first.json["files"]


def test_make_pairs_writes_triplets_folds_and_the_lfw_form(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    triplets = siamese("make-pairs", faces, "--kind", "triplets", "--num-pairs", 50, "--json", "-o", tmp_path)
    assert triplets.json["files"] == {"triplets.csv": {"triplets": 50, "identities": 24}}
    assert siamese("make-pairs", faces, "--folds", 3, "--num-pairs", 60, "-o", tmp_path).code == 0
    assert pd.read_csv(tmp_path / "pairs.csv")["fold"].value_counts().to_dict() == {0: 20, 1: 20, 2: 20}


def test_make_pairs_reads_a_manifest_whose_images_need_not_exist(siamese: Siamese, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path,identity\n" + "".join(f"{i}/{j}.jpg,{i}\n" for i in range(4) for j in range(3)))
    outcome = siamese("make-pairs", manifest, "--num-pairs", 10, "--json", "-o", tmp_path / "pairs")
    assert outcome.json["files"]["pairs.csv"] == {"pairs": 10, "genuine": 5, "impostor": 5, "identities": 4}


def test_train_reports_baseline_and_best_and_keeps_its_pairs(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    outcome = siamese("train", faces, *TRAIN, "-o", tmp_path / "model", "--json")
    assert outcome.code == 0
    result = outcome.json
    assert {"model_folder", "baseline", "best", "seconds", "images_per_second"} <= set(result)
    assert set(result["baseline"]) == {"auc", "accuracy", "eer"}
    assert set(result["best"]) == {"auc", "accuracy", "eer", "epoch"}
    assert result["best"]["auc"] >= result["baseline"]["auc"]
    history = pd.read_csv(tmp_path / "model" / "run" / "history.csv")
    assert list(history["epoch"]) == [0, 1, 2]
    assert history["auc"].max() == pytest.approx(result["best"]["auc"])
    train, val = (pd.read_csv(tmp_path / "model" / "run" / name) for name in ("train.csv", "val.csv"))
    people = [set(frame["left_identity"]) | set(frame["right_identity"]) for frame in (train, val)]
    assert len(people[1]) >= 2
    assert not people[0] & people[1]
    kept = sorted(path.name for path in (tmp_path / "model" / "run").iterdir())
    expected = ["config.yaml", "curves.png", "history.csv", "provenance.json", "root.txt", "steps.csv"]
    assert kept == sorted([*expected, "train.csv", "val.csv"]), "a finished run leaves no checkpoints"
    assert "baseline" in outcome.err, "progress and messages go to stderr"


@pytest.mark.parametrize("head", ["identity-start", "mlp", "linear"])
@pytest.mark.parametrize("loss", ["contrastive", "triplet", "contrastive+margin=0.8"])
def test_every_head_trains_with_every_loss(
    siamese: Siamese, faces: Path, tmp_path: Path, head: str, loss: str
) -> None:
    outcome = siamese(
        "train", faces, *TRAIN, "--epochs", 1, "--head", head, "--loss", loss, "-o", tmp_path / "model", "--quiet"
    )
    assert outcome.code == 0
    assert "baseline" in outcome.out
    assert "best" in outcome.out
    assert Verifier.load(tmp_path / "model").operating_points


@pytest.mark.parametrize("lr", [10, 1e30])  # destroys the weights; makes them infinite
def test_a_run_that_only_gets_worse_hands_back_the_untouched_encoder(
    siamese: Siamese, faces: Path, pairs: Path, tmp_path: Path, lr: float
) -> None:
    files = ("--pairs", pairs / "train.csv", "--val-pairs", pairs / "val.csv", "--head", "none")
    options = ("--encoder", ENCODER, "--input-size", 32, "--epochs", 2, "--lr", lr)
    outcome = siamese("train", faces, *files, *options, "-o", tmp_path / "model", "--json")
    result = outcome.json
    assert result["best"]["epoch"] == 0
    assert {key: result["best"][key] for key in result["baseline"]} == result["baseline"]
    assert "nan" not in outcome.out.lower()
    assert read_card(tmp_path / "model").head == "none"


def test_train_takes_pair_files_configuration_and_command_line_together(
    siamese: Siamese, faces: Path, pairs: Path, tmp_path: Path
) -> None:
    config = tmp_path / "run.toml"
    config.write_text(f'encoder = "{ENCODER}"\ninput_size = [32, 32]\nepochs = 5\nlr = 0.002\n')
    outcome = siamese(
        *("train", faces, "--config", config, "--pairs", pairs / "train.csv", "--val-pairs", pairs / "val.csv"),
        *("--epochs", 1, "-o", tmp_path / "model"),
    )
    assert outcome.code == 0
    kept = read_config_file(tmp_path / "model" / "run" / "config.yaml")
    assert (kept["epochs"], kept["lr"]) == (1, 0.002)


def test_the_same_seed_trains_the_same_model(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert siamese("train", faces, *TRAIN, "--seed", 3, "-o", tmp_path / name).code == 0
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()


def test_evaluate_has_every_key_and_agrees_with_the_scores_it_wrote(
    siamese: Siamese, faces: Path, pairs: Path, model: Path, tmp_path: Path
) -> None:
    outcome = siamese(
        "evaluate", model, "--pairs", pairs / "test.csv", "--root", faces, "-o", tmp_path / "out", "--json"
    )
    result = outcome.json
    expected = "pairs genuine impostor images accuracy accuracy_std threshold auc eer f1 tar_at_far intervals seconds"
    assert set(expected.split()) <= set(result)
    scores = pd.read_csv(tmp_path / "out" / "scores.csv")
    assert len(scores) == result["pairs"] == result["genuine"] + result["impostor"]
    assert ((scores["similarity"] >= result["threshold"]) == (scores["same"] == 1)).mean() == pytest.approx(
        result["accuracy"], abs=1e-9
    )
    assert result["threshold"] == next(p.threshold for p in read_card(model).operating_points if p.name == "accuracy")
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["auc"] == result["auc"]


def test_evaluate_gives_intervals_and_judges_the_calibration(
    siamese: Siamese, faces: Path, pairs: Path, model: Path, tmp_path: Path
) -> None:
    common = ("evaluate", model, "--pairs", pairs / "test.csv", "--root", faces)
    result = siamese(*common, "-o", tmp_path, "--json").json
    assert {"accuracy", "auc", "eer", "f1", "tar_at_far=0.1"} <= set(result["intervals"])
    scores = pd.read_csv(tmp_path / "scores.csv")
    calibration = read_card(model).calibration
    assert calibration is not None
    np.testing.assert_allclose(scores["probability"], calibration.probability(scores["similarity"]), atol=1e-6)
    assert ((scores["similarity"] >= result["threshold"]) == scores["accepted"].astype(bool)).all()
    assert result["calibration"]["brier"] == pytest.approx(
        brier_score_loss(scores["same"], scores["probability"], sample_weight=even_weights(scores["same"])), abs=1e-6
    )
    fitted, tested = (
        {frozenset(pair) for pair in pd.read_csv(file)[["left", "right"]].itertuples(index=False)}
        for file in (model / "run" / "val.csv", pairs / "test.csv")
    )
    assert result["fitted_here"] == len(fitted & tested)
    text = siamese(*common).out
    assert "95 % interval" in text
    assert "calibration error" in text


def even_weights(same: pd.Series) -> np.ndarray:
    """Either kind weighs one half."""
    return np.where(same, 0.5 / same.sum(), 0.5 / (~same.astype(bool)).sum())


def test_evaluating_on_the_pairs_of_the_fit_is_said_and_marked(siamese: Siamese, faces: Path, model: Path) -> None:
    fitted = model / "run" / "val.csv"
    outcome = siamese("evaluate", model, "--pairs", fitted, "--root", faces, "--json")
    count = len(pd.read_csv(fitted))
    assert outcome.json["fitted_here"] == count
    assert f"was fitted on {count} of these {count} pairs: the figures flatter" in outcome.err
    text = siamese("evaluate", model, "--pairs", fitted, "--root", faces).out
    assert f"flattering: {count:,} of these pairs are among those of the fit" in text


def test_evaluate_says_where_the_threshold_of_an_untouched_encoder_comes_from(
    siamese: Siamese, faces: Path, pairs: Path
) -> None:
    common = ("evaluate", ENCODER, "--input-size", 32, "--root", faces, "--pairs", pairs / "test.csv")
    assert "fitted on the other fold" in siamese(*common).out
    assert f"fitted on {pairs / 'val.csv'}" in siamese(*common, "--val-pairs", pairs / "val.csv").out


def test_compare_answers_with_every_key(siamese: Siamese, model: Path, two_images: tuple[Path, Path]) -> None:
    result = siamese("compare", *two_images, "--model", model, "--json").json
    expected = "same similarity probability prior threshold far point split genuine impostor abstain model device"
    assert set(result) == {*expected.split(), "seconds", "faces", "saved", "explained"}
    point = next(each for each in read_card(model).operating_points if each.name == "accuracy")
    fitted = (result["point"], result["split"], result["genuine"], result["impostor"])
    assert fitted == ("accuracy", "validation", point.genuine, point.impostor)
    assert result["same"] == (result["similarity"] >= result["threshold"])
    assert len(result["faces"]) == 2
    twin = siamese("compare", two_images[0], two_images[0], "--model", model, "--json").json
    assert twin["similarity"] == pytest.approx(1.0, abs=1e-5)
    assert twin["same"]


def test_compare_says_the_verdict_in_words_with_threshold_far_model_and_device(
    siamese: Siamese, model: Path, two_images: tuple[Path, Path]
) -> None:
    text = siamese("compare", *two_images, "--model", model).out
    assert text.startswith(("same: similarity", "different: similarity"))
    point = next(each for each in read_card(model).operating_points if each.name == "accuracy")
    counts = f"on validation pairs: {point.genuine} genuine, {point.impostor} impostor)"
    for part in ("threshold", "operating point accuracy, FAR", counts, str(model), "on cpu"):
        assert part in text


def test_compare_gives_the_probability_of_the_models_calibration_at_any_prior(
    siamese: Siamese, model: Path, two_images: tuple[Path, Path]
) -> None:
    calibration = read_card(model).calibration
    assert calibration is not None
    assert (calibration.split, calibration.prior) == ("validation", 0.5)
    even, rare = (
        siamese("compare", *two_images, "--model", model, *prior, "--json").json for prior in ((), ("--prior", 0.01))
    )
    assert even["prior"] == 0.5
    assert even["probability"] == pytest.approx(calibration.probability([even["similarity"]])[0], abs=1e-12)
    assert rare["same"] == even["same"], "the verdict is the threshold's"
    log_odds = [np.log(each["probability"] / (1 - each["probability"])) for each in (even, rare)]
    assert log_odds[1] - log_odds[0] == pytest.approx(np.log(0.01 / 0.99), abs=1e-9)
    assert "probability of the same identity: " in siamese("compare", *two_images, "--model", model).out
    refused = siamese("compare", *two_images, "--model", model, "--prior", 1)
    assert refused.code == 2
    assert "prior 1: expected the share of genuine pairs, above 0 and below 1" in refused.err


def test_compare_with_an_untouched_encoder_has_no_probability(
    siamese: Siamese, two_images: tuple[Path, Path]
) -> None:
    options = ("--model", ENCODER, "--threshold", 0.5)
    assert siamese("compare", *two_images, *options, "--json").json["probability"] is None
    for option in ("--prior", "--abstain"):
        calibrated = options[:2] if option == "--abstain" else options
        refused = siamese("compare", *two_images, *calibrated, option, 0.1)
        assert refused.code == 2
        assert f"{option} 0.1: {ENCODER} has no calibration; train a model folder for it" in refused.err


def test_compare_takes_a_threshold_by_hand_also_zero(
    siamese: Siamese, two_images: tuple[Path, Path], model: Path
) -> None:
    assert siamese("compare", *two_images, "--model", model, "--threshold", 0, "--json").json["threshold"] == 0.0
    high = siamese("compare", *two_images, "--model", model, "--threshold", 1, "--json").json
    assert not high["same"]
    assert high["far"] is None
    assert [high[key] for key in ("point", "split", "genuine", "impostor")] == [None] * 4


@pytest.mark.parametrize("name", ["accuracy", "f1", "eer"])
def test_compare_takes_an_operating_point_by_name(
    siamese: Siamese, two_images: tuple[Path, Path], model: Path, name: str
) -> None:
    point = next(each for each in read_card(model).operating_points if each.name == name)
    answer = siamese("compare", *two_images, "--model", model, "--at", name, "--json").json
    assert (answer["point"], answer["threshold"], answer["far"]) == (name, point.threshold, point.far)
    refused = siamese("compare", *two_images, "--model", model, "--at", name, "--far", 0.1)
    assert refused.code == 2
    assert "siamese: --far and --at: give one of them" in refused.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--abstain", 0.1, "--threshold", 0.5), "--threshold and --abstain: give one of them"),
        (("--abstain", 0.1, "--far", 0.1), "--far and --abstain: give one of them"),
        (("--abstain", 0.1, "--at", "eer"), "--at and --abstain: give one of them"),
        (("--abstain", 0), "--abstain 0: expected the probability of a wrong answer that is allowed, above 0"),
        (("--at", "err"), "unknown value of --at 'err': did you mean 'eer'? known: accuracy, eer, f1"),
    ],
)
def test_compare_decides_in_one_way(
    siamese: Siamese, two_images: tuple[Path, Path], model: Path, options: tuple[object, ...], message: str
) -> None:
    refused = siamese("compare", *two_images, "--model", model, *options)
    assert refused.code == 2
    assert refused.err.splitlines()[-1].startswith(f"siamese: {message}")


def test_embed_writes_unit_vectors_and_marks_what_failed(
    siamese: Siamese, faces: Path, model: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "images"
    shutil.copytree(faces / "person_001", folder / "anna")
    (folder / "anna" / "bad.jpg").write_bytes(b"\xff\xd8 no image")
    output = tmp_path / "embeddings.parquet"
    result = siamese("embed", folder, "--model", model, "-o", output, "--json").json
    table = pq.read_table(output).to_pandas()
    assert (result["images"], result["failed"]) == (7, 1)
    good = table[table["status"] == "ok"]
    assert np.allclose(np.linalg.norm(np.stack(good["embedding"]), axis=1), 1, atol=1e-5)
    assert set(good["identity"]) == {"anna"}
    bad = table[table["status"] == "unreadable"]
    assert list(bad["path"]) == ["anna/bad.jpg"]
    assert bad["embedding"].isna().all()


def test_embed_takes_a_single_image(
    siamese: Siamese, two_images: tuple[Path, Path], model: Path, tmp_path: Path
) -> None:
    output = tmp_path / "one.parquet"
    outcome = siamese("embed", two_images[0], "--model", model, "-o", output, "--json")
    assert (outcome.json["images"], outcome.json["failed"]) == (1, 0)
    table = pq.read_table(output).to_pandas()
    assert list(table["path"]) == [str(two_images[0])]
    assert table["identity"].isna().all()


def test_an_unreadable_image_is_named_and_its_pairs_are_left_out(
    siamese: Siamese, faces: Path, pairs: Path, model: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "faces"
    shutil.copytree(faces, copy)
    table = pd.read_csv(pairs / "test.csv")
    victim = table["left"][0]
    (copy / victim).write_bytes((copy / victim).read_bytes()[:300])
    outcome = siamese("evaluate", model, "--pairs", pairs / "test.csv", "--root", copy, "--json")
    named = int(((table["left"] == victim) | (table["right"] == victim)).sum())
    assert outcome.json["failed"] == named
    assert outcome.json["genuine"] + outcome.json["impostor"] == len(table) - named
    assert victim in outcome.err


def test_models_lists_every_encoder_and_where_its_file_is_expected(siamese: Siamese) -> None:
    names = {row["name"] for row in siamese("models", "--json").json["encoders"]}
    assert {"inception_resnet_v1", "mobilefacenet", "convnext_atto"} <= names


@pytest.mark.parametrize("start", ["from the verifier that ships", "from nothing"])
def test_demo_beats_its_baseline_on_identities_it_never_saw(
    start: str, siamese: Siamese, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if start == "from nothing":
        request.getfixturevalue("nothing_bundled")
    elif not (bundled._FOLDER / "model.json").is_file():
        pytest.skip("this checkout has no bundled model yet")
    result = siamese("demo", "--quick", "--out", tmp_path / "demo", "--json").json
    assert result["encoder"] == (FROM_NOTHING.encoder if start == "from nothing" else "bundled")
    assert result["trained"]["auc"] > result["baseline"]["auc"] + (0.1 if start == "from nothing" else 0.01)
    assert result["trained"]["accuracy"] > result["baseline"]["accuracy"]
    assert all(Path(path).is_dir() for path in result["written"])
    assert math.isfinite(result["seconds"])
    assert len(result["comparisons"]) == 2


def test_a_command_leaves_the_logger_as_it_found_it(siamese: Siamese, faces: Path, tmp_path: Path) -> None:
    logger = logging.getLogger("siamese")
    before = logger.level, list(logger.handlers)
    assert siamese("make-pairs", faces, "--num-pairs", 10, "-o", tmp_path).code == 0
    assert (logger.level, list(logger.handlers)) == before
