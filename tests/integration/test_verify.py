"""`siamese verify`: a pair file in, the same rows with similarities and answers out; and submissions."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from siamese.evaluation.calibration import Candidate
from siamese.evaluation.calibrators import PlattCalibrator
from siamese.inference.scoring import score_pairs
from siamese.inference.verifier import Verifier
from siamese.model.card import read_card
from siamese.model.folder import load_model, save_model
from siamese.pairing.face_bin import write_bin
from siamese.pairing.formats import read_pairs

from .conftest import ENCODER, Siamese

KEYS = "pairs scored failed images accepted unsure threshold far point abstain prior output model device seconds"


@pytest.fixture(scope="module")
def listed(pairs: Path) -> pd.DataFrame:
    """Forty pairs, genuine and impostor ones in turn."""
    frame = pd.read_csv(pairs / "test.csv")
    kinds = [frame[frame["same"] == same].head(20).reset_index(drop=True) for same in (1, 0)]
    return pd.concat(kinds).sort_index(kind="stable").reset_index(drop=True)


@pytest.fixture(scope="module")
def model(listed: pd.DataFrame, faces: Path, model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model with a calibration that tells pairs apart, as training it for longer would give it."""
    network, card = load_model(model)
    found = Verifier("model", network, card, device="cpu")
    left, right = (found.embed([faces / path for path in listed[side]]).vectors for side in ("left", "right"))
    scores = np.sum(left * right, axis=1, dtype=np.float64)
    slope = 3.0 / scores.std()
    calibrator = PlattCalibrator(slope=slope, intercept=-slope * float(np.median(scores)))
    assert card.calibration is not None
    candidates = (Candidate(method="platt", log_loss=None),)
    calibration = card.calibration.model_copy(update={"calibrator": calibrator, "candidates": candidates})
    folder = tmp_path_factory.mktemp("calibrated") / "model"
    save_model(folder, network, card.model_copy(update={"calibration": calibration}))
    return folder


@pytest.fixture(scope="module")
def scores(listed: pd.DataFrame, faces: Path, model: Path) -> np.ndarray:
    """The cosine of every pair, each side embedded by itself."""
    verifier = Verifier.load(model, device="cpu")
    left, right = (verifier.embed([faces / path for path in listed[side]]).vectors for side in ("left", "right"))
    return np.sum(left * right, axis=1)


@pytest.fixture
def file(listed: pd.DataFrame, tmp_path: Path) -> Path:
    path = tmp_path / "Paare mit ümlaut.csv"
    listed.to_csv(path, index=False)
    return path


def write_broken(listed: pd.DataFrame, faces: Path, folder: Path) -> tuple[Path, Path]:
    """A copy of the images of which row 3 names one that is not there, and rows with one image are cut short."""
    root = folder / "Bilder ü"
    shutil.copytree(faces, root)
    broken = listed.copy()
    broken.loc[3, "right"] = "person_001/999.jpg"
    cut = root / broken.loc[0, "left"]
    cut.write_bytes(cut.read_bytes()[:300])
    path = folder / "pairs.csv"
    broken.to_csv(path, index=False)
    return path, root


def test_every_row_comes_back_in_its_order_with_score_probability_and_answer(
    siamese: Siamese, faces: Path, model: Path, file: Path, listed: pd.DataFrame, scores: np.ndarray, tmp_path: Path
) -> None:
    outcome = siamese("verify", file, "--root", faces, "--model", model, "-o", tmp_path / "out.csv", "--json")
    assert outcome.code == 0, outcome.err
    card = read_card(model)
    assert card.calibration is not None
    point = next(each for each in card.operating_points if each.name == "accuracy")
    table = pd.read_csv(tmp_path / "out.csv")
    added = ["similarity", "probability", "same_predicted", "status", "detail"]
    assert table.columns.tolist() == [*listed.columns, *added]
    pd.testing.assert_frame_equal(table[listed.columns], listed)
    np.testing.assert_allclose(table["similarity"], scores, atol=1e-5)
    np.testing.assert_allclose(table["probability"], card.calibration.probability(table["similarity"]), atol=1e-9)
    assert table["same_predicted"].tolist() == (table["similarity"] >= point.threshold).astype(int).tolist()
    assert (table["status"] == "scored").all()
    assert table["detail"].isna().all()
    answer = outcome.json
    assert set(answer) == set(KEYS.split())
    images = {*listed["left"], *listed["right"]}
    assert (answer["pairs"], answer["scored"], answer["failed"], answer["images"]) == (40, 40, 0, len(images))
    assert (answer["accepted"], answer["unsure"]) == (table["same_predicted"].sum(), 0)
    assert (answer["threshold"], answer["far"], answer["point"]) == (point.threshold, point.far, "accuracy")
    assert (answer["abstain"], answer["prior"], answer["device"]) == (None, 0.5, "cpu")


