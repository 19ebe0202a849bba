"""Where a similarity comes from: an encoder whose answer is known, a pair head, and real faces with real weights."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from siamese.encoders.encoder import Encoder
from siamese.errors import FaceError, ImageError, ModelError, OptionError
from siamese.images.input_spec import InputSpec
from siamese.inference import explain as explain_module
from siamese.inference.crops import load_crops
from siamese.inference.explain import Explanation, covered_similarities, explain
from siamese.inference.occlusion import cover, fill_of, patch_windows
from siamese.inference.verifier import Verifier
from siamese.model.embedding import embed_pixels
from siamese.model.network import SiameseNetwork

SIDE = 32
# The only pixels that the synthetic encoder looks at: rows 8 to 16, columns 16 to 24.
SEEN = (slice(8, 16), slice(16, 24))


class Peephole(Encoder):
    """Its features are the pixels of one small square, each divided by its neighbourhood's scale: nothing else."""

    def __init__(self) -> None:
        super().__init__("peephole", InputSpec(size=(SIDE, SIDE)), 3 * 8 * 8)

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :, SEEN[0], SEEN[1]].flatten(1)

    def stages(self) -> list[list[nn.Module]]:
        return []

    def load_checkpoint(self, state: dict[str, Tensor], origin: str) -> None:
        raise NotImplementedError


class NotANumber(Peephole):
    """Fails on images whose first pixel is black."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.where(images[:, :1, 0, 0] < -0.9, torch.nan, super().forward(images))


def save(folder: Path, name: str, pixels: NDArray[np.uint8]) -> Path:
    Image.fromarray(pixels).save(folder / name)
    return folder / name


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two images of noise that agree in the square that the encoder sees, and nowhere else."""
    rng, folder = np.random.default_rng(1), tmp_path_factory.mktemp("photos")
    left, right = rng.integers(0, 256, (2, SIDE, SIDE, 3)).astype(np.uint8)
    right[SEEN] = left[SEEN]
    return save(folder, "left.png", left), save(folder, "right.png", right)


@pytest.fixture(scope="module")
def peephole() -> Verifier:
    return Verifier("peephole", SiameseNetwork(Peephole()), None, device="cpu")


@pytest.fixture(scope="module")
def with_pair_head() -> Verifier:
    torch.manual_seed(0)
    network = SiameseNetwork(Peephole(), pair_head="difference+product", pair_hidden=4)
    with torch.no_grad():
        for parameter in network.pair_head.parameters():  # type: ignore[union-attr]
            parameter += 0.2 * torch.randn(parameter.shape)
    return Verifier("net", network, None, device="cpu")


def test_only_the_place_that_the_encoder_sees_is_named(peephole: Verifier, photos: tuple[Path, Path]) -> None:
    found = explain(peephole, *photos)
    assert found.similarity == pytest.approx(1.0, abs=1e-6)
    reach = found.patch - 1  # a patch that touches the square holds pixels this far beside it
    near = np.zeros((SIDE, SIDE), bool)
    near[8 - reach : 16 + reach, 16 - reach : 24 + reach] = True
    for each in found.maps:
        assert each.shape == (SIDE, SIDE)
        assert each.dtype == np.float32
        assert each[SEEN].min() > 0.05
        np.testing.assert_allclose(each[~near], 0, atol=1e-6)
        row, column = np.unravel_index(each.argmax(), each.shape)
        assert 8 <= row < 16
        assert 16 <= column < 24


