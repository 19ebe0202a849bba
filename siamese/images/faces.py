"""A face in an image: choosing one, and bringing it to the template that an encoder was trained with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from siamese.errors import OptionError, unknown_name

FaceChoice = Literal["largest", "center"]


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


def choose_face(faces: Sequence[Face], shape: tuple[int, ...], how: FaceChoice = "largest") -> Face | None:
    """Choose one face of an image; None when there is none.

    Args:
        faces: what the detector found.
        shape: height and width of the image.
        how: `largest` box, or the one whose middle is nearest the `center` of the image.
    """
    if not faces:
        return None
    if how == "largest":
        return max(faces, key=lambda face: face.area)
    if how != "center":
        raise unknown_name("face choice", how, ("largest", "center"))
    middle = np.array([shape[1] / 2, shape[0] / 2], dtype=np.float32)
    return min(faces, key=lambda face: float(np.sum(((face.box[:2] + face.box[2:]) / 2 - middle) ** 2)))


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
    """
    if template == "mtcnn-160":
        return _crop_box(image, face.box, TEMPLATE_SIZES[template])
    if template != "arcface-112":
        raise unknown_name("template", template, TEMPLATE_SIZES)
    matrix = similarity_transform(face.landmarks, ARCFACE_112)
    size = TEMPLATE_SIZES[template]
    crop = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0))
    return np.asarray(crop, dtype=np.uint8)


def similarity_transform(source: NDArray[np.float32], target: NDArray[np.float32]) -> NDArray[np.float64]:
    """The 2 x 3 matrix of rotation, scale and shift that brings points (N, 2) `source` nearest to `target`.

    Raises:
        OptionError: the source points coincide, so that no scale is defined.
    """
    matrix, _ = cv2.estimateAffinePartial2D(source, target, method=cv2.LMEDS)
    if matrix is None:
        raise OptionError("face landmarks coincide: no similarity transform maps them to the template")
    return np.asarray(matrix, dtype=np.float64)


def _crop_box(image: NDArray[np.uint8], box: NDArray[np.float32], size: int) -> NDArray[np.uint8]:
    # The margin is given in pixels of the finished crop, so it grows with the box.
    margin = (box[2:] - box[:2]) * MTCNN_MARGIN / (size - MTCNN_MARGIN) / 2
    left, top = np.maximum(box[:2] - margin, 0).astype(int)
    right, bottom = np.minimum(box[2:] + margin, image.shape[1::-1]).astype(int)
    crop = image[top : max(bottom, top + 1), left : max(right, left + 1)]
    resized = cv2.resize(crop, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=np.uint8)
