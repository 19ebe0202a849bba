"""`siamese verify` gives the scores of `siamese evaluate`, on torch and on an export."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from .conftest import Outcome, Siamese

pytestmark = pytest.mark.real_data

CHECKPOINT = "weights/mobilefacenet_casia_webface.ckpt"
TOLERANCE = 1e-6


def done(outcome: Outcome) -> Outcome:
    assert outcome.code == 0, outcome.err
    return outcome


def compare_scores(siamese: Siamese, model: str, folder: Path, pairs: Path, root: Path, *align: str) -> None:
    """Score the same pairs by `evaluate` and, on torch and on an export in float32, by `verify`."""
    given = ("--pairs", pairs, "--root", root, *align)
    done(siamese("evaluate", model, *given, "-o", folder / "evaluated", "--quiet"))
    expected = pd.read_csv(folder / "evaluated" / "scores.csv")
    same = expected["same"].to_numpy() == 1
    assert expected["similarity"].std() > 0.1, "all alike: nothing is compared"
    assert expected["similarity"][same].mean() > expected["similarity"][~same].mean() + 0.2
    done(siamese("export", model, "-o", folder / "export", *align, "--no-timing", "--quiet"))
    runs = {"torch": (model,), "openvino": (folder / "export", "--precision", "f32")}
    for runtime, (named, *chosen) in runs.items():
        output = folder / f"{runtime}.csv"
        asked = ("--root", root, *align, "--model", named, "--runtime", runtime, *chosen)
        outcome = done(siamese("verify", pairs, *asked, "-o", output, "--json"))
        assert (outcome.json["pairs"], outcome.json["scored"]) == (len(expected), expected["similarity"].count())
        found = pd.read_csv(output)
        for column in ("left", "right"):
            assert found[column].tolist() == expected[column].tolist()
        np.testing.assert_allclose(
            found["similarity"], expected["similarity"], rtol=0, atol=TOLERANCE, err_msg=runtime
        )


def test_on_faces_of_orl(siamese: Siamese, real_data: Path, tmp_path: Path) -> None:
    orl = real_data / "data" / "orl"
    done(siamese("make-pairs", orl, "--num-pairs", 200, "-o", tmp_path / "made", "--quiet"))
    model = f"mobilefacenet@{real_data / CHECKPOINT}"
    compare_scores(siamese, model, tmp_path, tmp_path / "made" / "pairs.csv", orl, "--align", "no")


@pytest.mark.slow
def test_on_the_6000_pairs_of_lfw(siamese: Siamese, real_data: Path, lfw_crops: Path, tmp_path: Path) -> None:
    pairs = real_data / "data" / "lfw-protocol" / "pairs.txt"
    model = f"mobilefacenet@{real_data / CHECKPOINT}"
    compare_scores(siamese, model, tmp_path, pairs, lfw_crops)
    assert len(pd.read_csv(tmp_path / "torch.csv")) == 6000
