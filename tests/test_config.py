import json
import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from siamese.config import TrainConfig, make_train_config, read_config_file
from siamese.errors import OptionError

KNOWN = ", ".join(sorted(TrainConfig.model_fields))


def test_data_is_all_that_is_needed() -> None:
    config = make_train_config({"data": "faces"})
    assert config.data == Path("faces")
    assert (config.loss, config.epochs, config.batch_size, config.seed) == ("contrastive", 10, 32, 0)
    assert (config.pairs, config.val_pairs, config.head, config.freeze) == (None, None, None, None)


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
    ("name", "text"),
    [
        ("run.toml", 'loss = "triplet+margin=0.2"\nepochs = 3\ninput_size = [112, 96]\n'),
        ("run.json", '{"loss": "triplet+margin=0.2", "epochs": 3, "input_size": [112, 96]}'),
        ("RUN.JSON", '{"loss": "triplet+margin=0.2", "epochs": 3, "input_size": [112, 96]}'),
        ("run", 'loss = "triplet+margin=0.2"\nepochs = 3\ninput_size = [112, 96]\n'),
    ],
)
def test_options_are_read_from_toml_and_json(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    values = read_config_file(tmp_path / name)
    assert values == {"loss": "triplet+margin=0.2", "epochs": 3, "input_size": [112, 96]}
    assert make_train_config(values | {"data": "d"}).input_size == (112, 96)


def test_what_was_resolved_can_be_read_again(tmp_path: Path) -> None:
    config = make_train_config({"data": "d", "identities": "people.txt", "num_pairs": 7})
    (tmp_path / "config.json").write_text(config.model_dump_json(indent=2), encoding="utf-8")
    assert make_train_config(read_config_file(tmp_path / "config.json")) == config


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("run.toml", b"loss = ", "not valid TOML ("),
        ("run.json", b"{'loss': 1}", "not valid JSON ("),
        ("run.txt", b"loss: triplet", "not valid TOML ("),
        ("run.toml", b"loss = '\xff'", "not valid TOML ("),
        ("run.json", b"[1, 2]", "expected a table of options, found a list"),
        ("run.json", b"null", "expected a table of options, found a NoneType"),
    ],
)
def test_a_file_that_holds_no_options_is_refused(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(OptionError, match=f"^{re.escape(f'--config {tmp_path / name}: {message}')}"):
        read_config_file(tmp_path / name)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    message = f"--config {tmp_path / 'none.toml'}: cannot be read (No such file or directory)"
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        read_config_file(tmp_path / "none.toml")
    with pytest.raises(OptionError, match=rf"^--config {re.escape(str(tmp_path))}: cannot be read \("):
        read_config_file(tmp_path)
