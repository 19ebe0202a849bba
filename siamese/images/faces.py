"""A face in an image: choosing one, and bringing it to the template that an encoder was trained with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from siamese.errors import FaceError, unknown_name

FaceChoice = Literal["auto", "largest", "center"]
FACE_CHOICES = ("auto", "largest", "center")


@dataclass(frozen=True)
class Face:
    """One detected face, in pixels of the image it was found in.

    Attributes:
        box: left, top, right, bottom.
        landmarks: shape (5, 2): left eye, right eye, nose, left and right mouth corner, as seen, as (x, y).
        score: the detector's confidence, in [0, 1].
    """

    box: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    score: float

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        left, top, right, bottom = self.box
        return float((right - left) * (bottom - top))


# How much being off the middle counts against being large: facenet-pytorch's `center_weighted_size`.
CENTRE_WEIGHT = 2.0
# Where the five landmarks lie in a 112 x 112 crop; the template the face-recognition community trains with (ArcFace,
# Deng et al. 2019), the same points as SphereFace's 112 x 96 template moved 8 columns to the right.
ARCFACE_112 = np.array(
    [
        (38.2946, 51.6963),
        (73.5318, 51.5014),
        (56.0252, 71.7366),
        (41.5493, 92.3655),
        (70.7299, 92.2041),
    ],
    dtype=np.float32,
)
TEMPLATE_SIZES = {"arcface-112": 112, "mtcnn-160": 160}
# Pixels of margin around the box in the 160-pixel crop, as in facenet-pytorch's own LFW evaluation.
MTCNN_MARGIN = 14


def is_aligned(image: NDArray[np.uint8], template: str) -> bool:
    """Whether an image is taken to be an aligned crop already: it has exactly the template's size."""
    size = TEMPLATE_SIZES.get(template)
    return size is not None and image.shape[:2] == (size, size)


def choose_face(faces: Sequence[Face], shape: tuple[int, ...], how: FaceChoice = "auto") -> Face | None:
    """Choose one face of an image; None when there is none.

    Args:
        faces: what the detector found.
        shape: height and width of the image.
        how: `largest` box; the one whose middle is nearest the `center` of the image; or `auto`, large and central:
            the most of area minus `CENTRE_WEIGHT` times the squared distance of the two middles.

    Raises:
        OptionError: another `how`.
    """
    check_face_choice(how)
    if not faces:
        return None
    if how == "largest":
        return max(faces, key=lambda face: face.area)
    middle = np.array([shape[1] / 2, shape[0] / 2], dtype=np.float32)

    def squared_offset(face: Face) -> float:
        return float(np.sum(((face.box[:2] + face.box[2:]) / 2 - middle) ** 2))

    if how == "center":
        return min(faces, key=squared_offset)
    return max(faces, key=lambda face: face.area - CENTRE_WEIGHT * squared_offset(face))


def check_face_choice(how: str) -> None:
    """Raise OptionError unless `how` is a way of choosing among faces."""
    if how not in FACE_CHOICES:
        raise unknown_name("face choice", how, FACE_CHOICES)


def align_face(image: NDArray[np.uint8], face: Face, template: str) -> NDArray[np.uint8]:
    """Cut a face out and bring it to a template.

    `arcface-112`: the similarity transform (rotation, one scale, shift) that maps the five landmarks onto
    `ARCFACE_112`, by least median of squares (Rousseeuw 1984), so that one misplaced landmark does not tilt the
    face. `mtcnn-160`: the detector's box with `MTCNN_MARGIN`, resized; no rotation.

    Args:
        image: RGB, shape (H, W, 3), uint8.
        face: a face of this image.
        template: a key of `TEMPLATE_SIZES`.

    Returns:
        Shape (S, S, 3), uint8, S the template's size; black where the image ends.

    Raises:
        OptionError: an unknown template.
        FaceError: the landmarks coincide.
    """
    check_template(template)
    size = TEMPLATE_SIZES[template]
    if template == "mtcnn-160":
        return _crop_box(image, face.box, size)
    return _warp(image, similarity_transform(face.landmarks, ARCFACE_112), size)


def check_template(template: str) -> None:
    """Raise OptionError unless `template` is a key of `TEMPLATE_SIZES`."""
    if template not in TEMPLATE_SIZES:
        raise unknown_name("template", template, TEMPLATE_SIZES)


def similarity_transform(source: NDArray[np.float32], target: NDArray[np.float32]) -> NDArray[np.float64]:
    """The 2 x 3 matrix of rotation, scale and shift that brings points (N, 2) `source` nearest to `target`.

    Raises:
        FaceError: the source points coincide, so that no scale is defined.
    """
    matrix, _ = cv2.estimateAffinePartial2D(source, target, method=cv2.LMEDS)
    if matrix is None:
        raise FaceError("face landmarks coincide: no similarity transform maps them to the template")
    return np.asarray(matrix, dtype=np.float64)


def _warp(image: NDArray[np.uint8], matrix: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    scale = float(np.hypot(*matrix[:, 0]))
    if scale < 0.5:
        # A warp reads single pixels, so a face much larger than the crop would alias: average it down to twice first.
        rows, columns = (max(1, round(side * 2 * scale)) for side in image.shape[:2])
        shrink = np.array([columns / image.shape[1], rows / image.shape[0]])
        image = np.asarray(cv2.resize(image, (columns, rows), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        # Pixel x of the original lies at (x + 1/2) shrink - 1/2 of the reduced image.
        shift = matrix[:, 2] + matrix[:, :2] @ (0.5 / shrink - 0.5)
        matrix = np.column_stack([matrix[:, :2] / shrink, shift])
    crop = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0))
    return np.asarray(crop, dtype=np.uint8)


def _crop_box(image: NDArray[np.uint8], box: NDArray[np.float32], size: int) -> NDArray[np.uint8]:
    # The margin is given in pixels of the finished crop, so it grows with the box.
    margin = (box[2:] - box[:2]) * MTCNN_MARGIN / (size - MTCNN_MARGIN) / 2
    left, top = np.clip(box[:2] - margin, 0, np.array(image.shape[1::-1]) - 1).astype(int)
    right, bottom = np.minimum(box[2:] + margin, image.shape[1::-1]).astype(int)
    crop = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    resized = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=np.uint8)
