"""The commands of the program: each is imported when it is asked for, and all of them for the help."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from siamese_cli.main import COMMANDS, app, run

PROJECT = Path(__file__).parents[2]


def modules_after(*arguments: str) -> set[str]:
    script = f"""
import sys
from siamese_cli.main import run
run({list(arguments)!r})
sys.stderr.write(" ".join(name for name in sys.modules if name.startswith("siamese")))
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(PROJECT), str(PROJECT / "cli")])}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def module_of(command: str) -> str:
    return f"siamese_cli.{command.replace('-', '_')}"


def test_a_command_imports_no_other_command() -> None:
    loaded = modules_after("make-pairs", "--help")
    assert module_of("make-pairs") in loaded
    assert not loaded & {module_of(name) for name in COMMANDS if name != "make-pairs"}


def test_the_help_lists_every_command_in_order_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    listed = re.findall(r"^  ([a-z-]+)  +(\S.*)$", capsys.readouterr().out.partition("Commands:")[2], re.MULTILINE)
    assert tuple(name for name, _ in listed) == COMMANDS
    for name, text in listed:
        function = getattr(import_module(module_of(name)), name.replace("-", "_"))
        first = (function.__doc__ or "").strip().splitlines()[0]
        assert first.startswith(text.removesuffix("...").rstrip()), name


def test_without_arguments_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--help"])
    asked = capsys.readouterr().out
    run([])
    assert capsys.readouterr().out == asked


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_under_its_own_name(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    usage, *_ = capsys.readouterr().out.split("\n\n")[0].strip().splitlines()
    assert re.search(rf"\b{command} \[OPTIONS\]", usage)


def test_a_misspelt_command_is_told_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["make_pairs"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("siamese: No such command 'make_pairs'. Did you mean 'make-pairs'? (see ")
    assert said.count("\n") == 1


def test_what_is_no_command_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["main"]) == 2, "a module beside the commands is none itself"
    assert "No such command 'main'." in capsys.readouterr().err
    assert app.info.name == "siamese"
