import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from siamese.errors import OptionError
from siamese.images.decode import decode
from siamese.images.detector import FaceDetector
from siamese.images.faces import align_face, choose_face
from siamese.images.input_spec import InputSpec
from siamese.images.loader import ImageLoader

Write = Callable[[Path, NDArray[np.uint8]], Path]
FACES = InputSpec(size=(112, 96), alignment="arcface-112")
ANYTHING = InputSpec(size=(48, 64))
BLANK = np.full((60, 80, 3), 127, np.uint8)
NOISE = np.random.default_rng(0).integers(0, 256, (112, 112, 3), dtype=np.uint8)


@pytest.fixture
def portrait(tmp_path: Path, portraits: list[NDArray[np.uint8]], write_image: Write) -> Path:
    return write_image(tmp_path / "portrait.png", portraits[0])


@pytest.fixture
def crop(tmp_path: Path, write_image: Write) -> Path:
    """An image of exactly the template's size, without a face."""
    return write_image(tmp_path / "crop.png", NOISE)


@pytest.mark.parametrize("align", ["auto", "yes"])
def test_a_photograph_is_aligned(portrait: Path, detector: FaceDetector, align: str) -> None:
    pixels, [outcome] = ImageLoader(FACES, align=align).load([portrait])  # type: ignore[arg-type]
    image = decode(portrait)
    face = choose_face(detector.detect([image])[0], image.shape)
    assert face is not None
    assert outcome.status == "ok"
    assert outcome.faces == 1
    assert outcome.face is not None
    np.testing.assert_array_equal(outcome.face.landmarks, face.landmarks)
    np.testing.assert_array_equal(pixels[0], align_face(image, face, "arcface-112")[:, 8:104])


def test_auto_takes_an_image_of_the_templates_size_for_aligned(crop: Path) -> None:
    pixels, [outcome] = ImageLoader(FACES).load([crop])
    assert (outcome.status, outcome.face, outcome.faces, outcome.detail) == ("ok", None, None, "")
    np.testing.assert_array_equal(pixels[0], NOISE[:, 8:104])


def test_yes_looks_for_a_face_in_any_image(crop: Path) -> None:
    pixels, [outcome] = ImageLoader(FACES, align="yes").load([crop])
    assert (outcome.status, outcome.detail, outcome.faces) == ("no_face", "no face found", 0)
    assert not pixels.any()


def test_no_only_resizes(portrait: Path) -> None:
    pixels, [outcome] = ImageLoader(FACES, align="no").load([portrait])
    assert (outcome.status, outcome.face, outcome.faces) == ("ok", None, None)
    np.testing.assert_array_equal(pixels[0], FACES.resize(decode(portrait)))


@pytest.mark.parametrize("align", ["auto", "no"])
def test_without_a_template_no_face_is_looked_for(tmp_path: Path, write_image: Write, align: str) -> None:
    path = write_image(tmp_path / "blank.png", BLANK)
    pixels, [outcome] = ImageLoader(ANYTHING, align=align).load([path])  # type: ignore[arg-type]
    assert (outcome.status, outcome.faces) == ("ok", None)
    assert pixels.shape == (1, 48, 64, 3)
    assert (pixels == 127).all()


def test_images_keep_their_order_and_failures_stay_in_place(
    tmp_path: Path, portrait: Path, crop: Path, write_image: Write
) -> None:
    blank = write_image(tmp_path / "blank.png", BLANK)
    empty = tmp_path / "empty.png"
    empty.touch()
    sources: list[Path | bytes] = [blank, crop, empty, portrait.read_bytes(), tmp_path / "gone.png", b"nonsense"]
    pixels, outcomes = ImageLoader(FACES).load(sources)
    assert [outcome.status for outcome in outcomes] == [
        *("no_face", "ok", "unreadable", "ok", "unreadable", "unreadable")
    ]
    assert outcomes[2].detail == f"{empty}: the file is empty (0 bytes); replace it"
    assert outcomes[4].detail == f"{tmp_path / 'gone.png'}: no such file; check the path"
    assert outcomes[5].detail.startswith("the image given as bytes: not an image in a known format")
    assert [bool(image.any()) for image in pixels] == [False, True, False, True, False, False]
    alone, _ = ImageLoader(FACES).load([portrait])
    assert np.abs(pixels[3].astype(int) - alone[0]).max() <= 1


def test_threads_change_nothing(tmp_path: Path, write_image: Write) -> None:
    rng = np.random.default_rng(1)
    paths = [write_image(tmp_path / f"{n}.png", rng.integers(0, 256, (20, 30, 3), np.uint8)) for n in range(20)]
    loaded = [ImageLoader(ANYTHING, workers=workers).load(paths)[0] for workers in (1, 4, None)]
    np.testing.assert_array_equal(loaded[0], loaded[1])
    np.testing.assert_array_equal(loaded[0], loaded[2])


def test_the_choice_of_face_is_followed(
    tmp_path: Path, portraits: list[NDArray[np.uint8]], write_image: Write
) -> None:
    canvas = np.full((144, 400, 3), 127, np.uint8)
    canvas[:, :144], canvas[36:108, 170:242] = portraits[0], portraits[1][::2, ::2]
    path = write_image(tmp_path / "two.png", canvas)
    lefts = {}
    for how in ("largest", "center"):
        _, [outcome] = ImageLoader(FACES, face=how).load([path])
        assert outcome.faces == 2
        assert outcome.face is not None
        lefts[how] = float(outcome.face.box[0])
    assert lefts["largest"] < 144 < lefts["center"]


def test_nothing_loads_to_nothing() -> None:
    pixels, outcomes = ImageLoader(FACES).load([])
    assert pixels.shape == (0, 112, 96, 3)
    assert outcomes == []


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        (FACES, {"align": "maybe"}, "unknown value of --align 'maybe': did you mean 'yes'? known: auto"),
        (ANYTHING, {"align": "yes"}, "--align yes: this model's input has no face template; use --align auto or no"),
        (FACES, {"face": "centre"}, "unknown face choice 'centre': did you mean 'center'? known: auto, center"),
    ],
)
def test_options_that_make_no_sense_are_an_error(spec: InputSpec, options: dict[str, str], message: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(message)}"):
        ImageLoader(spec, **options)  # type: ignore[arg-type]


@pytest.mark.real_data
def test_lfw_photographs_are_aligned_and_crops_are_not(real_data: Path) -> None:
    photograph = real_data / "data" / "lfw" / "Aaron_Eckhart" / "Aaron_Eckhart_0001.jpg"
    scan = real_data / "data" / "orl" / "s1" / "1.pgm"
    _, outcomes = ImageLoader(FACES).load([photograph, scan])
    assert [outcome.status for outcome in outcomes] == ["ok", "ok"]
    assert all(outcome.face is not None and outcome.face.score > 0.9 for outcome in outcomes)
