"""Features of an encoder by preset and rows, in files that outlast the run unless nothing is to be kept."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from siamese.cache_folder import cache_folder
from siamese.config import TrainConfig
from siamese.encoders.encoder import Encoder
from siamese.images.augment import Augment
from siamese.training.feature_cache import FeatureFile, alone, features_key, fill, make_room
from siamese.training.processes import first_goes_ahead
from siamese.training.sources import PixelSource, Views

Ints = NDArray[np.int64]


class KeptFeatures:
    """What an encoder gives of some images, computed once.

    Args:
        config: of the run: whether and where features are kept, and how much room they may take.
        encoder: frozen, on `device`; put in evaluation.
        pixels: as its `input_spec` wants them, shape (M, H, W, 3), uint8.
        device: where it runs.
        run: the run folder, for features where nothing is kept from run to run.
    """

    def __init__(
        self, config: TrainConfig, encoder: Encoder, pixels: NDArray[np.uint8], device: str, run: Path
    ) -> None:
        self._config, self._encoder, self._pixels, self._device = config, encoder, pixels, device
        home = cache_folder() if config.cache == "auto" else Path(config.cache)
        self._folder = home / "features" if config.cache != "off" else run / "features"

    def get(self, name: str, augment: Augment, views: int, rows: Ints) -> NDArray[np.float32]:
        """Features (views, N, F), float32, mapped into memory; `name` tells augmentations apart.

        Raises:
            DataError: no room on the disk.
        """
        encoder, seed = self._encoder, self._config.seed
        drawn = None if name == "none" else seed  # images as they are do not hang on the seed of the run
        what = {"augment": name, "views": views, "seed": drawn, "device": self._device.partition(":")[0]}
        file = self._folder / f"{features_key(encoder, self._pixels, rows, what)}.f32"
        source = PixelSource(self._pixels, encoder.input_spec, augment, Views(seed, views))
        encoder.eval()
        with first_goes_ahead(), alone(file):
            store = FeatureFile(file, (views, len(rows), encoder.feature_dim))
            fill(store, encoder, source, rows, device=self._device, workers=self._config.workers)
            make_room(self._folder, self._config.cache_limit * 1e9, file)
        return store.features


def clear_features(run: Path) -> None:
    """Remove features that lie in a run folder."""
    folder = run / "features"
    for suffix in ("f32", "json", "lock"):
        for file in folder.glob(f"*.{suffix}"):
            file.unlink(missing_ok=True)
    if folder.is_dir():
        folder.rmdir()
