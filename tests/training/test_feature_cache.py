import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from siamese.errors import DataError
from siamese.images.augment import augmenter
from siamese.training.feature_cache import FeatureFile, alone, features_key, fill, make_room
from siamese.training.sources import PixelSource, Views

from .conftest import SPEC, TinyEncoder

REPOSITORY = Path(__file__).parents[2]
ROWS = np.arange(3, 30)
WHAT: dict[str, Any] = {"augment": "light", "views": 2, "seed": 0, "device": "cpu"}


def source(noise: NDArray[np.uint8], views: int = 2) -> PixelSource:
    return PixelSource(noise, SPEC, augmenter("standard"), Views(0, views))


def fill_file(
    file: Path, noise: NDArray[np.uint8], views: int = 2, **options: Any
) -> tuple[FeatureFile, TinyEncoder]:
    encoder = TinyEncoder().eval()
    store = FeatureFile(file, (views, len(ROWS), encoder.feature_dim))
    fill(store, encoder, source(noise, views), ROWS, device="cpu", **options)
    return store, encoder


def test_features_are_those_of_each_view_of_each_image(noise: NDArray[np.uint8], tmp_path: Path) -> None:
    store, encoder = fill_file(tmp_path / "a.f32", noise, views=3)
    assert store.features.shape == (3, len(ROWS), 12)
    with torch.inference_mode():
        for view in range(3):
            images = source(noise, 3).view(ROWS, np.full(len(ROWS), view))
            np.testing.assert_allclose(store.features[view], encoder(images).numpy(), atol=1e-6)
    assert not np.allclose(store.features[0], store.features[1], atol=1e-3)


@pytest.mark.parametrize("workers", [0, 2])
def test_what_is_there_is_not_computed_again(noise: NDArray[np.uint8], tmp_path: Path, workers: int) -> None:
    first, encoder = fill_file(tmp_path / "a.f32", noise, workers=workers)
    assert encoder.seen == 2 * len(ROWS)
    again, encoder = fill_file(tmp_path / "a.f32", noise)
    assert encoder.seen == 0
    np.testing.assert_array_equal(first.features, again.features)


def test_the_key_is_the_same_for_the_same(noise: NDArray[np.uint8]) -> None:
    assert features_key(TinyEncoder(), noise, ROWS, WHAT) == features_key(TinyEncoder(), noise.copy(), ROWS, WHAT)


@pytest.mark.parametrize(
    "change",
    [{"augment": "standard"}, {"seed": 1}, {"views": 3}, {"device": "cuda"}],
    ids=lambda each: next(iter(each)),
)
def test_the_key_changes_with_all_that_decides_a_view(noise: NDArray[np.uint8], change: dict[str, Any]) -> None:
    assert features_key(TinyEncoder(), noise, ROWS, WHAT | change) != features_key(TinyEncoder(), noise, ROWS, WHAT)


def test_the_key_changes_with_weights_input_rows_and_pixels(noise: NDArray[np.uint8]) -> None:
    known = features_key(TinyEncoder(), noise, ROWS, WHAT)
    other = TinyEncoder()
    with torch.no_grad():
        other.second.bias[0] += 1e-6
    assert features_key(other, noise, ROWS, WHAT) != known
    grey = TinyEncoder()
    grey.input_spec = SPEC.model_copy(update={"mean": (0.4, 0.5, 0.5)})
    assert features_key(grey, noise, ROWS, WHAT) != known
    assert features_key(TinyEncoder(), noise, ROWS[:-1], WHAT) != known
    changed = noise.copy()
    changed[ROWS[-1], 0, 0, 0] ^= 1
    assert features_key(TinyEncoder(), changed, ROWS, WHAT) != known
    unused = noise.copy()
    unused[0] ^= 1
    assert features_key(TinyEncoder(), unused, ROWS, WHAT) == known


