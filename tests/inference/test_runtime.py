"""What runs an export: the same answers as torch, from several threads, and never a changed or a stale file."""

import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from siamese.encoders import create_encoder
from siamese.errors import ModelError, OptionError
from siamese.inference.export import ExportJob, export_model
from siamese.inference.export_manifest import find_export, read_manifest, write_manifest
from siamese.inference.runtime import TorchRuntime
from siamese.inference.runtime_openvino import OpenVinoRuntime
from siamese.model.card import ModelCard
from siamese.model.folder import describe_encoder, describe_pair_head, save_model
from siamese.model.network import SiameseNetwork
from siamese.openvino_library import cpu_capabilities, openvino
from siamese.similarity import normalise

PROJECT = Path(__file__).parents[2]
SIZE = 32
HEAVY = ("torch", "pandas", "lightning", "albumentations", "sklearn", "scipy")


@pytest.fixture(scope="module")
def network() -> SiameseNetwork:
    torch.manual_seed(0)
    encoder = create_encoder("timm/test_resnet@random", input_size=(SIZE, SIZE))
    made = SiameseNetwork(encoder, pair_head="concatenation+chi-square", pair_hidden=4)
    with torch.no_grad():
        for parameter in made.pair_head.parameters():  # type: ignore[union-attr]
            parameter += 0.2 * torch.randn(parameter.shape)
    return made.eval()


