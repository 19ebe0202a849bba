import re

import numpy as np
import pytest
from facenet_pytorch.models.utils.detect_face import extract_face
from numpy.typing import NDArray

from siamese.errors import FaceError, OptionError
from siamese.images.faces import (
    ARCFACE_112,
    MTCNN_MARGIN,
    TEMPLATE_SIZES,
    Face,
    align_face,
    choose_face,
    is_aligned,
    similarity_transform,
)

RNG = np.random.default_rng(0)
Points = NDArray[np.float64]


def matrix_of(angle: float, scale: float, shift: tuple[float, float]) -> Points:
    """Rotation by `angle`, scale and shift, as a 2 x 3 matrix."""
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]])


def apply(matrix: Points, points: NDArray[np.floating]) -> Points:
    return points @ matrix[:, :2].T + matrix[:, 2]


def inverse(matrix: Points) -> Points:
    turned = np.linalg.inv(matrix[:, :2])
    return np.column_stack([turned, -turned @ matrix[:, 2]])


def umeyama(source: Points, target: Points) -> Points:
    """The least-squares similarity transform (Umeyama 1991, equations 34 to 42)."""
    source_mean, target_mean = source.mean(0), target.mean(0)
    covariance = (target - target_mean).T @ (source - source_mean) / len(source)
    left, singular, right = np.linalg.svd(covariance)
    sign = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    turn = left @ np.diag(sign) @ right
    scale = (singular * sign).sum() / ((source - source_mean) ** 2).sum(1).mean()
    return np.column_stack([scale * turn, target_mean - scale * turn @ source_mean])


def face_at(left: float, top: float, right: float, bottom: float, score: float = 1.0) -> Face:
    return Face(np.array([left, top, right, bottom], np.float32), np.zeros((5, 2), np.float32), score)


def random_motion() -> Points:
    return matrix_of(RNG.uniform(-np.pi, np.pi), 10 ** RNG.uniform(-1, 1), tuple(RNG.uniform(-300, 300, 2)))


@pytest.mark.parametrize("angle", [0.0, 0.3, -1.2, 3.0])
@pytest.mark.parametrize("scale", [0.1, 1.0, 7.5])
@pytest.mark.parametrize("shift", [(0.0, 0.0), (-40.0, 250.0)])
def test_a_known_rotation_scale_and_shift_is_recovered(
    angle: float, scale: float, shift: tuple[float, float]
) -> None:
    matrix = matrix_of(angle, scale, shift)
    target = apply(matrix, ARCFACE_112).astype(np.float32)
    np.testing.assert_allclose(similarity_transform(ARCFACE_112, target), matrix, atol=1e-3)


def test_noiseless_points_give_the_least_squares_transform() -> None:
    for _ in range(50):
        source = RNG.uniform(0, 200, (5, 2))
        target = apply(random_motion(), source)
        found = similarity_transform(source.astype(np.float32), target.astype(np.float32))
        expected = umeyama(source, target)
        np.testing.assert_allclose(apply(found, source), apply(expected, source), atol=1e-2)
        np.testing.assert_allclose(found[:, :2], expected[:, :2], atol=1e-3)


def test_one_misplaced_landmark_does_not_tilt_the_face() -> None:
    for trial in range(50):
        matrix = matrix_of(RNG.uniform(-0.6, 0.6), RNG.uniform(0.3, 3), tuple(RNG.uniform(-50, 50, 2)))
        source = apply(inverse(matrix), ARCFACE_112).astype(np.float32)
        bad = source.copy()
        bad[trial % 5] += RNG.uniform(20, 60, 2) / np.hypot(*matrix[:, 0])
        np.testing.assert_allclose(similarity_transform(bad, ARCFACE_112), matrix, atol=1e-2)
        tilted = umeyama(bad.astype(float), ARCFACE_112.astype(float))
        assert np.abs(tilted - matrix).max() > 0.02  # least squares would have been tilted


