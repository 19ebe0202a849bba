"""`siamese compare`: the pictures it writes, what it says of faces, and what it refuses."""

import resource
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from siamese.inference.crops import load_crops
from siamese.inference.verifier import Verifier
from siamese_cli.face_text import word_faces

from .conftest import ENCODER, Siamese

CHECKPOINT = "weights/mobilefacenet_casia_webface.ckpt"
NAMES = ["with space.jpg", "ünïcode.jpg", "张三.jpg", "שלום.jpg", "مرحبا.jpg", "x" * 200 + ".jpg", "a\nb.jpg"]


def test_without_pictures_none_are_named_or_written(
    siamese: Siamese, model: Path, two_images: tuple[Path, Path]
) -> None:
    result = siamese("compare", *two_images, "--model", model, "--json").json
    assert (result["saved"], result["explained"]) == (None, None)
    assert "written" not in siamese("compare", *two_images, "--model", model).out


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_both_pictures_are_written_where_asked_and_named(
    siamese: Siamese, model: Path, two_images: tuple[Path, Path], tmp_path: Path, suffix: str
) -> None:
    save, explain = tmp_path / f"new folder/sävé{suffix}", tmp_path / f"explain{suffix}"
    options = ("--model", model, "--save", save, "--explain", explain)
    result = siamese("compare", *two_images, *options, "--json").json
    assert (result["saved"], result["explained"]) == (str(save), str(explain))
    plain = siamese("compare", *two_images, "--model", model, "--json").json
    pictures = {"saved", "explained", "seconds"}
    assert {key: result[key] for key in result.keys() - pictures} == {
        key: plain[key] for key in plain.keys() - pictures
    }
    kept = [save.read_bytes(), explain.read_bytes()]
    with Image.open(save) as one, Image.open(explain) as other:
        assert one.format == other.format == {".png": "PNG", ".jpg": "JPEG"}[suffix]
        assert other.height > one.height
    text = siamese("compare", *two_images, *options).out
    assert text.splitlines()[-1] == f"written: {save}, {explain}"
    assert [save.read_bytes(), explain.read_bytes()] == kept, "the same images give the same pictures"
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == sorted([save.name, explain.name])


def test_the_saved_picture_shows_the_crops_of_the_model(
    siamese: Siamese, model: Path, two_images: tuple[Path, Path], tmp_path: Path
) -> None:
    assert siamese("compare", *two_images, "--model", model, "--save", tmp_path / "a.png").code == 0
    crops, _ = load_crops(Verifier.load(model), *two_images)
    with Image.open(tmp_path / "a.png") as picture:
        shown = np.asarray(picture).astype(float)
    side = (picture.width - 2 * 20 - 16) // 2
    for column, crop in enumerate(crops):
        left = 20 + column * (side + 16)
        expected = np.asarray(Image.fromarray(crop).resize((side, side), Image.Resampling.LANCZOS)).astype(float)
        misses = [
            np.abs(shown[top : top + side, left : left + side] - expected).mean()
            for top in range(shown.shape[0] - side)
        ]
        assert min(misses) == 0


@pytest.mark.parametrize("name", NAMES)
def test_images_of_any_name_are_drawn(
    siamese: Siamese, model: Path, two_images: tuple[Path, Path], tmp_path: Path, name: str
) -> None:
    shutil.copy(two_images[0], tmp_path / name)
    outcome = siamese("compare", tmp_path / name, two_images[1], "--model", model, "--save", tmp_path / "a.png")
    assert outcome.code == 0, outcome.err
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.width == 720


def test_a_tall_grey_image_is_drawn_and_explained(
    siamese: Siamese, model: Path, two_images: tuple[Path, Path], tmp_path: Path
) -> None:
    with Image.open(two_images[0]) as image:
        image.convert("L").resize((40, 900)).save(tmp_path / "tall.png")
    files = ("--save", tmp_path / "a.png", "--explain", tmp_path / "b.jpg")
    outcome = siamese("compare", tmp_path / "tall.png", two_images[1], "--model", model, *files)
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "a.png").is_file()
    assert (tmp_path / "b.jpg").is_file()


# refusals


@pytest.mark.parametrize("option", ["--save", "--explain"])
@pytest.mark.parametrize("name", ["a.gif", "a", "a.pdf"])
def test_an_unknown_suffix_is_refused_before_any_work(siamese: Siamese, option: str, name: str) -> None:
    outcome = siamese("compare", "no.jpg", "such.jpg", "--model", "no-such-model", option, name)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"siamese: {option} {name}: a picture ends in .png or .jpg; name it so\n"


