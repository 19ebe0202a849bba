"""Finding faces and their landmarks with MTCNN (Zhang et al. 2016), whose weights ship inside facenet-pytorch."""

from collections import defaultdict
from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from siamese.errors import DeviceError, OptionError, unknown_name
from siamese.images.faces import Face

if TYPE_CHECKING:
    from siamese.images.openvino_detector import Found, OpenVinoMtcnn
    from siamese.images.torch_detector import TorchMtcnn

# Faces smaller than this many pixels are not looked for; also the smallest image MTCNN can scan.
MIN_FACE = 20
# Larger photographs are scanned reduced: the time grows with the pixels, and faces worth comparing stay large enough.
MAX_SIDE = 1024
# 32 photographs of 250 x 250 at a time, fewer of larger ones: bounds the memory of a batch.
BATCH_PIXELS = 2_000_000

Engine = Literal["auto", "openvino", "torch"]
PACKAGES: dict[str, tuple[str, ...]] = {"openvino": ("openvino",), "torch": ("torch", "facenet_pytorch")}


class FaceDetector:
    """MTCNN over many images; on torch those of equal size run as one batch.

    It runs on OpenVINO or on torch, which find the same faces: boxes and landmarks agree within rounding, which moves
    one face in some hundred by a pixel or two, as it does between torch's own batches.

    Args:
        device: where the three networks run.
        max_side: images whose longer side is larger are reduced to it for the search.
        engine: `openvino` runs on the CPU without importing torch, twice as fast; `torch` on any device; `auto` takes
            OpenVINO on the CPU where it is installed, else torch.
        threads: of OpenVINO; None for as many as OpenCV was given (`cv2.setNumThreads`).

    Attributes:
        engine: the one in use, `openvino` or `torch`.

    Raises:
        OptionError: an unknown `engine`, or one that is not installed.
        DeviceError: OpenVINO on another device than the CPU.
        WeightsError: the networks for OpenVINO are missing and cannot be made here; the message says what to do.
    """

    def __init__(
        self, device: str = "cpu", max_side: int = MAX_SIDE, *, engine: Engine = "auto", threads: int | None = None
    ) -> None:
        self.engine = choose_engine(engine, device)
        self._network = _openvino(threads) if self.engine == "openvino" else _torch(device)
        self._max_side = max_side

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[list[Face]]:
        """Find the faces of RGB images (H, W, 3) uint8; an empty list where there is none."""
        found: list[list[Face]] = [[] for _ in images]
        batches: dict[tuple[int, int], list[int]] = defaultdict(list)
        reduced, scales = [], []
        for position, image in enumerate(images):
            scale = min(1.0, self._max_side / max(image.shape[:2]))
            small = image if scale == 1.0 else _reduce(image, scale)
            reduced.append(small)
            scales.append(scale)
            if min(small.shape[:2]) >= MIN_FACE:
                batches[small.shape[0], small.shape[1]].append(position)
        for shape, positions in batches.items():
            step = max(1, BATCH_PIXELS // (shape[0] * shape[1]))
            for start in range(0, len(positions), step):
                part = positions[start : start + step]
                for position, faces in zip(part, self._network.detect([reduced[row] for row in part]), strict=True):
                    found[position] = _faces(faces, scales[position])
        return found


def choose_engine(asked: Engine, device: str) -> Engine:
    """The engine that is used for the one asked for; arguments and errors as of `FaceDetector`."""
    if asked not in get_args(Engine):
        raise unknown_name("engine of the face detector", asked, get_args(Engine))
    if asked == "openvino" and device != "cpu":
        raise DeviceError(f"face detection on OpenVINO: runs on the CPU, not on {device}; use engine auto or torch")
    if asked == "auto" and device != "cpu":
        asked = "torch"
    for engine in ("openvino", "torch") if asked == "auto" else (asked,):
        if all(find_spec(package) is not None for package in PACKAGES[engine]):
            return engine
    wanted = {"auto": "openvino, or torch and facenet-pytorch", "openvino": "openvino"}
    packages = "openvino" if asked == "auto" else " ".join(PACKAGES[asked]).replace("_", "-")
    raise OptionError(
        f"face detection: needs {wanted.get(asked, 'torch and facenet-pytorch')}, not installed here; "
        f"pip install {packages}"
    )


def _openvino(threads: int | None) -> "OpenVinoMtcnn":
    from siamese.images.openvino_detector import OpenVinoMtcnn
    from siamese.images.openvino_detector_files import detector_nets
    from siamese.images.openvino_detector_nets import DetectorNets

    # As OpenCV: a process that is told to keep to one thread tells OpenCV so.
    return OpenVinoMtcnn(DetectorNets(detector_nets(), threads or max(1, cv2.getNumThreads())), MIN_FACE)


def _torch(device: str) -> "TorchMtcnn":
    from siamese.images.torch_detector import TorchMtcnn

    return TorchMtcnn(device, MIN_FACE)


def _faces(found: "Found", scale: float) -> list[Face]:
    return [
        Face(box / scale, marks / scale, float(score))
        for box, score, marks in zip(found.boxes, found.scores, found.landmarks, strict=True)
    ]


def _reduce(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
