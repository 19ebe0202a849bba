"""Validation where nobody has labelled anything: does the student find alike what its teacher finds most alike?"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.errors import DataError
from siamese.progress import log

# Unit embeddings of images by their paths, and which of them could be used: (U, T) and (U,), rising.
Judge = Callable[[list[str]], tuple[NDArray[np.float32], NDArray[np.int64]]]
# Held-out images: enough for an AUC to the third digit.
_MOST = 2000
# Others that each image is compared with, beside the one nearest to it.
_OTHERS = 10
_CHUNK = 512


def hold_out_for_teacher(
    images: pd.DataFrame, share: float, seed: int, judge: Judge
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Hold images out, and pair each with the one that the teacher finds most alike, and with some others.

    The AUC on such pairs is how often the student, too, finds an image more like its nearest neighbour than like
    another: agreement with the teacher, and nothing about identities.

    Args:
        images: `path` and `identity` of all there are.
        share: of them to hold out; at most 2,000.
        seed: which ones.
        judge: the teacher.

    Returns:
        The images to train on; and pairs `left, right, same` of the held-out ones, where `same` is 1 for the nearest
        neighbour.

    Raises:
        DataError: fewer than three images can be held out, or none is left.
    """
    rng = np.random.default_rng([seed, len(images)])
    count = min(round(share * len(images)), _MOST)
    held = np.zeros(len(images), bool)
    held[rng.permutation(len(images))[:count]] = True
    paths = images["path"][held].tolist()
    embeddings, usable = judge(paths) if len(paths) > 2 else (np.zeros((0, 1), np.float32), np.zeros(0, np.int64))
    if len(usable) < 3 or held.all():
        raise DataError(
            f"{len(images)} images of nobody known, {len(usable)} to judge the student by: expected 3 at least; give "
            "more images, or labelled pairs with --val-pairs"
        )
    log.warning(
        "no identity is known: the student is judged by how well it agrees with its teacher on %d held-out images, "
        "and gets no threshold and no calibration; labelled pairs for both are given with --val-pairs",
        len(usable),
    )
    names = np.array(paths, dtype=object)[usable]
    return images[~held].reset_index(drop=True), _nearest_and_others(names, embeddings, rng)


def _nearest_and_others(
    names: NDArray[np.object_], embeddings: NDArray[np.float32], rng: np.random.Generator
) -> pd.DataFrame:
    nearest = _nearest(embeddings)
    count = len(names)
    others = min(_OTHERS, count - 2)
    left = np.repeat(np.arange(count), others)
    # Steps round the ring of images that skip the image itself; one too many, for those that meet the nearest.
    steps = _distinct_steps(count, others + 1, rng)
    partners = (np.arange(count)[:, None] + steps) % count
    met = partners == nearest[:, None]
    order = np.argsort(met, axis=1, kind="stable")
    right = np.take_along_axis(partners, order, axis=1)[:, :others]
    genuine = pd.DataFrame({"left": names, "right": names[nearest], "same": 1})
    impostor = pd.DataFrame({"left": names[left], "right": names[right.ravel()], "same": 0})
    return pd.concat([genuine, impostor], ignore_index=True).astype({"same": "boolean"})


def _distinct_steps(count: int, number: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """For each image `number` different steps from 1 to `count` - 1: one offset each, spread evenly from it."""
    stride = (count - 1) // number
    starts = rng.integers(0, count - 1, (count, 1))
    return np.asarray((starts + stride * np.arange(number)) % (count - 1) + 1, dtype=np.int64)


def _nearest(embeddings: NDArray[np.float32]) -> NDArray[np.int64]:
    """Of each unit embedding (N, T) the number of the other one most like it, shape (N,)."""
    found = np.empty(len(embeddings), np.int64)
    for start in range(0, len(embeddings), _CHUNK):
        similarity = embeddings[start : start + _CHUNK] @ embeddings.T
        rows = np.arange(len(similarity))
        similarity[rows, start + rows] = -np.inf
        found[start : start + _CHUNK] = similarity.argmax(axis=1)
    return found
