"""The examples of docs/python.md, run from top to bottom as a reader would."""

import re
import shutil
from pathlib import Path

import pytest

from .conftest import REPOSITORY

PAGE = REPOSITORY / "docs" / "python.md"


def examples() -> list[tuple[int, str]]:
    """Line number and code of each."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.finditer(r"^```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return [(text.count("\n", 0, match.start(1)), match.group(1)) for match in found]


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_the_examples_run_in_a_folder_as_the_page_describes_it(
    runtime: str,
    model: Path,
    faces: Path,
    two_images: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(model, tmp_path / "model")
    shutil.copytree(faces, tmp_path / "faces")
    for name, path in zip(("a.jpg", "b.jpg"), two_images, strict=True):
        shutil.copy(path, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SIAMESE_RUNTIME", runtime)
    namespace: dict[str, object] = {}
    # Blank lines before each, so that a traceback names the line of the page.
    for line, code in examples():
        exec(compile("\n" * line + code, str(PAGE), "exec"), namespace)  # noqa: S102
    assert namespace["verifier"].runtime.name == runtime  # type: ignore[attr-defined]


def test_the_page_has_examples() -> None:
    assert len(examples()) == 8
