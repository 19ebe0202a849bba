"""The self-tests of the doctor: they pass here, and each fails where what it looks at is broken."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from siamese.doctor import checks, folders, machine
from siamese.doctor.checks import run_checks
from siamese.doctor.finding import Finding
from siamese.doctor.folders import describe_folders
from siamese.doctor.machine import describe_devices
from siamese.errors import WeightsError
from siamese.images import decode as decoding
from siamese.images.detector import FaceDetector
from siamese.inference import export_files, runtime_choice


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("SIAMESE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def found(name: str) -> Finding:
    return next(each for each in run_checks() if each.name == name)


def test_all_tests_pass_here_and_say_what_they_saw(bundled: Path) -> None:
    results = run_checks()
    assert [each.status for each in results] == ["ok"] * 7, results
    words = {each.name: each.detail for each in results}
    assert words["cache folder"] == "a file was written and read back"
    assert words["images"] == "PNG and JPEG are decoded to the pixels that were encoded"
    assert re.fullmatch(r"a convolution agrees with NumPy's to \de-\d\d", words["OpenVINO"])
    assert re.fullmatch(
        r"a small network exported to OpenVINO embeds as on torch to \de-\d\d", words["torch and OpenVINO"]
    )
    size = (bundled / "model.safetensors").stat().st_size / 1e6
    assert re.fullmatch(
        rf"{size:.1f} MB, whole \(SHA-256 [0-9a-f]{{12}}\.\.\.\); drawn faces: -?\d\.\d\d for two of one person, "
        r"-?\d\.\d\d for two people",
        words["bundled model"],
    )
    assert words["face detector"] == "finds three drawn faces, and none in a plain image (on openvino)"


def test_a_cache_that_cannot_be_written_fails(cache: Path) -> None:
    cache.write_text("in the way")
    assert found("cache folder") == Finding("cache folder", "fail", f"{cache}: File exists")


def test_nothing_is_left_in_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "_TESTS", checks._TESTS[:1])
    assert found("cache folder").status == "ok"
    assert list(cache.iterdir()) == []


def test_images_of_other_pixels_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    decode = decoding.decode
    monkeypatch.setattr(decoding, "decode", lambda source: decode(source)[..., ::-1])  # blue for red
    assert found("images") == Finding(
        "images", "fail", "ValueError: an image of type .png is decoded to other pixels"
    )


def test_an_export_that_embeds_differently_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from siamese.encoders import create_encoder
    from siamese.inference.export_graphs import write_graphs
    from siamese.model.network import SiameseNetwork

    torch.manual_seed(1)
    other = SiameseNetwork(create_encoder(checks.ENCODER, input_size=checks.SIZE)).eval()
    monkeypatch.setattr(export_files, "write_graphs", lambda _, folder, kind: write_graphs(other, folder, kind))
    result = found("torch and OpenVINO")
    assert result.status == "fail"
    assert re.fullmatch(r"ValueError: differs from what is expected by \S+, 0.0001 may be", result.detail)


def test_numbers_that_are_none_do_not_agree() -> None:
    with pytest.raises(ValueError, match=r"^differs from what is expected by nan, 0.0001 may be$"):
        checks._agree(np.array([np.nan], np.float32), np.array([0.0], np.float32))


def test_a_package_without_its_model_is_warned_of(nothing_bundled: Path) -> None:
    assert found("bundled model") == Finding(
        "bundled model",
        "warn",
        f"not run: bundled: this installation of siamese came without its model ({nothing_bundled} has no "
        "model.json); install a complete package, or name another model (--model FOLDER, or an encoder)",
    )


def test_a_bundled_model_that_was_damaged_fails(
    standin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = Path(shutil.copytree(standin, tmp_path / "damaged"))
    with (damaged / "model.safetensors").open("ab") as stream:
        stream.write(b"?")
    monkeypatch.setattr("siamese.encoders.bundled._FOLDER", damaged)
    result = found("bundled model")
    assert result.status == "fail"
    assert result.detail.startswith(f"ModelError: {damaged / 'model.safetensors'}: changed since it was saved")


def test_a_bundled_model_that_gives_no_unit_vectors_fails(bundled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from siamese.inference.verifier import Verifier

    embed = Verifier.embed_pixels
    monkeypatch.setattr(Verifier, "embed_pixels", lambda *given, **more: 2 * embed(*given, **more))
    assert found("bundled model").detail == "ValueError: embeddings of length 2 to 2, expected 1"


def test_without_torch_the_bundled_model_is_only_looked_at(bundled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "torch_is_there", lambda: False)
    result = found("bundled model")
    assert result.status == "ok"
    assert result.detail.endswith("...); not run, as torch is missing")


def test_a_detector_that_misses_a_face_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FaceDetector, "detect", lambda _, images: [[] for _ in images])
    assert found("face detector").detail == (
        "ValueError: [0, 0, 0, 0] faces in three drawn faces and a plain image, expected [1, 1, 1, 0]"
    )


def test_what_is_missing_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: Any, **__: Any) -> None:
        raise WeightsError("no converted nets")

    gone = {"torch", "facenet_pytorch", "openvino"}
    for module in (checks, runtime_choice):
        monkeypatch.setattr(module, "is_installed", lambda name: name not in gone)
    monkeypatch.setattr("siamese.images.detector.FaceDetector", missing)
    results = {each.name: (each.status, each.detail) for each in run_checks()}
    assert results["OpenVINO"] == results["torch and OpenVINO"] == ("warn", "not run: openvino is missing")
    assert results["face detector"] == ("warn", "not run: no converted nets")
    gone.clear()
    assert found("face detector") == Finding("face detector", "fail", "WeightsError: no converted nets")


# devices and folders


def test_the_processor_is_told_in_words_and_values() -> None:
    values, (cpu, gpu) = describe_devices()
    assert values["cpu"]["usable"] >= 1
    assert values["cpu"]["name"] in cpu.detail
    assert cpu.status == "ok"
    assert isinstance(values["gpus"], list)
    assert gpu.name == "GPU"


@pytest.mark.parametrize(
    ("gpus", "driver", "status", "detail"),
    [
        (None, False, "warn", "not known: torch, which finds them, is missing"),
        ([], False, "ok", "none found, the CPU is used"),
        ([], True, "warn", "a driver is there, but torch finds none; is its build one without CUDA?"),
        (
            [{"device": "cuda:0", "name": "A GPU", "memory_bytes": 24 * 2**30}],
            True,
            "ok",
            "cuda:0 A GPU, 24 GiB",
        ),
    ],
)
def test_gpus_are_told_in_words(
    gpus: list[dict[str, Any]] | None, driver: bool, status: str, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "may_have_gpu", lambda: driver)
    assert machine._gpu_finding(gpus) == Finding("GPU", status, detail)  # type: ignore[arg-type]


def test_folders_are_told_and_not_made(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values, (room, nets) = describe_folders()
    assert not cache.exists()
    assert (values["cache"]["path"], values["cache"]["exists"]) == (str(cache), False)
    assert values["cache"]["free_bytes"] > 0
    assert room.detail.startswith(f"{cache}, ")
    assert (nets.status, nets.detail) == ("ok", "made for OpenVINO at first use")
    monkeypatch.setattr(folders, "_free", lambda _: 10_000_000)
    monkeypatch.setattr(folders, "torch_is_there", lambda: False)
    _, (room, nets) = describe_folders()
    assert (room.status, room.detail) == (
        "warn",
        f"{cache}, 0.0 GB free: little; make room, or set SIAMESE_CACHE to another folder",
    )
    assert nets.status == "warn"
    assert nets.detail.startswith(f"missing: photographs cannot be aligned; copy {cache}/face-detector/")
