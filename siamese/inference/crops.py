"""Two images as the model sees them."""

import numpy as np
from numpy.typing import NDArray

from siamese.images.loader import Outcome
from siamese.images.source import ImageSource
from siamese.inference.comparison import require_usable
from siamese.inference.verifier import Verifier


def load_crops(
    verifier: Verifier, left: ImageSource, right: ImageSource
) -> tuple[NDArray[np.uint8], tuple[Outcome, Outcome]]:
    """Two images as the model sees them, aligned and of its input size.

    Args:
        verifier: decides how they are prepared.
        left: as of `Verifier.compare`.
        right: as of `Verifier.compare`.

    Returns:
        Pixels (2, H, W, 3) uint8 RGB, and what was found in either image.

    Raises:
        ImageError: an image cannot be read.
        FaceError: no face in an image of which the model needs one.
    """
    crops, (first, second) = verifier.prepare([left, right])
    require_usable(left, first)
    require_usable(right, second)
    return crops, (first, second)
