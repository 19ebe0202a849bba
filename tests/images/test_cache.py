from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from siamese.images import cache
from siamese.images.cache import PixelCache
from siamese.images.input_spec import InputSpec
from siamese.images.loader import ImageLoader, Outcome

Write = Callable[[Path, NDArray[np.uint8]], Path]
SPEC = InputSpec(size=(16, 24))
PATHS = [f"person {number}/{number}.png" for number in range(7)]


@pytest.fixture
def root(tmp_path: Path, write_image: Write) -> Path:
    rng = np.random.default_rng(0)
    for path in PATHS:
        write_image(tmp_path / "data" / path, rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    (tmp_path / "data" / PATHS[3]).write_bytes(b"")
    return tmp_path / "data"


def test_memory_and_a_mapped_file_hold_equal_pixels(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "BATCH", 2)
    file = tmp_path / "new" / "pixels.bin"
    in_memory = PixelCache(ImageLoader(SPEC), root, PATHS, file)
    assert not file.exists()
    mapped = PixelCache(ImageLoader(SPEC), root, PATHS, file, limit=7 * 16 * 24 * 3 - 1)
    assert isinstance(mapped.pixels, np.memmap)
    assert file.stat().st_size == 7 * 16 * 24 * 3
    np.testing.assert_array_equal(in_memory.pixels, mapped.pixels)
    assert in_memory.outcomes == mapped.outcomes
    expected, _ = ImageLoader(SPEC).load([root / path for path in PATHS])
    np.testing.assert_array_equal(in_memory.pixels, expected)


def test_what_just_fits_the_limit_stays_in_memory(root: Path, tmp_path: Path) -> None:
    kept = PixelCache(ImageLoader(SPEC), root, PATHS, tmp_path / "pixels.bin", limit=7 * 16 * 24 * 3)
    assert not isinstance(kept.pixels, np.memmap)
    kept.close()


def test_unusable_images_are_black_and_marked(root: Path, tmp_path: Path) -> None:
    kept = PixelCache(ImageLoader(SPEC), root, PATHS, tmp_path / "pixels.bin")
    assert kept.usable.tolist() == [True, True, True, False, True, True, True]
    assert kept.usable.dtype == bool
    assert not kept.pixels[3].any()
    assert kept.outcomes[3].detail.endswith("3.png: the file is empty (0 bytes); replace it")
    assert kept.spec == SPEC


def test_the_file_is_removed_on_close(root: Path, tmp_path: Path) -> None:
    file = tmp_path / "pixels.bin"
    kept = PixelCache(ImageLoader(SPEC), root, PATHS, file, limit=0)
    assert file.exists()
    kept.close()
    assert not file.exists()
    kept.close()


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_an_interrupt_leaves_no_file_behind(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    monkeypatch.setattr(cache, "BATCH", 2)

    class BreaksOff(ImageLoader):
        calls = 0

        def load(self, sources: Sequence[Path | bytes]) -> tuple[NDArray[np.uint8], list[Outcome]]:
            self.calls += 1
            if self.calls == 3:
                raise error
            return super().load(sources)

    file = tmp_path / "pixels.bin"
    loader = BreaksOff(SPEC)
    with pytest.raises(error):
        PixelCache(loader, root, PATHS, file, limit=0)
    assert loader.calls == 3
    assert not file.exists()


def test_no_images_need_no_file(root: Path, tmp_path: Path) -> None:
    kept = PixelCache(ImageLoader(SPEC), root, [], tmp_path / "pixels.bin", limit=0)
    assert kept.pixels.shape == (0, 16, 24, 3)
    assert kept.usable.shape == (0,)
