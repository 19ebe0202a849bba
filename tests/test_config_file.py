import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from siamese.config import TrainConfig, make_train_config
from siamese.config_file import config_text, read_config_file, write_config_file
from siamese.errors import OptionError

RNG = np.random.default_rng(7)
OPTIONS = {"loss": "triplet+margin=0.2", "epochs": 3, "input_size": [112, 96]}
TOML = 'loss = "triplet+margin=0.2"\nepochs = 3\ninput_size = [112, 96]\n'
YAML = "# a comment\nloss: triplet+margin=0.2\nepochs: 3 # three\ninput_size: [112, 96]\n"


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("run.toml", TOML),
        ("run", TOML),
        ("run.json", json.dumps(OPTIONS)),
        ("RUN.JSON", json.dumps(OPTIONS)),
        ("run.yaml", YAML),
        ("run.yml", YAML),
        ("Run.YAML", YAML.replace("\n", "\r\n")),
        ("run.yaml", "\ufeff" + YAML),
        ("run.yaml", json.dumps(OPTIONS)),
    ],
)
def test_options_are_read_from_each_form(tmp_path: Path, name: str, text: str) -> None:
    assert read_config_file(write(tmp_path / name, text)) == OPTIONS


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("off", "off"),
        ("1:9", "1:9"),
        ("2024-01-31", "2024-01-31"),
        ("1_000", "1_000"),
        ("<<", "<<"),
        ("true", True),
        ("False", False),
        ("1e-4", 1e-4),
        ("1E+3", 1000.0),
        ("-.5", -0.5),
        ("2.", 2.0),
        ("007", 7),
        ("-12", -12),
        ("", None),
        ("~", None),
        ("null", None),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ('"3"', "3"),
        ("[1, no, 2e-1]", [1, "no", 0.2]),
    ],
)
def test_yaml_values_are_those_of_the_core_schema(tmp_path: Path, text: str, value: Any) -> None:
    found = read_config_file(write(tmp_path / "run.yaml", f"key: {text}\n"))["key"]
    assert (found, type(found)) == (value, type(value))


