"""Measuring a network on the validation pairs during training."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from siamese.evaluation.operating_points import OperatingPoint, fit_operating_points
from siamese.evaluation.protocols import measure_cross_fitted
from siamese.model.embedding import embed_pixels
from siamese.model.folder import ValidationFigures
from siamese.model.network import SiameseNetwork
from siamese.similarity import pair_similarity
from siamese.training.batches import Tuples

SPLIT = "validation"


@dataclass(frozen=True)
class Validation:
    """Validation pairs and their pixels.

    Attributes:
        pixels: shape (M, H, W, 3), uint8.
        tuples: pairs of rows of `pixels`.
        device: where networks are run.
    """

    pixels: NDArray[np.uint8]
    tuples: Tuples
    device: str

    @property
    def same(self) -> NDArray[np.bool_]:
        """Labels of the pairs, shape (N,)."""
        assert self.tuples.same is not None  # noqa: S101 - built from a pair table
        return self.tuples.same

    def scores(self, network: SiameseNetwork) -> NDArray[np.float32]:
        """Similarity of each pair, shape (N,); each image of the pairs is embedded once, and no other."""
        images, places = np.unique(self.tuples.rows, return_inverse=True)
        vectors = embed_pixels(network, self.pixels, images, device=self.device)
        left, right = places.reshape(self.tuples.rows.shape).T
        return pair_similarity(vectors[left], vectors[right])

    def measure(self, network: SiameseNetwork) -> ValidationFigures | None:
        """AUC, EER and two-fold cross-fitted balanced accuracy; None for a network whose weights are not finite.

        Balanced, since there are more impostor pairs than genuine ones where validation pairs were made.
        """
        scores = self.scores(network)
        if not np.isfinite(scores).all():
            return None
        measured = measure_cross_fitted(scores, self.same, balanced=True)
        return ValidationFigures(auc=measured.auc, accuracy=measured.accuracy, eer=measured.eer)

    def operating_points(self, network: SiameseNetwork) -> tuple[OperatingPoint, ...]:
        """Thresholds fitted on these pairs."""
        return fit_operating_points(self.scores(network), self.same, SPLIT)