def test_the_transform_never_mirrors() -> None:
    mirrored = ARCFACE_112 * np.array([-1, 1], np.float32)
    found = similarity_transform(mirrored, ARCFACE_112)
    assert np.linalg.det(found[:, :2]) > 0
    np.testing.assert_allclose(found[:, 0], [found[1, 1], -found[0, 1]], atol=1e-12)


def test_coinciding_landmarks_are_an_error() -> None:
    with pytest.raises(FaceError, match=r"^face landmarks coincide: no similarity transform maps them to the templ"):
        similarity_transform(np.full((5, 2), 30, np.float32), ARCFACE_112)


def test_the_largest_face_is_chosen_by_area() -> None:
    faces = [face_at(0, 0, 10, 10, 1.0), face_at(40, 40, 60, 51, 0.7), face_at(0, 0, 3, 70, 0.9)]
    assert choose_face(faces, (100, 100, 3), "largest") is faces[1]
    assert choose_face(faces[::-1], (100, 100, 3), "largest") is faces[1]
    assert faces[1].area == 220


def test_the_face_nearest_the_centre_is_chosen_by_its_middle() -> None:
    faces = [face_at(0, 0, 90, 90), face_at(95, 40, 105, 60), face_at(150, 0, 200, 100)]
    assert choose_face(faces, (100, 200, 3), "center") is faces[1]
    # Height and width must not be confused: the middle of a tall image lies elsewhere.
    assert choose_face(faces, (200, 100, 3), "center") is faces[0]


def test_auto_weighs_area_against_the_distance_from_the_middle() -> None:
    small_central, large_aside, corner = face_at(80, 40, 120, 60), face_at(40, 20, 100, 80), face_at(0, 0, 50, 50)
    shape = (100, 200, 3)
    # Area less twice the squared distance of the middles: 800 - 0, 3600 - 2 * 900, 2500 - 2 * (75^2 + 25^2).
    assert choose_face([small_central, large_aside, corner], shape) is large_aside
    assert choose_face([small_central, corner], shape) is small_central
    assert choose_face([corner, small_central], shape, "largest") is corner
    assert choose_face([large_aside, small_central], shape, "center") is small_central


def test_no_face_is_no_choice() -> None:
    assert choose_face([], (100, 100, 3)) is None
    assert choose_face([], (100, 100, 3), "center") is None


@pytest.mark.parametrize("faces", [[], [face_at(0, 0, 1, 1)]])
def test_an_unknown_choice_is_an_error_whether_or_not_there_are_faces(faces: list[Face]) -> None:
    message = "unknown face choice 'centre': did you mean 'center'? known: auto, center, largest"
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        choose_face(faces, (100, 100, 3), "centre")  # type: ignore[arg-type]


