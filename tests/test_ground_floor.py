import logging
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from siamese.atomic import atomic_path, write_text
from siamese.device import resolve_device
from siamese.errors import DataError, DeviceError, OptionError, SiameseError, unknown_name
from siamese.progress import log, progress
from siamese.similarity import normalise, pair_similarity, squared_distance
from siamese.text_file import decode_text

RNG = np.random.default_rng(0)


# atomic


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "scores.csv"
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.suffix == ".csv"
        assert temporary.name.startswith(".")
        temporary.write_text("left,right\n")
        assert not path.exists()
    assert path.read_text() == "left,right\n"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_breaks_off_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("old")

    def write_half() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupt_right_after_the_file_is_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch = Path.touch

    def interrupted(self: Path, mode: int = 0o666, exist_ok: bool = True) -> None:
        touch(self, mode, exist_ok)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "touch", interrupted)
    with pytest.raises(KeyboardInterrupt), atomic_path(tmp_path / "scores.csv"):
        pytest.fail("the body must not run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix", reason="needs Unix permissions")
def test_files_have_the_ordinary_permissions_whoever_writes_them(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "a.txt", "a")
        with atomic_path(tmp_path / "a.safetensors") as temporary:
            save_file({"a": torch.zeros(1)}, temporary)
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o640}


@pytest.mark.parametrize("name", ["写真" * 40 + ".csv", "no suffix", "a.b.c.parquet", "x" * 200 + ".csv", ".hidden"])
def test_any_name_can_be_written(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "text")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_text_is_utf8_with_newlines_as_given(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "é\r\nü\n")
    assert (tmp_path / "a.txt").read_bytes() == "é\r\nü\n".encode()


# device


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> int:
    count: int = request.param
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    return count


@pytest.mark.parametrize(
    ("gpus", "name", "device"),
    [
        (0, "auto", "cpu"),
        (0, "cpu", "cpu"),
        (2, "auto", "cuda:0"),
        (2, "cpu", "cpu"),
        (2, "cuda", "cuda:0"),
        (2, "cuda:0", "cuda:0"),
        (2, "cuda:1", "cuda:1"),
    ],
    indirect=["gpus"],
)
def test_a_device_is_resolved(gpus: int, name: str, device: str) -> None:
    assert resolve_device(name) == device


@pytest.mark.parametrize(
    ("gpus", "name", "found"),
    [(0, "cuda", "0 CUDA GPUs found"), (0, "cuda:3", "0 CUDA GPUs found"), (1, "cuda:1", "1 CUDA GPU found")],
    indirect=["gpus"],
)
def test_a_device_asked_for_and_missing_is_an_error(gpus: int, name: str, found: str) -> None:
    message = f"--device {name}: {found}; use --device cpu or --device auto"
    with pytest.raises(DeviceError, match=f"^{re.escape(message)}$"):
        resolve_device(name)


@pytest.mark.parametrize(
    "name", ["", "gpu", "CUDA", "cuda:", "cuda:-1", "cuda:one", "cuda:1:2", "cpu:0", "mps", " cpu"]
)
def test_a_name_that_is_no_device_is_an_error(name: str) -> None:
    message = f"--device {name!r}: expected auto, cpu, cuda or cuda:N"
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        resolve_device(name)


def test_the_real_machine_resolves_auto_to_what_it_has() -> None:
    expected = "cuda:0" if torch.cuda.is_available() else "cpu"
    assert resolve_device() == expected
    torch.zeros(1, device=resolve_device())


# errors


def test_every_error_is_a_siamese_error() -> None:
    from siamese import errors

    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    assert len(classes) >= 9
    assert all(issubclass(error, SiameseError) for error in classes)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tripelt", "unknown loss 'tripelt': did you mean 'triplet'? known: arcface, contrastive, triplet"),
        ("zzz", "unknown loss 'zzz': known: arcface, contrastive, triplet"),
        ("", "unknown loss '': known: arcface, contrastive, triplet"),
    ],
)
def test_an_unknown_name_lists_the_known_and_the_nearest(name: str, message: str) -> None:
    error = unknown_name("loss", name, ["triplet", "contrastive", "arcface"])
    assert isinstance(error, OptionError)
    assert str(error) == message


# text


