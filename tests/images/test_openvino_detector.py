"""The detector on OpenVINO against facenet-pytorch's on the same images."""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from facenet_pytorch import MTCNN
from numpy.typing import NDArray

from siamese.demo.identity import sample_identities
from siamese.demo.render import render
from siamese.demo.variation import Variation
from siamese.images.decode import decode
from siamese.images.detector import MIN_FACE, FaceDetector
from siamese.images.faces import Face, align_face, choose_face

HEAVY = ("torch", "facenet_pytorch", "pandas", "lightning", "albumentations", "sklearn", "scipy", "timm")
Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def ours() -> FaceDetector:
    return FaceDetector(engine="openvino", threads=1)


@pytest.fixture(scope="module")
def theirs() -> FaceDetector:
    return FaceDetector(engine="torch")


@pytest.fixture(scope="module")
def originals(real_data: Path) -> list[Image]:
    paths = sorted((real_data / "data" / "lfw").glob("*/*_0001.jpg"))
    return [decode(path) for path in paths[:: len(paths) // 48]]


def assert_same(found: Sequence[Face], expected: Sequence[Face]) -> None:
    assert len(found) == len(expected)
    for face, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(face.box, other.box, atol=0.5)
        np.testing.assert_allclose(face.landmarks, other.landmarks, atol=0.5)
        assert face.score == pytest.approx(other.score, abs=1e-3)
        assert face.box.dtype == face.landmarks.dtype == np.float32


def assert_both_find_the_same(ours: FaceDetector, theirs: FaceDetector, images: list[Image]) -> int:
    found, expected = ours.detect(images), theirs.detect(images)
    for faces, others in zip(found, expected, strict=True):
        assert_same(faces, others)
    return sum(map(len, found))


@pytest.mark.real_data
def test_photographs_have_the_faces_that_facenet_pytorch_finds(ours: FaceDetector, originals: list[Image]) -> None:
    boxes, scores, points = MTCNN(keep_all=True, min_face_size=MIN_FACE).detect(np.stack(originals), landmarks=True)
    found = ours.detect(originals)
    assert sum(map(len, found)) >= len(originals) >= 40
    for faces, box, score, marks in zip(found, boxes, scores, points, strict=True):
        expected = [] if box is None else [Face(*face) for face in zip(box, marks, score, strict=True)]
        assert_same(faces, expected)


@pytest.mark.real_data
@pytest.mark.parametrize("template", ["arcface-112", "mtcnn-160"])
def test_aligned_crops_are_the_same(
    ours: FaceDetector, theirs: FaceDetector, originals: list[Image], template: str
) -> None:
    for image, faces, others in zip(originals, ours.detect(originals), theirs.detect(originals), strict=True):
        face, other = choose_face(faces, image.shape), choose_face(others, image.shape)
        assert face is not None
        assert other is not None
        crop, expected = (align_face(image, chosen, template) for chosen in (face, other))
        assert np.abs(crop.astype(int) - expected).max() <= 2


@pytest.mark.real_data
def test_many_faces_in_one_photograph(ours: FaceDetector, theirs: FaceDetector, originals: list[Image]) -> None:
    group = np.vstack([np.hstack(originals[row : row + 5]) for row in range(0, 15, 5)])
    assert assert_both_find_the_same(ours, theirs, [group]) >= 15


@pytest.mark.real_data
@pytest.mark.parametrize("side", [20, 21, 40, 97, 600, 1024, 1500, 3000])
def test_photographs_of_any_size(ours: FaceDetector, theirs: FaceDetector, originals: list[Image], side: int) -> None:
    images = [np.asarray(cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)) for image in originals[:4]]
    faces = assert_both_find_the_same(ours, theirs, [image.astype(np.uint8) for image in images])
    assert faces >= 4 or side < 97


@pytest.mark.real_data
def test_narrow_cut_flipped_dark_and_grey_photographs(
    ours: FaceDetector, theirs: FaceDetector, originals: list[Image]
) -> None:
    variants: list[Image] = []
    for image in originals[:4]:
        grey = np.repeat(image.mean(2, keepdims=True).astype(np.uint8), 3, axis=2)
        variants += [image[:, 90:150], image[100:200, 100:], image[::-1], image[:, ::-1], image // 3, grey]
    assert_both_find_the_same(ours, theirs, variants)


@pytest.mark.real_data
def test_grey_files_of_another_size(ours: FaceDetector, theirs: FaceDetector, real_data: Path) -> None:
    images = [decode(path) for path in sorted((real_data / "data" / "orl").glob("s1*/1.pgm"))]
    assert assert_both_find_the_same(ours, theirs, images) >= 5


@pytest.mark.real_data
def test_a_batch_of_mixed_sizes_keeps_its_order(
    ours: FaceDetector, theirs: FaceDetector, originals: list[Image]
) -> None:
    small = np.zeros((MIN_FACE - 1, 300, 3), np.uint8)
    blank = np.full((250, 250, 3), 127, np.uint8)
    images = [originals[0], small, originals[1][20:230], blank, originals[2], originals[3][20:230]]
    assert assert_both_find_the_same(ours, theirs, images) >= 4
    assert [len(faces) > 0 for faces in ours.detect(images)] == [True, False, True, False, True, True]


@pytest.mark.real_data
def test_what_is_found_does_not_depend_on_the_batch(ours: FaceDetector, originals: list[Image]) -> None:
    for image, faces in zip(originals[:8], ours.detect(originals[:8]), strict=True):
        for face, alone in zip(faces, ours.detect([image])[0], strict=True):
            np.testing.assert_array_equal(face.box, alone.box)
            np.testing.assert_array_equal(face.landmarks, alone.landmarks)
            assert face.score == alone.score


def test_rendered_portraits_have_the_same_face(ours: FaceDetector, theirs: FaceDetector) -> None:
    images = [render(person, Variation(), 144) for person in sample_identities(12, seed=5)]
    assert assert_both_find_the_same(ours, theirs, images) >= 12


@pytest.mark.parametrize("shape", [(20, 20), (64, 48), (250, 250), (20, 500)])
def test_noise_and_blanks_have_what_facenet_pytorch_finds(
    ours: FaceDetector, theirs: FaceDetector, shape: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for _ in range(3)]
    blanks = [np.full((*shape, 3), level, np.uint8) for level in (0, 127, 255)]
    assert_both_find_the_same(ours, theirs, noise + blanks)
    assert ours.detect(blanks) == [[], [], []]


def test_several_threads_find_what_one_finds(ours: FaceDetector) -> None:
    images = [render(person, Variation(), 144) for person in sample_identities(8, seed=9)]
    alone = [ours.detect([image])[0] for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: ours.detect([image])[0], images * 3))
    for faces, expected in zip(together, alone * 3, strict=True):
        assert len(faces) == len(expected) == 1
        np.testing.assert_array_equal(faces[0].landmarks, expected[0].landmarks)


def test_with_converted_nets_nothing_heavy_is_imported(ours: FaceDetector, tmp_path: Path) -> None:
    assert ours.engine == "openvino"  # the nets are converted by now
    np.save(tmp_path / "face.npy", render(sample_identities(1, seed=0)[0], Variation(), 144))
    script = f"""
import sys
import numpy as np
from siamese.images.detector import FaceDetector
faces = FaceDetector().detect([np.load({str(tmp_path / "face.npy")!r})])[0]
print(len(faces), *sorted(set({HEAVY!r}) & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("1", "")
