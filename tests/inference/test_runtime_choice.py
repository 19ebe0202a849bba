"""Which runtime is chosen, and the export that is made at first use."""

import json
import logging
import multiprocessing
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from siamese.encoders import create_encoder
from siamese.errors import ModelError, OptionError, WeightsError
from siamese.images.input_spec import InputSpec
from siamese.inference import export_files, runtime_choice
from siamese.inference.export import ExportJob, export_model
from siamese.inference.export_graphs import write_graphs
from siamese.inference.export_manifest import MANIFEST, read_manifest
from siamese.inference.runtime import TorchRuntime
from siamese.inference.runtime_choice import choose_runtime
from siamese.inference.runtime_openvino import OpenVinoRuntime
from siamese.inference.runtime_timing import describe_machine, stored_times, torch_is_faster
from siamese.inference.verifier import Verifier
from siamese.model.card import ModelCard
from siamese.model.folder import describe_encoder, save_model
from siamese.model.network import SiameseNetwork

ENCODER, SIZE = "timm/test_resnet", (32, 32)
PROJECT = Path(__file__).parents[2]
READY = "made ready for OpenVINO, once; --runtime torch leaves it out"
FILES = ["export.json", "first-use.txt", "network.bin", "network.xml"]


def build(seed: int = 0) -> SiameseNetwork:
    torch.manual_seed(seed)
    network = SiameseNetwork(create_encoder(f"{ENCODER}@random", input_size=SIZE))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    network.train()
    with torch.no_grad():
        network(torch.randn(16, 3, *SIZE))
    return network.eval()


def save(folder: Path, seed: int = 0) -> Path:
    network = build(seed)
    card = ModelCard(
        encoder=describe_encoder(network),
        head=network.head_name,
        embedding_dim=network.embedding_dim,
        operating_points=(),
    )
    save_model(folder, network, card)
    return folder


