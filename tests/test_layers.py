"""An image flows downwards: who may import whom, read from the source without running it."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

# From the top of the house down; a room imports from itself, from those before it, and from the ground floor.
ROOMS = (
    *("pairing", "images", "heads", "encoders", "losses", "evaluation"),
    *("model", "training", "inference", "report", "gallery", "demo", "doctor"),
)
GROUND_FLOOR = (
    *("errors", "config", "config_file", "idle_options", "similarity", "text_file"),
    *("atomic", "progress", "device", "cache_folder", "installed"),
    *("full_disk", "openvino_library", "openvino_files", "openvino_streams"),
)
# Seconds to import: the command line and what it shares with every room wait for them only where they are needed.
HEAVY = ("torch", "torchvision", "pandas", "lightning", "albumentations", "sklearn")
PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Import:
    """A module that a file imports, and whether importing the file already loads it."""

    module: str
    line: int
    at_once: bool


def violations(project: Path) -> list[str]:
    """What breaks the layers in `project/siamese` and `project/cli/siamese_cli`, one line each."""
    found = []
    for path in sorted((project / "siamese").rglob("*.py")):
        where = path.relative_to(project)
        found += [f"{where}:{item.line}: {reason}" for item, reason in _of_library(where, project)]
    for path in sorted((project / "cli").rglob("*.py")):
        where = path.relative_to(project)
        found += [f"{where}:{item.line}: {reason}" for item, reason in _heavy(imports(project / where, where))]
    return found


def _of_library(where: Path, project: Path) -> Iterator[tuple[Import, str]]:
    home = where.with_suffix("").parts[1]
    upstairs = home in ROOMS
    if not upstairs and home not in (*GROUND_FLOOR, "__init__"):
        yield Import(home, 1, True), f"{home} is neither a room nor of the ground floor"
    items = imports(project / where, where)
    for item in items:
        package, _, rest = item.module.partition(".")
        room = rest.partition(".")[0]
        if package == "siamese_cli":
            yield item, "the library imports the command line"
        if package == "siamese" and room in ROOMS:
            if not upstairs:
                if item.at_once or home != "__init__":  # what the package offers is imported when it is asked for
                    yield item, f"the ground floor imports the room {room}"
            elif ROOMS.index(room) > ROOMS.index(home):
                yield item, f"{home} imports {room}, a room below it"
    if not upstairs:
        yield from _heavy(items)


def _heavy(items: list[Import]) -> Iterator[tuple[Import, str]]:
    for item in items:
        if item.at_once and item.module.partition(".")[0] in HEAVY:
            yield item, f"{item.module} is imported at module level"


def imports(path: Path, where: Path) -> list[Import]:
    """Every import of a file: at its top, inside functions, and those for the type checker alone.

    Args:
        path: the file.
        where: its path below the project, which decides what its relative imports mean.
    """
    package = where.parent.parts[1:] if where.parts[0] == "cli" else where.parent.parts
    return list(_walk(ast.parse(path.read_text(encoding="utf-8")), package, at_once=True))


def _walk(node: ast.AST, package: tuple[str, ...], *, at_once: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        yield from (Import(name.name, node.lineno, at_once) for name in node.names)
    if isinstance(node, ast.ImportFrom):
        above = package[: len(package) - node.level + 1] if node.level else ()
        base = ".".join([*above, *filter(None, [node.module])])
        # What is imported from a package may be a module of it.
        yield from (Import(f"{base}.{name.name}", node.lineno, at_once) for name in node.names)
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        at_once = False
    for field, value in ast.iter_fields(node):
        later = field == "body" and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from _walk(child, package, at_once=at_once and not later)


def test_the_house_keeps_its_layers() -> None:
    assert violations(PROJECT) == []


def test_the_house_is_really_read() -> None:
    items = [
        item
        for path in (PROJECT / "siamese").rglob("*.py")
        for item in imports(path, path.relative_to(PROJECT))
        if item.module.startswith("siamese.")
    ]
    assert len(items) > 50
    assert any(not item.at_once for item in items)


SOUND = {
    "siamese/__init__.py": "__version__ = '1'\n",
    "siamese/errors.py": "import json\n",
    "siamese/device.py": "from siamese.errors import E\n\ndef f():\n    import torch\n",
    "siamese/pairing/table.py": "import pandas\nfrom siamese.errors import E\nfrom siamese import __version__\n",
    "siamese/images/decode.py": "import torch\nfrom siamese.pairing.table import T\nfrom .faces import F\n",
    "siamese/training/fit.py": "from siamese import images\nfrom ..pairing import table\n",
    "cli/siamese_cli/main.py": "import typer\nfrom siamese.training.fit import f\n\ndef main():\n    import torch\n",
    "cli/siamese_cli/types.py": "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    import pandas\n",
}


def build(project: Path, files: dict[str, str]) -> Path:
    for name, source in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(source)
    return project


def test_a_sound_house_has_no_violations(tmp_path: Path) -> None:
    assert violations(build(tmp_path, SOUND)) == []


@pytest.mark.parametrize(
    ("file", "source", "expected"),
    [
        ("siamese/images/a.py", "import siamese.model.network", "1: images imports model, a room below it"),
        ("siamese/images/a.py", "from siamese import heads", "1: images imports heads, a room below it"),
        ("siamese/images/a.py", "from siamese.encoders import x", "1: images imports encoders, a room below it"),
        ("siamese/pairing/a.py", "from ..images import decode", "1: pairing imports images, a room below it"),
        ("siamese/pairing/b/c.py", "from ...images import decode", "1: pairing imports images, a room below it"),
        ("siamese/pairing/a.py", "from .. import images", "1: pairing imports images, a room below it"),
        (
            "siamese/heads/a.py",
            "def f():\n    from siamese.losses.registry import x",
            "2: heads imports losses, a room below it",
        ),
        (
            "siamese/evaluation/a.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from siamese.model.network import N",
            "3: evaluation imports model, a room below it",
        ),
        (
            "siamese/model/a.py",
            "try:\n    import siamese.demo.render as r\nexcept ImportError:\n    r = None",
            "2: model imports demo, a room below it",
        ),
        ("siamese/errors.py", "from siamese.images import decode", "1: the ground floor imports the room images"),
        ("siamese/device.py", "def f():\n    import siamese.model", "2: the ground floor imports the room model"),
        ("siamese/__init__.py", "from .pairing import table", "1: the ground floor imports the room pairing"),
        ("siamese/progress.py", "import torch.nn", "1: torch.nn is imported at module level"),
        ("siamese/atomic.py", "class A:\n    from pandas import x", "2: pandas.x is imported at module level"),
        ("siamese/demo/a.py", "import siamese_cli.main", "1: the library imports the command line"),
        ("siamese/demo/a.py", "def f():\n    from siamese_cli import x", "2: the library imports the command line"),
        ("siamese/tools.py", "", "1: tools is neither a room nor of the ground floor"),
        ("siamese/attic/a.py", "", "1: attic is neither a room nor of the ground floor"),
        ("cli/siamese_cli/main.py", "import pandas as pd", "1: pandas is imported at module level"),
        (
            "cli/siamese_cli/main.py",
            "if True:\n    from lightning import Trainer",
            "2: lightning.Trainer is imported at module level",
        ),
        (
            "cli/siamese_cli/main.py",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import torch\nelse:\n    import sklearn",
            "5: sklearn is imported at module level",
        ),
    ],
)
def test_each_kind_of_violation_is_found(tmp_path: Path, file: str, source: str, expected: str) -> None:
    assert violations(build(tmp_path, {**SOUND, file: source})) == [f"{file}:{expected}"]


def command_modules() -> list[str]:
    folder = PROJECT / "cli" / "siamese_cli"
    names = {path.relative_to(folder.parent).with_suffix("") for path in folder.rglob("*.py")}
    modules = {".".join(name.parts).removesuffix(".__init__") for name in names}
    return sorted(module for module in modules if not module.endswith(".__main__"))


def test_the_command_line_loads_nothing_heavy_even_through_others() -> None:
    script = f"""
import importlib, sys
for module in {command_modules()!r}:
    importlib.import_module(module)
    loaded = sorted({set(HEAVY)!r} & set(sys.modules))
    if loaded:
        raise SystemExit(f"{{module}} loads {{', '.join(loaded)}}")
"""
    command = [sys.executable, "-c", f"import sys; sys.path[:0] = {[str(PROJECT), str(PROJECT / 'cli')]!r}\n{script}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0
