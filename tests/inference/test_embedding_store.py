"""The store of embeddings: what is in it is right or not there, whatever happened to its files."""

import errno
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from siamese.errors import DataError
from siamese.images.loader import Outcome
from siamese.inference import embedding_store
from siamese.inference.embedding_store import NOTHING, OK, EmbeddingStore
from siamese.inference.embedding_store_files import RECORD
from siamese.inference.embedding_store_marks import FileMark

NAMES = pa.array([f"{letter}.png" for letter in "abcdef"], pa.large_string())
MARK = FileMark(b"s" * 16, b"d" * 16)


def filled(folder: Path) -> np.ndarray:
    """Rows 0, 1, 3 and 4 hold embeddings, row 2 a failure, row 5 nothing."""
    store = EmbeddingStore(folder, 4)
    store.extend(NAMES)
    vectors = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    vectors[2] = 0
    outcomes = [Outcome("ok")] * 5
    outcomes[2] = Outcome("no_face", "no face found", faces=0)
    for rows in ([0, 1, 2], [3, 4]):
        store.put(np.array(rows), vectors[rows], [outcomes[row] for row in rows], [MARK] * len(rows))
    return vectors


def done(store: EmbeddingStore) -> list[int]:
    return np.flatnonzero(store.records["status"] != NOTHING).tolist()


def test_what_was_put_is_there_when_the_store_is_opened_again(tmp_path: Path) -> None:
    vectors = filled(tmp_path)
    store = EmbeddingStore(tmp_path, 4)
    assert store.names.to_pylist() == NAMES.to_pylist()
    assert store.usable.tolist() == [True, True, False, True, True, False]
    np.testing.assert_array_equal(store.vectors[:5], vectors)
    assert store.failures == {2: Outcome("no_face", "no face found", faces=0)}
    assert store.records["stamp"][3].tobytes() == MARK.stamp


def test_rows_apart_are_written_to_their_places(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, 2)
    store.extend(NAMES)
    rows, vectors = np.array([0, 2, 3, 5]), np.arange(8, dtype=np.float32).reshape(4, 2)
    store.put(rows, vectors, [Outcome("ok")] * 4, [MARK] * 4)
    again = EmbeddingStore(tmp_path, 2)
    assert np.flatnonzero(again.usable).tolist() == rows.tolist()
    np.testing.assert_array_equal(again.vectors[rows], vectors)


@pytest.mark.parametrize("name", ["vectors", "records"])
def test_any_flipped_byte_makes_its_row_count_as_not_there(tmp_path: Path, name: str) -> None:
    filled(tmp_path)
    path, width = tmp_path / name, {"vectors": 16, "records": RECORD.itemsize}[name]
    sound = path.read_bytes()
    for place in range(3 * width, 4 * width):  # of row 3
        data = bytearray(sound)
        data[place] ^= 0x55
        path.write_bytes(data)
        assert done(EmbeddingStore(tmp_path, 4)) == [0, 1, 2, 4], place


@pytest.mark.parametrize("name", ["vectors", "records", "failures"])
def test_files_that_are_cut_short_lose_rows_and_nothing_else(tmp_path: Path, name: str) -> None:
    vectors = filled(tmp_path)
    whole = (tmp_path / name).read_bytes()
    expected = {"vectors": 16 * 6, "records": RECORD.itemsize * 5}
    assert len(whole) == expected.get(name, len(whole))
    for length in range(len(whole)):
        (tmp_path / name).write_bytes(whole[:length])
        store = EmbeddingStore(tmp_path, 4)
        there = done(store)
        width = {"vectors": 16, "records": RECORD.itemsize}.get(name)
        assert there == (
            [0, 1, 3, 4] if width is None and 2 not in there else list(range(5))[: length // (width or 1)]
        )
        usable = [row for row in there if row != 2]
        if usable:
            np.testing.assert_array_equal(store._vectors_there()[usable], vectors[usable])
    (tmp_path / name).write_bytes(whole)
    assert done(EmbeddingStore(tmp_path, 4)) == [0, 1, 2, 3, 4]


def test_a_failure_after_a_torn_line_is_read(tmp_path: Path) -> None:
    filled(tmp_path)
    with (tmp_path / "failures").open("ab") as file:
        file.write(b'{"row": 4, "sta')  # of a killed run
    store = EmbeddingStore(tmp_path, 4)
    store.put(np.array([5]), np.zeros((1, 4)), [Outcome("unreadable", "damaged\nimage")], [MARK])
    again = EmbeddingStore(tmp_path, 4)
    assert again.failures[5] == Outcome("unreadable", "damaged\nimage")
    assert sorted(again.failures) == [2, 5]


def test_damaged_names_begin_anew(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / "images.parquet").write_bytes(b"PAR1 no more")
    assert len(EmbeddingStore(tmp_path, 4)) == 0


def test_more_images_keep_the_rows_of_those_before(tmp_path: Path) -> None:
    vectors = filled(tmp_path)
    store = EmbeddingStore(tmp_path, 4)
    store.extend(pa.concat_arrays([NAMES, pa.array(["g.png"], pa.large_string())]))
    store.put(np.array([6]), np.ones((1, 4)), [Outcome("ok")], [MARK])
    again = EmbeddingStore(tmp_path, 4)
    assert done(again) == [0, 1, 2, 3, 4, 6]
    np.testing.assert_array_equal(again.vectors[[0, 6]], [vectors[0], np.ones(4)])


def test_what_is_forgotten_or_embedded_anew_loses_its_failure(tmp_path: Path) -> None:
    filled(tmp_path)
    store = EmbeddingStore(tmp_path, 4)
    store.forget(np.array([2, 4]))
    assert (done(store), store.failures) == ([0, 1, 3], {})
    store.put(np.array([2]), np.ones((1, 4)), [Outcome("ok")], [MARK])
    again = EmbeddingStore(tmp_path, 4)
    assert again.usable[2]
    assert again.failures == {}


def test_a_renewed_mark_is_kept_with_a_right_checksum(tmp_path: Path) -> None:
    filled(tmp_path)
    EmbeddingStore(tmp_path, 4).renew(3, FileMark(b"t" * 16, b"d" * 16))
    store = EmbeddingStore(tmp_path, 4)
    assert store.records["status"][3] == OK
    assert store.records["stamp"][3].tobytes() == b"t" * 16


def test_a_disk_without_room_for_all_embeddings_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path)

    def full(file: int, size: int) -> None:
        os.ftruncate(file, size // 2)  # as a file system may leave it
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = EmbeddingStore(tmp_path, 4)
    monkeypatch.setattr(embedding_store, "reserve", full)
    many = pa.array([f"{number}.png" for number in range(1000)], pa.large_string())
    with pytest.raises(DataError) as error:
        store.extend(pa.concat_arrays([NAMES, many]))
    assert str(error.value) == (
        f"{tmp_path}: no room for 1.61e-05 GB for the embeddings of 1,006 images (No space left on device); free "
        "some, or give -o a file on a disk that has it"
    )
    assert (tmp_path / "vectors").stat().st_size == 6 * 16
    assert done(EmbeddingStore(tmp_path, 4)) == [0, 1, 2, 3, 4]


def test_a_store_of_no_images_has_no_rows(tmp_path: Path) -> None:
    store = EmbeddingStore(tmp_path, 4)
    store.extend(pa.array([], pa.large_string()))
    assert store.vectors.shape == (0, 4)
    assert EmbeddingStore(tmp_path, 4).usable.shape == (0,)
