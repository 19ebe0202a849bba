"""The identity head of an export: the same people as torch names, whatever runs it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from siamese.encoders import create_encoder
from siamese.errors import ModelError, OptionError
from siamese.heads.identity import IdentityHead
from siamese.inference import export_files
from siamese.inference.export import ExportJob, export_model
from siamese.inference.runtime import TorchRuntime
from siamese.inference.runtime_onnx import OnnxRuntime
from siamese.inference.runtime_openvino import OpenVinoRuntime
from siamese.losses.loss import LinearClassifier
from siamese.model.card import ModelCard
from siamese.model.folder import describe_encoder, save_model
from siamese.model.network import SiameseNetwork
from siamese.similarity import normalise

SIZE, IDENTITIES, SUBCENTRES, SCALE = 32, 7, 3, 30.0


def build() -> SiameseNetwork:
    torch.manual_seed(0)
    network = SiameseNetwork(create_encoder("timm/test_resnet@random", input_size=(SIZE, SIZE)))
    weight = torch.nn.functional.normalize(torch.randn(IDENTITIES, SUBCENTRES, network.embedding_dim), dim=2)
    network.identity_head = IdentityHead(network.embedding_dim, IDENTITIES, SUBCENTRES)
    network.identity_head.fill(LinearClassifier(weight, torch.randn(IDENTITIES), SCALE))
    return network.eval()


@pytest.fixture(scope="module")
def network() -> SiameseNetwork:
    return build()


def save(folder: Path, network: SiameseNetwork, **fields: Any) -> Path:
    card = ModelCard(
        encoder=describe_encoder(network),
        head="none",
        embedding_dim=network.embedding_dim,
        operating_points=(),
        **fields,
    )
    save_model(folder, network, card)
    return folder


@pytest.fixture(scope="module")
def model(network: SiameseNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = tuple(f"person {number}" for number in range(IDENTITIES))
    folder = tmp_path_factory.mktemp("models") / "model"
    return save(folder, network, identities=labels, subcentres=SUBCENTRES)


@pytest.fixture(scope="module")
def exports(model: Path) -> dict[str, Path]:
    return {kind: export_model(ExportJob(str(model), kind)).folder for kind in ("openvino", "onnx")}


@pytest.mark.parametrize("kind", ["openvino", "onnx"])
def test_an_export_gives_the_probabilities_of_torch(
    exports: dict[str, Path], network: SiameseNetwork, kind: str
) -> None:
    runtime = OpenVinoRuntime(exports[kind], "f32") if kind == "openvino" else OnnxRuntime(exports[kind])
    assert runtime.identities == TorchRuntime(network).identities == IDENTITIES
    rng = np.random.default_rng(0)
    for count in (0, 1, 7, 32):
        vectors = normalise(rng.normal(size=(count, network.embedding_dim))).astype(np.float32)
        found = runtime.identity_probabilities(vectors)
        assert (found.shape, found.dtype) == ((count, IDENTITIES), np.float32)
        np.testing.assert_allclose(found, TorchRuntime(network).identity_probabilities(vectors), atol=1e-6)
        np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-5)
    assert np.ptp(found) > 0.1, "all alike: nothing was compared"


def test_what_a_head_gave_stays_as_it_is(exports: dict[str, Path], network: SiameseNetwork) -> None:
    runtime = OpenVinoRuntime(exports["openvino"], "f32")
    rng = np.random.default_rng(1)
    one, other = (normalise(rng.normal(size=(3, network.embedding_dim))).astype(np.float32) for _ in range(2))
    first = runtime.identity_probabilities(one)
    kept = first.copy()
    runtime.identity_probabilities(other)
    np.testing.assert_array_equal(first, kept)


def test_the_check_says_how_far_probabilities_are_apart(model: Path, tmp_path: Path) -> None:
    found = export_model(ExportJob(str(model), output=tmp_path / "made"))
    first = found.parity[0]
    assert (first.identities, first.top1_changed, first.passed) == (IDENTITIES, 0, True)
    assert first.probability_max is not None and first.probability_max < 1e-4
    assert found.manifest.parity[0]["probability_max"] == first.probability_max


def test_a_head_that_names_others_is_not_exported(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = export_files.write_graphs

    def with_another_head(network: SiameseNetwork, folder: Path, kind: str) -> list[str]:
        head = network.identity_head
        assert head is not None
        head.bias.add_(torch.arange(IDENTITIES))
        try:
            return original(network, folder, kind)
        finally:
            head.bias.sub_(torch.arange(IDENTITIES))

    monkeypatch.setattr(export_files, "write_graphs", with_another_head)
    message = r"not exported, on synthetic noise probabilities of identities move by up to 0\.\d+, 0\.001 may be"
    with pytest.raises(ModelError, match=message):
        export_model(ExportJob(str(model), output=tmp_path / "made"))
    assert not (tmp_path / "made").exists()


def test_a_model_without_the_head_says_how_to_get_one(tmp_path: Path, network: SiameseNetwork) -> None:
    plain = build()
    plain.identity_head = None
    model = save(tmp_path / "plain", plain)
    folders = [export_model(ExportJob(str(model), kind)).folder for kind in ("openvino", "onnx")]
    vectors = np.zeros((1, plain.embedding_dim), np.float32)
    for runtime, where in [
        (TorchRuntime(plain), "timm/test_resnet"),
        (OpenVinoRuntime(folders[0], "f32"), str(folders[0])),
        (OnnxRuntime(folders[1]), str(folders[1])),
    ]:
        assert runtime.identities == 0
        with pytest.raises(OptionError) as failure:
            runtime.identity_probabilities(vectors)
        advice = (
            "train one with `siamese train DATA --loss arcface -o DIR`, or export the model again where an earlier"
        )
        assert str(failure.value) == f"{where}: has no identity head; {advice} version made the export"