def reference(verifier: Verifier, crops: NDArray[np.uint8], side: int, found: Explanation) -> NDArray[np.float64]:
    """The map by loops: every patch covered by itself, every pixel averaged by itself."""
    spec, total, count = verifier.network.input_spec, np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))

    def similarity(pair: list[NDArray[np.uint8]]) -> float:
        with torch.inference_mode():
            one, other = (verifier.network(torch.from_numpy(spec.normalise(each[None]))) for each in pair)
            head = verifier.network.pair_head
            if head is None:
                return float(F.cosine_similarity(one, other)[0])
            return float(head.similarity(one.numpy(), other.numpy())[0])

    whole = similarity([crops[0], crops[1]])
    for top, left, bottom, right in patch_windows((SIDE, SIDE), 0.25, 2 / 3).tolist():
        pair = [crops[0].copy(), crops[1].copy()]
        pair[side][top:bottom, left:right] = fill_of(crops[side], found.fill)[top:bottom, left:right]
        total[top:bottom, left:right] += whole - similarity(pair)
        count[top:bottom, left:right] += 1
    return total / count


@pytest.mark.parametrize("fill", ["mean", "blur"])
@pytest.mark.parametrize("kind", ["peephole", "with_pair_head"])
def test_maps_are_those_of_a_loop_over_patches_and_pixels(
    request: pytest.FixtureRequest, photos: tuple[Path, Path], kind: str, fill: str
) -> None:
    verifier = request.getfixturevalue(kind)
    found = explain(verifier, *photos, fill=fill)  # type: ignore[arg-type]
    for side in range(2):
        expected = reference(verifier, found.crops, side, found)
        assert np.ptp(expected) > 1e-3
        np.testing.assert_allclose(found.maps[side], expected, atol=2e-6)
    assert found.similarity == pytest.approx(verifier.compare(*photos, threshold=0).similarity, abs=1e-6)


def test_swapping_the_images_swaps_the_maps(
    with_pair_head: Verifier, photos: tuple[Path, Path], tmp_path: Path
) -> None:
    other = save(tmp_path, "other.png", np.asarray(Image.open(photos[1]))[::-1])
    found, turned = explain(with_pair_head, photos[0], other), explain(with_pair_head, other, photos[0])
    np.testing.assert_array_equal(found.crops, turned.crops[::-1])
    np.testing.assert_allclose(found.maps[0], turned.maps[1], atol=2e-6)
    np.testing.assert_allclose(found.maps[1], turned.maps[0], atol=2e-6)
    assert np.abs(found.maps[0] - found.maps[1]).max() > 1e-3


