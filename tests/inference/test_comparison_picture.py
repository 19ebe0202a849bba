"""The pictures of `siamese compare`: what is drawn and said on them, and the file they go to."""

import resource
import subprocess
import sys
from pathlib import Path, PurePath
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from siamese.errors import OptionError
from siamese.inference.comparison_picture import draw_comparison
from siamese.inference.explain import Explanation
from siamese.inference.explanation_picture import LEAST_SCALE, colour_scale, draw_explanation, overlay
from siamese.inference.picture_file import check_picture_file, write_picture
from siamese.inference.picture_layout import COLUMN, GAP, MARGIN, WIDTH
from siamese.inference.picture_text import Typesetter

RNG = np.random.default_rng(0)
PATHS = (PurePath("anna/1.jpg"), PurePath("bert/1.jpg"))
LINES = ["different: similarity 0.1234 < threshold 0.3112 (given by hand)", "model: model/"]
SHAPES = [(112, 96), (160, 160), (300, 20), (20, 300), (1, 1), (500, 400)]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every line that is drawn."""
    lines: list[str] = []
    real = Typesetter.line

    def line(self: Typesetter, *given: Any, **more: Any) -> None:
        lines.append(given[2])
        real(self, *given, **more)

    monkeypatch.setattr(Typesetter, "line", line)
    return lines


def smooth_crops(height: int, width: int) -> np.ndarray:
    """Two images of soft colours, which survive being enlarged and reduced again."""
    coarse = RNG.integers(30, 220, (2, 4, 4, 3)).astype(np.uint8)
    return np.stack([cv2.resize(each, (width, height), interpolation=cv2.INTER_CUBIC) for each in coarse])


def explanation(height: int = 112, width: int = 96, scale: float = 0.1) -> Explanation:
    maps = scale * RNG.uniform(-1, 1, (2, height, width)).astype(np.float32)
    return Explanation(smooth_crops(height, width), (maps[0], maps[1]), 0.4321, 24, "mean")


@pytest.mark.parametrize(
    ("same", "word", "colour"),
    [(True, "same", (0, 114, 178)), (False, "different", (213, 94, 0)), (None, "unsure", (85, 85, 85))],
)
def test_the_verdict_is_said_in_words_on_a_band_of_its_colour(
    said: list[str], same: bool | None, word: str, colour: tuple[int, int, int]
) -> None:
    picture = draw_comparison(smooth_crops(112, 96), PATHS, same, LINES)
    assert said[:3] == [word, "anna/1.jpg", "bert/1.jpg"]
    assert " ".join(said[3:]) == " ".join(LINES)
    assert picture.getpixel((MARGIN + 1, MARGIN + 1)) == colour
    assert picture.mode == "RGB"
    assert picture.width == WIDTH


@pytest.mark.parametrize("shape", SHAPES)
def test_both_crops_are_drawn_in_their_proportions_and_as_large_as_the_columns_allow(shape: tuple[int, int]) -> None:
    crops = smooth_crops(*shape)
    picture = np.asarray(draw_comparison(crops, PATHS, True, LINES))
    factor = COLUMN / max(shape)
    height, width = (max(1, round(side * factor)) for side in shape)
    top = MARGIN + heading() + GAP + Typesetter(17).height
    for column, crop in enumerate(crops):
        left = MARGIN + column * (COLUMN + GAP) + (COLUMN - width) // 2
        drawn = picture[top : top + height, left : left + width]
        expected = cv2.resize(crop, (width, height), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
        assert np.abs(drawn.astype(float) - expected).mean() < 4


def heading() -> int:
    return round(1.5 * Typesetter(30).height)


def test_equal_comparisons_give_equal_files_and_nothing_else_is_left(tmp_path: Path) -> None:
    crops = smooth_crops(112, 96)
    for name in ("a.png", "b.png", "a.jpg", "b.JPEG"):
        write_picture(tmp_path / name, draw_comparison(crops, PATHS, True, LINES))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.JPEG").read_bytes()
    assert {Image.open(tmp_path / name).format for name in ("a.jpg", "b.JPEG")} == {"JPEG"}
    assert Image.open(tmp_path / "a.png").format == "PNG"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jpg", "a.png", "b.JPEG", "b.png"]


# explanations


def test_an_explanation_shows_the_crops_the_maps_and_what_the_colours_mean(said: list[str]) -> None:
    found = explanation()
    picture = draw_explanation(found, PATHS, ["different"])
    shown = f"{colour_scale(found.maps):.2g}"
    for line in (
        *("where the similarity of 0.4321 comes from", "anna/1.jpg", "bert/1.jpg", "no change"),
        *(f"raises it by {shown}", "speaks against same", f"lowers it by {shown}", "speaks for same"),
    ):
        assert line in said
    text = " ".join(said)
    assert "the mean over all patches of 24 x 24 pixels that hold it" in text
    assert "A covered patch shows the mean colour of its image." in text
    assert said[-1] == "different"
    plain = draw_comparison(found.crops, PATHS, True, ())
    assert picture.height > 1.5 * plain.height


@pytest.mark.parametrize("shape", SHAPES)
def test_an_explanation_of_any_shape_is_drawn(shape: tuple[int, int]) -> None:
    assert draw_explanation(explanation(*shape), PATHS).width == WIDTH


def test_places_for_same_are_orange_against_are_blue_and_the_rest_stays_grey() -> None:
    image = smooth_crops(40, 40)[0]
    values = np.zeros((40, 40), np.float32)
    values[:10], values[30:] = 0.2, -0.2
    drawn = overlay(image, values, 0.2).astype(int)
    red, _, blue = drawn.transpose(2, 0, 1)
    assert (red[:10] > blue[:10] + 50).all()
    assert (blue[30:] > red[30:] + 50).all()
    assert np.ptp(drawn[10:30], axis=2).max() <= 3
    assert drawn[10:30].std() > 3, "the image is still seen"


def test_one_scale_serves_both_maps_and_hardly_anything_gets_no_full_colour() -> None:
    one, other = np.zeros((5, 5), np.float32), np.zeros((5, 5), np.float32)
    one[0, 0], other[3, 3] = 0.05, -0.125
    assert colour_scale((one, other)) == colour_scale((other, one)) == 0.125
    assert colour_scale((one / 1000, other / 1000)) == LEAST_SCALE == 0.01
    faint = overlay(np.full((5, 5, 3), 128, np.uint8), other / 1000, LEAST_SCALE)
    assert np.ptp(faint.astype(int), axis=(0, 1)).max() <= 3


# the file


@pytest.mark.parametrize("name", ["a.gif", "a", "a.png.txt", ".png"])
def test_another_suffix_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(OptionError, match=f"^--save {tmp_path / name}: a picture ends in .png or .jpg; name it so$"):
        check_picture_file("--save", tmp_path / name)


def test_folders_files_in_the_way_and_files_that_are_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    image = tmp_path / "image.jpg"
    image.touch()
    link = tmp_path / "link.jpg"
    link.symlink_to(image)
    for path, words in {
        tmp_path / "folder.png": "is a folder, expected the name of a file to write",
        image / "a.png": f"{image} is a file, expected a folder; name another file",
        image: "is read or written as well, and would be replaced; name another file",
        link: "is read or written as well, and would be replaced; name another file",
        tmp_path / "new.png": "is read or written as well, and would be replaced; name another file",
    }.items():
        with pytest.raises(OptionError, match=f"^--explain {path}: {words}$"):
            check_picture_file("--explain", path, [image, tmp_path / "x" / ".." / "new.png"])
    check_picture_file("--explain", tmp_path / "deep" / "er" / "b.JPG", [image])


def test_a_full_disk_names_the_file_and_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "picture.png"
    target.write_bytes(b"before")
    picture = draw_comparison(RNG.integers(0, 256, (2, 112, 96, 3)).astype(np.uint8), PATHS, True, LINES)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # Python ignores the signal, so the write itself fails
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write_picture(target, picture)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(target)
    assert target.read_bytes() == b"before"
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_drawing_a_comparison_loads_neither_matplotlib_nor_torch() -> None:
    script = """
import sys
import numpy as np
from pathlib import PurePath
from siamese.inference.comparison_picture import draw_comparison
from siamese.inference.picture_file import check_picture_file
draw_comparison(np.zeros((2, 8, 8, 3), np.uint8), [PurePath("a"), PurePath("b")], True, ["x"])
print(*sorted({"matplotlib", "torch", "pandas", "sklearn", "scipy"} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("", "")
