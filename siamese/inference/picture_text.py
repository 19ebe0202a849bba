"""Text in pictures, in any script that a font at hand can draw; the package ships no font of its own."""

import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path, PurePath

from PIL import Image, ImageDraw, ImageFont

# Fonts with the scripts that DejaVu Sans lacks, as systems call them; Pillow looks in the folders of the system.
SYSTEM_FONTS = (
    *("NotoSansCJK-Regular.ttc", "NotoSansCJKjp-Regular.otf", "wqy-microhei.ttc", "DroidSansFallbackFull.ttf"),
    *("msyh.ttc", "YuGothM.ttc", "malgun.ttf", "segoeui.ttf", "Nirmala.ttf"),
    *("Arial Unicode.ttf", "PingFang.ttc", "NotoSansDevanagari-Regular.ttf", "NotoSans-Regular.ttf"),
)
# The joiner and the non-joiner of Arabic and Indic scripts are no mark that hides anything.
_JOINERS = "\u200c\u200d"
# In no font: it is drawn as what a font draws for letters that it has not.
_NO_LETTER = "\U0010ffff"
ELLIPSIS = "…"


@dataclass(frozen=True)
class Font:
    """One font at one size.

    Attributes:
        face: Pillow's.
    """

    face: ImageFont.FreeTypeFont | ImageFont.ImageFont

    @property
    def lays_out(self) -> bool:
        """Whether it orders and joins the letters of right-to-left scripts."""
        return getattr(self.face, "layout_engine", None) == ImageFont.Layout.RAQM

    def draws(self, letter: str) -> bool:
        """Whether this font can draw a letter as it should be read."""
        if letter in _JOINERS or letter == " ":
            return True
        if not letter.isprintable() or (not self.lays_out and unicodedata.bidirectional(letter) in ("R", "AL")):
            return False
        try:
            return self._picture(letter) != self._none
        except UnicodeEncodeError:  # Pillow's own bitmap font knows Latin-1 alone
            return False

    @cached_property
    def _none(self) -> bytes:
        return self._picture(_NO_LETTER)

    def _picture(self, letter: str) -> bytes:
        mask = self.face.getmask(letter)
        return repr(mask.size).encode() + bytes(mask)

    def width(self, text: str) -> float:
        """Width of a line in pixels."""
        return self.face.getlength(text, direction=self._direction)

    @property
    def height(self) -> int:
        """From one line to the next, in pixels."""
        box = self.face.getbbox("Ägjp|")
        return round(1.25 * (box[3] - box[1]))

    def draw(self, canvas: Image.Image, corner: tuple[int, int], text: str, colour: tuple[int, int, int]) -> None:
        """Draw a line, its top left corner given."""
        ImageDraw.Draw(canvas).text(corner, text, colour, self.face, direction=self._direction)

    @property
    def _direction(self) -> str | None:
        # Paths and sentences run from left to right, also where one begins with an Arabic or Hebrew name.
        return "ltr" if self.lays_out else None


class Typesetter:
    """Draws lines of text, each in the first font that has all of its letters.

    DejaVu Sans comes first, which matplotlib brings along (its file is opened, matplotlib is not imported); then what
    Pillow or the system has. Letters that no font has, and those that are invisible or reorder the text around them,
    are written by number, as Python writes them (`\\u5f20`).

    Args:
        size: of the letters in pixels.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._main = _load(_dejavu(), size) or _default(size)

    @property
    def height(self) -> int:
        """From one line to the next, in pixels."""
        return self._main.height

    def set(self, text: str) -> tuple[Font, str]:
        """The font for a line, and the line with what cannot be drawn written by number."""
        if all(map(self._main.draws, text)):
            return self._main, text
        visible = [letter for letter in text if letter.isprintable()]
        for font in self._others:
            if all(map(font.draws, visible)):
                return font, _by_number(text, font.draws)
        return self._main, _by_number(text, self._main.draws)

    @cached_property
    def _others(self) -> list[Font]:
        return [font for name in SYSTEM_FONTS if (font := _load(name, self._size)) is not None]

    def line(
        self,
        canvas: Image.Image,
        corner: tuple[int, int],
        text: str,
        width: int,
        colour: tuple[int, int, int],
        *,
        shift: float = 0.0,
    ) -> None:
        """Draw one line no wider than `width` pixels: what is too long loses its middle.

        Args:
            canvas: is drawn on.
            corner: left and top of the room for the line.
            text: what to draw.
            width: of that room in pixels.
            colour: RGB.
            shift: where a shorter line stands in it: 0 on the left, 0.5 in the middle, 1 on the right.
        """
        font, drawn = self.set(text)
        drawn = _shortened(drawn, width, font.width)
        left = corner[0] + round(shift * (width - font.width(drawn)))
        font.draw(canvas, (left, corner[1]), drawn, colour)

    def wrap(self, text: str, width: int) -> list[str]:
        """Break a sentence between words into lines of at most `width` pixels; a longer word stands alone."""
        lines: list[str] = []
        for word in text.split():
            longer = f"{lines[-1]} {word}" if lines else word
            font, drawn = self.set(longer)
            if lines and font.width(drawn) <= width:
                lines[-1] = longer
            else:
                lines.append(word)
        return lines


def distinct_names(paths: Sequence[PurePath]) -> list[str]:
    """The shortest endings of two or more paths that tell them apart: `a.jpg` and `b.jpg`, or `anna/1.jpg`."""
    deepest = max(len(path.parts) for path in paths)
    for length in range(1, deepest):
        names = ["/".join(path.parts[-length:]) for path in paths]
        if len(set(names)) == len(set(paths)):
            return names
    return [str(path) for path in paths]


def _shortened(text: str, width: int, measure: Callable[[str], float]) -> str:
    if measure(text) <= width:
        return text
    kept, most = 0, len(text)
    while kept < most:  # the most letters that fit: both ends of a name tell more than its middle
        middle = (kept + most + 1) // 2
        kept, most = (middle, most) if measure(_cut(text, middle)) <= width else (kept, middle - 1)
    return _cut(text, kept)


def _cut(text: str, kept: int) -> str:
    return text[: (kept + 1) // 2] + ELLIPSIS + text[len(text) - kept // 2 :]


def _by_number(text: str, draws: Callable[[str], bool]) -> str:
    return "".join(
        letter if draws(letter) else letter.encode("unicode_escape", "surrogatepass").decode() for letter in text
    )


def _dejavu() -> str | None:
    try:
        spec = find_spec("matplotlib")
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        file = Path(folder) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if file.is_file():
            return str(file)
    return None


def _load(name: str | None, size: int) -> Font | None:
    if name is None:
        return None
    try:
        return Font(ImageFont.truetype(name, size))
    except (OSError, ImportError):  # no such font, or Pillow built without FreeType
        return None


def _default(size: int) -> Font:
    try:
        return Font(ImageFont.load_default(size))
    except (OSError, ImportError):
        return Font(ImageFont.load_default())
