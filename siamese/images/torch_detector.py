"""MTCNN on torch, as facenet-pytorch runs it: on GPUs, and where OpenVINO is not installed."""

from collections.abc import Sequence

import numpy as np
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray

from siamese.images.openvino_detector import NOTHING, Found


class TorchMtcnn:
    """Finds faces in batches of images.

    Args:
        device: where the three nets run.
        min_face: side in pixels of the smallest faces that are looked for.
    """

    def __init__(self, device: str, min_face: int) -> None:
        self._network = MTCNN(keep_all=True, device=torch.device(device), min_face_size=min_face).eval()

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Found]:
        """Find the faces of RGB images (H, W, 3) uint8 of equal size, their sides at least `min_face` pixels."""
        boxes, scores, points = self._network.detect(np.stack(images), landmarks=True)
        return [
            NOTHING if box is None else Found(*(np.asarray(values, np.float32) for values in (box, score, marks)))
            for box, score, marks in zip(boxes, scores, points, strict=True)
        ]
