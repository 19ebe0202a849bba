"""A store of decoded pixels: nothing is decoded twice, and nothing wrong is ever served."""

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from siamese.config import make_train_config
from siamese.errors import DataError
from siamese.images import fingerprint
from siamese.images.cache import PixelCache
from siamese.images.input_spec import InputSpec
from siamese.images.loader import ImageLoader
from siamese.images.mapped_pixels import MappedPixels
from siamese.images.pixel_store import PixelStore, open_pixel_store
from siamese.images.store_folder import StoreFolder, preparation

from .cached_images import (
    BROKEN,
    CUT,
    PATHS,
    ROW,
    SPEC,
    Counting,
    assert_right,
    direct,
    fill,
    only_store,
    warnings_of,
)

Write = Callable[[Path, NDArray[np.uint8]], Path]
REPOSITORY = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("settled")


def test_a_second_run_decodes_nothing_and_has_the_same(root: Path, home: Path) -> None:
    first, decoded = fill(home, root)
    assert decoded == len(PATHS)
    assert_right(first, root)
    second, decoded = fill(home, root)
    assert decoded == 0
    assert_right(second, root)
    assert second.outcomes[BROKEN].detail.startswith(f"{root / PATHS[BROKEN]}: not an image")
    assert second.outcomes[CUT].detail.startswith(f"{root / PATHS[CUT]}: damaged or truncated")


