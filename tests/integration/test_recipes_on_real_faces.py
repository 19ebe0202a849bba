"""What the recipes promise on real faces, and the identity head."""

from pathlib import Path

import pytest

from .conftest import REPOSITORY, Siamese

RECIPES = REPOSITORY / "recipes"


def encoder(real_data: Path) -> str:
    return f"mobilefacenet@{real_data / 'weights/mobilefacenet_casia_webface.ckpt'}"


@pytest.mark.real_data
def test_the_identity_head_names_the_people_of_orl(siamese: Siamese, real_data: Path, tmp_path: Path) -> None:
    (tmp_path / "orl").symlink_to(real_data / "data" / "orl")
    images = sorted((tmp_path / "orl").glob("*/*.pgm"))
    for name, kept in (("train", range(1, 8)), ("test", range(8, 11))):
        rows = [f"orl/{each.parent.name}/{each.name},{each.parent.name}" for each in images if int(each.stem) in kept]
        (tmp_path / f"{name}.csv").write_text("\n".join(["path,identity", *rows]) + "\n")
    options = ("--encoder", encoder(real_data), "--align", "no", "--loss", "arcface", "--val-images", 2)
    trained = siamese(
        "train", tmp_path / "train.csv", *options, "--epochs", 4, "--lr", 1e-3, "-o", tmp_path / "model"
    )
    assert trained.code == 0, trained.err
    result = siamese("classify", tmp_path / "test.csv", "--model", tmp_path / "model", "--align", "no", "--json").json
    assert (result["images"], result["judged"]) == (120, 120)
    assert result["top1"] >= 0.97


@pytest.mark.slow
@pytest.mark.real_data
def test_frozen_features_under_a_chi_square_head_verify_view_1(
    siamese: Siamese, lfw_crops: Path, real_data: Path, tmp_path: Path
) -> None:
    protocol = real_data / "data" / "lfw-protocol"
    trained = siamese(
        *("train", lfw_crops, "--identities", protocol / "peopleDevTrain.txt", "--encoder", encoder(real_data)),
        *("--config", RECIPES / "frozen_chi_square.yaml", "-o", tmp_path / "model", "--json"),
    )
    assert trained.code == 0, trained.err
    assert trained.json["cached_features"]
    result = siamese(
        *("evaluate", tmp_path / "model", "--pairs", protocol / "pairsDevTest.txt", "--root", lfw_crops, "--json")
    ).json
    assert result["f1"] >= 0.95
    assert result["auc"] >= 0.98