def test_parquet_holds_the_same_table_with_truth_values(
    siamese: Siamese, faces: Path, model: Path, listed: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "pairs.parquet"
    listed.assign(same=listed["same"].astype(bool), note="é", age=0.1 + listed.index).to_parquet(path)
    for name in ("out.csv", "out.parquet"):
        assert siamese("verify", path, "--root", faces, "--model", model, "-o", tmp_path / name).code == 0
    one, other = pd.read_csv(tmp_path / "out.csv"), pd.read_parquet(tmp_path / "out.parquet")
    assert one.columns.tolist() == other.columns.tolist()
    assert other["same_predicted"].dtype == "boolean"
    assert one["same_predicted"].tolist() == other["same_predicted"].astype(int).tolist()
    np.testing.assert_array_equal(one["similarity"], other["similarity"])
    np.testing.assert_array_equal(one["age"], other["age"])
    assert (other["note"] == "é").all()


def test_times_are_text_in_json(
    siamese: Siamese, faces: Path, model: Path, listed: pd.DataFrame, tmp_path: Path
) -> None:
    path = tmp_path / "pairs.parquet"
    listed.assign(taken=pd.Timestamp("2024-01-01 12:30"), year=7, words=[["a"]] * 40).to_parquet(path)
    outcome = siamese("verify", path, "--root", faces, "--model", model, "--json")
    assert outcome.code == 0, outcome.err
    row = outcome.json["results"][0]
    assert [row[key] for key in ("taken", "year", "words")] == ["2024-01-01 12:30:00", 7, ["a"]]


def test_bad_images_mark_their_rows_and_stop_nothing(
    siamese: Siamese, faces: Path, model: Path, listed: pd.DataFrame, scores: np.ndarray, tmp_path: Path
) -> None:
    path, root = write_broken(listed, faces, tmp_path)
    outcome = siamese("verify", path, "--root", root, "--model", model, "-o", tmp_path / "out.csv", "--json")
    assert outcome.code == 0, outcome.err
    table, cut = pd.read_csv(tmp_path / "out.csv"), listed.loc[0, "left"]
    hit = ((listed["left"] == cut) | (listed["right"] == cut)).to_numpy(copy=True)
    hit[3] = True
    assert (table["status"] == "failed").tolist() == hit.tolist()
    assert table.loc[hit, ["similarity", "probability", "same_predicted"]].isna().all(axis=None)
    np.testing.assert_allclose(table["similarity"][~hit], scores[~hit], atol=1e-5)
    assert table.loc[3, "detail"].startswith("person_001/999.jpg: no such file")
    assert table.loc[0, "detail"].startswith(f"{cut}: ")
    assert "truncated" in table.loc[0, "detail"]
    assert str(tmp_path) not in str(table["detail"].tolist())
    assert (outcome.json["failed"], outcome.json["scored"]) == (hit.sum(), 40 - hit.sum())
    assert f"{hit.sum()} of 40 pairs have no score; first: " in outcome.err
    shown = siamese("verify", path, "--root", root, "--model", model).out.splitlines()
    assert shown[1].endswith("failed")
    assert shown[4].endswith("failed")


def test_two_bad_images_of_a_pair_are_both_named(siamese: Siamese, faces: Path, model: Path, tmp_path: Path) -> None:
    rows = "x.jpg,y.jpg\nx.jpg,x.jpg\nperson_001/001.jpg,y.jpg\n"
    (tmp_path / "p.csv").write_text("left,right\n" + rows)
    assert (
        siamese("verify", tmp_path / "p.csv", "--root", faces, "--model", model, "-o", tmp_path / "o.csv").code == 0
    )
    details = pd.read_csv(tmp_path / "o.csv")["detail"].tolist()
    reason = "no such file; check the path"
    assert details == [f"x.jpg: {reason}; y.jpg: {reason}", f"x.jpg: {reason}", f"y.jpg: {reason}"]


def test_unlabelled_pairs_of_any_form_are_scored(
    siamese: Siamese, faces: Path, model: Path, listed: pd.DataFrame, scores: np.ndarray, tmp_path: Path
) -> None:
    lines = tmp_path / "pairs.txt"
    lines.write_text("".join(f"{left} {right}\n" for left, right in zip(listed.left, listed.right, strict=True)))
    renamed = tmp_path / "renamed.csv"
    listed.rename(columns={"left": "Image1", "right": "Image2"})[["Image1", "Image2"]].to_csv(renamed, index=False)
    for path in (lines, renamed):
        outcome = siamese("verify", path, "--root", faces, "--model", model, "-o", tmp_path / "out.csv")
        assert outcome.code == 0, outcome.err
        table = pd.read_csv(tmp_path / "out.csv")
        assert table.columns.tolist()[:4] == ["left", "right", "similarity", "probability"]
        np.testing.assert_allclose(table["similarity"], scores, atol=1e-5)


def test_a_bin_file_brings_its_images(
    siamese: Siamese, faces: Path, model: Path, listed: pd.DataFrame, scores: np.ndarray, tmp_path: Path
) -> None:
    write_bin(listed[["left", "right", "same"]].astype({"same": "boolean"}), faces, tmp_path / "packed.bin")
    outcome = siamese("verify", tmp_path / "packed.bin", "--model", model, "-o", tmp_path / "out.csv")
    assert outcome.code == 0, outcome.err
    table = pd.read_csv(tmp_path / "out.csv")
    np.testing.assert_allclose(table["similarity"], scores, atol=1e-5)
    assert table["same"].tolist() == listed["same"].tolist()
    assert table.loc[0, "left"] == "00000.jpg"
    refused = siamese("verify", tmp_path / "packed.bin", "--model", model, "--root", faces)
    assert refused.code == 2
    assert "holds its own images and labels; leave out --root and --same-label" in refused.err


@pytest.mark.real_data
def test_real_pairs_have_the_scores_that_evaluate_has(siamese: Siamese, real_data: Path, tmp_path: Path) -> None:
    name = f"mobilefacenet@{real_data / 'weights/mobilefacenet_casia_webface.ckpt'}"
    root = real_data / "data/lfw"
    frame = read_pairs(real_data / "data/lfw-protocol/pairsDevTest.txt").iloc[::10].reset_index(drop=True)
    frame.loc[50, "left"] = "Nobody/Nobody_0001.jpg"
    frame.to_csv(tmp_path / "pairs.csv", index=False)
    arguments = ("verify", tmp_path / "pairs.csv", "--root", root, "--model", name, "--align", "no")
    outcome = siamese(*arguments, "-o", tmp_path / "out.csv")
    assert outcome.code == 0, outcome.err
    # What `evaluate` calls, on the table that it would read.
    verifier = Verifier.load(name, device="cpu", align="no")
    expected = score_pairs(verifier, read_pairs(tmp_path / "pairs.csv"), root, "pairs.csv", missing="fail").scores
    found = pd.read_csv(tmp_path / "out.csv")["similarity"].to_numpy()
    assert len(found) == 100
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.flatnonzero(np.isnan(found)).tolist() == [50]


def test_each_unique_image_is_embedded_once(
    siamese: Siamese, faces: Path, model: Path, file: Path, listed: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []
    embed = Verifier.embed

    def counting(self: Verifier, sources: list[Path], **options: object) -> object:
        seen.extend(sources)
        return embed(self, sources, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Verifier, "embed", counting)
    assert siamese("verify", file, "--root", faces, "--model", model, "--json").code == 0
    assert sorted(seen) == sorted(faces / path for path in {*listed["left"], *listed["right"]})


def test_the_first_rows_are_printed_and_all_are_in_the_json(
    siamese: Siamese, faces: Path, model: Path, file: Path
) -> None:
    arguments = ("verify", file, "--root", faces, "--model", model)
    lines = siamese(*arguments).out.splitlines()
    assert lines[0].split() == ["left", "right", "similarity", "probability"]
    assert len([line for line in lines if line.startswith("person_")]) == 20
    assert lines[21] == "and 20 more pairs; -o FILE.csv writes them all"
    assert "40 pairs of" in lines[22]
    assert "operating point accuracy, FAR" in lines[23]
    assert " on validation pairs: " in lines[23]
    assert lines[23].endswith("impostor)")
    assert "pairs/s" in lines[24]
    results = siamese(*arguments, "--json").json["results"]
    assert len(results) == 40
    assert {type(results[0]["similarity"]), type(results[0]["same_predicted"])} == {float, bool}


@pytest.mark.parametrize("name", ["accuracy", "f1", "eer"])
def test_a_point_is_chosen_by_name(siamese: Siamese, faces: Path, model: Path, file: Path, name: str) -> None:
    point = next(each for each in read_card(model).operating_points if each.name == name)
    answer = siamese("verify", file, "--root", faces, "--model", model, "--at", name, "--json").json
    assert (answer["point"], answer["threshold"], answer["far"]) == (name, point.threshold, point.far)


def test_abstaining_leaves_improbable_answers_out(
    siamese: Siamese, faces: Path, model: Path, file: Path, scores: np.ndarray, tmp_path: Path
) -> None:
    calibration = read_card(model).calibration
    assert calibration is not None
    probabilities = calibration.probability(scores, 0.3)
    wrong = np.minimum(probabilities, 1 - probabilities)
    # Between two pairs, so that rounding decides nothing.
    error = float(np.sort(wrong)[19:21].mean())
    options = ("--root", faces, "--model", model, "--abstain", error, "--prior", 0.3)
    outcome = siamese("verify", file, *options, "-o", tmp_path / "out.csv", "--json")
    assert outcome.code == 0, outcome.err
    predicted = pd.read_csv(tmp_path / "out.csv")["same_predicted"]
    assert predicted.isna().tolist() == (wrong > error).tolist()
    assert predicted.dropna().tolist() == (probabilities >= 0.5)[wrong <= error].astype(float).tolist()
    answer = outcome.json
    assert answer["unsure"] == 20
    assert answer["accepted"] == predicted.sum()
    assert [answer[key] for key in ("threshold", "far", "point")] == [None, None, None]
    assert (answer["abstain"], answer["prior"]) == (error, 0.3)
    text = siamese("verify", file, *options).out
    assert "20 unsure: answers are wrong with at most" in text
    assert "where 30.00 % of pairs are the same (calibration on validation pairs: " in text


def test_an_untouched_encoder_gives_similarities_alone(
    siamese: Siamese, faces: Path, file: Path, tmp_path: Path
) -> None:
    arguments = ("verify", file, "--root", faces, "--model", ENCODER, "--input-size", 32)
    outcome = siamese(*arguments, "-o", tmp_path / "out.csv")
    assert outcome.code == 0, outcome.err
    assert "similarities alone: the model has no threshold; give --threshold to decide" in outcome.out
    table = pd.read_csv(tmp_path / "out.csv")
    assert "probability" not in table.columns
    assert table["same_predicted"].isna().all()
    answer = siamese(*arguments, "-o", tmp_path / "out.csv", "--json").json
    assert [answer[key] for key in ("accepted", "unsure", "threshold", "prior")] == [None] * 4
    decided = siamese(*arguments, "--threshold", 0.9, "--json").json
    assert decided["accepted"] == sum(row["similarity"] >= 0.9 for row in decided["results"])
    assert siamese(*arguments, "--threshold", 0.9).out.splitlines()[-2].endswith("threshold 0.9000 (given by hand)")


def test_mirror_images_change_scores_and_are_warned_of(
    siamese: Siamese, faces: Path, model: Path, file: Path, scores: np.ndarray
) -> None:
    outcome = siamese("verify", file, "--root", faces, "--model", model, "--flip", "--json")
    assert f"--flip: thresholds and calibration of {model} were fitted without it" in outcome.err
    assert not np.allclose([row["similarity"] for row in outcome.json["results"]], scores, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--far", "0.1", "--at", "eer"], "--far and --at: give one of them"),
        (["--threshold", "0", "--abstain", "0.1"], "--threshold and --abstain: give one of them"),
        (["--at", "best"], "unknown value of --at 'best': known: accuracy, eer, f1"),
        (["--far", "1e-6"], "--far 1e-06: this model has no operating point for it"),
        (["--threshold", "2"], "--threshold 2: expected a similarity from -1 to 1"),
        (["--abstain", "0.7"], "--abstain 0.7: expected the probability of a wrong answer that is allowed"),
        (["--prior", "0"], "prior 0: expected the share of genuine pairs, above 0 and below 1"),
        (["-o", "out.xlsx"], "-o out.xlsx: a table ends in .csv or .parquet; name it so"),
        (["--submission", "id,label"], "--submission: needs a file to write, -o FILE.csv"),
        (["--submission", "id,label", "-o", "s.parquet"], "-o s.parquet: a submission ends in .csv; name it so"),
        (
            ["--submission", "id", "-o", "s.csv"],
            "--submission 'id': expected two column names, such as id,label, or a sample submission file",
        ),
        (["--submission", "no.csv", "-o", "s.csv"], "no.csv: cannot be read (No such file or directory)"),
        (
            ["--submission", "id,label", "-o", "s.csv", "--abstain", "0.1"],
            "--abstain 0.1: a submission answers every pair; leave it out",
        ),
        (["--answer", "score"], "--answer score: is for a submission; give --submission, or leave it out"),
        (["--answer", "scor"], "unknown value of --answer 'scor': did you mean 'score'? known: label, score"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(
    siamese: Siamese,
    faces: Path,
    model: Path,
    file: Path,
    options: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(file.parent)
    outcome = siamese("verify", file, "--root", faces, "--model", model, *options)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.splitlines()[-1].startswith(f"siamese: {message}")
    assert list(file.parent.iterdir()) == [file]


def test_files_that_cannot_be_verified_are_refused(
    siamese: Siamese, faces: Path, model: Path, file: Path, tmp_path: Path
) -> None:
    def said(*arguments: object) -> str:
        outcome = siamese("verify", *arguments)
        assert outcome.code == 2
        return outcome.err.splitlines()[-1]

    given = ("--model", model, "--root", faces)
    assert "no such file" in said(tmp_path / "none.csv", *given)
    assert "is no file below" in said(file, "--model", model, "--root", tmp_path)
    assert f"-o {file}: is read as well, and would be replaced; name another file" in said(file, *given, "-o", file)
    (tmp_path / "folder.csv").mkdir()
    assert "is a folder, expected the name of a file" in said(file, *given, "-o", tmp_path / "folder.csv")
    again = tmp_path / "again.csv"
    assert siamese("verify", file, *given, "-o", again).code == 0
    assert f"{again}: has a column 'similarity', and verifying adds one of that name" in said(again, *given)
    encoder = ("--model", ENCODER, "--input-size", 32, "--root", faces)
    message = "--submission: asks for labels, and timm/test_resnet@random has no threshold; give --threshold"
    assert message in said(file, *encoder, "--submission", "id,label", "-o", tmp_path / "s.csv")
    assert f"--abstain 0.1: {ENCODER} has no calibration" in said(file, *encoder, "--abstain", 0.1)


def test_a_model_of_damaged_weights_is_said_to_be_one(
    siamese: Siamese, faces: Path, model: Path, file: Path, two_images: tuple[Path, Path], monkeypatch
) -> None:
    load = Verifier.load.__func__  # type: ignore[attr-defined]

    def damaged(cls: type[Verifier], *arguments: object, **options: object) -> Verifier:
        verifier = load(cls, *arguments, **options)
        with torch.no_grad():
            next(verifier.network.encoder.parameters()).fill_(float("nan"))
        return verifier

    monkeypatch.setattr(Verifier, "load", classmethod(damaged))
    outcome = siamese("verify", file, "--root", faces, "--model", model, "--runtime", "torch")
    assert outcome.code == 2
    assert "makes no numbers of any image, its weights are damaged" in outcome.err
    outcome = siamese("compare", *two_images, "--model", model, "--runtime", "torch")
    assert outcome.code == 2
    assert "gives the similarity nan, expected a number; its weights are damaged" in outcome.err


def test_compare_is_unsure_where_the_answer_is_too_improbable(
    siamese: Siamese, two_images: tuple[Path, Path], model: Path
) -> None:
    calibration = read_card(model).calibration
    assert calibration is not None
    plain = siamese("compare", *two_images, "--model", model, "--json").json
    wrong = min(plain["probability"], 1 - plain["probability"])
    sure, unsure = (
        siamese("compare", *two_images, "--model", model, "--abstain", error, "--json").json
        for error in (min(1.01 * wrong, 0.4999), 0.99 * wrong)
    )
    assert sure["same"] == (plain["probability"] >= 0.5)
    assert unsure["same"] is None
    assert [unsure[key] for key in ("threshold", "far", "point")] == [None] * 3
    fitted = (unsure["split"], unsure["genuine"], unsure["impostor"])
    assert fitted == ("validation", calibration.genuine, calibration.impostor)
    text = siamese("compare", *two_images, "--model", model, "--abstain", 0.99 * wrong).out
    assert text.startswith(f"unsure: similarity {plain['similarity']:.4f}, wrong answer ")
    assert f"(calibration on validation pairs: {calibration.genuine} genuine, " in text
    twins = siamese("compare", two_images[0], two_images[0], "--model", model, "--abstain", 0.49, "--json").json
    assert twins["same"] is True


# submissions


def answers(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


@pytest.mark.parametrize("columns", ["id,label", "ID,Label"])
def test_labels_are_submitted_in_the_order_of_the_pairs(
    siamese: Siamese, faces: Path, model: Path, file: Path, scores: np.ndarray, tmp_path: Path, columns: str
) -> None:
    arguments = ("verify", file, "--root", faces, "--model", model, "--submission", columns, "--threshold", 0.98)
    outcome = siamese(*arguments, "-o", tmp_path / "s.csv")
    assert outcome.code == 0, outcome.err
    table = answers(tmp_path / "s.csv")
    assert table.columns.tolist() == columns.split(",")
    assert table.iloc[:, 0].tolist() == [str(row) for row in range(40)]
    assert table.iloc[:, 1].tolist() == [str(int(score >= 0.98)) for score in scores]
    assert f"submission: 0 and 1 in column {columns.split(',')[1]}; --answer score" in outcome.out


def test_scores_are_probabilities_at_the_prior_or_similarities(
    siamese: Siamese, faces: Path, model: Path, file: Path, scores: np.ndarray, tmp_path: Path
) -> None:
    calibration = read_card(model).calibration
    assert calibration is not None
    arguments = ("verify", file, "--root", faces, "--submission", "index,score", "-o", tmp_path / "s.csv")
    assert siamese(*arguments, "--model", model, "--prior", 0.1).code == 0
    found = pd.read_csv(tmp_path / "s.csv")
    assert found.columns.tolist() == ["index", "score"]
    np.testing.assert_allclose(found["score"], calibration.probability(scores, 0.1), rtol=1e-3)
    outcome = siamese(*arguments, "--model", ENCODER, "--input-size", 32)
    assert outcome.code == 0, outcome.err
    assert "submission: similarities in column score" in outcome.out


def test_a_sample_gives_order_ids_and_spelling(
    siamese: Siamese, faces: Path, model: Path, listed: pd.DataFrame, scores: np.ndarray, tmp_path: Path
) -> None:
    ids = [f"pair {row:03d}" for row in range(40)]
    listed.drop(columns="same").assign(ID=ids).to_csv(tmp_path / "test.csv", index=False)
    order = np.random.default_rng(0).permutation(40)
    sample = tmp_path / "sample_submission.csv"
    pd.DataFrame({"ID": np.array(ids)[order], "Label": "False"}).to_csv(sample, index=False)
    arguments = ("verify", tmp_path / "test.csv", "--root", faces, "--model", model, "--submission", sample)
    assert siamese(*arguments, "--threshold", 0.98, "-o", tmp_path / "s.csv").code == 0
    table = answers(tmp_path / "s.csv")
    assert table["ID"].tolist() == np.array(ids)[order].tolist()
    assert table["Label"].tolist() == [str(bool(score >= 0.98)) for score in scores[order]]
    # A sample of labels in a competition that ranks scores.
    outcome = siamese(*arguments, "--answer", "score", "-o", tmp_path / "s.csv")
    assert "submission: probabilities in column Label" in outcome.out
    found = pd.read_csv(tmp_path / "s.csv")["Label"]
    assert found.rank().corr(pd.Series(scores[order]).rank()) > 0.99


def test_a_sample_may_name_pairs_by_their_images(
    siamese: Siamese, faces: Path, model: Path, listed: pd.DataFrame, scores: np.ndarray, tmp_path: Path
) -> None:
    listed[["left", "right"]].to_csv(tmp_path / "test.csv", index=False)
    names = listed["left"] + "-" + listed["right"]
    sample = tmp_path / "sample.csv"
    pd.DataFrame({"img_pair": names[::-1], "is_related": 0.5}).to_csv(sample, index=False)
    arguments = ("verify", tmp_path / "test.csv", "--root", faces, "--model", model, "--submission", sample)
    assert siamese(*arguments, "-o", tmp_path / "s.csv").code == 0
    assert answers(tmp_path / "s.csv")["img_pair"].tolist() == names[::-1].tolist()


def test_ids_other_than_those_of_the_sample_are_refused_before_anything_is_embedded(
    siamese: Siamese, faces: Path, model: Path, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sample = tmp_path / "sample.csv"
    sample.write_text("id,label\n" + "".join(f"{row},0\n" for row in range(41)))
    monkeypatch.setattr(Verifier, "embed", lambda *_, **__: pytest.fail("embedded"))
    arguments = ("verify", file, "--root", faces, "--model", model, "--submission", sample, "-o", tmp_path / "s.csv")
    outcome = siamese(*arguments)
    assert outcome.code == 2
    message = "40 answers, ids missing: 1 (first '40'); expected one answer for each id of the 41 in"
    assert message in outcome.err
    assert not (tmp_path / "s.csv").exists()
    sample.write_text("id,label\na,new_whale\n")
    outcome = siamese(*arguments)
    assert outcome.code == 2
    assert (
        "its answers are neither labels (0 and 1, or false and true) nor numbers with a decimal point" in outcome.err
    )


@pytest.mark.parametrize(("columns", "lowest"), [("id,label", "0"), ("id,score", "0.0")])
def test_failed_pairs_are_submitted_as_different_and_warned_of(
    siamese: Siamese, faces: Path, model: Path, listed: pd.DataFrame, tmp_path: Path, columns: str, lowest: str
) -> None:
    path, root = write_broken(listed, faces, tmp_path)
    arguments = ("verify", path, "--root", root, "--model", model, "--threshold", -1, "--submission", columns)
    outcome = siamese(*arguments, "-o", tmp_path / "s.csv", "--quiet")
    assert outcome.code == 0, outcome.err
    assert "pairs have no score; the submission calls them different; first: " in outcome.err
    table = answers(tmp_path / "s.csv")
    assert len(table) == 40
    assert table.iloc[3, 1] == table.iloc[0, 1] == lowest
    assert (table.iloc[:, 1] != lowest).sum() > 30
