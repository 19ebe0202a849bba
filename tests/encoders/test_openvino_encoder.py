"""A graph of OpenVINO as an encoder: small ones made here, held against torch, and a real one against OpenVINO."""

import copy
import json
import os
import pickle
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor

from siamese.encoders import create_encoder, create_untrained
from siamese.encoders.openvino_encoder import OpenVinoEncoder
from siamese.errors import ModelError, OptionError, WeightsError
from siamese.images.input_spec import InputSpec
from siamese.inference.verifier import Verifier
from siamese.model.network import SiameseNetwork
from siamese.openvino_library import openvino
from siamese.similarity import pair_similarity
from siamese.training.feature_cache import features_key

RECIPES = Path(__file__).parents[2] / "recipes"
SIZE, WIDTH = 12, 6
Arrays = dict[str, np.ndarray]


def weights(seed: int = 0) -> Arrays:
    random = np.random.default_rng(seed)
    return {
        "kernel": random.standard_normal((4, 3, 3, 3)).astype(np.float32),
        "matrix": random.standard_normal((4, WIDTH)).astype(np.float32),
    }


def by_torch(images: Tensor, arrays: Arrays) -> Tensor:
    """What the small graph computes, said once more."""
    maps = F.relu(F.conv2d(images, torch.from_numpy(arrays["kernel"]), padding=1))
    return maps.mean(dim=(2, 3)) @ torch.from_numpy(arrays["matrix"])


def small_graph(arrays: Arrays, *, shape: Any = (1, 3, SIZE, SIZE), ending: str = "vector", kind: Any = None) -> Any:
    """Convolution, ReLU, mean over the map and a matrix.

    Args:
        arrays: kernel and matrix.
        shape: of the input.
        ending: of the output: `vector` (1, D), `cube` (1, D, 1, 1), `map` (1, C, H, W), `number` (1, 1), `flat` (D,),
            `fixed` a reshape that knows of one image only, or `two` outputs.
        kind: type of the input; None for float32.
    """
    library = openvino()
    ops = library.opset13
    given = ops.parameter(shape, kind or np.float32, name="images")
    images = given if kind is None else ops.convert(given, np.float32)
    kernel = ops.constant(arrays["kernel"])
    maps = ops.relu(ops.convolution(images, kernel, [1, 1], [1, 1], [1, 1], [1, 1]))
    pooled = ops.reduce_mean(maps, np.array([2, 3]), keep_dims=False)
    vector = ops.matmul(pooled, ops.constant(arrays["matrix"]), False, False)
    endings = {
        "vector": lambda: [vector],
        "cube": lambda: [ops.unsqueeze(ops.unsqueeze(vector, 2), 3)],
        "map": lambda: [maps],
        "number": lambda: [ops.reduce_mean(vector, np.array([1]), keep_dims=True)],
        "flat": lambda: [ops.squeeze(vector, np.array([0]))],
        "fixed": lambda: [ops.reshape(vector, np.array([1, WIDTH]), special_zero=False)],
        "two": lambda: [vector, pooled],
    }
    return library.Model(endings[ending](), [given], "small")


def write(folder: Path, model: Any, name: str = "small.xml", **spec: Any) -> str:
    """Save a graph and its spec, and say how it is named."""
    openvino().save_model(model, folder / name, compress_to_fp16=False)
    described = {"size": [SIZE, SIZE], "mean": [0.1, 0.2, 0.3], **spec}
    (folder / name).with_suffix(".input.json").write_text(json.dumps(described))
    return f"openvino:{folder / name}"


@pytest.fixture
def small(tmp_path: Path) -> str:
    return write(tmp_path, small_graph(weights()))


