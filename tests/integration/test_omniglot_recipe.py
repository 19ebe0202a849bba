"""Omniglot by its recipe: from random weights to characters of alphabets that training never saw."""

import tarfile
from pathlib import Path

import pandas as pd
import pytest

from .conftest import REPOSITORY, Siamese

RECIPE = REPOSITORY / "recipes" / "omniglot.yaml"
# Koch et al., "Siamese Neural Networks for One-shot Image Recognition", 2015, table 1: the best of their networks.
PUBLISHED = 0.9342
DEPTH = ("--identity-depth", "2")


@pytest.mark.slow
@pytest.mark.real_data
def test_the_recipe_verifies_characters_of_unseen_alphabets_better_than_published(
    siamese: Siamese, omniglot: Path, tmp_path: Path
) -> None:
    background, evaluation = omniglot / "images_background", omniglot / "images_evaluation"
    held_out = sorted(folder.name for folder in background.iterdir())[5::6]
    validation = make_validation_pairs(siamese, background, held_out, tmp_path)
    trained = siamese(
        *("train", background, "--config", RECIPE, "--val-pairs", validation),
        *("-o", tmp_path / "model", "--json"),
    )
    assert trained.code == 0, trained.err
    seen = pd.read_csv(tmp_path / "model" / "run" / "images.csv")["identity"].str.split("/").str[0]
    assert seen.nunique() == 25
    assert not set(seen) & {*held_out, *(folder.name for folder in evaluation.iterdir())}

    pairs = ("--num-pairs", 10_000, "-o", tmp_path / "test", "--json")
    made = siamese("make-pairs", evaluation, *DEPTH, *pairs)
    assert made.code == 0, made.err
    measured = siamese(
        *("evaluate", tmp_path / "model", "--pairs", tmp_path / "test" / "pairs.csv"),
        *("--root", evaluation, "--json"),
    )
    assert measured.code == 0, measured.err
    result = measured.json
    assert (result["genuine"], result["impostor"]) == (5000, 5000)
    assert result["threshold_from"] == "validation (accuracy)"
    assert result["accuracy"] > PUBLISHED


def make_validation_pairs(siamese: Siamese, background: Path, alphabets: list[str], folder: Path) -> Path:
    """Pairs of every character of whole alphabets, as many of either kind."""
    characters = [f"{name}/{child.name}" for name in alphabets for child in sorted((background / name).iterdir())]
    listed = folder / "validation.txt"
    listed.write_text("\n".join(characters) + "\n", encoding="utf-8")
    made = siamese(
        *("make-pairs", background, *DEPTH, "--identities", listed),
        *("--num-pairs", 10_000, "-o", folder / "val", "--json"),
    )
    assert made.code == 0, made.err
    assert made.json["files"]["pairs.csv"]["identities"] == len(characters)
    return folder / "val" / "pairs.csv"


@pytest.fixture(scope="module")
def omniglot(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("omniglot")
    with tarfile.open(real_data / "data" / "omniglot.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "omniglot"
