"""Scoring pair tables whose images are missing, damaged or come to nothing."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from siamese.errors import ModelError, PairFileError
from siamese.inference import scoring
from siamese.inference.scoring import score_pairs
from siamese.inference.verifier import Verifier


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for name in "abcd":
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def verifier() -> Verifier:
    torch.manual_seed(0)
    return Verifier.load("timm/test_resnet@random", device="cpu", input_size=(32, 32))


def pairs(*rows: str) -> pd.DataFrame:
    names = [[f"{name}.png" for name in row] for row in rows]
    return pd.DataFrame(names, columns=["left", "right"]).assign(same=True)


def test_missing_images_fail_their_pairs_and_no_others(verifier: Verifier, photos: Path) -> None:
    table = pairs("ab", "xb", "cd", "ay", "xy")
    found = score_pairs(verifier, table, photos, "p.csv", missing="fail")
    assert found.scored.tolist() == [True, False, True, False, False]
    whole = score_pairs(verifier, pairs("ab", "cd"), photos, "p.csv")
    np.testing.assert_allclose(found.scores[found.scored], whole.scores, atol=1e-6)
    assert [image for image, _ in found.failures] == ["x.png", "y.png"]
    assert "no such file" in found.failures[0][1].detail


def test_missing_images_are_an_error_unless_they_may_fail(verifier: Verifier, photos: Path) -> None:
    with pytest.raises(PairFileError, match=r"^p\.csv row 2: column left names 'x\.png', which is no file below "):
        score_pairs(verifier, pairs("ab", "xb"), photos, "p.csv")


def test_not_one_image_there_is_a_wrong_root(verifier: Verifier, tmp_path: Path) -> None:
    with pytest.raises(PairFileError, match=r"1 other image is missing too; check the root folder$"):
        score_pairs(verifier, pairs("ab"), tmp_path, "p.csv", missing="fail")


def test_blocks_change_nothing(verifier: Verifier, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = pairs("ab", "ac", "ad", "bc", "bd", "cd", "aa")
    whole = score_pairs(verifier, table, photos, "p.csv").scores
    monkeypatch.setattr(scoring, "BLOCK", 2)
    np.testing.assert_array_equal(score_pairs(verifier, table, photos, "p.csv").scores, whole)


def test_weights_that_are_no_numbers_are_a_damaged_model(verifier: Verifier, photos: Path) -> None:
    with torch.no_grad():
        next(verifier.network.encoder.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match="makes no numbers of any image, its weights are damaged"):
        score_pairs(verifier, pairs("ab"), photos, "p.csv")


def test_an_image_of_which_no_numbers_come_fails_alone(
    verifier: Verifier, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = verifier.embed

    def with_one_nan(sources: list[Path]) -> object:
        found = embed(sources)
        found.vectors[[source.name for source in sources].index("b.png")] = np.nan
        return found

    monkeypatch.setattr(verifier, "embed", with_one_nan)
    found = score_pairs(verifier, pairs("ab", "cd"), photos, "p.csv")
    assert found.scored.tolist() == [False, True]
    assert [(image, outcome.detail) for image, outcome in found.failures] == [
        ("b.png", "the model makes no numbers of it")
    ]
