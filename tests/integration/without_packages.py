"""The program on a machine that lacks packages: they are as if they were not installed."""

import os
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
# Python imports it before anything else. The packages are not found, as where they were never installed, rather than
# broken when they are imported: programs may ask whether they are there.
HOOK = """
import sys
from importlib.machinery import PathFinder

MISSING = {packages!r}


class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            return None
        return PathFinder.find_spec(name, path, target)


sys.meta_path[sys.meta_path.index(PathFinder)] = Without
"""


def environment_without(folder: Path, *packages: str) -> dict[str, str]:
    """Variables for a Python that does not find these packages; `folder` gets what hides them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sitecustomize.py").write_text(HOOK.format(packages=packages))
    path = [str(folder), str(REPOSITORY), str(REPOSITORY / "cli")]
    return os.environ | {"PYTHONPATH": os.pathsep.join(path)}


def python_without(folder: Path, packages: tuple[str, ...], *arguments: object) -> "subprocess.CompletedProcess[str]":
    """Run Python where these packages are missing."""
    command = [sys.executable, *map(str, arguments)]
    environment = environment_without(folder, *packages)
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)
