"""Two images as the model sees them, side by side, with the verdict: what `siamese compare --save` writes."""

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from siamese.inference.picture_layout import BLUE, FAINT, VERMILLION, band, paragraph, side_by_side, stack
from siamese.inference.picture_text import distinct_names

_BANDS = {True: ("same", BLUE), False: ("different", VERMILLION), None: ("unsure", FAINT)}


def draw_comparison(
    crops: NDArray[np.uint8], paths: Sequence[PurePath], same: bool | None, lines: Sequence[str]
) -> Image.Image:
    """Draw a comparison.

    Args:
        crops: the two images as the model sees them, shape (2, H, W, 3), uint8, RGB.
        paths: of the two images, for their captions.
        same: the verdict, written in words on a band of its colour; None for unsure.
        lines: what else there is to say, a sentence each.

    Returns:
        An RGB picture.
    """
    return stack([band(*_BANDS[same]), side_by_side(crops, distinct_names(paths)), paragraph(lines)])
