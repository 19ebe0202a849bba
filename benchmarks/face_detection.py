"""Face detection on OpenVINO against facenet-pytorch's on torch: the same faces, and how fast.

    python benchmarks/face_detection.py PHOTOGRAPHS [IMAGES]

PHOTOGRAPHS is a folder of photographs (LFW as published); IMAGES of them (500 unless told), evenly spread over the
sorted names, are searched by both engines in turn, batch by batch, each with one thread. Printed are the images a
second of each, the median over batches of the ratio of their times (above 1: OpenVINO is faster), and how the answers
differ: numbers of faces, boxes of the chosen face (by more than half a pixel), boxes and landmarks in pixels, aligned
crops in grey levels. Torch rounds otherwise in a batch than for one image, so it is compared with itself as well.
Times are of the processor, so that other work on the machine counts little.
"""

import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from siamese.images.decode import decode
from siamese.images.detector import FaceDetector
from siamese.images.faces import Face, align_face, choose_face
from siamese.images.walk import walk_images

BATCH, WARM_UP = 32, 2
TEMPLATES = ("arcface-112", "mtcnn-160")
Image = NDArray[np.uint8]


def timed(detector: FaceDetector, images: list[Image]) -> tuple[float, list[list[Face]]]:
    started = time.process_time()
    found = detector.detect(images)
    return time.process_time() - started, found


class Differences:
    """What two detectors see differently."""

    def __init__(self) -> None:
        self.images = self.faces = self.counts = self.choices = 0
        self.box = self.landmark = self.score = 0.0
        self.levels: dict[str, list[int]] = {template: [] for template in TEMPLATES}

    def add(self, image: Image, found: Sequence[Face], others: Sequence[Face]) -> None:
        self.images += 1
        self.faces += len(others)
        if len(found) != len(others):
            self.counts += 1
            return
        for face, other in zip(found, others, strict=True):
            self.box = max(self.box, float(np.abs(face.box - other.box).max()))
            self.landmark = max(self.landmark, float(np.abs(face.landmarks - other.landmarks).max()))
            self.score = max(self.score, abs(face.score - other.score))
        chosen, expected = choose_face(found, image.shape), choose_face(others, image.shape)
        if chosen is None or expected is None:
            return
        self.choices += int(np.abs(chosen.box - expected.box).max() > 0.5)
        for template, levels in self.levels.items():
            crop, other_crop = (align_face(image, face, template).astype(int) for face in (chosen, expected))
            levels.append(int(np.abs(crop - other_crop).max()))

    def print(self, who: str) -> None:
        print(f"{who}: {self.images} images, {self.faces} faces")
        print(f"  differ: numbers of faces {self.counts}, chosen boxes {self.choices}")
        print(f"  at most: box {self.box:.2g} px, landmark {self.landmark:.2g} px, score {self.score:.2g}")
        for template, levels in self.levels.items():
            differ, more = sum(level > 0 for level in levels), sum(level > 1 for level in levels)
            print(
                f"  {template} crops: {differ} differ, {more} by more than one level, most {max(levels, default=0)}"
            )


def main(folder: Path, count: int) -> None:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    paths = sorted(walk_images(folder))
    paths = [paths[row] for row in np.linspace(0, len(paths) - 1, min(count, len(paths))).astype(int)]
    ours, theirs = FaceDetector(engine="openvino", threads=1), FaceDetector(engine="torch")
    differences = {
        "OpenVINO, torch in batches": Differences(),
        "OpenVINO, torch one by one": Differences(),
        "torch one by one, torch in batches": Differences(),
    }
    seconds: list[tuple[float, float]] = []
    for start in range(0, len(paths), BATCH):
        images = [decode(folder / path) for path in paths[start : start + BATCH]]
        our_seconds, found = timed(ours, images)
        their_seconds, others = timed(theirs, images)
        seconds.append((our_seconds / len(images), their_seconds / len(images)))
        for image, faces, in_batch in zip(images, found, others, strict=True):
            alone = theirs.detect([image])[0]
            for difference, pair in zip(
                differences.values(), ((faces, in_batch), (faces, alone), (alone, in_batch)), strict=True
            ):
                difference.add(image, *pair)
    kept = seconds[WARM_UP:] or seconds
    our_speed, their_speed = (1 / statistics.median(column) for column in zip(*kept, strict=True))
    ratio = statistics.median(theirs_took / ours_took for ours_took, theirs_took in kept)
    print(f"images/s, one thread: OpenVINO {our_speed:.1f}, torch {their_speed:.1f}; OpenVINO / torch {ratio:.2f}")
    for who, difference in differences.items():
        difference.print(who)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 500)
