"""Where the images of a batch come from: augmented pixels, or features that a frozen encoder gave once for all."""

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from siamese.images.augment import Augment, view_seeds
from siamese.images.input_spec import InputSpec

Ints = NDArray[np.int64]


class Source(Protocol):
    """What fills the rows of a batch."""

    def take(self, rows: Ints, step: int) -> Tensor:
        """Inputs of the images `rows`, shape (U, ...), as they are shown in the step of that number of the run."""


class Views:
    """Which augmented view of an image a step shows.

    A view depends on the seed of the run, the image and the view's number alone: not on what else is in the batch,
    nor on the process that makes it. With K views, a step draws one of them; without a number, each has its own.

    Args:
        seed: of the run.
        count: K; None for ever new ones.
    """

    def __init__(self, seed: int, count: int | None) -> None:
        self.seed, self.count = seed, count

    def numbers(self, rows: Ints, step: int) -> Ints:
        """The view of each image in a step, shape (U,)."""
        steps = np.full(len(rows), step, np.int64)
        if self.count is None:
            return steps
        return (view_seeds(self.seed + 1, rows, steps) % np.uint64(self.count)).astype(np.int64)

    def seeds(self, rows: Ints, views: Ints) -> NDArray[np.uint64]:
        """What the augmentation of each view starts from, shape (U,)."""
        return view_seeds(self.seed, rows, views)


class PixelSource:
    """Augmented pixels, ready for the encoder.

    Args:
        pixels: shape (M, H, W, 3), uint8.
        spec: how pixels become the network's input.
        augment: of images and their seeds.
        views: which views are shown.
    """

    def __init__(self, pixels: NDArray[np.uint8], spec: InputSpec, augment: Augment, views: Views) -> None:
        self._pixels, self._spec, self._augment, self._views = pixels, spec, augment, views

    def take(self, rows: Ints, step: int) -> Tensor:
        """Images (U, 3, H, W)."""
        return self.view(rows, self._views.numbers(rows, step))

    def view(self, rows: Ints, views: Ints) -> Tensor:
        """Images (U, 3, H, W) in the views of these numbers."""
        augmented = self._augment(self._pixels[rows], self._views.seeds(rows, views))
        return torch.from_numpy(self._spec.normalise(augmented))


class FeatureSource:
    """Features of K views of each image, computed before.

    Args:
        features: shape (K, N, F), float32.
        rows: which images those are, shape (N,), rising.
        views: which views are shown; of K.
    """

    def __init__(self, features: NDArray[np.float32], rows: Ints, views: Views) -> None:
        self._features, self._rows, self._views = features, rows, views

    def take(self, rows: Ints, step: int) -> Tensor:
        """Features (U, F)."""
        places = np.searchsorted(self._rows, rows)
        return torch.from_numpy(self._features[self._views.numbers(rows, step), places])