def spoil_size(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(100)


def spoil_state(file: Path) -> None:
    file.with_suffix(".json").write_text("{", encoding="utf-8")


def state_of_another(file: Path) -> None:
    file.with_suffix(".json").write_text('{"done": 1000000}\n', encoding="utf-8")


def negative_state(file: Path) -> None:
    file.with_suffix(".json").write_text('{"done": -3}\n', encoding="utf-8")


def state_of_no_form(file: Path) -> None:
    file.with_suffix(".json").write_text("[7]", encoding="utf-8")


def lose_state(file: Path) -> None:
    file.with_suffix(".json").unlink()


@pytest.mark.parametrize(
    "spoil", [spoil_size, spoil_state, state_of_another, negative_state, state_of_no_form, lose_state]
)
def test_a_truncated_or_foreign_file_is_computed_anew(noise: NDArray[np.uint8], tmp_path: Path, spoil: Any) -> None:
    file = tmp_path / "a.f32"
    whole = np.array(fill_file(file, noise)[0].features)
    spoil(file)
    store, encoder = fill_file(file, noise)
    assert encoder.seen == 2 * len(ROWS)
    np.testing.assert_array_equal(store.features, whole)


def test_a_file_begun_anew_does_not_pass_for_a_whole_one(noise: NDArray[np.uint8], tmp_path: Path) -> None:
    file = tmp_path / "a.f32"
    fill_file(file, noise)
    spoil_size(file)
    FeatureFile(file, (2, len(ROWS), 12))  # killed here: room is taken, nothing computed
    assert FeatureFile(file, (2, len(ROWS), 12)).done == 0


def test_a_fill_that_was_interrupted_goes_on_with_the_batch_it_was_in(
    noise: NDArray[np.uint8], tmp_path: Path
) -> None:
    whole = np.array(fill_file(tmp_path / "whole.f32", noise)[0].features)
    # Within the second view, and not at the end of a batch of 16: left by another device.
    for done in (1, 16, len(ROWS), len(ROWS) + 20):
        file = tmp_path / f"{done}.f32"
        store = FeatureFile(file, whole.shape)
        store.put(whole.reshape(-1, 12)[:done])
        store.keep()
        del store
        resumed, encoder = fill_file(file, noise)
        assert encoder.seen == {1: 54, 16: 38, 27: 27, 47: 11}[done]
        np.testing.assert_array_equal(resumed.features, whole)


# Fills slowly, with an encoder that waits, so that a kill lands in the middle.
FILLER = """
import sys, time
from pathlib import Path
import numpy as np
import torch
from siamese.encoders.encoder import Encoder
from siamese.images.augment import augmenter
from siamese.images.input_spec import InputSpec
from siamese.training.feature_cache import FeatureFile, alone, fill
from siamese.training.sources import PixelSource, Views
torch.set_num_threads(1)
class Slow(Encoder):
    def __init__(self):
        super().__init__("slow", InputSpec(size=(2, 2)), 3)
        self.layer = torch.nn.Identity()
    def forward(self, images):
        time.sleep(float(sys.argv[2]))
        return self.layer(images[:, :, 0, 1])
    def stages(self):
        return [[self.layer]]
    def load_checkpoint(self, state, origin):
        raise NotImplementedError
pixels = np.random.default_rng(0).integers(0, 256, (6001, 2, 2, 3), dtype=np.uint8)
rows = np.arange(1, 6001)
encoder = Slow().eval()
with alone(Path(sys.argv[1])):
    store = FeatureFile(Path(sys.argv[1]), (2, 6000, 3))
    print(store.done, flush=True)
    fill(store, encoder, PixelSource(pixels, encoder.input_spec, augmenter("light"), Views(0, 2)), rows, device="cpu")
"""


def start_filler(file: Path, wait: float) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        [sys.executable, "-c", FILLER, str(file), str(wait)], env=environment, text=True, stdout=subprocess.PIPE
    )