def save_weights(path: Path, seed: int = 0) -> Path:
    """The encoder's weights in a file, as a library of encoders publishes them."""
    state = build(seed).encoder.network.state_dict()  # type: ignore[union-attr, operator]
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return path


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of its own, no default but `auto`, and a machine without a GPU on which torch is the slower one."""
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("SIAMESE_RUNTIME", raising=False)
    monkeypatch.setattr(runtime_choice, "may_have_gpu", lambda: False)
    monkeypatch.setattr(runtime_choice, "torch_is_faster", lambda *_: False)  # a network this small may be either
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("models") / "model")


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


@pytest.fixture
def encoder(tmp_path: Path) -> str:
    """An untouched encoder with weights in a file."""
    return f"{ENCODER}@{save_weights(tmp_path / 'w.safetensors')}"


@pytest.fixture
def without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_choice, "find_spec", lambda name: None if name == "torch" else find_spec(name))


def pixels(spec: InputSpec) -> NDArray[np.float32]:
    given = np.random.default_rng(0).integers(0, 256, (5, *spec.size, 3), np.uint8)
    return spec.normalise(given)


# what is asked for is obeyed


def test_torch_is_obeyed_and_nothing_is_made(model: Path) -> None:
    chosen = choose_runtime(model, "cpu", "torch")
    assert (chosen.export, chosen.reason) == (None, "--runtime torch")
    assert not (model / "export").exists()


def test_openvino_makes_an_export_where_there_is_none(model: Path) -> None:
    chosen = choose_runtime(model, "auto", "openvino")
    assert chosen.export == model / "export" / "openvino"
    assert sorted(path.name for path in chosen.export.iterdir()) == FILES


def test_unknown_runtimes_are_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match=r"^unknown runtime 'openvin': did you mean 'openvino'\? known: "):
        choose_runtime(model, "cpu", "openvin")
    monkeypatch.setenv("SIAMESE_RUNTIME", "tensorrt")
    with pytest.raises(OptionError, match=r"^unknown value of SIAMESE_RUNTIME 'tensorrt': .*known: auto, "):
        choose_runtime(model, "cpu")


def test_the_environment_sets_what_auto_means_and_no_more(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIAMESE_RUNTIME", "torch")
    assert choose_runtime(model).reason == "SIAMESE_RUNTIME=torch"
    assert choose_runtime(model, runtime="openvino").export is not None
    export = choose_runtime(model, runtime="openvino").export
    assert export is not None
    assert choose_runtime(export).export == export, "an export alone cannot run on torch"
    monkeypatch.setenv("SIAMESE_RUNTIME", "openvino")
    assert choose_runtime(model).export == export
    assert choose_runtime(model, runtime="torch").export is None
    assert choose_runtime(f"{ENCODER}@random", input_size=SIZE).export is None, "a default is no demand"


# GPUs


def test_a_gpu_that_is_asked_for_or_found_runs_torch(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = choose_runtime(model, "cuda:1")
    assert (chosen.export, chosen.reason) == (None, "runs on cuda:1")
    monkeypatch.setattr(runtime_choice, "may_have_gpu", lambda: True)
    monkeypatch.setattr(runtime_choice, "resolve_device", lambda _: "cuda:0")
    assert choose_runtime(model).reason == "runs on cuda:0"
    assert not (model / "export").exists()
    assert choose_runtime(model, "cpu").export is not None
    monkeypatch.setattr(runtime_choice, "resolve_device", lambda _: "cpu")  # a driver, but a torch without CUDA
    assert choose_runtime(model).export is not None


def test_a_gpu_and_an_export_do_not_go_together(model: Path) -> None:
    message = r"^--device cuda: an export runs on the CPU; leave one of --device and --runtime out$"
    with pytest.raises(OptionError, match=message):
        choose_runtime(model, "cuda", "openvino")
    export = choose_runtime(model).export
    assert export is not None
    with pytest.raises(OptionError, match=r"^--device cuda: an export runs on the CPU; leave --device out$"):
        choose_runtime(export, "cuda")


# where an export is found


def test_an_export_is_a_model_of_its_own(model: Path, tmp_path: Path, without_torch: None) -> None:
    alone = tmp_path / "alone"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime_choice, "find_spec", find_spec)
        export_model(ExportJob(str(model), output=alone))
    assert choose_runtime(alone) == runtime_choice.ChosenRuntime(alone, "is an export itself", {})
    message = rf"^{alone}: is an export, which torch cannot run; leave --runtime torch out, or name the model folder"
    with pytest.raises(ModelError, match=message):
        choose_runtime(alone, runtime="torch")


def test_the_export_of_siamese_export_goes_first_and_is_never_replaced(model: Path) -> None:
    export_model(ExportJob(str(model)))
    own = model / "export" / "openvino"
    assert choose_runtime(model) == runtime_choice.ChosenRuntime(own, "the export in the model folder", {})
    save(model, seed=1)  # trained on
    before = (own / MANIFEST).read_bytes()
    chosen = choose_runtime(model)
    assert chosen.export == own
    assert (own / MANIFEST).read_bytes() == before
    with pytest.raises(ModelError, match=r"made from another state of the model .*; run `siamese export` again$"):
        OpenVinoRuntime(own)


# first use


def test_first_use_makes_an_export_that_embeds_as_torch_does_and_says_so_once(
    model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "siamese")
    first = choose_runtime(model)
    assert [record.message for record in caplog.records] == [f"{model}: {READY}"]
    caplog.clear()
    again = choose_runtime(model)
    assert caplog.records == []
    assert again == first
    assert first.reason == "the export made at first use, in the model folder"
    assert first.export == model / "export" / "openvino"
    assert sorted(path.name for path in first.export.iterdir()) == FILES
    assert [path.name for path in first.export.parent.iterdir()] == ["openvino"]
    network = Verifier.load(model, runtime="torch").network
    images = pixels(network.input_spec)
    expected = TorchRuntime(network).embed(images)
    np.testing.assert_allclose(OpenVinoRuntime(first.export).embed(images), expected, atol=1e-4)
    assert np.ptp(expected @ expected.T) > 1e-3, "all alike: nothing was compared"


def test_float32_alone_is_shown_to_hold_at_first_use(model: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "siamese")
    chosen = choose_runtime(model, precision="auto")
    assert caplog.records[0].message.endswith(
        f"{READY}; float32, until `siamese export` has shown bfloat16 to decide alike"
    )
    assert chosen.export is not None
    manifest = read_manifest(chosen.export)
    assert manifest.precisions == {"f32": True}
    (parity,) = manifest.parity
    assert (parity["precision"], parity["samples"], parity["images"]) == ("f32", "synthetic noise", 16)
    assert OpenVinoRuntime(chosen.export, "auto").precision == "f32"


def test_the_times_of_both_runtimes_are_measured_and_told(model: Path) -> None:
    chosen = choose_runtime(model)
    assert set(chosen.images_per_second) == {"torch f32", "openvino f32"}
    card = json.loads((model / "model.json").read_text())
    stored = stored_times(card["sha256"], SIZE)
    assert stored is not None
    assert stored.images_per_second == chosen.images_per_second


def test_some_validation_pairs_of_the_run_are_checked_on(model: Path, tmp_path: Path) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for number in range(20):
        Image.fromarray(rng.integers(0, 256, (*SIZE, 3), np.uint8)).save(tmp_path / "photos" / f"{number}.png")
    rows = [f"{a}.png,{b}.png,{int(a // 2 == b // 2)}" for a in range(20) for b in range(a)]
    (model / "run").mkdir()
    (model / "run" / "val.csv").write_text("\n".join(["left,right,same", *rows]))
    (model / "run" / "root.txt").write_text(f"{tmp_path / 'photos'}\n")
    export = choose_runtime(model).export
    assert export is not None
    (parity,) = read_manifest(export).parity
    assert (parity["samples"], parity["pairs"]) == ("validation pairs of the run", 64)


def test_the_pairs_of_a_run_that_went_elsewhere_are_no_hindrance(
    model: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (model / "run").mkdir()
    (model / "run" / "val.csv").write_text("left,right,same\na.png,b.png,1\n")
    (model / "run" / "root.txt").write_text("/nowhere\n")
    assert choose_runtime(model).export is not None
    assert caplog.text == ""


def test_a_model_that_was_trained_on_gets_a_new_export(model: Path) -> None:
    first = choose_runtime(model).export
    assert first is not None
    before = read_manifest(first).weights_sha256
    save(model, seed=1)
    again = choose_runtime(model).export
    assert again == first
    assert read_manifest(first).weights_sha256 == json.loads((model / "model.json").read_text())["sha256"] != before
    assert [path.name for path in (model / "export").iterdir()] == ["openvino"]


def test_a_damaged_export_of_first_use_is_made_anew(model: Path, encoder: str) -> None:
    for name, size in ((model, None), (encoder, SIZE)):
        export = choose_runtime(name, input_size=size).export
        assert export is not None
        content = (export / "network.bin").read_bytes()
        (export / "network.bin").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        assert choose_runtime(name, input_size=size).export == export
        assert (export / "network.bin").read_bytes() == content


def test_asking_alone_makes_nothing(model: Path, encoder: str, cache: Path) -> None:
    assert choose_runtime(model, make=False) == runtime_choice.ChosenRuntime(None, "no export yet", {})
    assert choose_runtime(encoder, input_size=SIZE, make=False).reason == "no export yet"
    assert not (model / "export").exists()
    assert not cache.exists()


# encoders


def test_the_export_of_an_encoder_is_kept_by_content(encoder: str, tmp_path: Path, cache: Path) -> None:
    chosen = choose_runtime(encoder, input_size=SIZE)
    assert chosen.reason == "the export made at first use, in the cache"
    assert chosen.export is not None
    assert chosen.export.parent == cache / "exports"
    shutil.copy(tmp_path / "w.safetensors", tmp_path / "of another name.safetensors")
    other = f"{ENCODER}@{tmp_path / 'of another name.safetensors'}"
    assert choose_runtime(other, input_size=SIZE).export == chosen.export
    assert choose_runtime(encoder, input_size=(48, 32), make=False).export is None
    save_weights(tmp_path / "w.safetensors", seed=1)
    assert choose_runtime(encoder, input_size=SIZE, make=False).export is None


def test_random_weights_stay_on_torch(cache: Path) -> None:
    name = f"{ENCODER}@random"
    chosen = choose_runtime(name, input_size=SIZE)
    assert (chosen.export, chosen.reason) == (None, "its weights are random, and others each time")
    message = (
        rf"^{name}: no export for --runtime openvino \(its weights are random, and others each time\); make one with "
        rf"`siamese export {name} -o DIR`, or leave --runtime out$"
    )
    with pytest.raises(ModelError, match=message):
        choose_runtime(name, runtime="openvino", input_size=SIZE)
    assert not cache.exists()


def test_what_is_wrong_with_a_model_is_said_as_ever(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"empty: no model.json; expected a model folder as `siamese train -o`"):
        choose_runtime(tmp_path / "empty")
    (tmp_path / "w.safetensors").write_bytes(b"no weights")
    with pytest.raises(WeightsError, match=r"w\.safetensors: not a whole safetensors file"):
        choose_runtime(f"{ENCODER}@{tmp_path / 'w.safetensors'}")
    assert choose_runtime("resnet-of-my-dreams").export is None  # who builds it says what it knows


# failures


def failing(error: Exception) -> Callable[..., Any]:
    def write(*_: object) -> list[str]:
        raise error

    return write


def test_a_model_that_cannot_be_converted_runs_on_torch_and_is_not_tried_again(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "siamese")
    monkeypatch.setattr(export_files, "write_graphs", failing(ModelError("resnet: cannot be turned into openvino")))
    chosen = choose_runtime(model)
    assert (chosen.export, chosen.reason) == (None, "resnet: cannot be turned into openvino")
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warnings == [
        f"{model}: not made ready for OpenVINO, runs on torch (resnet: cannot be turned into openvino)"
    ]
    assert not (model / "export").exists()
    monkeypatch.setattr(export_files, "write_graphs", failing(AssertionError("tried again")))
    caplog.clear()
    assert choose_runtime(model).reason == "resnet: cannot be turned into openvino"
    assert [(record.levelno, record.message) for record in caplog.records] == [
        (logging.INFO, f"{model}: runs on torch (resnet: cannot be turned into openvino)")
    ]
    message = r"no export for --runtime openvino \(resnet: cannot be turned into openvino\); make one with `siamese"
    with pytest.raises(ModelError, match=message):
        choose_runtime(model, runtime="openvino")


def test_an_export_that_decides_differently_is_not_used(
    model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(export_files, "write_graphs", lambda _, folder, kind: write_graphs(build(1), folder, kind))
    chosen = choose_runtime(model)
    assert chosen.export is None
    assert chosen.reason.startswith("on synthetic noise similarities move by up to ")
    assert caplog.text.count("not made ready for OpenVINO, runs on torch") == 1


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("a converter's own"), OptionError("no openvino")]
)
def test_what_may_pass_is_a_warning_and_tried_again(
    model: Path, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, cache: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(export_files, "write_graphs", failing(error))
        assert choose_runtime(model).export is None
    reason = error.strerror if isinstance(error, OSError) else str(error)
    assert f"{model}: not made ready for OpenVINO, runs on torch ({reason})" in caplog.text
    assert not (model / "export").exists()
    assert not list(cache.glob("exports/*"))
    assert choose_runtime(model).export == model / "export" / "openvino"


def test_a_folder_that_cannot_be_written_is_left_alone(model: Path, cache: Path) -> None:
    (model / "export").write_text("in the way, as a folder without permission would be")
    chosen = choose_runtime(model)
    assert chosen.reason == "the export made at first use, in the cache"
    assert chosen.export is not None
    assert chosen.export.parent == cache / "exports"
    assert (model / "export").is_file()
    assert choose_runtime(model).export == chosen.export


def test_a_folder_of_other_files_is_left_alone(model: Path, cache: Path) -> None:
    (model / "export" / "openvino").mkdir(parents=True)
    (model / "export" / "openvino" / "notes.txt").write_text("mine")
    export = choose_runtime(model).export
    assert export is not None
    assert export.parent == cache / "exports"
    assert [path.name for path in (model / "export").rglob("*")] == ["openvino", "notes.txt"]


def test_nowhere_to_write_is_a_warning(model: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    (model / "export").write_text("")
    cache.write_text("")
    assert choose_runtime(model).export is None
    assert f"{model}: not made ready for OpenVINO, runs on torch ({cache}" in caplog.text


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs a limit on the size of files")
def test_a_disk_without_room_is_found_out_before_the_work(model: Path) -> None:
    """A limit on the size of files fails every write beyond it, as a full disk or a quota does."""
    script = f"""
