"""Where stores of pixels lie: which loaders share one, and the bound for all of them together."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from siamese.images.input_spec import InputSpec
from siamese.images.loader import ImageLoader
from siamese.images.pixel_store import open_pixel_store
from siamese.images.store_folder import preparation

from .cached_images import PATHS, ROW, assert_right, fill, only_store, warnings_of

Write = Callable[[Path, NDArray[np.uint8]], Path]
pytestmark = pytest.mark.usefixtures("settled")


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