def test_the_words_of_options_reach_the_configuration_unharmed(tmp_path: Path) -> None:
    text = "data: d\nalign: no\ncache: off\nratio: 1:9\nlr: 1e-4\nsame_label: yes\n"
    config = make_train_config(read_config_file(write(tmp_path / "run.yaml", text)))
    assert (config.align, config.cache, config.ratio, config.lr, config.same_label) == (
        "no",
        "off",
        "1:9",
        1e-4,
        "yes",
    )


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("run.toml", b"loss = ", "not valid TOML ("),
        ("run.txt", b"loss: triplet", "not valid TOML ("),
        ("run.toml", b"loss = '\xff'", "not valid TOML ("),
        ("run.toml", b"lr = 1\nlr = 2", "not valid TOML ("),
        ("run.json", b"{'loss': 1}", "not valid JSON ("),
        ("run.json", b'{"a": 1, "lr": 1, "lr": 2}', "not valid JSON (the key 'lr' is given twice)"),
        ("run.json", b"[" * 100_000, "not valid JSON (nested too deeply)"),
        ("run.json", b"[1, 2]", "expected a table of options, found a list"),
        ("run.json", b"null", "expected a table of options, found nothing"),
        ("run.yaml", b"", "expected a table of options, found nothing"),
        ("run.yaml", b"# nothing\n", "expected a table of options, found nothing"),
        ("run.yaml", b"loss", "expected a table of options, found a str"),
        ("run.yaml", b"- loss\n", "expected a table of options, found a list"),
        ("run.yaml", b"lr: 1\nepochs: 3\nlr: 2\n", "not valid YAML (line 3: the key 'lr' is given twice)"),
        ("run.yaml", b"lr: 1\n'lr': 2\n", "not valid YAML (line 2: the key 'lr' is given twice)"),
        ("run.yaml", b"a: {b: 1, b: 2}\n", "not valid YAML (line 1: the key 'b' is given twice)"),
        ("run.yaml", b"a: &x [1]\nb: *x\n", "not valid YAML (line 2: aliases (*NAME) are not taken; write the value"),
        ("run.yaml", b"a: [1,\nb: 2\n", "not valid YAML (line 3, column 1: "),
        ("run.yaml", b"\tlr: 1\n", "not valid YAML (line 1, column 1: "),
        ("run.yaml", b"a: 1\n---\nb: 2\n", "not valid YAML (line 2, column 1: but found another document)"),
        ("run.yaml", b"a: \x00\n", "not valid YAML (special characters are not allowed)"),
        ("run.yaml", b"a: \xff\n", "not valid YAML ("),
        ("run.yaml", b"a: " + b"[" * 100_000, "not valid YAML (nested too deeply)"),
        ("run.yaml", b"3: 1\n", "the key 3 is no name of an option; expected NAME: value"),
        ("run.yaml", b"a: !!python/object/apply:os.getcwd []\n", "not valid YAML (line 1, column 4: could not deter"),
        (
            "run.yaml",
            b"a: !!python/name:os.system\n",
            "not valid YAML (line 1, column 4: could not determine a const",
        ),
        ("run.yaml", b"? [1, 2]\n: 3\n", "not valid YAML (line 1, column 3: found unhashable key)"),
    ],
)
def test_a_file_that_holds_no_options_is_refused_in_one_line(
    tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    path = write(tmp_path / name, data)
    with pytest.raises(OptionError, match=f"^{re.escape(f'--config {path}: {message}')}") as caught:
        read_config_file(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    message = f"--config {tmp_path / 'none.yaml'}: cannot be read (No such file or directory)"
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        read_config_file(tmp_path / "none.yaml")
    with pytest.raises(OptionError, match=rf"^--config {re.escape(str(tmp_path))}: cannot be read \("):
        read_config_file(tmp_path)


AWKWARD = [
    *(
        "",
        " ",
        "no",
        "Yes",
        "off",
        "null",
        "~",
        "true",
        "1e5",
        "1E-3",
        "0o17",
        "0x1F",
        "1_0",
        "007",
        ".5",
        "5.",
        "1:9",
    ),
    *(".inf", "2024-01-31", "<<", "=", "*a", "&a", "!a", "%a", "@a", "`a", "- a", "a: b", "a #b", "'", '"', "[", "{"),
    *("Bilder/größe", "顔/写真", "two\nlines", "tab\t", "\x7f", "\udc80", "\U0001f600", "x" * 500, "a " * 300, "---"),
    *("contrastive+margin=1.4:0.5", "mobilefacenet@C:\\weights\\face.ckpt", "\\n", "\u2028"),
]


@pytest.mark.parametrize("text", AWKWARD)
def test_any_text_comes_back_as_it_was_by_either_version_of_yaml(tmp_path: Path, text: str) -> None:
    values = {"one": text, "many": [text, "plain"]}
    write_config_file(tmp_path / "run.yaml", values)
    assert read_config_file(tmp_path / "run.yaml") == values
    assert yaml.safe_load(config_text(values)) == values


def test_random_text_and_numbers_come_back_as_they_were(tmp_path: Path) -> None:
    letters = np.array(list("aeEnNoOyYtTfF01289.:+-_x~ #'\"[]{},&*!|>%@`\\\näß"))
    texts = ["".join(RNG.choice(letters, RNG.integers(0, 9))) for _ in range(2000)]
    numbers = [float(number) for number in 10.0 ** RNG.uniform(-300, 300, 200)]
    values = {
        "texts": texts,
        "numbers": [*numbers, 1e-05, 1e22, -0.0, 0.1 + 0.2, 2**63 - 1, -5],
        "none": [None, True],
    }
    write_config_file(tmp_path / "run.yaml", values)
    assert read_config_file(tmp_path / "run.yaml") == values


def test_a_resolved_configuration_repeats_the_run(tmp_path: Path) -> None:
    config = make_train_config(
        {"data": "Bilder/größe", "lr": 1e-5, "input_size": [64, 32], "align": "no", "freeze": "3"}
    )
    write_config_file(tmp_path / "config.yaml", config.model_dump(mode="json"))
    assert make_train_config(read_config_file(tmp_path / "config.yaml")) == config


def test_what_differs_from_the_defaults_stands_first() -> None:
    defaults = {name: field.default for name, field in TrainConfig.model_fields.items()}
    text = config_text(make_train_config({"data": "d", "lr": 0.5}).model_dump(mode="json"), defaults)
    chosen, heading, usual = text.partition("\n# as they are unless given\n")
    lines = chosen.splitlines()
    assert (lines[0][:2], lines[1:], heading != "") == ("# ", ["data: d", "lr: 0.5"], True)
    assert "epochs: 10\n" in usual
    assert config_text({"a": 1}).splitlines()[1:] == ["a: 1"]
    assert config_text({"a": 1}, {"a": 1}).splitlines()[1:] == ["", "# as they are unless given", "a: 1"]


def test_reading_changes_nothing_for_other_users_of_yaml(tmp_path: Path) -> None:
    read_config_file(write(tmp_path / "run.yaml", "a: no\n"))
    config_text({"a": "1e5"})
    assert yaml.safe_load("a: no\nb: 1e5\nc: &x [1]\nd: *x\n") == {"a": False, "b": "1e5", "c": [1], "d": [1]}


def test_importing_it_loads_nothing_heavy() -> None:
    script = "import sys, siamese.config_file; print(*sorted({'torch', 'pandas', 'yaml'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("", "")
