"""The verifier as a library: whatever images are given as, from as many threads as there are."""

import io
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import siamese
from siamese import Comparison, Embeddings, SiameseError, Verifier
from siamese.encoders import create_encoder
from siamese.errors import DataError, FaceError, ImageError
from siamese.evaluation.operating_points import OperatingPoint
from siamese.inference.export import ExportJob, export_model
from siamese.model.card import ModelCard
from siamese.model.folder import describe_encoder, save_model
from siamese.model.network import SiameseNetwork

PROJECT = Path(__file__).parents[2]
SIZE = 32
POINT = OperatingPoint(
    name="accuracy", threshold=0.5, far=0.01, tar=0.9, split="validation", genuine=100, impostor=100
)


def photos(count: int, seed: int = 0) -> list[NDArray[np.uint8]]:
    return list(np.random.default_rng(seed).integers(0, 256, (count, 40, 36, 3), dtype=np.uint8))


def png(image: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with its export."""
    torch.manual_seed(0)
    network = SiameseNetwork(create_encoder("timm/test_resnet@random", input_size=(SIZE, SIZE))).eval()
    folder = tmp_path_factory.mktemp("models") / "a model"
    card = ModelCard(
        encoder=describe_encoder(network),
        head=network.head_name,
        embedding_dim=network.embedding_dim,
        operating_points=(POINT,),
    )
    save_model(folder, network, card)
    export_model(ExportJob(str(folder)))
    return folder


@pytest.fixture(scope="module", params=["torch", "openvino"])
def verifier(model: Path, request: pytest.FixtureRequest) -> Verifier:
    return Verifier.load(model, device="cpu", runtime=request.param)


def test_an_image_is_compared_the_same_however_it_is_given(verifier: Verifier, tmp_path: Path) -> None:
    first, second = photos(2)
    path = tmp_path / "größe.png"
    path.write_bytes(png(first))
    expected = verifier.compare(first, second)
    assert isinstance(expected, Comparison)
    for source in (path, str(path), png(first), Image.fromarray(first)):
        found = verifier.compare(source, second)
        assert found == expected
        np.testing.assert_array_equal(found.crops, expected.crops)


def test_a_comparison_brings_both_images_as_the_model_saw_them(verifier: Verifier) -> None:
    first, second = photos(2)
    found = verifier.compare(first, second)
    crops, _ = verifier.prepare([first, second])
    assert found.crops.shape == (2, SIZE, SIZE, 3)
    np.testing.assert_array_equal(found.crops, crops)
    vectors = verifier.embed_pixels(found.crops)
    assert found.similarity == verifier.similarity(vectors[:1], vectors[1:])[0]
    assert found.same == (found.similarity >= POINT.threshold)


def test_images_of_all_kinds_are_embedded_in_one_list(verifier: Verifier, tmp_path: Path) -> None:
    given = photos(4)
    path = tmp_path / "a.png"
    path.write_bytes(png(given[0]))
    found = verifier.embed([path, png(given[1]), given[2], Image.fromarray(given[3]), b"no image"])
    assert isinstance(found, Embeddings)
    np.testing.assert_array_equal(found.usable, [True, True, True, True, False])
    np.testing.assert_allclose(found.vectors[:4], verifier.embed(given).vectors, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(found.vectors[:4], axis=1), 1, atol=1e-5)


def test_a_mistake_of_the_program_ends_the_list_a_bad_image_does_not(verifier: Verifier) -> None:
    with pytest.raises(DataError, match=r"shape \(40, 36, 3\), float64; expected uint8"):
        verifier.embed([photos(1)[0], photos(1)[0] / 255.0])
    with pytest.raises(DataError, match="an image given as NoneType"):
        verifier.compare(photos(1)[0], None)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="the image given as bytes: not an image"):
        verifier.compare(photos(1)[0], b"no image at all")


def test_embeddings_of_other_shapes_are_refused(verifier: Verifier) -> None:
    vectors = verifier.embed(photos(3)).vectors
    assert verifier.similarity(vectors, vectors).shape == (3,)
    width = verifier.embedding_dim
    for left, right in ((vectors, vectors[:2]), (vectors[0], vectors[0]), (vectors[:, :3], vectors[:, :3])):
        with pytest.raises(DataError, match=rf"expected \(N, {width}\) both, a pair a row"):
            verifier.similarity(left, right)


def test_threads_that_share_a_verifier_get_what_one_alone_gets(verifier: Verifier) -> None:
    given = photos(24)
    pairs = [(given[i], given[(7 * i + 3) % 24]) for i in range(24)]
    alone = [verifier.compare(*pair).similarity for pair in pairs]
    batches = [given[i : i + 1 + i % 9] for i in range(24)]
    vectors = [verifier.embed(batch).vectors for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            together = list(pool.map(lambda pair: verifier.compare(*pair).similarity, pairs))
            np.testing.assert_allclose(together, alone, atol=1e-6)
            for found, expected in zip(pool.map(lambda b: verifier.embed(b).vectors, batches), vectors, strict=True):
                np.testing.assert_allclose(found, expected, atol=1e-6)


def test_thresholds_fitted_without_mirror_images_are_said_to_be(
    model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="siamese"):
        Verifier.load(model, device="cpu", flip=True)
    assert caplog.messages == [f"--flip: thresholds and calibration of {model} were fitted without it"]
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="siamese"):
        Verifier.load("timm/test_resnet@random", device="cpu", flip=True, input_size=(SIZE, SIZE))
    assert caplog.messages == []


def test_the_package_offers_its_main_names_and_imports_nothing_heavy_for_it() -> None:
    assert siamese.Verifier is Verifier
    assert issubclass(ImageError, SiameseError)
    assert set(siamese.__all__) == {"Comparison", "Embeddings", "SiameseError", "Verifier", "__version__"}
    with pytest.raises(AttributeError, match="module 'siamese' has no attribute 'Verifyer'"):
        siamese.Verifyer  # noqa: B018
    code = (
        "import sys, siamese; print('numpy' in sys.modules); siamese.Verifier; "
        "print(sorted({'torch', 'pandas', 'lightning', 'albumentations', 'sklearn', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, check=True, stdout=subprocess.PIPE, encoding="utf-8"
    )
    assert done.stdout.split("\n")[:2] == ["False", "[]"]


@pytest.mark.real_data
def test_faces_are_found_in_pillow_images_and_arrays_from_several_threads(real_data: Path) -> None:
    weights = real_data / "weights" / "mobilefacenet_casia_webface.ckpt"
    folder = real_data / "data" / "lfw"
    names = ["George_W_Bush", "Colin_Powell", "Tony_Blair", "Serena_Williams"]
    paths = [folder / name / f"{name}_{number:04d}.jpg" for name in names for number in (1, 2)]
    verifier = Verifier.load(f"mobilefacenet@{weights}", device="cpu", runtime="torch")
    images = [Image.open(path) for path in paths]
    arrays = [np.asarray(image) for image in images]
    pairs = [(i, j) for i in range(8) for j in range(i + 1, 8)][:12]
    expected = [verifier.compare(paths[i], paths[j], threshold=0.3) for i, j in pairs]
    assert {comparison.outcomes[0].faces for comparison in expected} <= {1, 2, 3}
    with ThreadPoolExecutor(4) as pool:
        for given in (images, arrays):
            found = list(
                pool.map(lambda p, given=given: verifier.compare(given[p[0]], given[p[1]], threshold=0.3), pairs)
            )
            np.testing.assert_allclose(
                [each.similarity for each in found], [each.similarity for each in expected], atol=1e-5
            )
    grey = np.full((250, 250, 3), 128, np.uint8)
    with pytest.raises(FaceError, match="the image given as an array: no face found; give a clearer image"):
        verifier.compare(images[0], grey, threshold=0.3)
