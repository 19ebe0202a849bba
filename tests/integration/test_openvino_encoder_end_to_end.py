"""A graph of OpenVINO through the commands: as it is, with a head trained on it, exported, and without its files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import roc_auc_score

from siamese.inference.baseline import load_baseline
from siamese.inference.verifier import Verifier
from siamese.openvino_library import openvino

SIZE, WIDTH = 32, 48
Siamese = Any


def make_graph(folder: Path) -> str:
    """The mean colours of 4 x 4 fields, which tell the rendered faces apart somewhat."""
    library = openvino()
    ops = library.opset13
    given = ops.parameter((1, 3, SIZE, SIZE), np.float32, name="images")
    kernel = np.zeros((3, 3, SIZE // 4, SIZE // 4), np.float32)
    kernel[range(3), range(3)] = (4 / SIZE) ** 2
    fields = ops.convolution(given, ops.constant(kernel), [SIZE // 4] * 2, [0, 0], [0, 0], [1, 1])
    vector = ops.reshape(fields, np.array([-1, WIDTH, 1, 1]), special_zero=False)
    library.save_model(library.Model([vector], [given], "small"), folder / "small net.xml", compress_to_fp16=False)
    (folder / "small net.input.json").write_text(json.dumps({"size": [SIZE, SIZE], "licence": "CC0-1.0"}))
    return f"openvino:{folder / 'small net.xml'}"


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_graph(tmp_path_factory.mktemp("graph é"))


@pytest.fixture(scope="module")
def trained(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with a head on a graph whose files are gone."""
    from siamese_cli.main import run

    files, folder = tmp_path_factory.mktemp("gone"), tmp_path_factory.mktemp("models") / "model"
    name = make_graph(files)
    options = [
        "--head",
        "identity-start",
        "--epochs",
        "10",
        "--num-pairs",
        "128",
        "--lr",
        "0.01",
        "--augment",
        "none",
    ]
    assert run(["train", str(faces), "--encoder", name, *options, "-o", str(folder), "--quiet"]) == 0
    for file in files.iterdir():
        file.unlink()
    return folder


def test_an_untouched_graph_is_a_model(
    siamese: Siamese, graph: str, two_images: tuple[Path, Path], faces: Path, tmp_path: Path
) -> None:
    done = siamese("compare", *two_images, "--model", graph, "--threshold", "0.5", "--json")
    assert (done.code, done.json["model"]) == (0, graph)
    expected = done.json["similarity"]
    done = siamese("embed", faces, "--model", graph, "-o", tmp_path / "vectors.parquet", "--json")
    assert done.code == 0
    verifier = Verifier.load(graph, device="cpu")
    vectors = verifier.embed(list(two_images)).vectors
    assert vectors.shape == (2, WIDTH)
    assert float(vectors[0] @ vectors[1]) == pytest.approx(expected, abs=1e-6)


def test_an_untouched_graph_is_evaluated(siamese: Siamese, graph: str, faces: Path, pairs: Path) -> None:
    done = siamese("evaluate", graph, "--pairs", pairs / "test.csv", "--root", faces, "--json")
    assert done.code == 0, done.err
    table = pd.read_csv(pairs / "test.csv")
    left, right = (np.stack([mean_colours(faces / path) for path in table[side]]) for side in ("left", "right"))
    expected = roc_auc_score(table["same"], np.einsum("nd,nd->n", left, right))
    assert done.json["auc"] == pytest.approx(expected, abs=0.02)  # the program rounds the reduced image to bytes


