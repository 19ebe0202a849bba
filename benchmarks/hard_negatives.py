"""Hard pairs of 13,233 images (as many as LFW has) against a loop over images in plain NumPy.

    python benchmarks/hard_negatives.py [FEATURES.npz]

Vectors are random directions, one for each of 5,749 identities, plus noise; the sizes of the identities fall off as
those of photographs from the web do. FEATURES.npz, if given, holds real ones: `f` (N, D) and `paths`, whose first
folder is the identity. Prints the seconds of `hard_pairs`, and how many times as long the loop would take that sorts
the similarities of one image after another, measured on the first 1,000 images.
"""

import sys
import time

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.pairing.hard import hard_pairs
from siamese.similarity import normalise

IMAGES, IDENTITIES, LOOPED, PAIRS = 13_233, 5_749, 1_000, 10_000


def main() -> None:
    print(f"{'images':>7} {'width':>6} {'hard pairs s':>13} {'loop s':>8} {'ratio':>7}")
    for catalog, vectors in data():
        started = time.perf_counter()
        hard_pairs(catalog, vectors, num_pairs=PAIRS, seed=0)
        blocked = time.perf_counter() - started
        looped = loop(catalog, vectors) * len(catalog) / min(LOOPED, len(catalog))
        print(f"{len(catalog):>7,} {vectors.shape[1]:>6} {blocked:>13.2f} {looped:>8.1f} {looped / blocked:>7.1f}")


def data() -> list[tuple[pd.DataFrame, NDArray[np.float32]]]:
    if len(sys.argv) > 1:
        stored = np.load(sys.argv[1])
        paths = pd.Series(stored["paths"].astype(str))
        catalog = pd.DataFrame({"path": paths, "identity": paths.str.split("/").str[0]})
        return [(catalog, normalise(stored["f"].astype(np.float32)))]
    return [synthetic(width) for width in (128, 512)]


def synthetic(width: int) -> tuple[pd.DataFrame, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    weights = np.arange(1, IDENTITIES + 1) ** -0.8
    more = rng.choice(IDENTITIES, IMAGES - IDENTITIES, p=weights / weights.sum())
    identity = np.sort(np.concatenate([np.arange(IDENTITIES), more]))
    noise = rng.standard_normal((IMAGES, width), dtype=np.float32)
    vectors = noise + rng.standard_normal((IDENTITIES, width), dtype=np.float32)[identity]
    catalog = pd.DataFrame(
        {"path": [f"{number}.jpg" for number in range(IMAGES)], "identity": [f"id{who}" for who in identity]}
    )
    return catalog, normalise(vectors)


def loop(catalog: pd.DataFrame, vectors: NDArray[np.float32]) -> float:
    """Seconds to find the ten nearest strangers and farthest relatives of the first images, one by one."""
    identity = pd.factorize(catalog["identity"])[0]
    started = time.perf_counter()
    for image in range(min(LOOPED, len(catalog))):
        similarity = vectors @ vectors[image]
        own = identity == identity[image]
        np.argsort(np.where(own, -np.inf, similarity))[-10:]
        np.argsort(np.where(own, similarity, np.inf))[:10]
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