def test_neither_an_image_nor_the_other_picture_is_replaced(
    siamese: Siamese, model: Path, two_images: tuple[Path, Path], tmp_path: Path
) -> None:
    image = tmp_path / "image.jpg"
    shutil.copy(two_images[0], image)
    words = "is read or written as well, and would be replaced; name another file"
    for option in ("--save", "--explain"):
        refused = siamese("compare", two_images[1], image, "--model", model, option, image)
        assert (refused.code, refused.err) == (2, f"siamese: {option} {image}: {words}\n")
    twice = tmp_path / "a.png"
    refused = siamese("compare", *two_images, "--model", model, "--save", twice, "--explain", twice)
    assert (refused.code, refused.err) == (2, f"siamese: --explain {twice}: {words}\n")
    assert image.read_bytes() == two_images[0].read_bytes()


def test_a_full_disk_is_one_line_and_leaves_nothing_behind(
    siamese: Siamese, two_images: tuple[Path, Path], tmp_path: Path
) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    options = ("--model", ENCODER, "--threshold", 0.5, "--save", tmp_path / "a.png", "--quiet")
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        outcome = siamese("compare", *two_images, *options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (outcome.code, outcome.out) == (2, "")
    advice = "free some or name another place, and give the same command again"
    assert outcome.err == f"siamese: {tmp_path / 'a.png'}: no room to write it (File too large); {advice}\n"
    assert list(tmp_path.iterdir()) == []


# faces


def test_nothing_is_said_of_faces_where_none_were_looked_for(
    siamese: Siamese, model: Path, two_images: tuple[Path, Path]
) -> None:
    assert "face" not in siamese("compare", *two_images, "--model", model).out
    outcomes = Verifier.load(model).compare(*two_images).outcomes
    assert word_faces(two_images, outcomes, "auto") == []


@pytest.mark.real_data
def test_the_faces_found_and_the_one_taken_are_said_and_another_can_be_chosen(
    siamese: Siamese, real_data: Path, tmp_path: Path
) -> None:
    lfw = real_data / "data" / "lfw"
    one = lfw / "Tony_Blair/Tony_Blair_0098.jpg"
    # A small face in the middle of the picture, and a larger one near its edge.
    canvas = Image.new("RGB", (700, 400), (90, 90, 90))
    with Image.open(lfw / "Tony_Blair/Tony_Blair_0034.jpg") as small, Image.open(one) as large:
        canvas.paste(small.resize((150, 150)), (275, 125))
        canvas.paste(large.resize((300, 300)), (400, 0))
    both = tmp_path / "two faces.png"
    canvas.save(both)
    options = ("--model", f"mobilefacenet@{real_data / CHECKPOINT}", "--threshold", 0.4)
    boxes = {}
    words = {"largest": "the largest", "center": "the one nearest the middle"}
    for face in words:
        text = siamese("compare", one, both, *options, "--face", face).out
        result = siamese("compare", one, both, *options, "--face", face, "--json").json
        boxes[face] = result["faces"][1]["box"]
        assert [entry["found"] for entry in result["faces"]] == [1, 2]
        left, top, right, bottom = (round(value) for value in boxes[face])
        others = "auto or center" if face == "largest" else "auto or largest"
        assert f"{one}: one face, box (" in text
        expected = f"{both}: 2 faces, {words[face]} taken, box ({left}, {top}) to ({right}, {bottom})"
        assert f"{expected}; --face {others} may take another\n" in text
        assert result["same"]
    assert boxes["largest"][0] > 400
    assert boxes["center"][2] < 430
    crop = tmp_path / "crop.png"
    with Image.open(one) as image:
        image.resize((112, 112)).save(crop)
    text = siamese("compare", one, crop, *options).out
    assert f"{crop}: taken as an aligned crop, no face looked for\n" in text


@pytest.mark.real_data
def test_no_face_is_one_line_that_names_the_image_and_leaves_no_picture(
    siamese: Siamese, real_data: Path, tmp_path: Path
) -> None:
    wall = tmp_path / "wall.png"
    Image.new("RGB", (200, 200), (128, 128, 128)).save(wall)
    options = ("--model", f"mobilefacenet@{real_data / CHECKPOINT}", "--threshold", 0.4)
    image = real_data / "data/lfw/Tony_Blair/Tony_Blair_0098.jpg"
    outcome = siamese("compare", image, wall, *options, "--save", tmp_path / "a.png")
    assert (outcome.code, outcome.out) == (2, "")
    words = "no face found; give a clearer image, or --align no for one that is cropped already"
    assert outcome.err.splitlines()[-1] == f"siamese: {wall}: {words}"
    assert not (tmp_path / "a.png").exists()