def mean_colours(path: Path) -> NDArray[np.float64]:
    """The unit embedding of the graph, straight from the file."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"), float) / 255
    assert pixels.shape == (64, 64, 3)
    fields = 2 * pixels.reshape(4, 16, 4, 16, 3).mean(axis=(1, 3)) - 1
    return np.asarray(fields.ravel() / np.linalg.norm(fields))


def test_a_trained_head_is_used_without_the_files_of_its_encoder(
    siamese: Siamese, trained: Path, two_images: tuple[Path, Path]
) -> None:
    done = siamese("compare", *two_images, "--model", trained, "--json")
    assert done.code == 0, done.err
    assert 0 <= done.json["probability"] <= 1
    card = json.loads((trained / "model.json").read_text())
    assert (card["encoder"]["name"], card["encoder"]["weights"]["source"]) == ("openvino/48", "small net.xml")
    assert card["licence"] == "CC0-1.0"
    assert card["training"]["best_epoch"] > 0  # else it would be the untouched encoder


def test_an_export_decides_as_the_model_does(
    siamese: Siamese, trained: Path, two_images: tuple[Path, Path], tmp_path: Path
) -> None:
    done = siamese("export", trained, "-o", tmp_path / "export", "--no-timing", "--json")
    assert done.code == 0, done.err
    similarities = [
        siamese("compare", *two_images, "--model", model, "--json").json["similarity"]
        for model in (trained, tmp_path / "export")
    ]
    assert similarities[0] == pytest.approx(similarities[1], abs=1e-5)


def test_an_export_to_onnx_is_refused(siamese: Siamese, trained: Path, tmp_path: Path) -> None:
    done = siamese("export", trained, "--format", "onnx", "-o", tmp_path / "export", "--no-timing")
    assert done.code == 2
    assert "openvino/48: is a graph of OpenVINO already; export it with --format openvino" in done.err
    assert not (tmp_path / "export").exists()


def test_first_use_makes_an_untouched_graph_ready(
    siamese: Siamese, graph: str, two_images: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    arguments = ("compare", *two_images, "--model", graph, "--threshold", "0.5", "--json", "--device", "cpu")
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path))
    expected = siamese(*arguments, "--runtime", "torch").json["similarity"]
    done = siamese(*arguments, "--runtime", "openvino")
    assert done.code == 0, done.err
    assert done.json["similarity"] == pytest.approx(expected, abs=1e-5)
    assert len(list((tmp_path / "exports").glob("*/network.xml"))) == 1


def test_another_description_makes_another_export(
    graph: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from siamese.inference.export_source import source_of_encoder

    (tmp_path / "other.json").write_text(json.dumps({"size": [SIZE, SIZE], "channels": "BGR"}))
    sources = [source_of_encoder(name, None, download=False) for name in (graph, f"{graph}@{tmp_path}/other.json")]
    assert sources[0] is not None
    assert sources[1] is not None
    assert sources[0].weights_sha256 == sources[1].weights_sha256
    assert sources[0].places != sources[1].places


def test_the_baseline_is_the_graph_in_the_model_folder(trained: Path, faces: Path) -> None:
    baseline = load_baseline(Verifier.load(trained, device="cpu"), fit=False)
    assert isinstance(baseline, Verifier)
    assert baseline.name == "openvino/48@small net.xml"
    images = sorted(faces.rglob("*.jpg"))[:4]
    assert baseline.embed(images).vectors.shape == (4, WIDTH)


def test_a_model_on_a_graph_is_itself_an_encoder(trained: Path) -> None:
    from siamese.encoders import create_encoder

    encoder = create_encoder(str(trained))
    assert encoder.name.startswith("openvino/48")
    pixels = np.random.default_rng(0).integers(0, 256, (3, SIZE, SIZE, 3), np.uint8)
    verifier = Verifier.load(trained, device="cpu")
    import torch

    with torch.inference_mode():
        features = encoder(torch.from_numpy(verifier.input_spec.normalise(pixels))).numpy()
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    np.testing.assert_allclose(features, verifier.embed_pixels(pixels), atol=1e-6)


@pytest.mark.parametrize("freeze", ["none", "0"])
def test_training_the_graph_itself_is_refused(
    siamese: Siamese, graph: str, faces: Path, tmp_path: Path, freeze: str
) -> None:
    done = siamese("train", faces, "--encoder", graph, "--freeze", freeze, "-o", tmp_path / "model")
    assert done.code == 2
    assert "the encoder openvino/48 is a graph of OpenVINO and cannot train; use --freeze all" in done.err


def test_without_a_head_nothing_is_left_to_train(siamese: Siamese, graph: str, faces: Path, tmp_path: Path) -> None:
    done = siamese("train", faces, "--encoder", graph, "--head", "none", "-o", tmp_path / "model")
    assert done.code == 2
    assert "--freeze all with --head none: nothing is left to train; unfreeze or add a head" in done.err