@pytest.fixture
def images() -> Tensor:
    return torch.randn(7, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def test_features_are_those_that_torch_computes(small: str, images: Tensor) -> None:
    encoder = create_encoder(small)
    found = encoder(images)
    assert (found.shape, found.dtype, found.requires_grad) == ((7, WIDTH), torch.float32, False)
    torch.testing.assert_close(found, by_torch(images, weights()), rtol=1e-5, atol=1e-5)


def test_it_knows_its_input_its_name_and_its_origin(tmp_path: Path) -> None:
    about = {"licence": "Apache-2.0", "training_set": "faces", "source": "a zoo"}
    name = write(tmp_path, small_graph(weights()), channels="BGR", alignment="arcface-112", **about)
    encoder = create_encoder(name)
    assert (encoder.name, encoder.feature_dim, encoder.pretrained) == ("openvino/6", WIDTH, True)
    spec = InputSpec(size=(SIZE, SIZE), channels="BGR", mean=(0.1, 0.2, 0.3), alignment="arcface-112")
    assert encoder.input_spec == spec
    assert type(encoder.input_spec) is InputSpec
    content = (tmp_path / "small.xml").read_bytes() + (tmp_path / "small.bin").read_bytes()
    assert encoder.weights is not None
    assert encoder.weights.model_dump() == {
        "encoder": "openvino/6",
        "tag": None,
        "source": "small.xml of a zoo",
        "sha256": sha256(content).hexdigest(),
        "licence": "Apache-2.0",
        "training_set": "faces",
    }


def test_without_remarks_its_terms_are_unknown(small: str) -> None:
    record = create_encoder(small).weights
    assert record is not None
    assert (record.source, record.licence, record.training_set) == (
        "small.xml",
        "unknown: given as a file",
        "unknown: given as a file",
    )


def test_the_input_may_be_described_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "read only é@home.xml@b"
    folder.mkdir()
    name = write(folder, small_graph(weights()), "a b.xml")
    elsewhere = tmp_path / "spec of it.json"
    (folder / "a b.input.json").rename(elsewhere)
    assert create_encoder(f"{name}@{elsewhere}").input_spec.mean == (0.1, 0.2, 0.3)


@pytest.mark.parametrize("batch", [0, 1, 2, 9])
def test_an_image_has_the_same_features_in_every_batch(small: str, images: Tensor, batch: int) -> None:
    encoder = create_encoder(small)
    alone = torch.cat([encoder(image[None]) for image in images])
    given = torch.cat([images, images])[:batch]
    assert torch.equal(encoder(given), torch.cat([alone, alone])[:batch])


@pytest.mark.parametrize("ending", ["vector", "cube", "fixed"])
@pytest.mark.parametrize("shape", [(1, 3, SIZE, SIZE), (-1, 3, -1, -1), (4, 3, SIZE, SIZE), (-1, -1, -1, -1)])
def test_static_and_dynamic_graphs_run_alike(tmp_path: Path, images: Tensor, ending: str, shape: Any) -> None:
    if ending == "fixed" and shape[0] == 4:
        shape = (1, 3, SIZE, SIZE)  # four images do not fit what it is fixed to
    encoder = create_encoder(write(tmp_path, small_graph(weights(), shape=shape, ending=ending)))
    torch.testing.assert_close(encoder(images), by_torch(images, weights()), rtol=1e-5, atol=1e-5)


def test_a_graph_is_brought_to_the_size_that_is_asked_for(tmp_path: Path) -> None:
    name = write(tmp_path, small_graph(weights()))
    encoder = create_encoder(name, input_size=(8, 16))
    images = torch.randn(2, 3, 8, 16)
    assert encoder.input_spec.size == (8, 16)
    torch.testing.assert_close(encoder(images), by_torch(images, weights()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["f16", "u8"])
def test_pixels_of_other_types_are_made(tmp_path: Path, kind: str) -> None:
    encoder = create_encoder(write(tmp_path, small_graph(weights(), kind=getattr(openvino().Type, kind))))
    images = torch.randint(0, 256, (3, 3, SIZE, SIZE)).float()
    torch.testing.assert_close(encoder(images), by_torch(images, weights()), rtol=1e-4, atol=1e-3)


def test_images_may_lie_in_any_order_and_precision(small: str, images: Tensor) -> None:
    encoder, expected = create_encoder(small), create_encoder(small)(images)
    assert torch.equal(encoder(images.contiguous(memory_format=torch.channels_last)), expected)
    assert torch.equal(encoder(images.double()), expected)
    with torch.inference_mode():
        assert torch.equal(encoder(images.clone()), expected)


def test_images_of_another_size_are_refused(small: str) -> None:
    with pytest.raises(ValueError, match=r"images \(2, 3, 9, 9\): expected \(B, 3, 12, 12\)"):
        create_encoder(small)(torch.zeros(2, 3, 9, 9))


def test_it_is_built_again_without_its_files(tmp_path: Path, images: Tensor) -> None:
    encoder = create_encoder(write(tmp_path, small_graph(weights())))
    expected, kept = encoder(images), tmp_path / "kept.safetensors"
    save_file(encoder.state_dict(), kept)
    for name in ("small.xml", "small.bin", "small.input.json"):
        (tmp_path / name).unlink()
    again = create_untrained(encoder.name, encoder.input_spec)
    assert not again.pretrained
    again.load_state_dict(load_file(kept))
    assert torch.equal(again(images), expected)


def test_another_state_gives_another_encoder(tmp_path: Path, images: Tensor) -> None:
    encoder = create_encoder(write(tmp_path, small_graph(weights())))
    other = create_encoder(write(tmp_path, small_graph(weights(1)), "other.xml"))
    assert not torch.equal(encoder(images), other(images))  # compiles both
    encoder.load_state_dict(other.state_dict())
    assert torch.equal(encoder(images), other(images))


def test_copies_and_pickles_run(small: str, images: Tensor) -> None:
    encoder = create_encoder(small)
    expected = encoder(images)
    assert torch.equal(copy.deepcopy(encoder)(images), expected)
    assert torch.equal(pickle.loads(pickle.dumps(encoder))(images), expected)  # noqa: S301


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_it_runs_in_a_fork_of_a_process_that_ran_it(small: str, images: Tensor, tmp_path: Path) -> None:
    encoder = create_encoder(small)
    expected = encoder(images)
    child = os.fork()
    if not child:  # alone in here: nothing of pytest may go on in the child
        signal.alarm(60)
        np.save(tmp_path / "child.npy", encoder(images).numpy())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    np.testing.assert_array_equal(np.load(tmp_path / "child.npy"), expected.numpy())


def test_threads_may_share_it(small: str) -> None:
    encoder = create_encoder(small)
    batches = [torch.randn(5, 3, SIZE, SIZE) for _ in range(16)]
    expected = [encoder(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(encoder, batches))
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_it_is_one_stage_that_does_not_train(small: str) -> None:
    encoder = create_encoder(small)
    network = SiameseNetwork(encoder, "identity-start")
    network.freeze("all")
    assert (len(encoder.stages()), network.encoder_frozen) == (1, True)
    assert not list(encoder.parameters())
    network.train()
    assert not encoder.training
    for choice in ("none", "0"):
        with pytest.raises(OptionError) as caught:
            network.freeze(choice)
        assert str(caught.value) == (
            "--freeze: the encoder openvino/6 is a graph of OpenVINO and cannot train; use --freeze all, and train a "
            "head on its features"
        )


def test_a_head_on_it_has_gradients(small: str, images: Tensor) -> None:
    network = SiameseNetwork(create_encoder(small), "linear", 4)
    network.freeze("all")
    (network(images)[0] @ network(images)[1]).backward()
    assert all(parameter.grad is not None for parameter in network.head.parameters())


def test_kept_features_are_told_apart_by_the_graph(tmp_path: Path) -> None:
    one = write(tmp_path, small_graph(weights()))
    same = f"openvino:{tmp_path / 'renamed.xml'}"
    for suffix in ("xml", "bin", "input.json"):
        shutil.copy(tmp_path / f"small.{suffix}", tmp_path / f"renamed.{suffix}")
    other = write(tmp_path, small_graph(weights(1)), "other.xml")
    unpooled = write(tmp_path, small_graph(weights(), ending="cube"), "cube.xml")
    pixels, rows = np.zeros((2, SIZE, SIZE, 3), np.uint8), np.arange(2)
    keys = [features_key(create_encoder(name), pixels, rows, {}) for name in (one, one, same, other, unpooled)]
    assert keys[0] == keys[1] == keys[2]
    assert len(set(keys)) == 3


def test_torch_cannot_trace_it(small: str, images: Tensor) -> None:
    with pytest.raises(ModelError, match="openvino/6: is a graph of OpenVINO, which torch cannot look into"):
        torch.export.export(create_encoder(small), (images,))


MESSAGES: dict[str, tuple[dict[str, Any], str]] = {
    "map": (
        {"ending": "map"},
        "weights FOLDER/bad.xml: gives [1,4,12,12] for one image of 12x12; expected one vector, (1, D) or "
        "(1, D, 1, 1): cut the graph at its embedding, or pool its map, where it is made",
    ),
    "number": (
        {"ending": "number"},
        "weights FOLDER/bad.xml: gives [1,1] for one image of 12x12; expected one vector, (1, D) or "
        "(1, D, 1, 1): cut the graph at its embedding, or pool its map, where it is made",
    ),
    "flat": (
        {"ending": "flat"},
        "weights FOLDER/bad.xml: gives [6] for one image of 12x12; expected one vector, (1, D) or "
        "(1, D, 1, 1): cut the graph at its embedding, or pool its map, where it is made",
    ),
    "two": (
        {"ending": "two"},
        "weights FOLDER/bad.xml: has 1 input and 2 outputs; expected one of each, images and features: cut the graph "
        "down to them where it is made",
    ),
    "integers": (
        {"kind": "i32"},
        "weights FOLDER/bad.xml: takes numbers of type i32; expected one of f32, f16, bf16, f64, u8",
    ),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_a_graph_that_is_no_encoder_is_refused(tmp_path: Path, case: str) -> None:
    options, expected = MESSAGES[case]
    if "kind" in options:
        options = {"kind": getattr(openvino().Type, options["kind"])}
    name = write(tmp_path, small_graph(weights(), **options), "bad.xml")
    with pytest.raises(WeightsError) as caught:
        create_encoder(name)
    assert str(caught.value) == expected.replace("FOLDER", str(tmp_path))


@pytest.mark.parametrize("shape", [(1, SIZE, SIZE, 3), (1, 4, SIZE, SIZE), (3, SIZE, SIZE)])
def test_an_input_that_is_no_image_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    ops = openvino().opset13
    given = ops.parameter(shape, np.float32)
    model = openvino().Model([ops.reduce_mean(given, np.array([1]))], [given], "other")
    with pytest.raises(WeightsError) as caught:
        create_encoder(write(tmp_path, model, "bad.xml"))
    found = f"[{','.join(map(str, shape))}]"
    assert str(caught.value) == (
        f"weights {tmp_path / 'bad.xml'}: takes {found}; expected images (N, 3, H, W), colours before rows: convert "
        "the network with this layout"
    )


def test_a_size_that_the_graph_cannot_take_is_refused(tmp_path: Path) -> None:
    ops = openvino().opset13
    given = ops.parameter((1, 3, SIZE, SIZE), np.float32)
    flat = ops.reshape(given, np.array([1, 3 * SIZE * SIZE]), special_zero=False)
    name = write(tmp_path, openvino().Model([flat], [given], "fixed"), size=[8, 8])
    with pytest.raises(WeightsError) as caught:
        create_encoder(name)
    message = str(caught.value)
    start = f"weights {tmp_path / 'small.xml'}: cannot take images of 8x8 (height x width): it was made for 12x12 ("
    assert message.startswith(start)
    assert message.endswith("; name a size that it takes, in the file that describes its input or with --input-size")
    assert "\n" not in message


def test_a_graph_with_a_memory_is_refused(tmp_path: Path) -> None:
    library = openvino()
    ops = library.opset13
    given = ops.parameter((1, 3, 2, 2), np.float32)
    flat = ops.reshape(given, np.array([1, 12]), special_zero=False)
    before = library.opset3.read_value(ops.constant(np.zeros((1, 12), np.float32)), "memory")
    total = ops.add(flat, before)
    model = library.Model([ops.result(total)], [library.opset3.assign(total, "memory")], [given], "memory")
    with pytest.raises(WeightsError, match=r"keeps a state from one image to the next; expected an encoder, without"):
        create_encoder(write(tmp_path, model, size=[2, 2]))


def test_constants_of_another_graph_are_refused(small: str, tmp_path: Path) -> None:
    (tmp_path / "small.bin").write_bytes(b"short")
    with pytest.raises(WeightsError) as caught:
        create_encoder(small)
    assert str(caught.value) == (
        f"weights {tmp_path / 'small.xml'}: OpenVINO cannot read the graph (Incorrect weights in bin file!); its "
        ".xml and .bin may not belong together, or are of a newer OpenVINO"
    )


def test_an_empty_encoder_says_that_it_has_no_graph() -> None:
    encoder = create_untrained("openvino/6", InputSpec(size=(SIZE, SIZE)))
    with pytest.raises(ModelError, match="openvino/6: has no graph yet, as it has no random weights"):
        encoder(torch.zeros(1, 3, SIZE, SIZE))


@pytest.mark.parametrize("name", ["openvino/", "openvino/x", "openvino/0", "openvino/6/7"])
def test_it_is_built_by_its_width_and_input_only(name: str) -> None:
    with pytest.raises(OptionError, match=f"encoder '{name}': expected openvino/WIDTH, and with it the input"):
        create_untrained(name, InputSpec(size=(SIZE, SIZE)))
    with pytest.raises(OptionError, match="encoder 'openvino/6': expected openvino/WIDTH"):
        create_untrained("openvino/6")


def test_state_of_another_width_or_kind_is_refused(small: str) -> None:
    state, spec = create_encoder(small).state_dict(), InputSpec(size=(SIZE, SIZE))
    with pytest.raises(WeightsError, match="weights openvino/5: gives 6 features; expected 5"):
        create_untrained("openvino/5", spec).load_state_dict(state)
    with pytest.raises(RuntimeError, match=r'Missing key\(s\) in state_dict: "bin"'):
        create_untrained("openvino/6", spec).load_state_dict({"xml": state["xml"]})
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "more"'):
        create_untrained("openvino/6", spec).load_state_dict({**state, "more": state["xml"]})
    with pytest.raises(WeightsError, match="weights a file: found a; expected the bytes xml and bin of OpenVINO"):
        OpenVinoEncoder(6, spec).load_checkpoint({"a": torch.zeros(1)}, "a file")


@pytest.fixture(scope="module")
def teacher(real_data: Path) -> str:
    graph = real_data / "weights" / "face-reidentification-retail-0095.xml"
    return f"openvino:{graph}@{RECIPES / 'face-reidentification-retail-0095.input.json'}"


@pytest.fixture(scope="module")
def dev_test(real_data: Path) -> tuple[list[Path], Any, Any]:
    """Images, index pairs (P, 2) and labels (P,) of 200 pairs of LFW's View 1 DevTest, crops where they were made."""
    data = real_data / "data"
    made = os.environ.get("SIAMESE_LFW_CROPS")
    root = Path(made) if made else data / "lfw"
    rows = [line.split("\t") for line in (data / "lfw-protocol" / "pairsDevTest.txt").read_text().splitlines()[1:]]
    rows = [rows[each] for each in np.random.default_rng(0).choice(len(rows), 200, replace=False)]

    def image(name: str, number: str) -> Path:
        return root / name / f"{name}_{int(number):04d}.jpg"

    sides = [(image(*row[:2]), image(*(row[2:] if len(row) == 4 else (row[0], row[2])))) for row in rows]
    images = sorted({each for pair in sides for each in pair})
    index = np.array([[images.index(each) for each in pair] for pair in sides])
    return images, index, np.array([len(row) == 3 for row in rows])


@pytest.mark.real_data
def test_the_real_teacher_tells_people_apart(teacher: str, dev_test: tuple[list[Path], Any, Any]) -> None:
    images, index, same = dev_test
    found = Verifier.load(teacher, device="cpu", runtime="torch").embed(images)
    usable = found.usable[index].all(axis=1)
    assert usable.mean() > 0.98
    scores = pair_similarity(*(found.vectors[index[usable, side]] for side in (0, 1)))
    assert roc_auc_score(same[usable], scores) > 0.99


@pytest.mark.real_data
def test_the_real_teacher_gives_what_openvino_gives(
    teacher: str, real_data: Path, dev_test: tuple[list[Path], Any, Any]
) -> None:
    verifier = Verifier.load(teacher, device="cpu", runtime="torch")
    pixels, _ = verifier.prepare(dev_test[0][:12])
    found = verifier.network.encoder(torch.from_numpy(verifier.input_spec.normalise(pixels))).numpy()
    graph = real_data / "weights" / "face-reidentification-retail-0095.xml"
    plain = openvino().Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    bgr = pixels[..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
    expected = np.stack([plain(image[None])[0].reshape(-1) for image in bgr])
    assert found.shape == (12, 256)
    np.testing.assert_allclose(found, expected, atol=1e-5)