import resource, sys
sys.path.insert(0, {str(PROJECT)!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
from siamese.inference.runtime_choice import choose_runtime
print(choose_runtime({str(model)!r}, "cpu").export)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "None\n"
    assert done.stderr.count("\n") == 1
    assert "not made ready for OpenVINO, runs on torch (" in done.stderr
    assert "File too large" in done.stderr
    assert not (model / "export").exists()
    assert choose_runtime(model).export == model / "export" / "openvino"


# without torch


def test_without_torch_an_export_is_needed_and_the_message_says_what_to_do(
    model: Path, encoder: str, without_torch: None
) -> None:
    message = (
        rf"^{model}: no export in {model}/export/openvino, and torch is not installed here; run `siamese export "
        rf"{model}` where torch is and copy that folder here, or pip install torch$"
    )
    for runtime in ("auto", "openvino"):
        with pytest.raises(ModelError, match=message):
            choose_runtime(model, runtime=runtime)
    with pytest.raises(
        ModelError, match=r"no such folder, and an encoder by name needs torch, which is not installed"
    ):
        choose_runtime(encoder, input_size=SIZE)
    message = rf"^{model}: is to run on torch \(--runtime torch\), which is not installed here; pip install torch$"
    with pytest.raises(ModelError, match=message):
        choose_runtime(model, runtime="torch")
    with pytest.raises(ModelError, match=r"is to run on torch \(runs on cuda\), which is not installed"):
        choose_runtime(model, "cuda")


def test_without_torch_an_export_of_first_use_is_found(
    model: Path, encoder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports = [choose_runtime(name, input_size=size).export for name, size in ((model, None), (encoder, SIZE))]
    monkeypatch.setattr(runtime_choice, "find_spec", lambda name: None if name == "torch" else find_spec(name))
    monkeypatch.setattr(runtime_choice, "may_have_gpu", lambda: True)  # a GPU is of no use without torch
    assert [
        choose_runtime(name, input_size=size).export for name, size in ((model, None), (encoder, SIZE))
    ] == exports


# what was measured decides


@pytest.fixture
def by_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime_choice, "torch_is_faster", torch_is_faster)


def remember(model: Path, **speeds: float) -> None:
    """Times as if they had been measured on this machine."""
    folder = Path(os.environ["SIAMESE_CACHE"]) / "runtimes"
    (path,) = folder.iterdir()
    named = {name.replace("_", " "): speed for name, speed in speeds.items()}
    path.write_text(json.dumps({"machine": describe_machine(), "batch": 16, "images_per_second": named}))


def test_torch_is_taken_where_it_was_measured_faster(model: Path, by_measurement: None) -> None:
    export = choose_runtime(model, runtime="openvino").export
    remember(model, torch_f32=111.0, openvino_f32=100.0)
    chosen = choose_runtime(model)
    assert (chosen.export, chosen.reason) == (None, "measured faster here: 111 images/s, openvino f32 100")
    assert chosen.images_per_second == {"torch f32": 111.0, "openvino f32": 100.0}
    assert choose_runtime(model, runtime="openvino").export == export, "who asks for it gets it"
    assert choose_runtime(model, precision="bf16").export == export, "torch has no other precision"
    remember(model, torch_f32=109.0, openvino_f32=100.0)
    assert choose_runtime(model).export == export
    remember(model, openvino_f32=1.0)
    assert choose_runtime(model).export == export


def test_the_precision_that_would_run_is_the_one_compared(model: Path, by_measurement: None) -> None:
    export = choose_runtime(model, runtime="openvino").export
    remember(model, torch_f32=150.0, openvino_f32=100.0, openvino_bf16=200.0)
    assert choose_runtime(model, precision="f32").export is None
    assert choose_runtime(model, precision="auto").export == export


def test_without_torch_what_was_measured_is_of_no_use(
    model: Path, monkeypatch: pytest.MonkeyPatch, by_measurement: None
) -> None:
    export = choose_runtime(model, runtime="openvino").export
    remember(model, torch_f32=200.0, openvino_f32=100.0)
    monkeypatch.setattr(runtime_choice, "find_spec", lambda name: None if name == "torch" else find_spec(name))
    assert choose_runtime(model).export == export


# several at once


def _choose(model: str, barrier: Any, results: Any) -> None:
    torch.set_num_threads(1)
    barrier.wait()
    chosen = choose_runtime(model, "cpu")
    embedded = OpenVinoRuntime(chosen.export, cache=False).embed(np.zeros((1, 3, *SIZE), np.float32))  # type: ignore[arg-type]
    results.put((str(chosen.export), embedded.tolist()))


def test_processes_that_come_at_once_do_not_spoil_each_other(model: Path) -> None:
    context = multiprocessing.get_context("fork")
    barrier, results = context.Barrier(3), context.Queue()
    processes = [context.Process(target=_choose, args=(str(model), barrier, results)) for _ in range(3)]
    for process in processes:
        process.start()
    found = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert found[0] == found[1] == found[2]
    assert found[0][0] == str(model / "export" / "openvino")
    assert [path.name for path in (model / "export").iterdir()] == ["openvino"]
    assert read_manifest(model / "export" / "openvino").precisions == {"f32": True}


def test_choosing_among_what_is_there_imports_neither_torch_nor_pandas(model: Path, encoder: str) -> None:
    choose_runtime(model)
    choose_runtime(encoder, input_size=SIZE)
    script = f"""
import sys
sys.path.insert(0, {str(PROJECT)!r})
from siamese.inference.runtime_choice import choose_runtime
for name, size in (({str(model)!r}, None), ({encoder!r}, {SIZE})):
    assert choose_runtime(name, "cpu", "openvino", input_size=size).export is not None
    choose_runtime(name, "cpu", input_size=size)
print(*sorted({{"torch", "pandas", "sklearn", "scipy", "timm"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("\n", "")
