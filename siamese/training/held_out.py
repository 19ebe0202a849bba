"""Images of each identity that training does not see, for judging how well it names the identities it knows."""

import numpy as np
import pandas as pd

from siamese.errors import DataError
from siamese.progress import log


def hold_out_images(images: pd.DataFrame, count: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Divide the images of each identity into those to train on and `count` to validate on.

    An identity keeps at least two images to train on where it has three or more, and its only images where it has
    fewer.

    Args:
        images: a row per image: `path`, `identity`.
        count: images of each identity to hold out.
        seed: which ones.

    Returns:
        Training images and held-out ones, in the order of `images`.

    Raises:
        DataError: fewer than two identities have an image to spare.
    """
    order = np.random.default_rng(seed).permutation(len(images))
    identity = images["identity"].to_numpy()[order]
    place = pd.Series(order).groupby(identity).cumcount().to_numpy()
    sizes = pd.Series(identity).map(images["identity"].value_counts()).to_numpy(dtype=np.int64)
    held = np.zeros(len(images), bool)
    held[order] = place < np.minimum(count, np.maximum(sizes - 2, 0))
    held_out = images[held].reset_index(drop=True)
    if held_out["identity"].nunique() < 2:
        raise DataError(
            f"--val-images {count}: {held_out['identity'].nunique()} identities have three images or more; expected "
            "two such at least; use --val-share"
        )
    short = images["identity"].nunique() - held_out["identity"].nunique()
    if short:
        log.info("%d identities have too few images to hold any out", short)
    return images[~held].reset_index(drop=True), held_out
