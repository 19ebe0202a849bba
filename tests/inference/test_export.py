"""Exports against torch: any batch, every family of encoder, and refused where they decide differently."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from siamese.encoders import create_encoder
from siamese.errors import DataError, ModelError, OptionError, PairFileError
from siamese.evaluation.operating_point_fitting import fit_operating_points
from siamese.inference import export_files
from siamese.inference.export import ExportJob, export_model
from siamese.inference.export_graphs import write_graphs
from siamese.inference.export_manifest import read_manifest
from siamese.inference.runtime import TorchRuntime
from siamese.inference.runtime_onnx import OnnxRuntime
from siamese.inference.runtime_openvino import OpenVinoRuntime
from siamese.model.card import ModelCard
from siamese.model.folder import describe_encoder, describe_pair_head, save_model
from siamese.model.network import SiameseNetwork
from siamese.similarity import normalise, pair_similarity

SIZE = 32
IDENTITIES, PHOTOS = 8, 4
# A timm network, and the three families at inputs that are quick.
FAMILIES = {
    "timm/test_resnet": (SIZE, SIZE),
    "mobilefacenet": (112, 96),
    "inception_resnet_v1": (96, 96),
    "convnext_atto": (64, 64),
}


def build(name: str, size: tuple[int, int], **options: Any) -> SiameseNetwork:
    """A network with random weights whose embeddings differ: norms that know their inputs, as after training."""
    torch.manual_seed(0)
    network = SiameseNetwork(create_encoder(f"{name}@random", input_size=size), **options)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None
    network.train()
    with torch.no_grad():
        network(torch.randn(16, 3, *size))
    return network.eval()


def save(folder: Path, network: SiameseNetwork, **fields: Any) -> Path:
    card = ModelCard(
        encoder=describe_encoder(network),
        head=network.head_name,
        embedding_dim=network.embedding_dim,
        pair_head=describe_pair_head(network),
        operating_points=fields.pop("operating_points", ()),
        **fields,
    )
    save_model(folder, network, card)
    return folder


def images(count: int, size: tuple[int, int]) -> NDArray[np.float32]:
    return np.random.default_rng(count).normal(size=(count, 3, *size)).astype(np.float32)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of plain patterns, each identity's the same but for noise, and a pair file of them all."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    names = []
    for identity in range(IDENTITIES):
        pattern = np.kron(rng.uniform(0, 255, (4, 4, 3)), np.ones((8, 8, 1)))
        for photo in range(PHOTOS):
            pixels = np.clip(pattern + rng.normal(0, 20, pattern.shape), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{identity}-{photo}.png")
            names.append((identity, f"{identity}-{photo}.png"))
    rows = [(a, b, int(one == other)) for one, a in names for other, b in names if a < b]
    pd.DataFrame(rows, columns=["left", "right", "same"]).to_csv(folder / "pairs.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def network() -> SiameseNetwork:
    return build("timm/test_resnet", (SIZE, SIZE), pair_head="difference+product", pair_hidden=4)


@pytest.fixture(scope="module")
def model(network: SiameseNetwork, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with operating points, and with its validation pairs beside it as training leaves them."""
    folder = tmp_path_factory.mktemp("models") / "model"
    rng = np.random.default_rng(0)
    scores, same = rng.normal(size=400), np.arange(400) % 2 == 0
    save(folder, network, operating_points=fit_operating_points(np.tanh(scores + same), same, "validation"))
    (folder / "run").mkdir()
    (folder / "run" / "val.csv").write_bytes((photos / "pairs.csv").read_bytes())
    (folder / "run" / "root.txt").write_text(f"{photos}\n")
    return folder


@pytest.mark.parametrize("name", FAMILIES)
def test_onnx_and_openvino_embed_as_torch_does_in_batches_of_any_size(name: str, tmp_path: Path) -> None:
    size = FAMILIES[name]
    made = build(name, size)
    reference = TorchRuntime(made)
    folder = save(tmp_path / "model", made)
    export_model(ExportJob(str(folder), "onnx"))
    export_model(ExportJob(str(folder), "openvino"))
    onnx, openvino = OnnxRuntime(folder / "export" / "onnx"), OpenVinoRuntime(folder / "export" / "openvino", "f32")
    for count in (1, 7, 32):
        given = images(count, size)
        expected = reference.embed(given)
        for runtime in (onnx, openvino):
            found = runtime.embed(given)
            assert found.shape == expected.shape
            np.testing.assert_allclose(found, expected, atol=1e-4)
            one, other = (pair_similarity(each[:-1], each[1:]) for each in (found, expected))
            assert np.abs(one - other).max(initial=0) <= 1e-4
    assert np.ptp(pair_similarity(expected[:-1], expected[1:])) > 1e-3, "all alike: nothing was compared"