def test_unchanged_files_are_not_even_read(root: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(home, root)

    def refuse(path: Path) -> bytes:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr("siamese.images.pixel_store.read_file", refuse)
    again, _ = fill(home, root)
    assert_right(again, root)


def test_a_file_that_may_still_change_is_read_again(root: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprint, "SETTLED", 3600.0)
    fill(home, root)
    path = root / PATHS[0]
    before, data = path.stat(), bytearray(path.read_bytes())
    other = (root / PATHS[1]).read_bytes()
    path.write_bytes((other + bytes(len(data)))[: len(data)] if len(other) < len(data) else other)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    again, decoded = fill(home, root)
    assert decoded <= 1
    assert_right(again, root)


def test_many_images_are_mapped_instead_of_copied(root: Path, home: Path) -> None:
    for _ in range(2):
        filled, _ = fill(home, root, limit=0)
        assert isinstance(filled.pixels, MappedPixels)
        assert filled.pixels.shape == (len(PATHS), 16, 24, 3)
        assert_right(filled, root)
    assert not (home.parent / "pixels.bin").exists()


def test_another_order_and_a_part_are_served_from_the_same_rows(root: Path, home: Path) -> None:
    fill(home, root)
    paths = [*PATHS[::-2], PATHS[0], PATHS[0]]
    for limit in (0, 1 << 30):
        part, decoded = fill(home, root, paths, limit=limit)
        assert decoded == 0
        assert_right(part, root, paths)


def test_it_goes_by_content_not_by_name(root: Path, home: Path, tmp_path: Path) -> None:
    fill(home, root)
    moved = tmp_path / "moved"
    root.rename(moved)
    filled, decoded = fill(home, moved)
    assert decoded == 0
    assert_right(filled, moved)


def test_equal_files_are_decoded_once(root: Path, home: Path) -> None:
    for path in PATHS[10:]:
        (root / path).write_bytes((root / PATHS[0]).read_bytes())
    filled, decoded = fill(home, root)
    assert decoded == 10
    assert_right(filled, root)
    assert (only_store(home) / "pixels").stat().st_size == 8 * ROW


def test_a_changed_file_is_done_again(root: Path, home: Path, write_image: Write) -> None:
    fill(home, root)
    write_image(root / PATHS[BROKEN], np.full((20, 30, 3), 77, np.uint8))
    write_image(root / PATHS[0], np.full((20, 30, 3), 99, np.uint8))
    (root / PATHS[1]).write_bytes(b"")
    (root / PATHS[2]).unlink()
    filled, decoded = fill(home, root)
    assert decoded == 2
    assert_right(filled, root)
    assert [filled.outcomes[number].status for number in (BROKEN, 1, 2)] == ["ok", "unreadable", "unreadable"]


def test_what_could_not_be_read_at_all_is_not_remembered(root: Path, home: Path, write_image: Write) -> None:
    kept = (root / PATHS[0]).read_bytes()
    (root / PATHS[0]).unlink()
    (root / PATHS[0]).mkdir()
    assert "is a folder" in fill(home, root)[0].outcomes[0].detail
    (root / PATHS[0]).rmdir()
    (root / PATHS[0]).write_bytes(kept)
    assert_right(fill(home, root)[0], root)


def test_faces_are_kept_with_their_images(
    root: Path, home: Path, portraits: list[NDArray[np.uint8]], write_image: Write
) -> None:
    spec = InputSpec(size=(112, 96), alignment="arcface-112")
    paths = [f"portrait {number}.png" for number in range(3)]
    for path, portrait in zip(paths, portraits, strict=False):
        write_image(root / path, portrait)
    write_image(root / "blank.png", np.full((60, 80, 3), 127, np.uint8))
    first, _ = fill(home, root, [*paths, "blank.png"], spec)
    second, decoded = fill(home, root, [*paths, "blank.png"], spec)
    assert decoded == 0
    np.testing.assert_array_equal(first.pixels, second.pixels)
    assert [outcome.status for outcome in second.outcomes] == ["ok", "ok", "ok", "no_face"]
    for one, other in zip(first.outcomes, second.outcomes, strict=True):
        assert (one.status, one.detail, one.faces) == (other.status, other.detail, other.faces)
        assert (one.face is None) == (other.face is None)
        if one.face is not None and other.face is not None:
            np.testing.assert_array_equal(one.face.box, other.face.box)
            np.testing.assert_array_equal(one.face.landmarks, other.face.landmarks)
            assert one.face.score == other.face.score


def damage(file: Path, rng: np.random.Generator) -> None:
    """Flip bits in a few bytes, cut the end off, or put something in between."""
    data = bytearray(file.read_bytes())
    kind = rng.integers(3)
    if kind == 0:
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            data[place] ^= int(rng.integers(1, 256))
    elif kind == 1:
        del data[int(rng.integers(len(data))) :]
    else:
        place = int(rng.integers(len(data)))
        data[place:place] = rng.bytes(int(rng.integers(1, 50)))
    file.write_bytes(data)


@pytest.mark.parametrize("name", ["index", "pixels"])
def test_whatever_is_damaged_is_never_served_and_mended(root: Path, home: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    prepared_again = 0
    for _ in range(40):
        fill(home, root)
        damage(only_store(home) / name, rng)
        filled, decoded = fill(home, root, limit=int(rng.integers(2)) << 30)
        prepared_again += decoded
        assert_right(filled, root)
        assert fill(home, root)[1] == 0
    assert prepared_again > 0


@pytest.mark.parametrize("name", ["index", "pixels", "users", "about.json", "lock"])
def test_a_file_of_the_store_that_is_gone_is_made_anew(root: Path, home: Path, name: str) -> None:
    fill(home, root)
    (only_store(home) / name).unlink()
    assert_right(fill(home, root)[0], root)
    assert fill(home, root)[1] == 0


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As if the disk were full: the system refuses to write files beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_costs_the_cache_not_the_run(root: Path, home: Path, caplog: pytest.LogCaptureFixture) -> None:
    with files_of_at_most(12 * ROW):
        filled, _ = fill(home, root)
    assert_right(filled, root)
    [message] = warnings_of(caplog)
    assert message == (
        f"the cache of decoded images in {only_store(home)} takes nothing new (File too large): what it lacks is "
        "decoded for this run alone; --cache FOLDER puts it elsewhere, --cache off does without"
    )
    again, decoded = fill(home, root)
    assert 0 < decoded < len(PATHS)
    assert_right(again, root)


def test_a_full_disk_under_mapped_pixels_moves_them_to_a_file_of_the_run(root: Path, home: Path) -> None:
    other = StoreFolder(home / "pixels", preparation(ImageLoader(SPEC)), 12 * ROW)
    loader = Counting(SPEC)
    filled = PixelCache(loader, root, PATHS, home / "run.bin", 0, PixelStore(other, loader))
    assert isinstance(filled.pixels, np.memmap)
    assert_right(filled, root)
    filled.close()
    assert not (home / "run.bin").exists()


def test_no_room_for_the_file_of_a_run_is_one_line(root: Path, home: Path) -> None:
    file = home.parent / "run.bin"
    with files_of_at_most(5 * ROW), pytest.raises(DataError) as caught:
        PixelCache(ImageLoader(SPEC), root, PATHS, file, 0)
    assert str(caught.value) == (
        f"{file}: no room for 0.0 GB for {len(PATHS)} decoded images (File too large); free some, or use fewer"
    )
    assert not file.exists()


def test_a_cache_that_cannot_be_made_is_done_without(
    root: Path, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home.write_text("a file where the folder should be")
    filled, decoded = fill(home, root)
    assert decoded == len(PATHS)
    assert_right(filled, root)
    assert warnings_of(caplog) == [
        "no cache of decoded images (Not a directory): every run decodes anew; --cache FOLDER puts it elsewhere"
    ]


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs the users of a Unix system")
def test_a_cache_that_may_only_be_read_is_read(write_image: Write, caplog: pytest.LogCaptureFixture) -> None:
    # In a folder of its own: those that pytest makes are closed to anyone else.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        for number in range(6):
            write_image(folder / f"{number}.png", np.full((20, 30, 3), number, np.uint8))
        loader, prepared = Counting(SPEC), preparation(ImageLoader(SPEC))
        first = PixelStore(StoreFolder(folder / "cache", prepared, 10**9), loader)
        first.prepare([folder / f"{number}.png" for number in range(4)])
        first.close()
        for path in (folder / "cache").rglob("*"):
            path.chmod(0o555 if path.is_dir() else 0o444)
        (folder / "cache").chmod(0o555)
        user = os.geteuid()
        try:
            if user == 0:  # root may write everything, so be nobody for a moment
                os.seteuid(65534)
            store = PixelStore(StoreFolder(folder / "cache", prepared, 10**9), loader)
            pixels, outcomes, rows = store.prepare([folder / f"{number}.png" for number in range(6)])
        finally:
            os.seteuid(user)
        store.close()
    assert loader.decoded == 4 + 2
    assert [outcome.status for outcome in outcomes] == ["ok"] * 6
    assert pixels[:, 0, 0, 0].tolist() == [*range(6)]
    assert rows.tolist() == [0, 1, 2, 3, -1, -1]
    assert [message for message in warnings_of(caplog) if "takes nothing new (Permission denied)" in message]


def test_off_is_no_store(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert open_pixel_store("off", 1.0, ImageLoader(SPEC)) is None
    assert warnings_of(caplog) == []


def test_auto_is_the_users_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path / "own"))
    store = open_pixel_store("auto", 1.0, ImageLoader(SPEC))
    assert store is not None
    store.close()
    assert only_store(tmp_path / "own").is_dir()


@pytest.mark.parametrize(("given", "meant"), [("auto", "auto"), ("off", "off"), ("some/folder", Path("some/folder"))])
def test_the_configuration_knows_the_two_words_and_takes_the_rest_for_a_folder(given: str, meant: object) -> None:
    assert make_train_config({"data": "d", "cache": given}).cache == meant


TWO = """
import sys
from pathlib import Path
from siamese.images import cache
from siamese.images.cache import PixelCache
from siamese.images.input_spec import InputSpec
from siamese.images.loader import ImageLoader
from siamese.images.pixel_store import open_pixel_store
cache.STEP = 3
home, root, *paths = sys.argv[1:]
loader = ImageLoader(InputSpec(size=(16, 24)), workers=1)
filled = PixelCache(loader, Path(root), paths, Path(home) / "x.bin", store=open_pixel_store(Path(home), 1.0, loader))
sys.stdout.buffer.write(filled.pixels.tobytes())
"""


def test_processes_at_once_fill_one_store_without_a_row_too_many(root: Path, home: Path) -> None:
    paths = [path for number, path in enumerate(PATHS) if number not in (BROKEN, CUT)]
    commands = [[sys.executable, "-c", TWO, str(home), str(root), *order] for order in (paths, paths, paths[::-1])]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, cwd=REPOSITORY) for command in commands]
    results = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    expected, _ = direct(root, paths)
    for result, pixels in zip(results, (expected, expected, expected[::-1]), strict=True):
        assert result == pixels.tobytes()
    assert (only_store(home) / "pixels").stat().st_size == len(paths) * ROW
    assert fill(home, root, paths)[1] == 0
