"""Finding faces and their landmarks with MTCNN (Zhang et al. 2016), whose weights ship inside facenet-pytorch."""

from collections import defaultdict
from collections.abc import Sequence

import cv2
import numpy as np
import torch
from facenet_pytorch import MTCNN
from numpy.typing import NDArray

from siamese.images.faces import Face

# Faces smaller than this many pixels are not looked for; also the smallest image MTCNN can scan.
MIN_FACE = 20
# Larger photographs are scanned reduced: the time grows with the pixels, and faces worth comparing stay large enough.
MAX_SIDE = 1024
# 32 photographs of 250 x 250 at a time, fewer of larger ones: bounds the memory of a batch.
BATCH_PIXELS = 2_000_000


class FaceDetector:
    """MTCNN over many images; those of equal size run as one batch.

    Args:
        device: where the three networks run.
        max_side: images whose longer side is larger are reduced to it for the search.
    """

    def __init__(self, device: str = "cpu", max_side: int = MAX_SIDE) -> None:
        self._network = MTCNN(keep_all=True, device=torch.device(device), min_face_size=MIN_FACE).eval()
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
                boxes, scores, points = self._network.detect(np.stack([reduced[row] for row in part]), landmarks=True)
                for row, position in enumerate(part):
                    if boxes[row] is not None:
                        found[position] = _faces(boxes[row], points[row], scores[row], scales[position])
        return found


def _faces(
    boxes: NDArray[np.float32], points: NDArray[np.float32], scores: NDArray[np.float32], scale: float
) -> list[Face]:
    return [
        Face(np.asarray(box, np.float32) / scale, np.asarray(marks, np.float32) / scale, float(score))
        for box, marks, score in zip(boxes, points, scores, strict=True)
    ]


def _reduce(image: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
