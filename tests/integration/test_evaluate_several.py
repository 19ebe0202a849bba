"""Several models on the same pairs, and parts of the pairs, through `siamese evaluate`."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from .conftest import Siamese

ENCODER = "timm/test_resnet@random"


def test_several_models_are_compared_with_the_first_on_the_same_pairs(
    siamese: Siamese, faces: Path, pairs: Path, model: Path, tmp_path: Path
) -> None:
    test = ("--pairs", pairs / "test.csv", "--root", faces)
    result = siamese("evaluate", model, model, *test, "-o", tmp_path / "out", "--json").json
    assert [each["model"] for each in result["models"]] == [str(model)] * 2
    alone = siamese("evaluate", model, *test, "--json").json
    for each in result["models"]:
        assert {key: each[key] for key in ("auc", "accuracy", "eer")} == {
            key: alone[key] for key in ("auc", "accuracy", "eer")
        }
    (comparison,) = result["comparisons"]
    assert comparison["pairs"] == alone["pairs"]
    for difference in comparison["differences"].values():
        if difference["difference"] is not None:
            assert difference["difference"] == 0
            assert difference["verdict"] == "no significant difference"
    assert comparison["mcnemar"]["verdict"] == "no significant difference"
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["comparisons"] == result["comparisons"]
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.csv"))
    assert written == [f"1-{model.name}/scores.csv", f"2-{model.name}/scores.csv"]
    text = siamese("evaluate", model, model, *test).out
    assert f"{model} - {model}" in text
    assert "no significant difference (McNemar)" in text


def test_parts_are_measured_by_a_column_of_pairs_and_by_one_of_images(
    siamese: Siamese, faces: Path, pairs: Path, model: Path, tmp_path: Path
) -> None:
    table = pd.read_csv(pairs / "test.csv")
    table["light"] = np.where(np.arange(len(table)) % 3, "day", "night")
    for side in ("left", "right"):
        table[f"{side}_pose"] = np.where(table[side].str[-5].astype(int) % 2, "frontal", "profile")
    table.to_csv(tmp_path / "pairs.csv", index=False)
    options = ("--pairs", tmp_path / "pairs.csv", "--root", faces, "--by", "light", "--by", "pose")
    outcome = siamese("evaluate", model, *options, "-o", tmp_path / "out", "--json")
    assert outcome.code == 0, outcome.err
    scores = pd.read_csv(tmp_path / "out" / "scores.csv")
    light, pose = outcome.json["parts"]
    assert light["column"] == "light" and light["false_matches"] is None
    merits = [part["balanced_accuracy"] for part in light["parts"] if part["insufficient"] is None]
    assert merits == sorted(merits), "the worst part comes first"
    for part in light["parts"]:
        rows = scores[scores["light"] == part["value"]]
        assert part["pairs"] == len(rows)
        if part["insufficient"] is None:
            assert part["auc"] == pytest.approx(roc_auc_score(rows["same"], rows["similarity"]), abs=1e-6)
            expected = balanced_accuracy_score(rows["same"].astype(int), rows["accepted"])
            assert part["balanced_accuracy"] == pytest.approx(expected)
    assert {part["value"] for part in pose["parts"]} == {
        "frontal | frontal", "frontal | profile", "profile | profile"
    }  # fmt: skip
    assert sum(part["pairs"] for part in pose["parts"]) == len(table)
    assert sum(cell["impostors"] for cell in pose["false_matches"]) == int((~table["same"].astype(bool)).sum())
    assert "by light" in siamese("evaluate", model, *options).out


def test_a_column_that_is_not_there_is_named_with_those_that_are(
    siamese: Siamese, faces: Path, pairs: Path, model: Path
) -> None:
    outcome = siamese("evaluate", model, "--pairs", pairs / "test.csv", "--root", faces, "--by", "pose")
    assert outcome.code == 2
    assert (
        "--by pose: no such column, nor left_pose and right_pose; the pair file has left, right, same" in outcome.err
    )


def test_the_report_of_an_evaluation_shows_figures_charts_slices_and_mistakes_and_needs_no_network(
    siamese: Siamese, faces: Path, pairs: Path, model: Path, tmp_path: Path
) -> None:
    table = pd.read_csv(pairs / "test.csv")
    table["light"] = np.where(np.arange(len(table)) % 3, "day", "night")
    table.to_csv(tmp_path / "pairs.csv", index=False)
    options = ("--pairs", tmp_path / "pairs.csv", "--root", faces, "--by", "light", "-o", tmp_path / "out", "--json")
    result = siamese("evaluate", model, *options).json
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for part in (
        f"{100 * result['accuracy']:.2f} %",
        f"{result['auc']:.4f}",
        "light",
        "night",
        "The hardest mistakes",
    ):
        assert part in page
    assert page.count("data:image/jpeg") >= 2, "mistakes are shown as pictures"
    assert not re.findall(r"(?:src|href)=[\"'](?!data:|#)", page)
    charts = {path.stem for path in (tmp_path / "out" / "charts").iterdir()}
    assert {"roc", "det", "reliability", "slices-1"} <= charts
    assert any(name.startswith("training") for name in charts), "the run folder lies beside the model"
    plain = siamese("evaluate", model, *options[:-3], "-o", tmp_path / "plain", "--no-report")
    assert plain.code == 0, plain.err
    assert sorted(path.name for path in (tmp_path / "plain").iterdir()) == ["metrics.json", "scores.csv"]
