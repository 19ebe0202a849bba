"""Two images as the model sees them."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from siamese.images.loader import Outcome
from siamese.inference.verifier import Verifier, _require


def load_crops(
    verifier: Verifier, left: Path | bytes, right: Path | bytes
) -> tuple[NDArray[np.uint8], tuple[Outcome, Outcome]]:
    """Two images as the model sees them, aligned and of its input size.

    Args:
        verifier: decides how they are prepared.
        left: path, or an image file as bytes.
        right: path, or an image file as bytes.

    Returns:
        Pixels (2, H, W, 3) uint8 RGB, and what was found in either image.

    Raises:
        ImageError: an image cannot be read.
        FaceError: no face in an image of which the model needs one.
    """
    crops, (first, second) = verifier.prepare([left, right])
    _require(left, first)
    _require(right, second)
    return crops, (first, second)
