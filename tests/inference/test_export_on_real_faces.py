"""Exports against torch on real faces: the similarities of 500 pairs, for each family of encoders.

At hand are real weights of MobileFaceNet. The other two get random ones with which a network yet tells faces apart:
batch normalisation by the statistics of real faces, and residual blocks that count. That the similarities spread is
asserted, as alike ones would survive anything.
"""

import os
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from siamese.encoders import create_encoder
from siamese.images.input_spec import InputSpec
from siamese.images.loader import ImageLoader
from siamese.inference.export import ExportJob, export_model
from siamese.inference.runtime import Runtime, TorchRuntime
from siamese.inference.runtime_onnx import OnnxRuntime
from siamese.inference.runtime_openvino import OpenVinoRuntime
from siamese.inference.verifier import Verifier
from siamese.model.card import ModelCard
from siamese.model.folder import describe_encoder, save_model
from siamese.model.network import SiameseNetwork
from siamese.similarity import pair_similarity

pytestmark = pytest.mark.real_data

CHECKPOINT = "weights/mobilefacenet_casia_webface.ckpt"
PEOPLE, PHOTOS = 50, 4
PAIRS = 500
BATCHES = (1, 7, 32)
# What may be lost of a similarity at float32, and how far similarities must lie apart for that to mean anything.
TOLERANCE, SPREAD = 1e-4, 0.05
MOBILEFACENET, INCEPTION, CONVNEXT = "mobilefacenet", "inception_resnet_v1", "timm/convnext_atto"
FAMILIES = (MOBILEFACENET, INCEPTION, CONVNEXT)
# The face template's own size for a network that has none.
SIZES = {CONVNEXT: (112, 112)}
# Of a convolutional block's output how much is added: timm starts at 1e-6, where no block would be compared.
LAYER_SCALE = 0.3
# Faces whose statistics the normalisation takes.
STATISTICS_OF = 64

Vectors = NDArray[np.float32]


@pytest.fixture(scope="session")
def crops(real_data: Path) -> NDArray[np.uint8]:
    """Faces of LFW, (N, 112, 112, 3), a person's photographs side by side."""
    made = os.environ.get("SIAMESE_LFW_CROPS")
    root = Path(made) if made else real_data / "data" / "lfw"
    people = [person for person in sorted(root.iterdir()) if len(list(person.glob("*.jpg"))) >= PHOTOS][:PEOPLE]
    paths = [path for person in people for path in sorted(person.glob("*.jpg"))[:PHOTOS]]
    loader = ImageLoader(InputSpec(size=(112, 112), alignment="arcface-112"))
    pixels, outcomes = loader.load(paths)
    assert [outcome.detail for outcome in outcomes if outcome.status != "ok"] == []
    assert len(pixels) == PEOPLE * PHOTOS
    return pixels


@pytest.fixture(scope="session")
def pairs() -> NDArray[np.int64]:
    """Rows of the two faces of each pair, (500, 2): one half of one person, the other of two."""
    rng = np.random.default_rng(0)
    rows = np.arange(PEOPLE * PHOTOS)
    left, right = np.triu_indices(len(rows), 1)
    same = left // PHOTOS == right // PHOTOS
    chosen = [rng.choice(np.flatnonzero(kind), PAIRS // 2, replace=False) for kind in (same, ~same)]
    return np.stack([np.concatenate([side[each] for each in chosen]) for side in (left, right)], axis=1)


def build(name: str, images: Vectors) -> SiameseNetwork:
    """A network with random weights whose embeddings tell these faces (N, 3, H, W) apart."""
    torch.manual_seed(0)
    network = SiameseNetwork(create_encoder(f"{name}@random", input_size=SIZES.get(name)))
    for parameter_name, parameter in network.named_parameters():
        if parameter_name.endswith(".gamma"):
            torch.nn.init.constant_(parameter, LAYER_SCALE)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None  # the mean of all batches
    if norms:
        network.train()
        with torch.no_grad():
            for start in range(0, STATISTICS_OF, 32):
                network(torch.from_numpy(images[start : start + 32]))
    return network.eval()


def model_of(name: str, images: Vectors, real_data: Path, folder: Path) -> str:
    """What `siamese export` is given: the real weights, or a model folder."""
    if name == MOBILEFACENET:
        return f"{name}@{real_data / CHECKPOINT}"
    network = build(name, images)
    card = ModelCard(
        encoder=describe_encoder(network),
        head=network.head_name,
        embedding_dim=network.embedding_dim,
        operating_points=(),
    )
    save_model(folder, network, card)
    return str(folder)


def embed_in_turns(runtime: Runtime, images: Vectors) -> Vectors:
    """Embed in batches of 1, 7, 32, 1, 7, 32 ...: a pair's two faces come out of batches of different sizes."""
    starts, begun = [], 0
    for size in cycle(BATCHES):
        if begun >= len(images):
            break
        starts.append((begun, begun + size))
        begun += size
    return np.concatenate([runtime.embed(images[begin:end]) for begin, end in starts])


def similarities(vectors: Vectors, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
    return pair_similarity(vectors[pairs[:, 0]], vectors[pairs[:, 1]])


@pytest.mark.parametrize("name", FAMILIES)
def test_similarities_of_real_faces_survive_both_exports_at_any_batch(
    real_data: Path, crops: NDArray[np.uint8], pairs: NDArray[np.int64], tmp_path: Path, name: str
) -> None:
    size = SIZES.get(name)
    spec = create_encoder(f"{name}@random", input_size=size).input_spec
    pixels = np.stack([spec.resize(crop) for crop in crops])
    images = spec.normalise(pixels)
    model = model_of(name, images, real_data, tmp_path / "model")
    verifier = Verifier.load(model, device="cpu", runtime="torch")
    assert verifier.input_spec == spec
    expected = similarities(TorchRuntime(verifier.network).embed(images), pairs)
    assert expected.std() >= SPREAD, "all alike: nothing is compared"
    for kind, runtime_of in (("openvino", lambda folder: OpenVinoRuntime(folder, "f32")), ("onnx", OnnxRuntime)):
        export = export_model(ExportJob(model, kind, output=tmp_path / kind)).folder
        runtime: Runtime = runtime_of(export)
        found = similarities(embed_in_turns(runtime, images), pairs)
        assert found.shape == (PAIRS,)
        assert np.abs(found - expected).max() <= TOLERANCE, kind
    if name == MOBILEFACENET:
        same = np.arange(PAIRS) < PAIRS // 2
        assert expected[same].mean() - expected[~same].mean() > 0.3, "these are not the faces of the pairs"
