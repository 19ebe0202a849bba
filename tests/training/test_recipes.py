"""The recipes: short files that the program can run as they are."""

from pathlib import Path

import pytest

from siamese.config import TrainConfig, make_train_config
from siamese.config_file import read_config_file
from siamese.encoders.registry import create_encoder
from siamese.encoders.weights import ENTRIES
from siamese.images.augment import augmenter
from siamese.losses.loss import LossSize
from siamese.losses.registry import parse_objective
from siamese.training.build import batch_kind, build_network

PROJECT = Path(__file__).parents[2]
RECIPES = sorted((PROJECT / "recipes").glob("*.yaml"))
NAMES = [path.stem for path in RECIPES]


def config_of(path: Path) -> TrainConfig:
    values = read_config_file(path)
    taught = {"teacher": "model"} if "distill" in str(values.get("loss")) else {}  # whose, is for the user to say
    return make_train_config({**values, "data": "faces", **taught}, path.name)


def test_every_known_system_has_a_recipe() -> None:
    known = {"frozen_chi_square", "inception_contrastive", "inception_triplet", "convnext_atto_distorted"}
    known |= {"mobilefacenet_cbam_arcface", "classifier_then_verification", "omniglot", "distortion_head"}
    assert known <= set(NAMES)


@pytest.mark.parametrize("path", RECIPES, ids=NAMES)
def test_a_recipe_names_what_there_is(path: Path) -> None:
    config = config_of(path)
    augmenter(config.augment)
    spec = parse_objective(config.objective)
    name, _, tag = config.encoder.partition("@")
    if tag and tag != "random":
        assert (name, tag) in {(entry.encoder, entry.tag) for entry in ENTRIES}
    # Its weights apart, which are downloaded.
    network = build_network(create_encoder(f"{name}@random", input_size=config.input_size), config)
    spec.build(LossSize(network.embedding_dim, 10), network.pair_head)
    expected = "images" if spec.teacher else "identities" if config.batches == "identities" else "pairs"
    assert batch_kind(config, spec) == expected


@pytest.mark.parametrize("path", RECIPES, ids=NAMES)
def test_a_recipe_is_short_says_its_source_and_leaves_the_data_to_the_user(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    values = read_config_file(path)
    assert text.startswith("# ")
    assert "docs/results.md" in text
    assert len(text.splitlines()) <= 25
    assert not {"data", "pairs", "val_pairs", "device", "workers", "cache"} & values.keys()


def test_a_recipe_can_be_turned_by_the_command_line() -> None:
    values = {**read_config_file(PROJECT / "recipes" / "omniglot.yaml"), "data": "omniglot", "epochs": 1}
    assert make_train_config(values).epochs == 1
    assert config_of(PROJECT / "recipes" / "omniglot.yaml").align == "no"
