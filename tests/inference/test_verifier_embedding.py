"""Embedding files and prepared pixels with a verifier."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from siamese.encoders import create_encoder
from siamese.images.loader import Outcome
from siamese.inference.verifier import Verifier
from siamese.model.embedding import embed_pixels
from siamese.model.embeddings import Embeddings
from siamese.model.network import SiameseNetwork


def network(head: str = "mlp") -> SiameseNetwork:
    # No alignment: what is loaded is embedded without a search for faces.
    return SiameseNetwork(create_encoder("timm/test_resnet@random", input_size=(32, 32)), head).eval()


def pixels(count: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def png(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def verifier(net: SiameseNetwork, *, flip: bool = False) -> Verifier:
    return Verifier("net", net, None, device="cpu", flip=flip)


def test_with_its_mirror_image_an_image_lies_halfway_between_the_two_and_sides_do_not_matter() -> None:
    net, images = network(), pixels(5)
    plain, mirrored = embed_pixels(net, images), embed_pixels(net, images[:, :, ::-1])
    halfway = plain + mirrored
    halfway /= np.linalg.norm(halfway, axis=1, keepdims=True)
    assert np.abs(halfway - plain).max() > 1e-3
    np.testing.assert_allclose(verifier(net, flip=True).embed_pixels(images), halfway, atol=1e-5)
    np.testing.assert_allclose(verifier(net, flip=True).embed_pixels(images[:, :, ::-1]), halfway, atol=1e-5)
    loaded = verifier(net, flip=True).embed([png(image) for image in images], batch=2)
    np.testing.assert_allclose(loaded.vectors, halfway, atol=1e-5)


def test_files_and_bytes_are_embedded_like_their_pixels(tmp_path: Path) -> None:
    net, images = network(), pixels(5)
    paths = []
    for row, image in enumerate(images):
        paths.append(tmp_path / f"größe {row}.png")
        paths[-1].write_bytes(png(image))
    expected = embed_pixels(net, images)
    found = verifier(net).embed([*paths, png(images[2])], batch=2)
    np.testing.assert_allclose(found.vectors[:5], expected, atol=1e-5)
    np.testing.assert_allclose(found.vectors[5], expected[2], atol=1e-5)
    assert found.usable.all()
    assert [outcome.status for outcome in found.outcomes] == ["ok"] * 6


def test_an_unreadable_image_has_a_zero_row_and_a_reason_and_spoils_no_other(tmp_path: Path) -> None:
    net, images = network(), pixels(4)
    sources: list[Path | bytes] = [png(image) for image in images]
    sources[1:1] = [b"no image at all", tmp_path / "missing.png"]
    found = verifier(net).embed(sources, batch=3)
    np.testing.assert_array_equal(found.usable, [True, False, False, True, True, True])
    assert np.count_nonzero(found.vectors[1:3]) == 0
    assert [outcome.status for outcome in found.outcomes[1:3]] == ["unreadable", "unreadable"]
    assert "missing.png" in found.outcomes[2].detail
    np.testing.assert_allclose(found.vectors[found.usable], embed_pixels(net, images), atol=1e-5)


def test_a_list_without_one_usable_image_gives_zero_rows() -> None:
    net = network()
    found = verifier(net).embed([b"x", b"y", b"z"], batch=2)
    assert found.vectors.shape == (3, net.embedding_dim)
    assert not found.vectors.any()
    assert not found.usable.any()
    assert verifier(net).embed([]).vectors.shape == (0, net.embedding_dim)


def test_usable_are_the_rows_whose_outcome_is_ok() -> None:
    outcomes = [Outcome("ok"), Outcome("no_face", "no face found"), Outcome("unreadable", "cut off"), Outcome("ok")]
    assert Embeddings(np.zeros((4, 2), np.float32), outcomes).usable.tolist() == [True, False, False, True]
    assert Embeddings(np.zeros((0, 2), np.float32), []).usable.dtype == bool
