from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from siamese.images.decode import decode
from siamese.images.detector import MAX_SIDE, MIN_FACE, FaceDetector
from siamese.images.faces import Face, choose_face

PEOPLE = ("Aaron_Eckhart", "Abdullah_Gul", "Angelina_Jolie", "Colin_Powell", "Serena_Williams", "Zinedine_Zidane")
Photographs = dict[str, NDArray[np.uint8]]


@pytest.fixture(scope="module")
def photographs(real_data: Path) -> Photographs:
    return {name: decode(real_data / "data" / "lfw" / name / f"{name}_0001.jpg") for name in PEOPLE}


def enlarge(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def assert_same_faces(found: list[Face], expected: list[Face], atol: float) -> None:
    assert len(found) == len(expected)
    for face, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(face.box, other.box, atol=atol)
        np.testing.assert_allclose(face.landmarks, other.landmarks, atol=atol)
        assert face.score == pytest.approx(other.score, abs=1e-3)


def assert_plausible(face: Face) -> None:
    left, top, right, bottom = face.box
    left_eye, right_eye, nose, left_mouth, right_mouth = face.landmarks
    assert face.landmarks.shape == (5, 2)
    assert 0.7 <= face.score <= 1
    assert face.area == pytest.approx((right - left) * (bottom - top), rel=1e-5)
    assert ((face.landmarks > (left, top)) & (face.landmarks < (right, bottom))).all()
    assert left_eye[0] < right_eye[0]
    assert left_mouth[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])


@pytest.mark.real_data
def test_the_person_in_the_middle_of_each_photograph_is_found(
    detector: FaceDetector, photographs: Photographs
) -> None:
    for faces, image in zip(detector.detect(list(photographs.values())), photographs.values(), strict=True):
        face = choose_face(faces, image.shape, "center")
        assert face is not None
        assert face.score > 0.95
        assert_plausible(face)
        # Deep-funneled photographs hold the face in the middle.
        np.testing.assert_allclose((face.box[:2] + face.box[2:]) / 2, (125, 125), atol=20)
        assert 60 < face.box[3] - face.box[1] < 140


@pytest.mark.real_data
def test_a_batch_finds_what_each_image_alone_gives(detector: FaceDetector, photographs: Photographs) -> None:
    images = list(photographs.values())
    images[2:2] = [np.zeros((250, 250, 3), np.uint8), images[0][20:230, 10:240]]
    together = detector.detect(images)
    for image, faces in zip(images, together, strict=True):
        assert_same_faces(faces, detector.detect([image])[0], atol=0.05)


@pytest.mark.real_data
@pytest.mark.parametrize("side", [1500, 2500])
def test_faces_of_large_photographs_are_in_their_own_pixels(
    detector: FaceDetector, photographs: Photographs, side: int
) -> None:
    assert side > MAX_SIDE
    image = photographs["Colin_Powell"]
    small = choose_face(detector.detect([image])[0], image.shape, "center")
    large = choose_face(detector.detect([enlarge(image, side)])[0], (side, side), "center")
    assert small is not None
    assert large is not None
    assert_plausible(large)
    np.testing.assert_allclose(large.landmarks, small.landmarks * side / 250, atol=0.02 * side)
    np.testing.assert_allclose(large.box, small.box * side / 250, atol=0.04 * side)


@pytest.mark.real_data
def test_the_limit_on_the_side_scales_back_too(photographs: Photographs, detector: FaceDetector) -> None:
    image = photographs["Angelina_Jolie"]
    whole = choose_face(detector.detect([image])[0], image.shape)
    reduced = choose_face(FaceDetector(max_side=125).detect([image])[0], image.shape)
    assert whole is not None
    assert reduced is not None
    np.testing.assert_allclose(reduced.landmarks, whole.landmarks, atol=5)


def test_rendered_portraits_have_one_plausible_face(
    detector: FaceDetector, portraits: list[NDArray[np.uint8]]
) -> None:
    for faces in detector.detect(portraits):
        assert len(faces) == 1
        assert_plausible(faces[0])


def test_images_of_several_sizes_keep_their_order(detector: FaceDetector, portraits: list[NDArray[np.uint8]]) -> None:
    blank = np.full((60, 80, 3), 127, np.uint8)
    images = [portraits[0], blank, enlarge(portraits[1], 200), portraits[2], enlarge(portraits[3], 200)]
    found = detector.detect(images)
    assert [len(faces) for faces in found] == [1, 0, 1, 1, 1]
    for faces, image in zip(found, images, strict=True):
        assert_same_faces(faces, detector.detect([image])[0], atol=0.05)


def test_two_people_side_by_side_are_two_faces(detector: FaceDetector, portraits: list[NDArray[np.uint8]]) -> None:
    side = portraits[0].shape[1]
    faces = detector.detect([np.hstack([portraits[0], portraits[1]])])[0]
    middles = sorted(float(face.box[0] + face.box[2]) / 2 for face in faces)
    assert len(middles) == 2
    assert middles[0] < side < middles[1]


@pytest.mark.parametrize("level", [0, 127, 255])
@pytest.mark.parametrize("shape", [(250, 250), (20, 20), (20, 1024), (1100, 40)])
def test_a_blank_image_has_no_face(detector: FaceDetector, level: int, shape: tuple[int, int]) -> None:
    assert detector.detect([np.full((*shape, 3), level, np.uint8)]) == [[]]


@pytest.mark.parametrize("shape", [(1, 1), (MIN_FACE - 1, 300), (300, 1), (30, 4000)])
def test_an_image_too_small_to_scan_has_no_face(detector: FaceDetector, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert detector.detect([noise]) == [[]]


def test_no_images_have_no_faces(detector: FaceDetector) -> None:
    assert detector.detect([]) == []


def test_small_noisy_images_never_break_the_detector(
    detector: FaceDetector, portraits: list[NDArray[np.uint8]]
) -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        image = portraits[int(rng.integers(len(portraits)))]
        top, left = rng.integers(0, 100, 2)
        height, width = rng.integers(20, 80, 2)
        found = detector.detect([image[top : top + height, left : left + width]])
        assert all(np.isfinite(face.landmarks).all() for face in found[0])
