"""Parts on the disk: what is written, and when one does not count."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from siamese.images.loader import Outcome
from siamese.inference.embed_part import PartDone, check_part, embed_part, part_name, to_table


@pytest.fixture
def images(tmp_path: Path) -> pa.Table:
    files = []
    for number in range(5):
        (tmp_path / f"{number}.png").write_bytes(bytes(number + 1))
        files.append(str(tmp_path / f"{number}.png"))
    return pa.table({"path": files, "file": files, "identity": pa.array(["a", None, "b", "b", None], pa.string())})


def embed(files: Sequence[Path], advance: Callable[[int], object]) -> tuple[NDArray[np.float32], list[Outcome]]:
    """Stands in for a model: the second image has no face, the fourth makes no numbers."""
    vectors = np.zeros((len(files), 3), np.float32)
    vectors[:, 0] = 1
    vectors[1], vectors[3, 1] = 0, np.nan
    advance(len(files))
    return vectors, [Outcome("no_face", "no face found") if row == 1 else Outcome("ok") for row in range(len(files))]


def test_a_part_holds_a_row_per_image_and_no_vector_where_there_is_none(images: pa.Table, tmp_path: Path) -> None:
    counted: list[int] = []
    done = embed_part(embed, images, tmp_path, 7, "run", counted.append)
    assert done == PartDone(7, 5, 2)
    assert counted == [5]
    rows = pq.read_table(tmp_path / "part-00007.parquet").to_pylist()
    assert [row["path"] for row in rows] == images.column("path").to_pylist()
    assert [row["identity"] for row in rows] == ["a", None, "b", "b", None]
    assert [row["status"] for row in rows] == ["ok", "no_face", "ok", "unreadable", "ok"]
    assert [row["detail"] for row in rows] == ["", "no face found", "", "the model makes no numbers of it", ""]
    assert [row["embedding"] for row in rows] == [[1, 0, 0], None, [1, 0, 0], None, [1, 0, 0]]
    assert check_part(tmp_path, 7, "run", images) == done


def test_the_same_part_twice_is_the_same_bytes(images: pa.Table, tmp_path: Path) -> None:
    embed_part(embed, images, tmp_path, 0, "run")
    before = (tmp_path / part_name(0)).read_bytes()
    embed_part(embed, images, tmp_path, 0, "run")
    assert (tmp_path / part_name(0)).read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".png") == ["part-00000.parquet"]


def test_no_images_are_an_empty_table() -> None:
    nothing = pa.table({name: pa.array([], pa.string()) for name in ("path", "file", "identity")})
    assert to_table(nothing, np.zeros((0, 4), np.float32), []).num_rows == 0


def test_a_flipped_byte_is_noticed_or_changes_nothing_that_is_read(images: pa.Table, tmp_path: Path) -> None:
    done = embed_part(embed, images, tmp_path, 0, "run")
    path = tmp_path / part_name(0)
    whole, table = path.read_bytes(), pq.read_table(path)
    noticed = 0
    positions = range(0, len(whole), 3)
    for position in positions:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        if check_part(tmp_path, 0, "run", images) == done:
            assert pq.read_table(path).equals(table), f"byte {position} changes what is read"
        else:
            noticed += 1
    assert noticed > len(positions) / 3
    path.write_bytes(whole)
    assert check_part(tmp_path, 0, "run", images) == done


@pytest.mark.parametrize("keep", [0, 3, 100, -1])
def test_a_part_cut_off_is_damaged(images: pa.Table, tmp_path: Path, keep: int) -> None:
    embed_part(embed, images, tmp_path, 0, "run")
    path = tmp_path / part_name(0)
    path.write_bytes(path.read_bytes()[:keep])
    assert check_part(tmp_path, 0, "run", images) == "is damaged"


def test_a_part_counts_for_its_own_run_number_and_images_only(images: pa.Table, tmp_path: Path) -> None:
    embed_part(embed, images, tmp_path, 0, "run")
    assert check_part(tmp_path, 1, "run", images) == "is not there"
    assert check_part(tmp_path, 0, "another", images) == "is of another run"
    assert check_part(tmp_path, 0, "run", images.slice(1)) == "is of another run"
    (tmp_path / part_name(1)).write_bytes((tmp_path / part_name(0)).read_bytes())
    assert check_part(tmp_path, 1, "run", images) == "is of another run"
    assert check_part(tmp_path, 0, "run", images.take([1, 0, 2, 3, 4])) == "is of other images"


@pytest.mark.parametrize("change", ["content", "time", "gone"])
def test_a_part_of_which_an_image_changed_does_not_count(images: pa.Table, tmp_path: Path, change: str) -> None:
    embed_part(embed, images, tmp_path, 0, "run")
    victim = tmp_path / "3.png"
    if change == "content":
        victim.write_bytes(b"longer than it was")
    elif change == "time":
        os.utime(victim, ns=(1, 1))
    else:
        victim.unlink()
    assert check_part(tmp_path, 0, "run", images) == "is of images that have changed since"


def test_an_image_that_was_missing_and_still_is_costs_nothing(images: pa.Table, tmp_path: Path) -> None:
    (tmp_path / "3.png").unlink()
    done = embed_part(embed, images, tmp_path, 0, "run")
    assert check_part(tmp_path, 0, "run", images) == done
    (tmp_path / "3.png").write_bytes(b"here now")
    assert check_part(tmp_path, 0, "run", images) == "is of images that have changed since"
