"""Text in pictures: which letters are drawn, which are written by number, and what is left of long names."""

from importlib.util import find_spec
from pathlib import Path, PurePath

import numpy as np
import pytest
from PIL import Image, ImageFont, features

from siamese.inference import picture_text
from siamese.inference.picture_text import Typesetter, distinct_names

WHITE, BLACK = (255, 255, 255), (0, 0, 0)
HEBREW, ARABIC, MIXED = "תמונה.jpg", "صورة.jpg", "Zoë ≥ ŁÓDŹ λ Привет.png"
# In STIX, which matplotlib brings along, and not in DejaVu Sans.
SCRIPT_G = "\u210a"
needs_layout = pytest.mark.skipif(not features.check("raqm"), reason="this Pillow has no layout engine (raqm)")


def ink(text: str, width: int = 500, **options: float) -> np.ndarray:
    """Where a line is dark."""
    canvas = Image.new("RGB", (width, 40), WHITE)
    Typesetter(18).line(canvas, (0, 4), text, width, BLACK, **options)
    return np.asarray(canvas.convert("L")) < 128


def columns(dark: np.ndarray) -> np.ndarray:
    """The part from the first to the last dark column."""
    where = np.flatnonzero(dark.any(axis=0))
    return dark[:, where[0] : where[-1] + 1]


def without_fonts_of_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_text, "SYSTEM_FONTS", ())


@pytest.mark.parametrize("name", ["a.jpg", MIXED, "a b", *([HEBREW, ARABIC] if features.check("raqm") else [])])
def test_names_in_latin_greek_cyrillic_hebrew_and_arabic_are_drawn_as_they_are(name: str) -> None:
    font, drawn = Typesetter(18).set(name)
    assert drawn == name
    assert font.face.getname()[0] == "DejaVu Sans"  # type: ignore[union-attr]
    assert ink(name).any()


@needs_layout
def test_right_to_left_letters_run_from_right_to_left_and_the_suffix_stays_at_the_end() -> None:
    whole, suffix, first = columns(ink(HEBREW)), columns(ink(".jpg")), columns(ink("ת"))
    np.testing.assert_array_equal(whole[:, -suffix.shape[1] :], suffix)
    # The first letter stands right before the suffix.
    before = columns(whole[:, : -suffix.shape[1]])
    assert (before[:, -first.shape[1] :] == first).mean() > 0.97


def test_without_a_layout_engine_right_to_left_letters_are_written_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    without_fonts_of_the_system(monkeypatch)
    monkeypatch.setattr(ImageFont.core, "HAVE_RAQM", False)
    assert Typesetter(18).set("אb.jpg")[1] == "\\u05d0b.jpg"


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("张三.jpg", "\\u5f20\\u4e09.jpg"),
        ("photo\u202egpj.exe", "photo\\u202egpj.exe"),
        ("two\nlines", "two\\nlines"),
        ("not utf-8 \udcff", "not utf-8 \\udcff"),
        ("a\u200bb", "a\\u200bb"),
    ],
)
def test_letters_that_no_font_has_and_invisible_ones_are_written_by_number(
    monkeypatch: pytest.MonkeyPatch, name: str, drawn: str
) -> None:
    without_fonts_of_the_system(monkeypatch)
    assert Typesetter(18).set(name)[1] == drawn
    assert ink(name).any()


def test_a_font_of_the_system_draws_what_the_first_one_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    without_fonts_of_the_system(monkeypatch)
    assert Typesetter(18).set(SCRIPT_G)[1] == "\\u210a"
    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    fonts = Path(spec.submodule_search_locations[0]) / "mpl-data" / "fonts" / "ttf"
    monkeypatch.setattr(picture_text, "SYSTEM_FONTS", ("no such font.ttf", str(fonts / "STIXGeneral.ttf")))
    font, drawn = Typesetter(18).set(f"{SCRIPT_G}\n.jpg")
    assert font.face.getname()[0] == "STIXGeneral"  # type: ignore[union-attr]
    assert drawn == f"{SCRIPT_G}\\n.jpg"


def test_without_matplotlib_pillow_draws_with_its_own_font(monkeypatch: pytest.MonkeyPatch) -> None:
    without_fonts_of_the_system(monkeypatch)
    monkeypatch.setattr(picture_text, "find_spec", lambda _: None)
    font, drawn = Typesetter(18).set("same: 0.63 >= 0.31")
    assert font.face.getname()[0] == "Aileron"  # type: ignore[union-attr]
    assert drawn == "same: 0.63 >= 0.31"
    assert ink("same").any()


@pytest.mark.parametrize("name", ["x" * 300 + ".jpg", "ש" * 300 + ".jpg", "张" * 80])
def test_a_long_name_loses_its_middle_and_keeps_within_its_room(name: str) -> None:
    dark = ink(name, width=500)
    room = Image.new("RGB", (700, 40), WHITE)
    typesetter = Typesetter(18)
    typesetter.line(room, (100, 4), name, 500, BLACK)
    spread = np.flatnonzero((np.asarray(room.convert("L")) < 128).any(axis=0))
    assert spread.min() >= 98
    assert spread.max() <= 602
    assert np.ptp(spread) > 430, "as much is kept as there is room for"
    assert dark.any()
    font, drawn = typesetter.set(name)
    short = picture_text._shortened(drawn, 500, font.width)
    assert short.count("…") == 1
    start, end = short.split("…")
    assert drawn.startswith(start)
    assert drawn.endswith(end)
    assert abs(len(start) - len(end)) <= 1


def test_a_short_line_stands_where_it_is_told() -> None:
    left, middle, right = (np.flatnonzero(ink("abc", shift=shift).any(axis=0)) for shift in (0, 0.5, 1))
    assert left[0] < 5
    assert abs((middle[0] + middle[-1]) / 2 - 250) < 4
    assert right[-1] > 494


def test_sentences_are_broken_between_words_and_no_line_is_too_wide() -> None:
    typesetter = Typesetter(18)
    text = (
        "different: similarity 0.1234 < threshold 0.3112 (operating point accuracy, FAR 0.52 % on validation pairs)"
    )
    lines = typesetter.wrap(text, 300)
    assert " ".join(lines) == text
    assert len(lines) > 2
    for line in lines:
        font, drawn = typesetter.set(line)
        assert font.width(drawn) <= 300
    assert typesetter.wrap("a " + "x" * 200 + " b", 300) == ["a", "x" * 200, "b"]
    assert typesetter.wrap("", 300) == []


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (("a/1.jpg", "a/2.jpg"), ["1.jpg", "2.jpg"]),
        (("/data/anna/1.jpg", "/data/bert/1.jpg"), ["anna/1.jpg", "bert/1.jpg"]),
        (("a/x/1.jpg", "b/x/1.jpg"), ["a/x/1.jpg", "b/x/1.jpg"]),
        (("x/1.jpg", "a/x/1.jpg"), ["x/1.jpg", "a/x/1.jpg"]),
        (("1.jpg", "1.jpg"), ["1.jpg", "1.jpg"]),
        (("a/1.jpg", "a/1.jpg"), ["1.jpg", "1.jpg"]),
    ],
)
def test_captions_are_the_shortest_endings_that_differ(paths: tuple[str, str], names: list[str]) -> None:
    assert distinct_names([PurePath(path) for path in paths]) == names
