import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from siamese.config import TrainConfig, make_train_config
from siamese.errors import OptionError

KNOWN = ", ".join(sorted(TrainConfig.model_fields))


def test_data_is_all_that_is_needed() -> None:
    config = make_train_config({"data": "faces"})
    assert config.data == Path("faces")
    assert (config.loss, config.epochs, config.batch_size, config.seed) == (None, 10, 32, 0)
    assert (config.pairs, config.val_pairs, config.head, config.freeze) == (None, None, None, None)


@pytest.mark.parametrize(
    ("options", "objective"),
    [
        ({}, "contrastive"),
        ({"pair_head": "chi-square"}, "pairwise"),
        ({"pair_head": "chi-square", "loss": "triplet"}, "triplet"),
    ],
)
def test_a_pair_head_learns_by_its_own_logit_unless_told_otherwise(options: dict[str, str], objective: str) -> None:
    assert make_train_config({"data": "d", **options}).objective == objective


def test_values_are_brought_to_their_types() -> None:
    values = {"data": "d", "pairs": "p.csv", "input_size": [112, 96], "lr": 1, "num_pairs": "50"}
    config = make_train_config(values)
    assert (config.pairs, config.input_size, config.lr, config.num_pairs) == (Path("p.csv"), (112, 96), 1.0, 50)


def test_a_configuration_survives_json_and_cannot_be_changed() -> None:
    config = make_train_config(
        {"data": "Bilder/größe", "lr": 0.1 + 0.2, "input_size": (64, 32), "freeze": "3", "embedding_dim": 64}
    )
    assert make_train_config(json.loads(config.model_dump_json())) == config
    with pytest.raises(ValidationError, match="frozen"):
        config.lr = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("epochs", 0, "--epochs 0: input should be greater than or equal to 1"),
        ("epochs", "ten", "--epochs 'ten': input should be a valid integer, unable to parse string as an integer"),
        ("batch_size", 0, "--batch-size 0: input should be greater than or equal to 1"),
        ("lr", 0, "--lr 0: input should be greater than 0"),
        ("lr", float("inf"), "--lr inf: input should be a finite number"),
        ("weight_decay", float("nan"), "--weight-decay nan: input should be a finite number"),
        ("weight_decay", -1.0, "--weight-decay -1.0: input should be greater than or equal to 0"),
        ("val_share", 1.0, "--val-share 1.0: input should be less than 1"),
        ("val_share", 0, "--val-share 0: input should be greater than 0"),
        ("align", "maybe", "--align 'maybe': input should be 'auto', 'yes' or 'no'"),
        ("input_size", [112], "--input-size [112]: field required"),
        ("seed", -1, "--seed -1: input should be greater than or equal to 0"),
        ("batches", "pairs", "--batches 'pairs': input should be 'auto', 'tuples' or 'identities'"),
        ("images_per_identity", 1, "--images-per-identity 1: input should be greater than or equal to 2"),
        ("pair_dropout", 1, "--pair-dropout 1: input should be less than 1"),
        ("ema", 1.0, "--ema 1.0: input should be less than 1"),
        ("clip", 0, "--clip 0: input should be greater than 0"),
        ("layer_decay", 1.5, "--layer-decay 1.5: input should be less than or equal to 1"),
        ("optimizer", "lion", "--optimizer 'lion': input should be 'adamw', 'adam' or 'sgd'"),
        ("on_nonfinite", "warn", "--on-nonfinite 'warn': input should be 'skip', 'lower' or 'stop'"),
        ("track", ["comet"], "--track ['comet']: input should be 'tensorboard', 'wandb' or 'mlflow'"),
        ("val_images", 0, "--val-images 0: input should be greater than or equal to 1"),
        ("devices", 0, "--devices 0: input should be greater than or equal to 1"),
        # torch takes no larger seed.
        ("seed", 2**63, "--seed 9223372036854775808: input should be less than 9223372036854775808"),
    ],
)
def test_a_value_out_of_range_is_said_with_its_option_and_origin(option: str, value: Any, message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)} \\(from run.toml\\)$"):
        make_train_config({"data": "d", option: value}, "run.toml")


@pytest.mark.parametrize(
    ("key", "hint"),
    [("epocs", "did you mean 'epochs'? "), ("batch-size", "did you mean 'batch_size'? "), ("zzz", "")],
)
def test_an_unknown_key_offers_the_nearest(key: str, hint: str) -> None:
    message = f"unknown key in run.toml: {key!r}: {hint}known: {KNOWN}"
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        make_train_config({"data": "d", key: 3}, "run.toml")


def test_the_class_itself_takes_no_unknown_key_either() -> None:
    with pytest.raises(ValidationError, match="epocs"):
        TrainConfig(data=Path("d"), epocs=3)  # type: ignore[call-arg]


@pytest.mark.parametrize("values", [{}, {"loss": "triplet"}])
def test_missing_data_is_named(values: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"^--data: field required \(from run\.toml\)$"):
        make_train_config(values, "run.toml")


def test_the_origin_is_the_options_unless_named() -> None:
    with pytest.raises(OptionError, match=r"\(from options\)$"):
        make_train_config({"data": "d", "epochs": 0})


@pytest.mark.parametrize(
    ("idle", "message", "used"),
    [
        (
            {"momentum": 0.8},
            "--momentum 0.8: belongs to --optimizer sgd, and this run has adamw",
            {"optimizer": "sgd"},
        ),
        (
            {"step_epochs": 2},
            "--step-epochs 2: belongs to --schedule step or plateau, and this run has cosine",
            {"schedule": "plateau"},
        ),
        (
            {"gamma": 0.5},
            "--gamma 0.5: belongs to --schedule step or plateau, and this run has cosine",
            {"schedule": "step"},
        ),
        (
            {"pair_hidden": 8},
            "--pair-hidden 8: belongs to a --pair-head, and this run has none",
            {"pair_head": "product"},
        ),
        (
            {"pair_head": "product", "pair_dropout": 0.5},
            "--pair-dropout 0.5: belongs to --pair-hidden above 0, and this run has 0",
            {"pair_hidden": 4},
        ),
        (
            {"augment": "none", "views": 4},
            "--views 4: belongs to an --augment preset, and this run has none",
            {"augment": "light"},
        ),
        (
            {"align": "no", "face": "center"},
            "--face center: belongs to --align, and this run has no",
            {"align": "yes"},
        ),
    ],
)
def test_an_option_that_nothing_would_look_at_is_refused(
    idle: dict[str, Any], message: str, used: dict[str, Any]
) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}; leave it out$"):
        make_train_config({"data": "d", **idle})
    make_train_config({"data": "d", **idle, **used})


def test_the_default_of_an_idle_option_is_accepted_as_a_saved_configuration_names_them_all() -> None:
    saved = make_train_config({"data": "d", "align": "no", "augment": "none"}).model_dump(mode="json")
    assert make_train_config(saved).face == "auto"