def paint_landmarks(shape: tuple[int, int], points: Points, radius: float) -> NDArray[np.uint8]:
    """A soft dot of its own grey level at each point, on black."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    image = np.zeros(shape)
    for x, y in points:
        image += 250 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * radius**2))
    return np.repeat(np.clip(image, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def centroids(crop: NDArray[np.uint8], points: NDArray[np.float32], reach: int) -> Points:
    """Centre of brightness around each of the points."""
    rows, columns = np.mgrid[: crop.shape[0], : crop.shape[1]]
    found = []
    for x, y in points:
        weight = crop[..., 0] * ((abs(columns - x) <= reach) & (abs(rows - y) <= reach))
        found.append(((weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()))
    return np.array(found)


@pytest.mark.parametrize("angle", [-0.5, 0.0, 0.9])
@pytest.mark.parametrize("size", [0.7, 1.0, 2.5, 6.0])
def test_alignment_brings_the_landmarks_onto_the_template(angle: float, size: float) -> None:
    side = round(260 * size)
    turn = matrix_of(angle, size, (0, 0))
    points = apply(turn, ARCFACE_112 - ARCFACE_112.mean(0)) + side / 2
    image = paint_landmarks((side, side), points, 2.0 * size)
    crop = align_face(image, Face(np.zeros(4, np.float32), points.astype(np.float32), 1.0), "arcface-112")
    assert crop.shape == (112, 112, 3)
    assert crop.dtype == np.uint8
    np.testing.assert_allclose(centroids(crop, ARCFACE_112, 8), ARCFACE_112, atol=0.25)


def test_a_face_on_the_template_already_comes_back_as_it_is() -> None:
    image = RNG.integers(0, 256, (112, 112, 3), dtype=np.uint8)
    crop = align_face(image, Face(np.zeros(4, np.float32), ARCFACE_112, 1.0), "arcface-112")
    assert np.abs(crop.astype(int) - image).max() <= 1


def test_alignment_is_black_where_the_image_ends() -> None:
    image = np.full((112, 112, 3), 200, np.uint8)
    crop = align_face(image, Face(np.zeros(4, np.float32), ARCFACE_112 - 30, 1.0), "arcface-112")
    assert (crop[:29] == 0).all()
    assert (crop[:, :29] == 0).all()
    assert (crop[31:, 31:] == 200).all()


def test_a_large_face_is_averaged_down_not_sampled() -> None:
    factor = 8
    image = RNG.integers(0, 256, (112 * factor, 112 * factor, 3), dtype=np.uint8)
    points = ((ARCFACE_112 + 0.5) * factor - 0.5).astype(np.float32)
    crop = align_face(image, Face(np.zeros(4, np.float32), points, 1.0), "arcface-112")
    blocks = image.reshape(112, factor, 112, factor, 3).mean((1, 3))
    assert np.abs(crop.astype(float) - blocks).max() < 3


def test_the_mtcnn_template_is_the_crop_of_facenet_pytorch() -> None:
    image = RNG.integers(0, 256, (250, 240, 3), dtype=np.uint8)
    boxes = [(60.3, 70.7, 170.2, 201.9), (-10.0, -20.5, 90.1, 100.0), (150.0, 160.0, 260.0, 280.0)]
    for box in boxes:
        crop = align_face(image, face_at(*box), "mtcnn-160")
        expected = extract_face(image, np.array(box, np.float32), 160, MTCNN_MARGIN)
        np.testing.assert_array_equal(crop, expected.permute(1, 2, 0).numpy().astype(np.uint8))


@pytest.mark.parametrize(
    "box", [(300, 10, 340, 50), (10, 300, 50, 340), (-80, -80, -40, -40), (10, 10, 10, 10), (30, 30, 20, 20)]
)
def test_a_box_that_holds_no_pixel_still_gives_a_crop(box: tuple[float, float, float, float]) -> None:
    image = RNG.integers(0, 256, (100, 100, 3), dtype=np.uint8)
    assert align_face(image, face_at(*box), "mtcnn-160").shape == (160, 160, 3)


def test_an_unknown_template_offers_the_nearest() -> None:
    message = "unknown template 'arcface112': did you mean 'arcface-112'? known: arcface-112, mtcnn-160"
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        align_face(np.zeros((9, 9, 3), np.uint8), face_at(0, 0, 9, 9), "arcface112")


def test_an_image_of_exactly_the_templates_size_counts_as_aligned() -> None:
    for template, size in TEMPLATE_SIZES.items():
        assert is_aligned(np.zeros((size, size, 3), np.uint8), template)
        assert not is_aligned(np.zeros((size, size + 1, 3), np.uint8), template)
        assert not is_aligned(np.zeros((size - 16, size, 3), np.uint8), template)
    assert not is_aligned(np.zeros((112, 112, 3), np.uint8), "none")


def test_the_template_is_a_face_seen_from_the_front() -> None:
    left_eye, right_eye, nose, left_mouth, right_mouth = ARCFACE_112
    assert left_eye[0] < nose[0] < right_eye[0]
    assert left_mouth[0] < nose[0] < right_mouth[0]
    assert max(left_eye[1], right_eye[1]) < nose[1] < min(left_mouth[1], right_mouth[1])
    assert np.hypot(*(left_eye - right_eye)) == pytest.approx(35.24, abs=0.01)
