"""MTCNN (Zhang et al. 2016) without torch: three nets on OpenVINO, and what lies between them in NumPy.

The steps, thresholds and order of arithmetic are those of facenet-pytorch's `detect_face`, so that both find the same
faces. Each image is looked at by itself: what is found in it does not depend on which others are in the batch.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from siamese.images.openvino_detector_areas import AreaSums
from siamese.images.openvino_detector_boxes import CELL, Boxes, cells, pixels, shift, square, suppress
from siamese.images.openvino_detector_nets import DetectorNets

# facenet-pytorch's defaults: lowest score after each net, and how much smaller each step of the pyramid is.
PROPOSED, REFINED, FINAL = 0.6, 0.7, 0.7
FACTOR = 0.709
# Largest overlaps: within a scale of the pyramid, and everywhere else.
WITHIN_SCALE, AMONG_ALL = 0.5, 0.7


class Found(NamedTuple):
    """The faces of an image, the largest first.

    Attributes:
        boxes: left, top, right, bottom in pixels, shape (N, 4).
        scores: confidence in [0, 1], shape (N,).
        landmarks: eyes, nose and mouth corners as (x, y), shape (N, 5, 2).
    """

    boxes: Boxes
    scores: NDArray[np.float32]
    landmarks: NDArray[np.float32]


NOTHING = Found(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))


class OpenVinoMtcnn:
    """Finds faces in images.

    Args:
        nets: the three nets.
        min_face: side in pixels of the smallest faces that are looked for.
    """

    def __init__(self, nets: DetectorNets, min_face: int = 20) -> None:
        self._nets = nets
        self._min_face = min_face

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Found]:
        """Find the faces of RGB images (H, W, 3) uint8 whose sides are at least `min_face` pixels."""
        return [self._detect(image) for image in images]

    def _detect(self, image: NDArray[np.uint8]) -> Found:
        sums = AreaSums(image)
        boxes = self._propose(sums)
        if len(boxes):
            boxes = self._refine(sums, boxes)
        return self._finish(sums, boxes) if len(boxes) else NOTHING

    def _propose(self, sums: AreaSums) -> Boxes:
        """Squares that may hold a face, from the proposal net run over a pyramid of the image."""
        boxes, scores, offsets = [], [], []
        for scale in _pyramid(min(sums.height, sums.width), self._min_face):
            small = sums.resize(int(sums.height * scale + 1), int(sums.width * scale + 1))
            score, offset = self._nets.propose(small)
            rows, columns = np.nonzero(score >= PROPOSED)
            found, found_score = cells(rows, columns, scale), score[rows, columns]
            kept = suppress(found, found_score, WITHIN_SCALE)
            boxes.append(found[kept])
            scores.append(found_score[kept])
            offsets.append(offset[:, rows[kept], columns[kept]].T)
        every = np.concatenate(boxes)
        kept = suppress(every, np.concatenate(scores), AMONG_ALL)
        return square(shift(every[kept], np.concatenate(offsets)[kept], more=0.0))

    def _refine(self, sums: AreaSums, boxes: Boxes) -> Boxes:
        boxes, crops = _cut(sums, boxes, 24)
        scores, offsets = self._nets.refine(crops)
        passed = scores > REFINED
        boxes, scores, offsets = boxes[passed], scores[passed], offsets[passed]
        kept = suppress(boxes, scores, AMONG_ALL)
        return square(shift(boxes[kept], offsets[kept]))

    def _finish(self, sums: AreaSums, boxes: Boxes) -> Found:
        boxes, crops = _cut(sums, boxes, 48)
        scores, offsets, points = self._nets.finish(crops)
        passed = scores > FINAL
        boxes, scores, offsets, points = boxes[passed], scores[passed], offsets[passed], points[passed]
        sides = boxes[:, 2:] - boxes[:, :2] + np.float32(1)
        # Given in units of the square that the net saw: all x, then all y.
        landmarks = points.reshape(-1, 2, 5).transpose(0, 2, 1) * sides[:, None] + boxes[:, None, :2] - np.float32(1)
        boxes = shift(boxes, offsets)
        kept = suppress(boxes, scores, AMONG_ALL, "smaller")
        areas = (boxes[kept, 2] - boxes[kept, 0]) * (boxes[kept, 3] - boxes[kept, 1])
        kept = kept[np.argsort(areas, kind="stable")[::-1]]
        return Found(boxes[kept], scores[kept], landmarks[kept])


def _pyramid(side: int, min_face: int) -> list[float]:
    """Scales at which the smallest face and each larger one fill the proposal net's square."""
    scales, scale = [], CELL / min_face
    left = side * scale
    while left >= CELL:
        scales.append(scale)
        scale, left = scale * FACTOR, left * FACTOR
    return scales


def _cut(sums: AreaSums, boxes: Boxes, size: int) -> tuple[Boxes, NDArray[np.float32]]:
    """The boxes that touch the image, and what they show at `size` x `size`."""
    inside = pixels(boxes, sums.height, sums.width)
    touches = (inside[:, 2:] > inside[:, :2]).all(1)
    return boxes[touches], sums.crops(inside[touches], size)