@pytest.fixture(scope="module")
def onnx_export(model: Path) -> Path:
    result = export_model(ExportJob(str(model), "onnx"))
    assert sorted(result.manifest.files) == ["network.onnx", "pair_head.onnx"]
    return result.folder


def test_an_onnx_pair_head_scores_as_torch_does(onnx_export: Path, network: SiameseNetwork) -> None:
    runtime = OnnxRuntime(onnx_export)
    rng = np.random.default_rng(0)
    for count in (1, 7, 32):
        left, right = (
            normalise(rng.normal(size=(count, network.embedding_dim))).astype(np.float32) for _ in range(2)
        )
        np.testing.assert_allclose(runtime.similarity(left, right), network.pair_similarity(left, right), atol=1e-5)
    assert runtime.similarity(left[:0], right[:0]).shape == (0,)
    assert runtime.embed(images(0, (SIZE, SIZE))).shape == (0, network.embedding_dim)


def test_the_pair_head_of_an_onnx_file_gives_the_similarity_itself(onnx_export: Path) -> None:
    """Who runs the file without this package wants no logit."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(onnx_export / "pair_head.onnx", providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    left, right = (normalise(rng.normal(size=(5, 96))).astype(np.float32) for _ in range(2))
    logit, similarity = session.run(["logit", "similarity"], {"left": left, "right": right})
    np.testing.assert_allclose(similarity, np.tanh(logit / 2), atol=1e-6)


def test_an_onnx_export_is_not_run_on_openvino_nor_the_other_way_round(onnx_export: Path, model: Path) -> None:
    with pytest.raises(ModelError, match=r"an export to onnx; run `siamese export --format openvino`$"):
        OpenVinoRuntime(onnx_export)
    with pytest.raises(ModelError, match=r"an export to openvino; run `siamese export --format onnx`$"):
        OnnxRuntime(export_model(ExportJob(str(model))).folder)


def test_the_manifest_says_all_that_using_the_model_needs(model: Path) -> None:
    result = export_model(ExportJob(str(model)))
    assert result.folder == model / "export" / "openvino"
    card = ModelCard.model_validate_json((model / "model.json").read_text())
    found = read_manifest(result.folder)
    assert found == result.manifest
    assert (found.kind, found.int8, found.model, found.encoder) == ("openvino", False, "model", "timm/test_resnet")
    assert (found.embedding_dim, found.pair_head, found.size) == (96, True, (SIZE, SIZE))
    assert found.input == card.encoder.input_spec.model_dump(mode="json")
    assert found.operating_points == [point.model_dump(mode="json") for point in card.operating_points]
    assert found.calibration is None
    assert found.weights_sha256 == card.sha256
    assert ModelCard.model_validate(found.card).operating_points == card.operating_points
    assert sorted(found.files) == ["network.bin", "network.xml", "pair_head.bin", "pair_head.xml"]
    # Plain JSON, and the only one in the folder.
    assert json.loads((result.folder / "export.json").read_text())["format"] == 1
    assert {path.name for path in result.folder.iterdir()} == {"export.json", *found.files}
    assert {path.name for path in result.folder.parent.iterdir()} <= {"openvino", "onnx"}, "something was left behind"


def test_the_check_is_made_on_the_validation_pairs_of_the_run(model: Path) -> None:
    first = export_model(ExportJob(str(model))).parity[0]
    pairs = IDENTITIES * PHOTOS * (IDENTITIES * PHOTOS - 1) // 2
    assert (first.samples, first.precision) == ("validation pairs of the run", "f32")
    assert (first.images, first.failed, first.pairs) == (IDENTITIES * PHOTOS, 0, pairs)
    assert (first.flipped, first.allowed, first.passed) == (0, 0, True)
    assert first.threshold_of == "operating point accuracy"
    assert set(first.tar) == {"0.1", "0.01"}  # 448 impostor pairs
    assert first.similarity_max <= 1e-4


def test_an_untouched_encoder_is_checked_on_the_pairs_that_are_given(photos: Path, tmp_path: Path) -> None:
    job = ExportJob("timm/test_resnet@random", output=tmp_path / "made", pairs=photos / "pairs.csv")
    first = export_model(job).parity[0]
    assert (first.samples, first.threshold_of) == ("pairs.csv", "best accuracy on these pairs")
    assert first.flipped == 0
    manifest = read_manifest(tmp_path / "made")
    assert (manifest.card, manifest.operating_points, manifest.weights) == (None, [], None)
    assert len(manifest.weights_sha256) == 64


def test_without_images_it_is_checked_on_noise_and_says_so(tmp_path: Path) -> None:
    job = ExportJob("timm/test_resnet@random", output=tmp_path / "made", input_size=(SIZE, SIZE))
    first = export_model(job).parity[0]
    assert (first.samples, first.threshold, first.flipped, first.tar) == ("synthetic noise", None, None, {})
    assert first.passed


def test_the_same_model_gives_the_same_weights_hash_and_another_one_another(tmp_path: Path) -> None:
    job = {"model": "timm/test_resnet@random", "output": tmp_path / "made", "input_size": (SIZE, SIZE)}
    hashes = [export_model(ExportJob(**job, seed=seed)).manifest.weights_sha256 for seed in (0, 0, 1)]  # type: ignore[arg-type]
    assert hashes[0] == hashes[1] != hashes[2]


def test_an_export_that_decides_differently_is_not_written(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A converter that loses something: here no pair is the same any more."""

    def damaged(given: SiameseNetwork, folder: Path, kind: str) -> list[str]:
        broken = build("timm/test_resnet", (SIZE, SIZE), pair_head="difference+product", pair_hidden=4)
        with torch.no_grad():
            broken.pair_head.logistic.bias -= 50.0  # type: ignore[union-attr]
        return write_graphs(broken, folder, kind)

    monkeypatch.setattr(export_files, "write_graphs", damaged)
    job = ExportJob(str(model), output=tmp_path / "made")
    message = r"on validation pairs of the run \d+ of 496 decisions flip at threshold .*, 0 may \(1 in 5,000\)$"
    with pytest.raises(ModelError, match=message):
        export_model(job)
    assert list(tmp_path.iterdir()) == []