@pytest.mark.parametrize("data", ["left,é\r\n".encode(), "left,é\r\n".encode("utf-8-sig")])
def test_text_is_read_with_and_without_a_byte_order_mark(data: bytes) -> None:
    assert decode_text(data, Path("a.csv"), OptionError, "expected a table") == "left,é\r\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "a.csv: is empty; expected a table"),
        (b" \n", "a.csv: is empty; expected a table"),
        (b"a\0b", "a.csv: holds binary data; expected a table"),
        (b"a\nb\nm\xfcller", "a.csv line 3: byte 0xfc is not UTF-8; save the file as UTF-8"),
        ("a".encode("utf-16-be"), "a.csv: holds binary data; expected a table"),
        ("\ufeffa".encode("utf-16-be"), "a.csv line 1: byte 0xfe is not UTF-8; save the file as UTF-8"),
    ],
)
def test_what_is_no_text_is_named(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        decode_text(data, Path("a.csv"), DataError, "expected a table")


# similarity


def at_angles(*degrees: float) -> NDArray[np.float64]:
    radians = np.radians(degrees)
    return np.column_stack([np.cos(radians), np.sin(radians)])


def test_similarity_is_the_cosine_of_the_angle() -> None:
    angles = np.array([0.0, 30, 60, 90, 135, 180])
    similarity = pair_similarity(at_angles(*np.zeros(6)), at_angles(*angles))
    np.testing.assert_allclose(similarity, np.cos(np.radians(angles)), atol=1e-12)


def test_similarity_is_symmetric_and_bounded() -> None:
    left, right = (normalise(RNG.normal(size=(500, 33)).astype(np.float32)) for _ in range(2))
    np.testing.assert_array_equal(pair_similarity(left, right), pair_similarity(right, left))
    same = pair_similarity(left, left)
    assert (same <= 1).all()
    np.testing.assert_allclose(same, 1, atol=1e-6)
    assert (pair_similarity(left, -left) >= -1).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normalised_rows_have_unit_length_and_the_same_direction(dtype: type[np.floating]) -> None:
    features = RNG.normal(size=(50, 8)).astype(dtype) * (10.0 ** RNG.integers(-10, 10, (50, 1))).astype(dtype)
    unit = normalise(features)
    assert unit.dtype == dtype
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(unit * np.linalg.norm(features, axis=1, keepdims=True), features, rtol=1e-4)


def test_a_zero_row_stays_zero() -> None:
    unit = normalise(np.array([[0.0, 0.0], [3.0, 4.0]]))
    np.testing.assert_allclose(unit, [[0.0, 0.0], [0.6, 0.8]], atol=1e-15)


def test_squared_distance_of_unit_vectors_for_arrays_and_tensors() -> None:
    left, right = normalise(RNG.normal(size=(20, 5))), normalise(RNG.normal(size=(20, 5)))
    similarity = pair_similarity(left, right)
    expected = ((left - right) ** 2).sum(1)
    np.testing.assert_allclose(squared_distance(similarity), expected, atol=1e-12)
    np.testing.assert_allclose(squared_distance(torch.from_numpy(similarity)).numpy(), expected, atol=1e-12)
    assert (squared_distance(1.0), squared_distance(0.0), squared_distance(-1.0)) == (0.0, 2.0, 4.0)


# progress


def test_a_bar_is_shown_on_stderr_when_info_is_let_through(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "level", logging.INFO)
    log.manager._clear_cache()  # type: ignore[attr-defined]
    assert list(progress(range(3), "reading images", unit="img")) == [0, 1, 2]
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "reading images: 100%" in shown.err
    assert "3/3" in shown.err
    log.manager._clear_cache()  # type: ignore[attr-defined]


def test_a_bar_is_silent_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        assert list(progress(iter("ab"), "reading", total=2)) == ["a", "b"]
    finally:
        log.setLevel(level)
    assert capsys.readouterr() == ("", "")


def test_the_logger_is_called_siamese() -> None:
    assert log.name == "siamese"


# weight


@pytest.mark.parametrize(
    "module",
    [
        "siamese",
        *(f"siamese.{name}" for name in ("errors", "config", "config_file", "similarity", "atomic", "progress")),
        *(f"siamese.{name}" for name in ("device", "cache_folder", "text_file")),
    ],
)
def test_importing_the_ground_floor_loads_nothing_heavy(module: str) -> None:
    script = f"import sys, {module}; print(*sorted({{'torch', 'pandas', 'lightning', 'cv2'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("", "")
