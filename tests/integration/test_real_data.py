"""The main job on real faces and characters: the same commands, nothing assumed about faces or colour."""

import shutil
import tarfile
from pathlib import Path

import pandas as pd
import pytest

from .conftest import Siamese

CHECKPOINT = "weights/mobilefacenet_casia_webface.ckpt"


def encoder(real_data: Path) -> str:
    return f"mobilefacenet@{real_data / CHECKPOINT}"


def copy_people(real_data: Path, target: Path, people: list[str], images: int) -> None:
    for person in people:
        (target / person).mkdir(parents=True)
        for image in sorted((real_data / "data/lfw" / person).iterdir())[:images]:
            shutil.copy(image, target / person)


@pytest.mark.real_data
def test_a_model_trained_on_raw_photographs_decides_on_lfw_originals(
    siamese: Siamese, real_data: Path, tmp_path: Path
) -> None:
    lfw = real_data / "data" / "lfw"
    others = {"Tony_Blair", "Colin_Powell"}
    people = [folder.name for folder in sorted(lfw.iterdir()) if folder.name not in others]
    people = [name for name in people if len(list((lfw / name).iterdir())) >= 4][:20]
    copy_people(real_data, tmp_path / "faces", people, 4)
    trained = siamese(
        *("train", tmp_path / "faces", "--encoder", encoder(real_data), "--val-share", 0.5, "--epochs", 1),
        *("-o", tmp_path / "model", "--json"),
    )
    assert trained.code == 0, trained.err
    assert trained.json["baseline"]["auc"] > 0.97
    assert trained.json["best"]["auc"] >= trained.json["baseline"]["auc"]
    images = [lfw / name for name in ("Tony_Blair/Tony_Blair_0034.jpg", "Tony_Blair/Tony_Blair_0098.jpg")]
    images.append(lfw / "Colin_Powell/Colin_Powell_0001.jpg")
    same = siamese("compare", images[0], images[1], "--model", tmp_path / "model", "--json").json
    different = siamese("compare", images[0], images[2], "--model", tmp_path / "model", "--json").json
    assert same["same"]
    assert not different["same"]
    assert [face["status"] for face in same["faces"]] == ["found", "found"]


@pytest.mark.real_data
def test_an_aligned_folder_gives_the_scores_of_raw_photographs(
    siamese: Siamese, real_data: Path, tmp_path: Path
) -> None:
    copy_people(real_data, tmp_path / "raw", ["Tony_Blair", "Colin_Powell"], 4)
    (tmp_path / "raw" / "Tony_Blair" / "empty.jpg").touch()
    aligned = siamese("align", tmp_path / "raw", tmp_path / "crops", "--json")
    assert (aligned.json["ok"], aligned.json["unreadable"]) == (8, 1)
    assert siamese("make-pairs", tmp_path / "crops", "-o", tmp_path / "pairs").code == 0
    scores = []
    for root in ("raw", "crops"):
        assert (
            siamese(
                *("evaluate", encoder(real_data), "--pairs", tmp_path / "pairs" / "pairs.csv"),
                *("--root", tmp_path / root, "-o", tmp_path / f"{root}-result"),
            ).code
            == 0
        )
        scores.append(pd.read_csv(tmp_path / f"{root}-result" / "scores.csv")["similarity"])
    # A crop was written as JPEG once more; the photographs were not.
    assert (scores[0] - scores[1]).abs().max() < 0.03


@pytest.mark.real_data
def test_orl_runs_through_the_four_commands(siamese: Siamese, real_data: Path, tmp_path: Path) -> None:
    orl = real_data / "data" / "orl"
    four_commands(
        siamese,
        orl,
        tmp_path,
        ["--encoder", encoder(real_data), "--align", "no", "--epochs", "1", "--loss", "triplet"],
        (orl / "s1/1.pgm", orl / "s1/2.pgm"),
        triplets=True,
    )


@pytest.mark.real_data
def test_omniglot_runs_through_the_four_commands(siamese: Siamese, real_data: Path, tmp_path: Path) -> None:
    with tarfile.open(real_data / "data" / "omniglot.tar.gz") as archive:
        members = [member for member in archive if "/images_background/Greek/" in member.name]
        archive.extractall(tmp_path / "data", members, filter="data")
    characters = tmp_path / "data" / "omniglot" / "images_background"
    images = sorted((characters / "Greek" / "character01").iterdir())
    options = ["--encoder", "timm/test_resnet@random", "--input-size", "48", "--epochs", "2", "--augment", "none"]
    depth = ["--identity-depth", "2"]
    identities = four_commands(siamese, characters, tmp_path, options, (images[0], images[1]), depth=depth)
    assert identities == 24, "the characters of the Greek alphabet, not one alphabet"


def four_commands(
    siamese: Siamese,
    data: Path,
    folder: Path,
    options: list[str],
    images: tuple[Path, Path],
    *,
    triplets: bool = False,
    depth: list[str] | None = None,
) -> int:
    kind = ["--kind", "triplets"] if triplets else []
    common = ["--split", "0.7,0.15,0.15", "--num-pairs", 400, *(depth or [])]
    for extra, name in (([], "pairs"), (kind, "train")):
        made = siamese("make-pairs", data, *common, *extra, "-o", folder / name, "--json")
        assert made.code == 0, made.err
    trained = siamese(
        *("train", data, "--pairs", folder / "train" / "train.csv", "--val-pairs", folder / "pairs" / "val.csv"),
        *options,
        *("-o", folder / "model", "--json"),
    )
    assert trained.code == 0, trained.err
    assert trained.json["best"]["auc"] >= trained.json["baseline"]["auc"]
    align = ["--align", "no"] if "--align" in options else []
    tested = siamese(
        "evaluate", folder / "model", "--pairs", folder / "pairs" / "test.csv", "--root", data, *align, "--json"
    )
    assert tested.code == 0, tested.err
    assert tested.json["auc"] > 0.5
    assert siamese("compare", *images, "--model", folder / "model", *align).code == 0
    return sum(counts["identities"] for counts in made.json["files"].values())


@pytest.mark.slow
@pytest.mark.real_data
def test_lfw_ten_folds_with_an_untouched_encoder(siamese: Siamese, lfw_crops: Path, real_data: Path) -> None:
    result = siamese(
        *("evaluate", encoder(real_data), "--protocol", "lfw", "--root", lfw_crops, "--json"),
        *("--pairs", real_data / "data/lfw-protocol/pairs.txt"),
    ).json
    assert result["accuracy"] >= 0.988
    assert result["auc"] >= 0.9975


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.parametrize("head", ["identity-start", "mlp"])
@pytest.mark.parametrize("loss", ["contrastive", "triplet"])
def test_view_1_training_loses_nothing_against_the_untouched_encoder(
    siamese: Siamese, lfw_crops: Path, real_data: Path, tmp_path: Path, loss: str, head: str
) -> None:
    protocol = real_data / "data" / "lfw-protocol"
    trained = siamese(
        *("train", lfw_crops, "--identities", protocol / "peopleDevTrain.txt", "--encoder", encoder(real_data)),
        *("--loss", loss, "--head", head, "--num-pairs", 4000, "--epochs", 2, "-o", tmp_path / "model"),
    )
    assert trained.code == 0, trained.err
    test = ("--pairs", protocol / "pairsDevTest.txt", "--root", lfw_crops, "--json")
    untouched = siamese("evaluate", encoder(real_data), "--val-pairs", protocol / "pairsDevTrain.txt", *test).json
    model = siamese("evaluate", tmp_path / "model", *test).json
    assert model["accuracy"] >= untouched["accuracy"] - 0.005