def test_an_export_whose_similarities_move_is_not_written_even_if_nothing_can_be_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = build("timm/test_resnet", (SIZE, SIZE))
    monkeypatch.setattr(export_files, "write_graphs", lambda _, folder, kind: write_graphs(other, folder, kind))
    job = ExportJob("timm/test_resnet@random", output=tmp_path / "made", input_size=(SIZE, SIZE))
    with pytest.raises(
        ModelError, match=r"not exported, on synthetic noise similarities move by up to .*, 0.0001 may be$"
    ):
        export_model(job)
    assert list(tmp_path.iterdir()) == []


def test_a_new_export_replaces_an_earlier_one_and_a_failed_one_leaves_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = ExportJob(str(model), output=tmp_path / "made")
    export_model(job)
    before = {path.name: path.read_bytes() for path in job.output.iterdir()}  # type: ignore[union-attr]
    with monkeypatch.context() as patch:
        patch.setattr(
            export_files, "write_graphs", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device"))
        )
        with pytest.raises(OSError, match="No space left on device"):
            export_model(job)
    assert {path.name: path.read_bytes() for path in job.output.iterdir()} == before  # type: ignore[union-attr]
    export_model(job)
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


# eight bits


@pytest.mark.parametrize("kind", ["openvino", "onnx"])
def test_eight_bits_are_calibrated_on_the_images_and_checked(
    model: Path, photos: Path, tmp_path: Path, kind: str
) -> None:
    pytest.importorskip("nncf", reason="the extra int8 is not installed")
    job = ExportJob(str(model), kind, output=tmp_path / "made", int8=True, calibrate=photos, tolerance=1.0)
    result = export_model(job)
    (only,) = result.parity
    assert (only.precision, only.tolerance, only.allowed) == ("int8", 1.0, only.pairs)
    assert only.flipped is not None
    assert only.embedding_max > 1e-4, "still in float32"
    runtime = OpenVinoRuntime(result.folder) if kind == "openvino" else OnnxRuntime(result.folder)
    assert (runtime.precision, runtime.manifest.int8) == ("int8", True)
    assert runtime.embed(images(7, (SIZE, SIZE))).shape == (7, 96)


