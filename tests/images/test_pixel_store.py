"""A store of decoded pixels: nothing is decoded twice, and nothing wrong is ever served."""

import json
import logging
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from siamese.config import make_train_config
from siamese.errors import DataError
from siamese.images import cache, fingerprint
from siamese.images.cache import PixelCache
from siamese.images.faces import Face
from siamese.images.input_spec import InputSpec
from siamese.images.loader import ImageLoader, Outcome
from siamese.images.mapped_pixels import MappedPixels
from siamese.images.pixel_index import PixelIndex, Prepared
from siamese.images.pixel_store import PixelStore, open_pixel_store
from siamese.images.store_folder import StoreFolder, preparation

Write = Callable[[Path, NDArray[np.uint8]], Path]
REPOSITORY = Path(__file__).parents[2]
SPEC = InputSpec(size=(16, 24))
ROW = 16 * 24 * 3
PATHS = [f"person {number}/é {number}.png" for number in range(23)]
BROKEN, CUT = 4, 9


class Counting(ImageLoader):
    """A loader that counts what it decodes."""

    decoded = 0

    def load(self, sources: Sequence[Path | bytes]) -> tuple[NDArray[np.uint8], list[Outcome]]:
        self.decoded += len(sources)
        return super().load(sources)


@pytest.fixture
def root(tmp_path: Path, write_image: Write) -> Path:
    rng = np.random.default_rng(0)
    for path in PATHS:
        write_image(tmp_path / "data" / path, rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    (tmp_path / "data" / PATHS[BROKEN]).write_bytes(b"no image")
    (tmp_path / "data" / PATHS[CUT]).write_bytes((tmp_path / "data" / PATHS[CUT]).read_bytes()[:-40])
    return tmp_path / "data"


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files written a moment ago count as unchanged, and additions are small."""
    monkeypatch.setattr(fingerprint, "SETTLED", -1e9)
    monkeypatch.setattr(cache, "STEP", 5)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "cache with spaces"


def fill(
    home: Path,
    root: Path,
    paths: Sequence[str] = PATHS,
    spec: InputSpec = SPEC,
    limit: int = 1 << 30,
    **options: float,
) -> tuple[PixelCache, int]:
    """A cache filled by way of the store below `home`, and how many images were decoded for it."""
    loader = Counting(spec)
    store = open_pixel_store(home, options.get("gigabytes", 1.0), loader)
    filled = PixelCache(loader, root, paths, home.parent / "pixels.bin", limit, store)
    filled.close()
    return filled, loader.decoded


def direct(
    root: Path, paths: Sequence[str] = PATHS, spec: InputSpec = SPEC
) -> tuple[NDArray[np.uint8], list[Outcome]]:
    return ImageLoader(spec).load([root / path for path in paths])


def assert_right(filled: PixelCache, root: Path, paths: Sequence[str] = PATHS, spec: InputSpec = SPEC) -> None:
    pixels, outcomes = direct(root, paths, spec)
    np.testing.assert_array_equal(np.asarray(filled.pixels), pixels)
    assert filled.outcomes == outcomes


def only_store(home: Path) -> Path:
    [store] = (home / "pixels").iterdir()
    return store


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


FACES = {"size": (112, 96), "alignment": "arcface-112"}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (({"size": (8, 8)}, {}), ({"size": (8, 8), "mean": (0.1, 0.2, 0.3), "channels": "BGR"}, {}), True),
        (({"size": (8, 8)}, {}), ({"size": (8, 8)}, {"face": "largest"}), True),
        (({"size": (8, 8)}, {}), ({"size": (8, 9)}, {}), False),
        (({"size": (8, 8)}, {}), ({"size": (8, 8), "fit": "pad"}, {}), False),
        (({"size": (8, 8)}, {}), ({"size": (8, 8), "interpolation": "bicubic"}, {}), False),
        ((FACES, {}), (FACES | {"alignment": "mtcnn-160"}, {}), False),
        ((FACES, {}), (FACES, {"align": "yes"}), False),
        ((FACES, {}), (FACES, {"face": "largest"}), False),
        ((FACES, {"align": "no"}), ({"size": (112, 96)}, {}), True),
    ],
)
def test_loaders_share_a_store_exactly_if_they_make_the_same_pixels(one: tuple, other: tuple, same: bool) -> None:
    prepared = [preparation(ImageLoader(InputSpec(**spec), **options)) for spec, options in (one, other)]
    assert (prepared[0] == prepared[1]) is same


def test_a_store_says_what_it_is_for(root: Path, home: Path) -> None:
    fill(home, root)
    about = json.loads((only_store(home) / "about.json").read_text())
    assert about["size"] == [16, 24]
    assert about["packages"]["pillow"]
    assert (home / "pixels").stat().st_mode & 0o077 == 0


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


def test_a_torn_end_is_passed_over_and_the_next_block_is_found(tmp_path: Path) -> None:
    index = PixelIndex(tmp_path / "index")
    blocks = [{bytes([number]) * 16: Prepared(Outcome("ok"), number, number)} for number in range(3)]
    index.append(blocks[0], {})
    first = (tmp_path / "index").stat().st_size
    index.append(blocks[1], {b"s" * 16: b"\1" * 16})
    whole = (tmp_path / "index").read_bytes()
    for end in range(len(whole)):
        (tmp_path / "index").write_bytes(whole[:end])
        torn = PixelIndex(tmp_path / "index")
        torn.refresh()
        assert len(torn) == (end >= first)
        torn.append(blocks[2], {})
        read = PixelIndex(tmp_path / "index")
        read.refresh()
        assert read.find(b"\2" * 16) == blocks[2][b"\2" * 16]
        assert b"\1" * 16 not in read
        assert read.content_of(b"s" * 16) is None


def test_an_index_gives_back_what_it_was_given(tmp_path: Path) -> None:
    face = Face(np.array([1.5, 2, 3, 4], np.float32), np.arange(10, dtype=np.float32).reshape(5, 2) / 7, 1 / 3)
    items = {
        b"a" * 16: Prepared(Outcome("ok", face=face, faces=2), 7, 2**32 - 1),
        b"\0" * 16: Prepared(Outcome("no_face", "no face found", faces=0), -1, 0),
        b"c" * 16: Prepared(Outcome("unreadable", "schräg \n kaputt"), -1, 0),
    }
    PixelIndex(tmp_path / "index").append(items, {b"\0" * 16: b"a" * 16})
    index = PixelIndex(tmp_path / "index")
    index.refresh()
    assert index.next_row == 8
    assert index.content_of(b"\0" * 16) == b"a" * 16
    assert index.find(b"x" * 16) is None
    for digest in (b"\0" * 16, b"c" * 16):
        assert index.find(digest) == items[digest]
    found = index.find(b"a" * 16)
    assert found is not None
    assert found.outcome.face is not None
    assert (found.row, found.checksum, found.outcome.faces) == (7, 2**32 - 1, 2)
    np.testing.assert_array_equal(found.outcome.face.landmarks, face.landmarks)
    np.testing.assert_array_equal(found.outcome.face.box, face.box)
    assert found.outcome.face.score == 1 / 3


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """As if the disk were full: the system refuses to write files beyond a size."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


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


def sizes(home: Path) -> list[int]:
    """The sides of the square images that there are stores for."""
    return sorted(json.loads(path.read_text())["size"][0] for path in (home / "pixels").glob("*/about.json"))


def test_stores_not_used_for_longest_give_way(root: Path, home: Path) -> None:
    limit = 200_000 / 1e9
    for age, side in enumerate((40, 41, 42)):  # about 100 kB each
        fill(home, root, spec=InputSpec(size=(side, side)), gigabytes=1.0)
        for users in (home / "pixels").glob("*/users"):
            os.utime(users, (users.stat().st_mtime - 1000 * (3 - age),) * 2)
    filled, _ = fill(home, root, PATHS[:3], spec=InputSpec(size=(20, 20)), gigabytes=limit)
    assert_right(filled, root, PATHS[:3], InputSpec(size=(20, 20)))
    assert sizes(home) == [20, 42]
    assert not list((home / "pixels").glob(".removed-*"))


def test_a_store_in_use_stays(root: Path, home: Path) -> None:
    used = open_pixel_store(home, 1.0, ImageLoader(InputSpec(size=(40, 40))))
    assert used is not None
    used.prepare([root / path for path in PATHS])
    fill(home, root, PATHS[:3], spec=InputSpec(size=(20, 20)), gigabytes=110_000 / 1e9)
    assert sizes(home) == [20, 40]
    used.close()
    fill(home, root, PATHS[3:6], spec=InputSpec(size=(20, 20)), gigabytes=110_000 / 1e9)
    assert sizes(home) == [20]


def test_other_folders_are_none_of_its_business(root: Path, home: Path) -> None:
    (home / "pixels" / "holiday").mkdir(parents=True)
    (home / "pixels" / "holiday" / "users").touch()
    fill(home, root, gigabytes=10_000 / 1e9)
    assert (home / "pixels" / "holiday").is_dir()


def test_a_store_that_outgrows_the_limit_stops_growing(
    root: Path, home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled, _ = fill(home, root, gigabytes=15 * ROW / 1e9)
    assert_right(filled, root)
    assert (only_store(home) / "pixels").stat().st_size <= 15 * ROW
    [message] = warnings_of(caplog)
    assert "takes nothing new (no room within --cache-limit)" in message


def test_a_store_full_of_what_nobody_wants_any_more_begins_anew(root: Path, home: Path, write_image: Write) -> None:
    gigabytes = 24 * ROW / 1e9
    fill(home, root, gigabytes=gigabytes)
    others = [f"other {number}.png" for number in range(6)]
    for number, path in enumerate(others):
        write_image(root / path, np.full((20, 30, 3), number, np.uint8))
    assert fill(home, root, others, gigabytes=gigabytes)[1] == 6
    assert fill(home, root, others, gigabytes=gigabytes)[1] == 6
    filled, decoded = fill(home, root, others, gigabytes=gigabytes)
    assert decoded == 0
    assert_right(filled, root, others)


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