def test_the_same_images_give_the_same_maps_whatever_the_seed_and_the_batch(
    with_pair_head: Verifier, photos: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    first = explain(with_pair_head, *photos)
    torch.manual_seed(2)
    again = explain(with_pair_head, *photos)
    np.testing.assert_array_equal(np.stack(first.maps), np.stack(again.maps))
    one_by_one = explain(with_pair_head, *photos, batch=1)
    np.testing.assert_allclose(np.stack(first.maps), np.stack(one_by_one.maps), atol=2e-6)
    monkeypatch.setattr(explain_module, "BATCH_BYTES", 3 * SIDE * SIDE * 5 * 4)
    sizes: list[int] = []

    embed_pixels = Verifier.embed_pixels

    def counting(self: Verifier, pixels: NDArray[np.uint8], *, batch: int | None = None) -> NDArray[np.float32]:
        sizes.append(min(len(pixels), batch or len(pixels)))
        return embed_pixels(self, pixels, batch=batch)

    monkeypatch.setattr(Verifier, "embed_pixels", counting)
    bounded = explain(with_pair_head, *photos)
    assert max(sizes) == 4, "four copies fit into the memory allowed"
    np.testing.assert_allclose(np.stack(first.maps), np.stack(bounded.maps), atol=2e-6)


def test_a_model_used_with_mirror_images_is_explained_with_them(photos: tuple[Path, Path]) -> None:
    mirrored = Verifier("peephole", SiameseNetwork(Peephole()), None, device="cpu", flip=True)
    found = explain(mirrored, *photos)
    assert found.similarity == pytest.approx(mirrored.compare(*photos, threshold=0).similarity, abs=1e-6)
    # The mirror image shows the encoder columns 8 to 16 of the original.
    assert found.maps[0][8:16, 8:16].mean() != pytest.approx(0, abs=1e-3)


def test_crops_are_those_that_the_model_sees(peephole: Verifier, photos: tuple[Path, Path]) -> None:
    crops, outcomes = load_crops(peephole, *photos)
    np.testing.assert_array_equal(crops[0], np.asarray(Image.open(photos[0])))
    assert [outcome.faces for outcome in outcomes] == [None, None]
    np.testing.assert_array_equal(explain(peephole, *photos).crops, crops)


def test_a_bad_image_an_option_out_of_range_and_a_damaged_model_are_refused(
    peephole: Verifier, photos: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(ImageError, match=f"^{tmp_path / 'none.png'}: no such file"):
        explain(peephole, photos[0], tmp_path / "none.png")
    with pytest.raises(OptionError, match=r"^patch 2: expected a share"):
        explain(peephole, *photos, patch=2)
    damaged = Verifier("damaged", SiameseNetwork(NotANumber()), None, device="cpu")
    black = save(tmp_path, "black.png", np.zeros((SIDE, SIDE, 3), np.uint8))
    with pytest.raises(ModelError, match=r"^damaged: gives the similarity nan, expected a number"):
        explain(damaged, photos[0], black)
    # Whole, these two are fine; covered with their own dark mean colour they are not.
    dark = np.zeros((SIDE, SIDE, 3), np.uint8)
    dark[0, 0] = 255
    dark = save(tmp_path, "dark.png", dark)
    with pytest.raises(ModelError, match=r"^damaged: gives the similarity nan, expected a number"):
        explain(damaged, dark, dark)


# real faces


@pytest.fixture(scope="module")
def mobilefacenet(real_data: Path) -> Verifier:
    return Verifier.load(f"mobilefacenet@{real_data / 'weights/mobilefacenet_casia_webface.ckpt'}", device="cpu")


PAIRS = [("Tony_Blair", 34, 98), ("Colin_Powell", 1, 10), ("Serena_Williams", 1, 3), ("Arlen_Specter", 1, 2)]


@pytest.mark.real_data
@pytest.mark.parametrize(("person", "one", "other"), PAIRS)
def test_covering_the_top_of_the_map_costs_more_than_covering_as_much_elsewhere(
    mobilefacenet: Verifier, real_data: Path, person: str, one: int, other: int
) -> None:
    images = [real_data / f"data/lfw/{person}/{person}_{number:04d}.jpg" for number in (one, other)]
    found = explain(mobilefacenet, *images)
    rng = np.random.default_rng(0)
    whole = embed_pixels(mobilefacenet.network, found.crops)
    for side, each in enumerate(found.maps):
        top = np.zeros(each.size, bool)
        top[np.argsort(-each.ravel(), kind="stable")[: each.size // 10]] = True
        top = top.reshape(each.shape)
        # The same shape elsewhere, so that neither area nor number of edges differs, and as many pixels in disorder.
        moved = [np.roll(top, rng.integers(1, each.shape), (0, 1)) for _ in range(20)]
        scattered = [rng.permutation(top.ravel()).reshape(top.shape) for _ in range(20)]
        masks = np.array([top, *moved, *scattered])
        assert (masks.sum(axis=(1, 2)) == top.sum()).all()
        copies = cover(found.crops[side], masks, fill_of(found.crops[side]))
        drops = found.similarity - covered_similarities(mobilefacenet, copies, whole, side)
        assert drops[0] > 2 * drops[1:21].mean()
        assert (drops[0] > drops[1:21]).mean() >= 0.8
        assert drops[0] > drops[21:].mean()


@pytest.mark.real_data
def test_an_image_without_a_face_is_refused_in_words(
    mobilefacenet: Verifier, real_data: Path, tmp_path: Path
) -> None:
    wall = save(tmp_path, "wall.png", np.full((200, 200, 3), 128, np.uint8))
    face = real_data / "data/lfw/Tony_Blair/Tony_Blair_0034.jpg"
    words = "no face found; give a clearer image, or --align no for one that is cropped already"
    with pytest.raises(FaceError, match=f"^{wall}: {words}$"):
        explain(mobilefacenet, face, wall)