def test_eight_bits_that_flip_decisions_are_not_written(
    model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("nncf", reason="the extra int8 is not installed")
    broken = build("timm/test_resnet", (SIZE, SIZE), pair_head="difference+product", pair_hidden=4)
    with torch.no_grad():
        broken.pair_head.logistic.bias -= 50.0  # type: ignore[union-attr]
    monkeypatch.setattr(export_files, "write_graphs", lambda _, folder, kind: write_graphs(broken, folder, kind))
    job = ExportJob(str(model), output=tmp_path / "made", int8=True, calibrate=photos)
    with pytest.raises(ModelError, match=r"\d+ of 496 decisions flip at threshold .*, 4 may \(1 in 100\)$"):
        export_model(job)
    assert list(tmp_path.iterdir()) == []


def test_eight_bits_need_decisions_to_be_checked_on(photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="the extra int8 is not installed")
    given = {"input_size": (SIZE, SIZE), "int8": True, "calibrate": photos}
    job = ExportJob("timm/test_resnet@random", output=tmp_path / "made", **given)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=r"nothing to compare decisions on: give labelled --pairs$"):
        export_model(job)


def test_too_few_images_to_calibrate_on_are_refused(model: Path, photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("nncf", reason="the extra int8 is not installed")
    few = photos / "0-0.png"
    job = ExportJob(str(model), output=tmp_path / "made", int8=True, calibrate=few)
    with pytest.raises(DataError, match=r"^--calibrate .*0-0.png: 1 usable images, expected at least 10"):
        export_model(job)


# what is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "onxx"}, r"^unknown value of --format 'onxx': did you mean 'onnx'\? known: onnx, openvino$"),
        ({"int8": True}, r"^--int8: needs images to calibrate on; give --calibrate DATA"),
        ({"calibrate": Path("x")}, r"^--calibrate x: is for --int8; give it as well, or leave --calibrate out$"),
        ({"tolerance": 0.1}, r"^--tolerance 0.1: is for --int8;"),
        (
            {"tolerance": 1.5, "int8": True, "calibrate": Path("x")},
            r"^--tolerance 1.5: expected a share of the decisions, from 0 to 1$",
        ),
        (
            {"model": "timm/test_resnet@random"},
            r"^-o: timm/test_resnet@random is no model folder to put the export in;",
        ),
        ({"root": Path("x")}, r"^--root x: is for a pair file; give --pairs, or leave it out$"),
    ],
)
def test_options_that_do_not_go_together_are_refused(model: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        export_model(ExportJob(**{"model": str(model), **options}))


def test_a_folder_of_other_files_is_not_written_into(model: Path, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "thesis.tex").touch()
    with pytest.raises(
        OptionError, match=r"^-o .*made: holds other files; name a new folder, or one with an earlier"
    ):
        export_model(ExportJob(str(model), output=tmp_path / "made"))
    with pytest.raises(OptionError, match=r"^-o .*thesis.tex: is a file; name a folder$"):
        export_model(ExportJob(str(model), output=tmp_path / "made" / "thesis.tex"))


def test_pairs_without_their_images_are_named(model: Path, photos: Path, tmp_path: Path) -> None:
    job = ExportJob(str(model), output=tmp_path / "made", pairs=photos / "pairs.csv", root=tmp_path)
    with pytest.raises(PairFileError, match=r"pairs.csv line 2: column left names '0-0.png', which is no file below"):
        export_model(job)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package_is_named_before_the_work(
    model: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    message = rf'^--format onnx: the package {package} is not installed; pip install "siamese\[onnx\]"$'
    with pytest.raises(OptionError, match=message):
        export_model(ExportJob(str(model), "onnx"))


def test_missing_nncf_is_named_before_the_work(model: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(
        OptionError, match=r'^--int8: the package nncf is not installed; pip install "siamese\[int8\]"$'
    ):
        export_model(ExportJob(str(model), int8=True, calibrate=photos))
