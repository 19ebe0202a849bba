"""Where the converted nets are kept, and what happens when they cannot be."""

import json
import logging
import re
from concurrent.futures import ThreadPoolExecutor
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from siamese.errors import WeightsError
from siamese.images import openvino_detector_files as files
from siamese.images.openvino_detector_nets import COMPILED, NETS, DetectorNets

NAMES = sorted(["about.json", *(f"{name}.{suffix}" for name in NETS for suffix in ("bin", "xml"))])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path / "cache é"))
    return tmp_path / "cache é" / "face-detector"


@pytest.fixture
def converted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the nets that were converted, as it happens."""
    names: list[str] = []
    convert = files.convert

    def counting(name: str, path: Path) -> Any:
        names.append(name)
        return convert(name, path)

    monkeypatch.setattr(files, "convert", counting)
    return names


def hide(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    def found(name: str) -> ModuleSpec | None:
        return None if name in packages else find_spec(name)

    monkeypatch.setattr(files, "find_spec", found)


def runs(nets: files.Nets) -> bool:
    scores, _, landmarks = DetectorNets(nets, threads=1).finish(np.zeros((1, 3, 48, 48), np.float32))
    return scores.shape == (1,) and bool(np.isfinite(landmarks).all())


def test_nets_are_converted_once_and_said_so(
    home: Path, converted: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "siamese")
    first, second = files.detector_nets(), files.detector_nets()
    folder = files.nets_folder()
    assert first == second == {name: folder / f"{name}.xml" for name in NETS}
    assert sorted(converted) == sorted(NETS)
    assert folder.parent == home
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    assert list(home.iterdir()) == [folder]
    assert caplog.messages == [f"converting the face detector for OpenVINO, once, into {folder}"]
    assert runs(first)
    # Compiling adds to the folder, and changes nothing in it.
    assert (folder / COMPILED).is_dir()
    assert files.detector_nets() == first
    assert sorted(converted) == sorted(NETS)


def test_the_folder_is_named_for_the_weights_and_the_conversion(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = files.nets_folder()
    monkeypatch.setattr(files, "CONVERSION", files.CONVERSION + 1)
    assert files.nets_folder() != folder
    monkeypatch.undo()
    monkeypatch.setenv("SIAMESE_CACHE", str(home.parent))
    weights = files._weight_files()
    other = tmp_path / "other.pt"
    other.write_bytes(weights["output"].read_bytes() + b"\0")
    monkeypatch.setattr(files, "_weight_files", lambda: weights | {"output": other})
    assert files.nets_folder() != folder


@pytest.mark.usefixtures("home")
def test_without_facenet_pytorch_the_nets_of_its_weights_are_taken(
    converted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    nets = files.detector_nets()
    hide(monkeypatch, "torch", "facenet_pytorch")
    assert files.detector_nets() == nets
    assert len(converted) == 3


@pytest.mark.parametrize("missing", [("torch",), ("facenet_pytorch",), ("torch", "facenet_pytorch")])
@pytest.mark.usefixtures("home")
def test_without_nets_and_without_what_makes_them_it_says_what_to_do(
    missing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    hide(monkeypatch, *missing)
    message = (
        f"face detection: no converted nets in {files.nets_folder()}; install torch and facenet-pytorch, which make "
        "them at first use, or copy this folder from a machine where faces were aligned"
    )
    with pytest.raises(WeightsError, match=f"^{re.escape(message)}$"):
        files.detector_nets()
    assert not files.nets_folder().exists()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("damage", ["cut", "removed", "changed"])
def test_nets_that_were_changed_are_made_anew(home: Path, converted: list[str], name: str, damage: str) -> None:
    nets = files.detector_nets()
    path = files.nets_folder() / name
    data = path.read_bytes()
    if damage == "removed":
        path.unlink()
    else:
        path.write_bytes(data[: len(data) // 2] + (b"" if damage == "cut" else bytes(len(data) - len(data) // 2)))
    assert files.detector_nets() == nets
    assert path.read_bytes() == data
    assert len(converted) == 6
    assert list(home.iterdir()) == [files.nets_folder()]


@pytest.mark.parametrize("text", ["[]", "{}", '{"files": []}', '{"files": {}}', '{"files": null}', "null"])
@pytest.mark.usefixtures("home")
def test_a_foreign_record_counts_as_none(converted: list[str], text: str) -> None:
    files.detector_nets()
    record = files.nets_folder() / "about.json"
    good = record.read_text()
    record.write_text(text)
    files.detector_nets()
    assert len(converted) == 6
    assert record.read_text() == good
    assert json.loads(good)["conversion"] == files.CONVERSION


def test_an_interrupt_leaves_nothing(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import openvino

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(openvino, "save_model", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.detector_nets()
    assert list(home.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_said_and_does_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path / "file"))
    assert runs(files.detector_nets())
    start = f"{files.nets_folder()}: the face detector's nets cannot be kept there and are made anew each time: "
    assert [message for message in caplog.messages if message.startswith(start)]


def test_several_at_once_leave_one_folder(home: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: files.detector_nets(), range(8)))
    assert all(nets == made[0] for nets in made)
    assert list(home.iterdir()) == [files.nets_folder()]
    assert runs(made[0])
