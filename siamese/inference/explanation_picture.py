"""Occlusion maps drawn over the images they explain: what `siamese compare --explain` writes."""

from collections.abc import Sequence
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from siamese.inference.diverging_colours import diverging_colours
from siamese.inference.explain import Explanation
from siamese.inference.picture_layout import BODY, FAINT, INNER, WHITE, band, paragraph, side_by_side, stack
from siamese.inference.picture_text import Typesetter, distinct_names

# Below this much similarity nothing is worth full colour: a map of hardly anything must not look like a finding.
LEAST_SCALE = 0.01
# Share of the map in its mixture with the image in grey.
_OPACITY = 0.7
_BAR_HEIGHT = 20
_GREY = np.array([0.299, 0.587, 0.114])  # luma, ITU-R BT.601
_FILLS = {"mean": "the mean colour of its image", "blur": "its image, blurred"}


def draw_explanation(explanation: Explanation, paths: Sequence[PurePath], lines: Sequence[str] = ()) -> Image.Image:
    """Draw both images, and below them in grey under their maps, with what the colours mean.

    Both maps share one scale, so that their colours may be compared.

    Args:
        explanation: as `explain` gives it.
        paths: of the two images, for their captions.
        lines: what else there is to say, a sentence each.

    Returns:
        An RGB picture.
    """
    scale = colour_scale(explanation.maps)
    overlays = [overlay(crop, map_, scale) for crop, map_ in zip(explanation.crops, explanation.maps, strict=True)]
    return stack(
        [
            band(f"where the similarity of {explanation.similarity:.4f} comes from", FAINT),
            side_by_side(explanation.crops, distinct_names(paths)),
            side_by_side(overlays),
            _legend(scale),
            paragraph([*_reading(explanation), *lines]),
        ]
    )


def colour_scale(maps: Sequence[NDArray[np.float32]]) -> float:
    """The drop of similarity that gets full colour: the largest of either sign in any map, at least `LEAST_SCALE`."""
    return max(LEAST_SCALE, *(float(np.abs(each).max()) for each in maps))


def overlay(image: NDArray[np.uint8], values: NDArray[np.float32], scale: float) -> NDArray[np.uint8]:
    """An image (H, W, 3) in grey under the colours of its values (H, W), full colour at -scale and scale."""
    grey = (image @ _GREY)[..., None]
    mixed = _OPACITY * 255 * diverging_colours(values / scale) + (1 - _OPACITY) * grey
    return np.asarray(np.rint(mixed), dtype=np.uint8)


def _legend(scale: float) -> Image.Image:
    """The colours as they look over medium grey, from -scale to scale."""
    ramp = np.broadcast_to(np.linspace(-scale, scale, INNER, dtype=np.float32), (_BAR_HEIGHT, INNER))
    bar = overlay(np.full((_BAR_HEIGHT, INNER, 3), 128, np.uint8), ramp, scale)
    typesetter = Typesetter(BODY)
    block = Image.new("RGB", (INNER, _BAR_HEIGHT + 4 + 2 * typesetter.height), WHITE)
    block.paste(Image.fromarray(bar), (0, 0))
    words = (
        (f"raises it by {scale:.2g}", "speaks against same"),
        ("no change", ""),
        (f"lowers it by {scale:.2g}", "speaks for same"),
    )
    for place, lines in enumerate(words):
        for number, line in enumerate(lines):
            corner = (0, _BAR_HEIGHT + 4 + number * typesetter.height)
            typesetter.line(block, corner, line, INNER, FAINT, shift=place / 2)
    return block


def _reading(explanation: Explanation) -> list[str]:
    side, covered = explanation.patch, _FILLS[explanation.fill]
    return [
        f"Colours say what covering a place does to the similarity, the other image left whole: the mean over all "
        f"patches of {side} x {side} pixels that hold it. A covered patch shows {covered}.",
    ]
