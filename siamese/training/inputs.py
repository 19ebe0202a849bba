"""What training and validation run on: pixels through the encoder, or features that it gave once and for all."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from siamese.config import TrainConfig
from siamese.errors import OptionError
from siamese.images.augment import augmenter
from siamese.images.distortion import distort
from siamese.model.network import SiameseNetwork
from siamese.progress import log
from siamese.training.data import RunData
from siamese.training.kept_features import KeptFeatures
from siamese.training.sources import FeatureSource, PixelSource, Source, Views
from siamese.training.validation import Images

Ints = NDArray[np.int64]
# Views that cached features hold of each image, unless told otherwise: more take longer, and gain little.
_VIEWS = 8


@dataclass(frozen=True)
class Inputs:
    """Where a run's inputs come from.

    Attributes:
        source: of training.
        images: of validation.
        damaged: the same images damaged, where validation looks at them too.
        cached: whether both are features of a frozen encoder.
    """

    source: Source
    images: Images
    damaged: Images | None
    cached: bool


def prepare_inputs(
    config: TrainConfig, network: SiameseNetwork, data: RunData, device: str, run: Path, *, means: bool
) -> Inputs:
    """Choose between pixels and cached features, and compute the features that are missing.

    Args:
        config: of the run.
        network: on `device`, its stages frozen.
        data: the images.
        device: where the encoder runs.
        run: the run folder, for features where nothing is kept from run to run.
        means: whether class means of the training images will be asked for.

    Raises:
        OptionError: features are to be cached and the encoder trains.
        DataError: no room on the disk.
    """
    pixels = data.cache.pixels
    if config.features == "cached" and not network.encoder_frozen:
        raise OptionError("--features cached: the encoder trains, so its features change; use --freeze all")
    damage = _damage(config)
    if config.features == "live" or not network.encoder_frozen:
        views = Views(config.seed, config.views)
        damaged = None if damage is None else Images(pixels, device, damage=damage)
        source = PixelSource(pixels, network.input_spec, augmenter(config.augment), views)
        return Inputs(source, Images(pixels, device), damaged, False)
    count = 1 if config.augment == "none" else config.views or min(_VIEWS, config.epochs)
    log.info(
        "the encoder is frozen: its features of %d view%s of each image are computed once, and the head trains on "
        "them (--features live computes them at every step)",
        *(count, "s" if count > 1 else ""),
    )
    cache = KeptFeatures(config, network.encoder, pixels, device, run)
    features = cache.get(config.augment, augmenter(config.augment), count, data.rows)
    rows = data.plain_rows(training=means)
    plain = cache.get("none", augmenter("none"), 1, rows)
    damaged = None
    if damage is not None:
        seen = data.plain_rows(training=False)
        damaged = Images(pixels, device, cache.get("damage", _damaged, 1, seen)[0], seen)
    kept = FeatureSource(features, data.rows, Views(config.seed, count))
    return Inputs(kept, Images(pixels, device, plain[0], rows), damaged, True)


def _damage(config: TrainConfig) -> Callable[[NDArray[np.uint8], Ints], NDArray[np.uint8]] | None:
    """How validation damages images, each in one way for the whole run; None where it does not."""
    if config.val_augment == "none" or (config.val_augment == "auto" and config.augment != "distortion"):
        return None
    views = Views(config.seed, 1)
    return lambda images, rows: _damaged(images, views.seeds(rows, np.zeros(len(rows), np.int64)))


def _damaged(images: NDArray[np.uint8], seeds: NDArray[np.uint64]) -> NDArray[np.uint8]:
    return distort(images, seeds)[0]