@pytest.fixture(scope="module")
def model(network: SiameseNetwork, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with its export."""
    folder = tmp_path_factory.mktemp("models") / "a model"
    card = ModelCard(
        encoder=describe_encoder(network),
        head=network.head_name,
        embedding_dim=network.embedding_dim,
        pair_head=describe_pair_head(network),
        operating_points=(),
    )
    save_model(folder, network, card)
    export_model(ExportJob(str(folder)))
    return folder


@pytest.fixture
def copied(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model, tmp_path / "model"))


def images(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(size=(count, 3, SIZE, SIZE)).astype(np.float32)


def export_of(model: Path) -> Path:
    folder = find_export(model)
    assert folder is not None
    return folder


@pytest.mark.parametrize("count", [0, 1, 7, 32])
def test_it_embeds_as_torch_does_whatever_the_batch(model: Path, network: SiameseNetwork, count: int) -> None:
    given = images(count)
    runtime = OpenVinoRuntime(export_of(model))
    found, expected = runtime.embed(given), TorchRuntime(network).embed(given)
    assert (found.shape, found.dtype) == ((count, network.embedding_dim), np.float32)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_the_pair_head_scores_as_torch_does(model: Path, network: SiameseNetwork) -> None:
    runtime, reference = OpenVinoRuntime(export_of(model)), TorchRuntime(network)
    rng = np.random.default_rng(0)
    left, right = (normalise(rng.normal(size=(40, network.embedding_dim))).astype(np.float32) for _ in range(2))
    expected = reference.similarity(left, right)
    np.testing.assert_allclose(runtime.similarity(left, right), expected, atol=1e-5)
    assert np.ptp(expected) > 0.1, "all alike: nothing was compared"
    assert runtime.similarity(left[:0], right[:0]).shape == (0,)


def test_threads_do_not_mix_their_images(model: Path) -> None:
    runtime = OpenVinoRuntime(export_of(model), "f32")
    batches = [images(1 + seed % 5, seed) for seed in range(40)]
    alone = [runtime.embed(batch) for batch in batches]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(runtime.embed, batches))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_what_it_gave_stays_as_it_is(model: Path) -> None:
    runtime = OpenVinoRuntime(export_of(model))
    first = runtime.embed(images(2, 1))
    kept = first.copy()
    runtime.embed(images(2, 2))
    np.testing.assert_array_equal(first, kept)


def test_the_mirror_of_a_batch_is_taken_for_what_it_is(model: Path, network: SiameseNetwork) -> None:
    mirrored = images(3)[..., ::-1]  # not contiguous
    expected = TorchRuntime(network).embed(np.ascontiguousarray(mirrored))
    np.testing.assert_allclose(OpenVinoRuntime(export_of(model)).embed(mirrored), expected, atol=1e-5)


@pytest.mark.parametrize(
    "given", [np.zeros((2, 3, SIZE, SIZE + 1), np.float32), np.zeros((2, 3, SIZE, SIZE)), images(1)[0]]
)
def test_what_is_no_batch_is_refused(model: Path, network: SiameseNetwork, given: NDArray[np.float32]) -> None:
    for runtime in (OpenVinoRuntime(export_of(model)), TorchRuntime(network)):
        with pytest.raises(ValueError, match=r"expected \(B, 3, 32, 32\) float32"):
            runtime.embed(given)


def test_a_lower_precision_is_taken_unasked_only_where_the_check_was_passed(copied: Path) -> None:
    folder = export_of(copied)
    before = read_manifest(folder)
    assert not before.precisions.get("bf16", False), "noise cannot show it"
    assert OpenVinoRuntime(folder).precision == "f32"
    write_manifest(folder, type(before)(**{**vars(before), "precisions": {"f32": True, "bf16": True}}))
    assert OpenVinoRuntime(folder).precision == ("bf16" if "BF16" in cpu_capabilities() else "f32")
    assert OpenVinoRuntime(folder, "f32").precision == "f32"


def test_an_unknown_precision_lists_the_known_ones(model: Path) -> None:
    with pytest.raises(
        OptionError, match=r"^unknown precision 'fp32': did you mean 'f32'\? known: auto, bf16, f16, f32$"
    ):
        OpenVinoRuntime(export_of(model), "fp32")


def test_a_precision_that_the_processor_has_not_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("siamese.inference.runtime_openvino.cpu_capabilities", lambda: ["FP32", "INT8"])
    message = r"^precision bf16: this processor has no arithmetic of it \(it has f32\)$"
    with pytest.raises(OptionError, match=message):
        OpenVinoRuntime(export_of(model), "bf16")


def test_a_folder_without_an_export_says_how_to_make_one(tmp_path: Path) -> None:
    assert find_export(tmp_path) is None
    with pytest.raises(
        ModelError, match=r"holds no export \(export.json is missing\); make one with `siamese export`$"
    ):
        OpenVinoRuntime(tmp_path)


@pytest.mark.parametrize("name", ["network.xml", "network.bin", "pair_head.bin"])
def test_a_changed_graph_is_refused(copied: Path, name: str) -> None:
    path = export_of(copied) / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        ModelError, match=rf"{name}: changed since it was exported \(SHA-256 .*\); export the model again$"
    ):
        OpenVinoRuntime(export_of(copied))
    path.unlink()
    with pytest.raises(
        ModelError, match=rf"{name}: cannot be read \(No such file or directory\); export the model again$"
    ):
        OpenVinoRuntime(export_of(copied))


def test_a_changed_manifest_is_refused(copied: Path) -> None:
    path = export_of(copied) / "export.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "precisions": {"bf16": True}}))
    with pytest.raises(ModelError, match=r"export.json: changed since it was exported; export the model again$"):
        OpenVinoRuntime(path.parent)
    path.write_text(json.dumps({**content, "format": 2}))
    with pytest.raises(ModelError, match=r"export.json: format is 2, expected 1; "):
        OpenVinoRuntime(path.parent)
    path.write_text("[]")
    with pytest.raises(ModelError, match=r"export.json: holds no JSON object; export the model again$"):
        OpenVinoRuntime(path.parent)
    path.write_text("{")
    with pytest.raises(ModelError, match=r"export.json: cannot be read as JSON \(.*\); export the model again$"):
        OpenVinoRuntime(path.parent)


def test_an_export_of_an_earlier_state_of_the_model_is_refused(copied: Path, network: SiameseNetwork) -> None:
    card = ModelCard.model_validate_json((copied / "model.json").read_text())
    save_model(copied, network, card.model_copy(update={"licence": "another"}))
    with pytest.raises(ModelError, match=r"made from another state of the model \(.*model.json has changed since\)"):
        OpenVinoRuntime(export_of(copied))


def test_an_export_works_away_from_its_model(copied: Path, tmp_path: Path) -> None:
    alone = tmp_path / "elsewhere"
    shutil.move(export_of(copied), alone)
    assert OpenVinoRuntime(alone).embed(images(1)).shape == (1, 96)
    assert find_export(alone) == alone


def test_without_openvino_one_line_says_so(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(
        OptionError, match=r"^OpenVINO cannot be imported \(.*\); pip install openvino, or run the model"
    ):
        OpenVinoRuntime(export_of(model), "f32")


def test_a_damaged_or_missing_cache_costs_time_and_nothing_else(
    model: Path, network: SiameseNetwork, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path / "cache"))
    expected = TorchRuntime(network).embed(images(2))
    OpenVinoRuntime(export_of(model))
    kept = list((tmp_path / "cache" / "openvino").rglob("*.blob"))
    assert len(kept) == 1
    for content in (kept[0].read_bytes()[:1000], b"", b"nonsense" * 100):
        kept[0].chmod(0o600)
        kept[0].write_bytes(content)
        np.testing.assert_allclose(OpenVinoRuntime(export_of(model)).embed(images(2)), expected, atol=1e-5)
    (tmp_path / "file").touch()
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path / "file"))
    np.testing.assert_allclose(OpenVinoRuntime(export_of(model)).embed(images(2)), expected, atol=1e-5)


def test_a_kept_graph_of_an_earlier_export_is_not_taken_for_the_new_one(
    model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of the same path, size and time."""
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path / "cache"))
    first = tmp_path / "export"
    shutil.copytree(export_of(model), first)
    before = OpenVinoRuntime(first).embed(images(2))
    job = ExportJob("timm/test_resnet@random", output=tmp_path / "other", input_size=(SIZE, SIZE), seed=1)
    other = export_model(job).folder
    expected = OpenVinoRuntime(other, cache=False).embed(images(2))
    times = {path.name: path.stat().st_mtime_ns for path in first.iterdir()}
    shutil.rmtree(first)
    shutil.move(other, first)
    for path in first.iterdir():
        os.utime(path, ns=(times[path.name], times[path.name]))
    found = OpenVinoRuntime(first).embed(images(2))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert np.abs(found - before).max() > 1e-3


def test_an_export_is_used_without_torch_and_without_telemetry(model: Path) -> None:
    script = f"""
import sys
from pathlib import Path
import numpy as np
from siamese.inference.export_manifest import find_export
from siamese.inference.runtime_openvino import OpenVinoRuntime
runtime = OpenVinoRuntime(find_export(Path({str(model)!r})))
vectors = runtime.embed(np.zeros((2, 3, {SIZE}, {SIZE}), np.float32))
print(runtime.similarity(vectors, vectors).shape, runtime.manifest.operating_points)
print(*sorted({{*{HEAVY!r}, "openvino_telemetry", "openvino.tools.ovc"}} & set(sys.modules)))
"""
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("(2,) []\n\n", "")


def test_openvino_is_the_module_itself() -> None:
    assert openvino().__name__ == "openvino"