def done(file: Path) -> int:
    state = file.with_suffix(".json")
    return int(json.loads(state.read_text(encoding="utf-8"))["done"]) if state.is_file() else 0


def test_a_fill_that_is_killed_goes_on_and_gives_the_same_features(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole.f32", tmp_path / "killed.f32"
    assert start_filler(whole, 0).communicate(timeout=300)[0].strip() == "0"
    process = start_filler(killed, 0.004)
    deadline = time.monotonic() + 300
    while not done(killed):
        assert process.poll() is None and time.monotonic() < deadline, "it never kept anything"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = done(killed)
    assert 0 < kept < 12000, "it was over before the kill; make it longer"
    again = start_filler(killed, 0).communicate(timeout=300)[0]
    assert int(again) == kept
    assert killed.read_bytes() == whole.read_bytes()


def test_two_runs_at_once_fill_a_file_one_after_the_other(tmp_path: Path) -> None:
    whole, shared = tmp_path / "whole.f32", tmp_path / "shared.f32"
    start_filler(whole, 0).communicate(timeout=300)
    both = [start_filler(shared, 0.001) for _ in range(2)]
    found = sorted(int(process.communicate(timeout=300)[0]) for process in both)
    assert found == [0, 12000]
    assert shared.read_bytes() == whole.read_bytes()


def feature_file(folder: Path, name: str, age: float, size: int = 1000) -> Path:
    file = folder / f"{name}.f32"
    file.write_bytes(bytes(size))
    file.with_suffix(".json").write_text('{"done": 1}\n', encoding="utf-8")
    stamp = time.time() - age
    os.utime(file, (stamp, stamp))
    return file


def test_room_is_made_by_those_not_used_for_longest(tmp_path: Path) -> None:
    files = {name: feature_file(tmp_path, name, age) for name, age in (("old", 300), ("new", 1), ("middle", 100))}
    other = tmp_path / "notes.txt"
    other.write_text("mine", encoding="utf-8")
    make_room(tmp_path, 2000, files["new"])
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        *("middle.f32", "middle.json", "new.f32", "new.json", "notes.txt")
    ]


def test_the_file_in_use_stays_even_where_it_alone_is_too_large(tmp_path: Path) -> None:
    old, kept = feature_file(tmp_path, "old", 300), feature_file(tmp_path, "kept", 200, size=5000)
    feature_file(tmp_path, "new", 1)
    make_room(tmp_path, 1500, kept)
    assert kept.is_file()
    assert kept.with_suffix(".json").is_file()
    assert not old.exists()


def test_features_that_a_run_holds_outlive_their_file(noise: NDArray[np.uint8], tmp_path: Path) -> None:
    store, _ = fill_file(tmp_path / "a.f32", noise)
    before = np.array(store.features)
    make_room(tmp_path, 0, tmp_path / "other.f32")
    assert not (tmp_path / "a.f32").exists()
    np.testing.assert_array_equal(store.features, before)


def test_using_features_makes_them_the_last_to_give_way(noise: NDArray[np.uint8], tmp_path: Path) -> None:
    used = tmp_path / "used.f32"
    fill_file(used, noise)
    os.utime(used, (0, 0))
    unused = feature_file(tmp_path, "unused", 50)
    fill_file(used, noise)
    make_room(tmp_path, used.stat().st_size, tmp_path / "none.f32")
    assert used.is_file()
    assert not unused.exists()


def test_a_disk_without_room_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file stands where the folder should", encoding="utf-8")
    file = tmp_path / "folder" / "a.f32"
    message = f"{file}: no room for 0.0 GB of features ("
    with pytest.raises(
        DataError, match=f"^{re.escape(message)}.*\\); free some, lower --views, or use --features live$"
    ):
        FeatureFile(file, (1, 10, 3))


def test_where_there_can_be_no_lock_work_goes_on(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("", encoding="utf-8")
    with alone(tmp_path / "folder" / "a.f32"):
        pass
    assert (tmp_path / "folder").is_file()
