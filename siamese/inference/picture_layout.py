"""Pictures for people, put together from blocks below each other: text, pictures side by side, a band of colour."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from siamese.inference.picture_text import Typesetter

Colour = tuple[int, int, int]

# In pixels. The columns hold a crop of 112 pixels three times enlarged, less a margin.
WIDTH, MARGIN, GAP = 720, 20, 16
INNER = WIDTH - 2 * MARGIN
COLUMN = (INNER - GAP) // 2
BODY, HEADLINE = 17, 30

WHITE: Colour = (255, 255, 255)
BLACK: Colour = (20, 20, 20)
FAINT: Colour = (85, 85, 85)
# Okabe and Ito, "Color Universal Design", 2008: told apart with any kind of colour vision.
BLUE: Colour = (0, 114, 178)
VERMILLION: Colour = (213, 94, 0)


def stack(blocks: Sequence[Image.Image]) -> Image.Image:
    """The blocks below each other on white, each in the middle, with margins around and gaps between."""
    height = sum(block.height for block in blocks) + GAP * (len(blocks) - 1) + 2 * MARGIN
    sheet, top = Image.new("RGB", (WIDTH, height), WHITE), MARGIN
    for block in blocks:
        sheet.paste(block, ((WIDTH - block.width) // 2, top))
        top += block.height + GAP
    return sheet


def paragraph(lines: Sequence[str], *, colour: Colour = BLACK) -> Image.Image:
    """Sentences, each on a line of its own or on as many as it needs."""
    typesetter = Typesetter(BODY)
    broken = [part for line in lines for part in typesetter.wrap(line, INNER)]
    block = Image.new("RGB", (INNER, max(1, len(broken) * typesetter.height)), WHITE)
    for number, line in enumerate(broken):
        typesetter.line(block, (0, number * typesetter.height), line, INNER, colour)
    return block


def band(text: str, colour: Colour) -> Image.Image:
    """A headline, white on a band of colour."""
    typesetter = Typesetter(HEADLINE)
    block = Image.new("RGB", (INNER, round(1.5 * typesetter.height)), colour)
    typesetter.line(block, (GAP, typesetter.height // 4), text, INNER - 2 * GAP, WHITE)
    return block


def side_by_side(
    pictures: Sequence[NDArray[np.uint8]] | NDArray[np.uint8], captions: Sequence[str] = ()
) -> Image.Image:
    """Two RGB pictures (H, W, 3) uint8 of one size, as large as the columns allow, with captions above."""
    size = _fitted(pictures[0].shape[1], pictures[0].shape[0])
    typesetter = Typesetter(BODY)
    above = typesetter.height if captions else 0
    block = Image.new("RGB", (INNER, above + size[1]), WHITE)
    for column, picture in enumerate(pictures):
        left = column * (COLUMN + GAP)
        if captions:
            typesetter.line(block, (left, 0), captions[column], COLUMN, FAINT, shift=0.5)
        block.paste(_enlarged(picture, size), (left + (COLUMN - size[0]) // 2, above))
    return block


def _fitted(width: int, height: int) -> tuple[int, int]:
    factor = COLUMN / max(width, height)
    return max(1, round(width * factor)), max(1, round(height * factor))


def _enlarged(picture: NDArray[np.uint8], size: tuple[int, int]) -> Image.Image:
    return Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS)
