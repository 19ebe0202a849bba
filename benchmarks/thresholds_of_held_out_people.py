"""How steady a threshold is that was fitted on a tenth of the people: twelve ways to hold them out.

    python benchmarks/thresholds_of_held_out_people.py CROPS PROTOCOL ENCODER

CROPS is LFW as `siamese align` writes it, PROTOCOL the folder with LFW's official files. For each way to hold out a
tenth of View 1's DevTrain people: the threshold of best accuracy on as many impostor as genuine pairs, the same on
the validation pairs that training makes, and the bagged threshold on those; with each accuracy on pairsDevTest.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.device import keep_freed_memory
from siamese.evaluation import metrics
from siamese.images.catalog import read_catalog
from siamese.inference.verifier import Verifier
from siamese.pairing.formats import read_pairs
from siamese.pairing.sampling import sample_pairs
from siamese.pairing.splits import split_identities
from siamese.pairing.table import unique_images
from siamese.training.pairs import sample_validation_pairs

WAYS = 12


class Features:
    """Unit features by path."""

    def __init__(self, crops: Path, encoder: str, images: list[str]) -> None:
        self.lookup = pd.Index(images)
        self.vectors = Verifier.load(encoder, device="cpu").embed([crops / image for image in images]).vectors

    def scores(self, table: pd.DataFrame) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        left, right = (self.vectors[self.lookup.get_indexer(pd.Index(table[side]))] for side in ("left", "right"))
        return (left * right).sum(axis=1), table["same"].to_numpy(dtype=bool)


def main() -> None:
    crops, protocol, encoder = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    keep_freed_memory()
    people = read_catalog(crops).restricted_to(protocol / "peopleDevTrain.txt").images
    test = read_pairs(protocol / "pairsDevTest.txt")
    features = Features(crops, encoder, [*people["path"], *unique_images(test)])
    tested, found = features.scores(test), []
    for seed in range(WAYS):
        held_out = split_identities(people, (0.9, 0.1), seed)[1]
        even = features.scores(sample_pairs(held_out, num_pairs=None, seed=seed))
        made = features.scores(sample_validation_pairs(held_out, seed))
        thresholds = (
            metrics.best_accuracy_threshold(*even),
            metrics.best_accuracy_threshold(*made, balanced=True),
            metrics.bagged_accuracy_threshold(*made),
        )
        found.append([*thresholds, *(metrics.accuracy_at(*tested, threshold) for threshold in thresholds)])
    table = np.array(found)
    print("thresholds fitted on  threshold +- deviation  accuracy on pairsDevTest: mean, worst, below .98")
    for column, name in enumerate(("1:1 pairs", "1:10 pairs", "1:10 pairs, bagged")):
        threshold, accuracy = table[:, column], table[:, column + 3]
        spread = f"{threshold.mean():.3f} +- {threshold.std(ddof=1):.3f}"
        print(
            f"{name:21} {spread:22}  {accuracy.mean():.4f}, {accuracy.min():.3f}, {(accuracy < 0.98).sum()} of {WAYS}"
        )


if __name__ == "__main__":
    main()
