"""Which engine runs the face detector."""

import re
from importlib.machinery import ModuleSpec
from importlib.util import find_spec

import cv2
import pytest

from siamese.errors import DeviceError, OptionError
from siamese.images import detector
from siamese.images.detector import FaceDetector
from siamese.images.openvino_detector import OpenVinoMtcnn
from siamese.images.openvino_detector_nets import DetectorNets
from siamese.images.torch_detector import TorchMtcnn


def hide(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    def found(name: str) -> ModuleSpec | None:
        return None if name in packages else find_spec(name)

    monkeypatch.setattr(detector, "find_spec", found)


def test_the_cpu_runs_openvino() -> None:
    found = FaceDetector()
    assert found.engine == "openvino"
    assert isinstance(found._network, OpenVinoMtcnn)


def test_torch_can_be_asked_for() -> None:
    found = FaceDetector(engine="torch")
    assert found.engine == "torch"
    assert isinstance(found._network, TorchMtcnn)


def test_a_gpu_runs_torch() -> None:
    assert detector.choose_engine("auto", "cuda:0") == "torch"


def test_without_openvino_torch_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "openvino")
    assert FaceDetector().engine == "torch"


@pytest.mark.parametrize(
    ("hidden", "engine", "message"),
    [
        (
            ("openvino", "torch"),
            "auto",
            "face detection: needs openvino, or torch and facenet-pytorch, not installed here; pip install openvino",
        ),
        (
            ("openvino", "facenet_pytorch"),
            "auto",
            "face detection: needs openvino, or torch and facenet-pytorch, not installed here; pip install openvino",
        ),
        (
            ("openvino",),
            "openvino",
            "face detection: needs openvino, not installed here; pip install openvino",
        ),
        (
            ("facenet_pytorch",),
            "torch",
            "face detection: needs torch and facenet-pytorch, not installed here; pip install torch facenet-pytorch",
        ),
    ],
)
def test_what_is_missing_is_said(
    monkeypatch: pytest.MonkeyPatch, hidden: tuple[str, ...], engine: detector.Engine, message: str
) -> None:
    hide(monkeypatch, *hidden)
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        FaceDetector(engine=engine)


def test_a_gpu_without_torch_asks_for_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "torch")
    message = "face detection: needs torch and facenet-pytorch, not installed here; pip install torch facenet-pytorch"
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        FaceDetector("cuda:0")


def test_an_unknown_engine_is_an_error() -> None:
    message = "unknown engine of the face detector 'tensorrt': known: auto, openvino, torch"
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        FaceDetector(engine="tensorrt")  # type: ignore[arg-type]


def test_openvino_on_a_gpu_is_an_error() -> None:
    message = "face detection on OpenVINO: runs on the CPU, not on cuda:0; use engine auto or torch"
    with pytest.raises(DeviceError, match=f"^{re.escape(message)}$"):
        FaceDetector("cuda:0", engine="openvino")


@pytest.mark.parametrize(("given", "expected"), [(None, 3), (1, 1), (2, 2)])
def test_threads_are_those_of_opencv_unless_given(
    monkeypatch: pytest.MonkeyPatch, given: int | None, expected: int
) -> None:
    asked = []
    init = DetectorNets.__init__

    def seen(self: DetectorNets, nets: dict[str, object], threads: int) -> None:
        asked.append(threads)
        init(self, nets, threads)

    monkeypatch.setattr(DetectorNets, "__init__", seen)
    monkeypatch.setattr(cv2, "getNumThreads", lambda: 3)
    FaceDetector(threads=given)
    assert asked == [expected]
