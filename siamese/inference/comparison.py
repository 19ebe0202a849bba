"""The answer to "same or different?"."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from siamese.errors import FaceError, ImageError
from siamese.images.loader import Outcome
from siamese.images.source import ImageSource, name_of


@dataclass(frozen=True)
class Comparison:
    """The answer to "same or different?".

    Attributes:
        same: the verdict; None where abstaining was allowed and the answer would be too uncertain.
        similarity: of the two embeddings, in [-1, 1]: the pair head's where the model has one, else their cosine.
        probability: that the two are the same, at `prior`; None for a model without a calibration.
        prior: share of genuine pairs that the probability supposes; None without a probability.
        threshold: accept at this similarity and above; None where the probability decides.
        far: share of impostor pairs of the split that the threshold accepts; None without an operating point.
        point: name of the operating point; None for a threshold given by hand, and where the probability decides.
        split: what the operating point was fitted on, or the calibration where the probability decides; None for a
            threshold given by hand.
        genuine: how many genuine pairs the split has; None without one.
        impostor: how many impostor pairs the split has; None without one.
        abstain: answer only where the answer is wrong with at most this probability; None to answer always.
        outcomes: of the two images: faces found and chosen, where faces were looked for.
        crops: the two images as the model sees them, shape (2, H, W, 3), uint8, RGB.
    """

    same: bool | None
    similarity: float
    probability: float | None
    prior: float | None
    threshold: float | None
    far: float | None
    point: str | None
    split: str | None
    genuine: int | None
    impostor: int | None
    abstain: float | None
    outcomes: tuple[Outcome, Outcome]
    crops: NDArray[np.uint8] = field(repr=False, compare=False)


def require_usable(source: ImageSource, outcome: Outcome) -> None:
    """Refuse an image that has no embedding.

    Raises:
        ImageError: it cannot be read.
        FaceError: no face in it, and the model needs one.
    """
    if outcome.status == "unreadable":
        raise ImageError(outcome.detail)
    if outcome.status == "no_face":
        raise FaceError(
            f"{name_of(source)}: no face found; give a clearer image, or --align no for one that is cropped already"
        )
