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
PAIRS = 10_000


@pytest.mark.slow
@pytest.mark.real_data
def test_the_recipe_verifies_characters_of_unseen_alphabets_better_than_published(
    siamese: Siamese, omniglot: Path, tmp_path: Path
) -> None:
    background, evaluation = omniglot / "images_background", omniglot / "images_evaluation"
    held_out = sorted(folder.name for folder in background.iterdir())[5::6]
    validation = pairs_within_alphabets(siamese, background, held_out, tmp_path / "val")
    trained = siamese(
        *("train", background, "--config", RECIPE, "--val-pairs", validation),
        *("-o", tmp_path / "model", "--json"),
    )
    assert trained.code == 0, trained.err
    seen = pd.read_csv(tmp_path / "model" / "run" / "images.csv")["identity"].str.split("/").str[0]
    assert seen.nunique() == 25
    assert not set(seen) & {*held_out, *(folder.name for folder in evaluation.iterdir())}

    everything = tmp_path / "any" / "pairs.csv"
    made = siamese("make-pairs", evaluation, *DEPTH, "--num-pairs", PAIRS, "-o", everything.parent, "--json")
    assert made.code == 0, made.err
    alphabets = sorted(folder.name for folder in evaluation.iterdir())
    within = pairs_within_alphabets(siamese, evaluation, alphabets, tmp_path / "within")
    for pairs, expected in ((everything, PUBLISHED), (within, 0.90)):
        measured = siamese("evaluate", tmp_path / "model", "--pairs", pairs, "--root", evaluation, "--json")
        assert measured.code == 0, measured.err
        result = measured.json
        assert (result["genuine"], result["impostor"]) == (PAIRS // 2, PAIRS // 2)
        assert result["threshold_from"] == "validation (accuracy)"
        assert result["accuracy"] > expected


def pairs_within_alphabets(siamese: Siamese, images: Path, alphabets: list[str], folder: Path) -> Path:
    """Pairs of every character of some alphabets, as many of either kind, both sides of one alphabet."""
    found = [image.relative_to(images) for name in alphabets for image in sorted((images / name).glob("*/*.png"))]
    rows = [f"{each.as_posix()},{each.parent.as_posix()},{each.parts[0]}" for each in found]
    manifest = images / f"{folder.name}.csv"
    manifest.write_text("\n".join(["path,identity,alphabet", *rows]) + "\n", encoding="utf-8")
    within = ("--group-by", "alphabet", "--groups", "within")
    made = siamese("make-pairs", manifest, *within, "--num-pairs", PAIRS, "-o", folder, "--json")
    assert made.code == 0, made.err
    table = pd.read_csv(folder / "pairs.csv")
    assert (table["left_group"] == table["right_group"]).all()
    assert set(table["left_group"]) == set(alphabets)
    return folder / "pairs.csv"


@pytest.fixture(scope="module")
def omniglot(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("omniglot")
    with tarfile.open(real_data / "data" / "omniglot.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "omniglot"
