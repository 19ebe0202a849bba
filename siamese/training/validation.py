"""Measuring a network on the validation data during training."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from siamese.evaluation.calibration import Calibration
from siamese.evaluation.calibration_fitting import fit_calibration
from siamese.evaluation.identification import top_k_accuracy
from siamese.evaluation.operating_point_fitting import fit_operating_points
from siamese.evaluation.operating_points import OperatingPoint
from siamese.evaluation.protocols import measure_cross_fitted
from siamese.model.card import ValidationFigures
from siamese.model.embedding import embed_features, embed_pixels, encode_pixels
from siamese.model.network import SiameseNetwork
from siamese.training.tuples import Tuples

SPLIT = "validation"
# Images damaged at a time.
_CHUNK = 256
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Images:
    """Images of a run as validation sees them: as they are, or each damaged in one way that never changes.

    Attributes:
        pixels: shape (M, H, W, 3), uint8.
        device: where networks are run.
        features: of the encoder as long as it is frozen, shape (N, F), float32; None where it trains.
        rows: which images have features, shape (N,), rising; None without them.
        damage: of some pixels (N, H, W, 3), given which rows they are, shape (N,); None to leave them as they are.
    """

    pixels: NDArray[np.uint8]
    device: str
    features: NDArray[np.float32] | None = None
    rows: Ints | None = None
    damage: Callable[[NDArray[np.uint8], Ints], NDArray[np.uint8]] | None = None

    def embed(self, network: SiameseNetwork, rows: Ints) -> NDArray[np.float32]:
        """Unit embeddings of the images `rows`, shape (U, D)."""
        if self.features is not None:
            return embed_features(network, self.encode(network, rows), device=self.device)
        if self.damage is None:
            return embed_pixels(network, self.pixels, rows, device=self.device)
        parts = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
        vectors = [embed_pixels(network, self.damage(self.pixels[part], part), device=self.device) for part in parts]
        return np.concatenate(vectors)

    def encode(self, network: SiameseNetwork, rows: Ints) -> NDArray[np.float32]:
        """Features of the images `rows` as they are, shape (U, F)."""
        if self.features is not None and self.rows is not None:
            return self.features[np.searchsorted(self.rows, rows)]
        return encode_pixels(network, self.pixels, rows, device=self.device)


@dataclass(frozen=True)
class HeldOut:
    """Held-out images of identities that are trained on.

    Attributes:
        rows: rows of the images, shape (N,).
        labels: the identity of each, as the identity head numbers them, shape (N,).
    """

    rows: Ints
    labels: Ints


@dataclass(frozen=True)
class Validation:
    """What a run is judged by.

    Attributes:
        images: where the pixels are.
        tuples: pairs of rows of them.
        held_out: for the identity head; None where there is none to judge.
        damaged: the same images damaged: networks are then measured on each pair as it is, with its left, with its
            right, and with both images damaged; None to measure on the pairs as they are.
        by_teacher: whether the pairs are a teacher's, and say nothing about identities.
    """

    images: Images
    tuples: Tuples
    held_out: HeldOut | None = None
    damaged: Images | None = None
    by_teacher: bool = False

    @property
    def same(self) -> NDArray[np.bool_]:
        """Labels of the pairs, shape (N,)."""
        assert self.tuples.same is not None  # noqa: S101 - built from a pair table
        return self.tuples.same

    def scores(self, network: SiameseNetwork) -> NDArray[np.floating]:
        """Similarity of each pair, shape (N,); each image of the pairs is embedded once, and no other."""
        return self._scores(network, [self.images])

    def _scores(self, network: SiameseNetwork, looks: list[Images]) -> NDArray[np.floating]:
        """Similarities of the pairs for each choice of a look for the left and one for the right image, in turn."""
        rows, places = np.unique(self.tuples.rows, return_inverse=True)
        left, right = places.reshape(self.tuples.rows.shape).T
        vectors = [look.embed(network, rows) for look in looks]
        scores = [network.pair_similarity(one[left], other[right]) for one in vectors for other in vectors]
        return np.concatenate(scores)

    def measure(self, network: SiameseNetwork) -> ValidationFigures | None:
        """AUC, EER and two-fold cross-fitted balanced accuracy; None for a network whose weights are not finite.

        Balanced, since there are more impostor pairs than genuine ones where validation pairs were made. With
        held-out images of known identities also the top-1 and top-5 accuracy of the network's identity head.
        """
        looks = [self.images] if self.damaged is None else [self.images, self.damaged]
        scores = self._scores(network, looks)
        if not (np.isfinite(scores).all() and _finite(network.identity_head)):
            return None
        measured = measure_cross_fitted(scores, np.tile(self.same, len(looks) ** 2), balanced=True)
        top = {} if self.held_out is None or network.identity_head is None else self._top(network, self.held_out)
        return ValidationFigures(auc=measured.auc, accuracy=measured.accuracy, eer=measured.eer, **top)

    def _top(self, network: SiameseNetwork, held_out: HeldOut) -> dict[str, float]:
        assert network.identity_head is not None  # noqa: S101 - asked for by the caller
        vectors = torch.from_numpy(self.images.embed(network, held_out.rows))
        with torch.inference_mode():
            logits = network.identity_head(vectors.to(self.images.device)).cpu().numpy()
        return {f"top{k}": top_k_accuracy(logits, held_out.labels, k) for k in (1, 5)}

    def fit_decisions(self, network: SiameseNetwork) -> tuple[tuple[OperatingPoint, ...], Calibration | None]:
        """Thresholds and calibration fitted on the validation pairs; none where these say nothing of identities."""
        if self.by_teacher:
            return (), None
        scores, identities = self.scores(network), self.tuples.identities
        assert identities is not None  # noqa: S101 - indexed with them
        return (
            fit_operating_points(scores, self.same, SPLIT),
            fit_calibration(scores, self.same, identities[:, 0], identities[:, 1], SPLIT),
        )


def _finite(module: nn.Module | None) -> bool:
    return module is None or all(bool(tensor.isfinite().all()) for tensor in module.state_dict().values())
