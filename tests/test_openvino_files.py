"""Graphs on a full disk, and compiled graphs that were damaged."""

import errno
import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from siamese.openvino_files import CHECKSUMS, checked_cache, save_graph
from siamese.openvino_library import core, openvino


@pytest.fixture(scope="module")
def graph() -> Any:
    """A matrix product of 1 MB."""
    library = openvino()
    operations = library.opset13
    images = operations.parameter([-1, 512], np.float32, name="images")
    weights = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)
    return library.Model([operations.matmul(images, operations.constant(weights), False, False)], [images])


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_graph_is_written_in_single_precision(graph: Any, tmp_path: Path) -> None:
    save_graph(graph, tmp_path / "a.xml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "a.xml"]
    assert (tmp_path / "a.bin").stat().st_size == 512 * 512 * 4


@pytest.mark.parametrize(("size", "name"), [(500_000, "a.bin"), (512 * 512 * 4 - 1, "a.bin"), (100, "a.bin")])
def test_a_full_disk_is_the_systems_error_and_names_the_file(
    graph: Any, tmp_path: Path, size: int, name: str
) -> None:
    with files_of_at_most(size), pytest.raises(OSError, match="File too large") as caught:
        save_graph(graph, tmp_path / "a.xml")
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(tmp_path / name))


def test_a_folder_that_is_not_there_is_the_systems_error(graph: Any, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="Not a directory"):
        save_graph(graph, tmp_path / "file" / "a.xml")


def test_what_is_no_failure_of_the_disk_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        (tmp_path / "a.xml").touch()
        raise RuntimeError("unknown operation")

    monkeypatch.setattr(openvino(), "save_model", fails)
    with pytest.raises(RuntimeError, match=r"^unknown operation$"):
        save_graph(None, tmp_path / "a.xml")
    assert list(tmp_path.iterdir()) == []


def compiled(graph: Any, folder: Path) -> list[Path]:
    """Compile through the cache; the blobs that are there afterwards."""
    with checked_cache(folder):
        core().compile_model(graph, "CPU", {"CACHE_DIR": str(folder)})
    return sorted(folder.glob("*.blob"))


def test_a_compiled_graph_is_kept_while_it_is_as_it_was(graph: Any, tmp_path: Path) -> None:
    (blob,) = compiled(graph, tmp_path)
    before = blob.stat()
    assert compiled(graph, tmp_path) == [blob]
    assert (blob.stat().st_ino, blob.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert list(json.loads((tmp_path / CHECKSUMS).read_text())) == [blob.name]


@pytest.mark.parametrize("record", [None, "{", "[]", '{"other.blob": "00"}'])
def test_what_was_damaged_or_has_no_checksum_is_removed_before_it_is_used(
    graph: Any, tmp_path: Path, record: str | None
) -> None:
    (blob,) = compiled(graph, tmp_path)
    if record is None:
        blob.chmod(0o600)
        data = bytearray(blob.read_bytes())
        data[len(data) // 2] ^= 0x40
        blob.write_bytes(data)
    else:
        (tmp_path / CHECKSUMS).write_text(record)
    with checked_cache(tmp_path):
        assert list(tmp_path.glob("*.blob")) == []
    assert compiled(graph, tmp_path) == [blob]
    before = blob.stat().st_ino
    assert compiled(graph, tmp_path) == [blob]
    assert blob.stat().st_ino == before


def test_checksums_that_cannot_be_kept_cost_time_and_nothing_else(graph: Any, tmp_path: Path) -> None:
    (tmp_path / CHECKSUMS).mkdir()
    for _ in range(2):
        assert len(compiled(graph, tmp_path)) == 1


def test_a_folder_that_is_not_there_is_empty(tmp_path: Path) -> None:
    with checked_cache(tmp_path / "nowhere"):
        pass
    assert list(tmp_path.iterdir()) == []
