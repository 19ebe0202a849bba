"""Filling a store: what it has is not embedded again, what has changed is."""

import os
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from siamese.errors import ModelError
from siamese.images import fingerprint
from siamese.inference.embedding_store import EmbeddingStore
from siamese.inference.embedding_store_fill import fill_store
from siamese.inference.verifier import Verifier

IMAGES = 40
NAMES = pa.array([f"{number:02}.png" for number in range(IMAGES)], pa.large_string())


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos ü"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in NAMES.to_pylist():
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(folder / name)
    return folder


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    torch.manual_seed(0)
    return Verifier.load("timm/test_resnet@random", device="cpu", input_size=(32, 32))


@pytest.fixture
def store(tmp_path: Path, verifier: Verifier) -> EmbeddingStore:
    (tmp_path / "store").mkdir()
    store = EmbeddingStore(tmp_path / "store", verifier.network.embedding_dim)
    store.extend(NAMES)
    return store


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that are embedded from now on."""
    names: list[str] = []
    embed = Verifier.embed

    def counting(self: Verifier, sources: list[Path], **options: object) -> object:
        names.extend(source.name for source in sources)
        return embed(self, sources, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Verifier, "embed", counting)
    return names


def fill(verifier: Verifier, store: EmbeddingStore, photos: Path) -> EmbeddingStore:
    """The store opened anew, as another run does, and filled."""
    again = EmbeddingStore(store.folder, store.dimensions)
    fill_store(verifier, again, photos, np.ones(IMAGES, bool))
    return again


def settle(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the files had been written long ago."""
    monkeypatch.setattr(fingerprint, "SETTLED", -1e9)


def test_every_image_is_embedded_as_the_verifier_embeds_them_together(
    verifier: Verifier, store: EmbeddingStore, photos: Path
) -> None:
    assert fill_store(verifier, store, photos, np.ones(IMAGES, bool)) == IMAGES
    expected = verifier.embed([photos / name for name in NAMES.to_pylist()])
    np.testing.assert_array_equal(store.vectors, expected.vectors)
    assert store.usable.all()


@pytest.mark.parametrize("settled", [True, False], ids=["by stamp", "by content"])
def test_nothing_that_is_there_is_embedded_again(
    verifier: Verifier,
    store: EmbeddingStore,
    photos: Path,
    seen: list[str],
    settled: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if settled:
        settle(photos, monkeypatch)
    fill(verifier, store, photos)
    first = np.array(EmbeddingStore(store.folder, store.dimensions).vectors)
    assert len(seen) == IMAGES
    again = fill(verifier, store, photos)
    assert len(seen) == IMAGES
    np.testing.assert_array_equal(again.vectors, first)


def test_an_image_that_was_replaced_is_embedded_again_and_one_that_was_copied_is_not(
    verifier: Verifier, store: EmbeddingStore, photos: Path, seen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(photos, monkeypatch)
    fill(verifier, store, photos)
    seen.clear()
    (photos / "03.png").write_bytes((photos / "04.png").read_bytes())
    os.utime(photos / "05.png", (time.time() - 9e5,) * 2)
    again = fill(verifier, store, photos)
    assert seen == ["03.png"]
    np.testing.assert_allclose(again.vectors[3], again.vectors[4], atol=1e-6)
    # The new stamp of what was only touched is known from now on: no content is read for it.
    monkeypatch.setattr("siamese.inference.embedding_store_marks.read_file", lambda path: pytest.fail(f"read {path}"))
    fill(verifier, store, photos)
    assert seen == ["03.png"]


def test_what_could_not_be_read_is_tried_again(
    verifier: Verifier, store: EmbeddingStore, photos: Path, seen: list[str]
) -> None:
    data = (photos / "07.png").read_bytes()
    (photos / "07.png").write_bytes(data[:200])
    (photos / "08.png").rename(photos / "away.png")
    first = fill(verifier, store, photos)
    assert sorted(first.failures) == [7, 8]
    assert "08.png: no such file" in first.failures[8].detail
    seen.clear()
    (photos / "07.png").write_bytes(data)
    again = fill(verifier, store, photos)
    assert seen == ["07.png", "08.png"]
    assert sorted(again.failures) == [8]
    np.testing.assert_allclose(again.vectors[7], verifier.embed([photos / "07.png"]).vectors[0], atol=1e-6)


def test_a_face_that_was_looked_for_in_vain_is_not_looked_for_again(
    verifier: Verifier, store: EmbeddingStore, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = Verifier.embed
    calls: list[int] = []

    def without_a_face(self: Verifier, sources: list[Path], **options: object) -> object:
        found = embed(self, sources, **options)  # type: ignore[arg-type]
        calls.append(len(sources))
        for row, source in enumerate(sources):
            if source.name == "09.png":
                found.outcomes[row] = type(found.outcomes[row])("no_face", "no face found", faces=0)
                found.vectors[row] = 0
        return found

    monkeypatch.setattr(Verifier, "embed", without_a_face)
    first = fill(verifier, store, photos)
    assert sum(calls) == IMAGES
    again = fill(verifier, store, photos)
    assert sum(calls) == IMAGES
    assert again.failures == first.failures
    assert again.failures[9].detail == "no face found"


def test_batches_are_the_same_whatever_is_there(
    verifier: Verifier, store: EmbeddingStore, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed, batches, die = Verifier.embed, list[list[str]](), [2]

    def dying(self: Verifier, sources: list[Path], **options: object) -> object:
        if die and len(batches) == die[0]:
            die.clear()
            raise KeyboardInterrupt
        batches.append([source.name for source in sources])
        return embed(self, sources, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Verifier, "embed", dying)
    with pytest.raises(KeyboardInterrupt):
        fill(verifier, store, photos)
    fill(verifier, store, photos)
    assert [len(batch) for batch in batches] == [16, 16, 8]
    assert [name for batch in batches for name in batch] == NAMES.to_pylist()


def test_only_what_is_wanted_is_embedded(
    verifier: Verifier, store: EmbeddingStore, photos: Path, seen: list[str]
) -> None:
    wanted = np.arange(IMAGES) % 3 == 0
    assert fill_store(verifier, store, photos, wanted) == wanted.sum()
    assert seen == [name for name, want in zip(NAMES.to_pylist(), wanted, strict=True) if want]
    assert store.usable.tolist() == wanted.tolist()


def test_weights_that_are_no_numbers_are_a_damaged_model_and_nothing_of_it_is_kept_as_done(
    store: EmbeddingStore, photos: Path, verifier: Verifier
) -> None:
    damaged = Verifier.load("timm/test_resnet@random", device="cpu", input_size=(32, 32))
    with torch.no_grad():
        next(damaged.network.encoder.parameters()).fill_(float("nan"))
    with pytest.raises(ModelError, match="makes no numbers of any image, its weights are damaged; fetch or train it"):
        fill_store(damaged, store, photos, np.ones(IMAGES, bool))
    assert not store.usable.any()


def test_an_image_of_which_no_numbers_come_fails_alone(
    verifier: Verifier, store: EmbeddingStore, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embed = Verifier.embed

    def with_one_nan(self: Verifier, sources: list[Path], **options: object) -> object:
        found = embed(self, sources, **options)  # type: ignore[arg-type]
        found.vectors[[source.name == "11.png" for source in sources]] = np.nan
        return found

    monkeypatch.setattr(Verifier, "embed", with_one_nan)
    fill_store(verifier, store, photos, np.ones(IMAGES, bool))
    assert np.flatnonzero(~store.usable).tolist() == [11]
    assert store.failures[11].detail == "the model makes no numbers of it"
    assert np.isfinite(store.vectors).all()
