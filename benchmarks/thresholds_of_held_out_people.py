"""How well a threshold carries over that was fitted on a tenth of the people: sixty ways to hold them out.

    python benchmarks/thresholds_of_held_out_people.py CROPS ENCODER

CROPS is LFW as `siamese align` writes it. For each way to hold out a tenth of its people: the threshold of best
accuracy on as many impostor as genuine pairs of theirs, the same on the validation pairs that training makes, and the
smoothed threshold on those; with what each loses in accuracy on 20,000 pairs of all other people, against the best
threshold that those pairs have.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.device import keep_freed_memory
from siamese.evaluation import metrics
from siamese.evaluation.thresholds import best_accuracy_threshold, smoothed_accuracy_threshold
from siamese.images.catalog import read_catalog
from siamese.inference.verifier import Verifier
from siamese.pairing.sampling import sample_pairs
from siamese.pairing.splits import split_identities
from siamese.training.pairs import sample_validation_pairs

WAYS = 60
TESTED = 20_000


class Features:
    """Unit features by path."""

    def __init__(self, crops: Path, encoder: str, images: list[str]) -> None:
        self.lookup = pd.Index(images)
        self.vectors = Verifier.load(encoder, device="cpu").embed([crops / image for image in images]).vectors

    def scores(self, table: pd.DataFrame) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        left, right = (self.vectors[self.lookup.get_indexer(pd.Index(table[side]))] for side in ("left", "right"))
        return (left * right).sum(axis=1), table["same"].to_numpy(dtype=bool)


def main() -> None:
    crops, encoder = Path(sys.argv[1]), sys.argv[2]
    keep_freed_memory()
    people = read_catalog(crops).images
    features = Features(crops, encoder, list(people["path"]))
    found = []
    for seed in range(WAYS):
        held_out, others = split_identities(people, (0.1, 0.9), seed)
        even = features.scores(sample_pairs(held_out, num_pairs=None, seed=seed))
        made = features.scores(sample_validation_pairs(held_out, seed))
        tested = features.scores(sample_pairs(others, num_pairs=TESTED, seed=seed))
        thresholds = (
            best_accuracy_threshold(*even),
            best_accuracy_threshold(*made, balanced=True),
            smoothed_accuracy_threshold(*made),
        )
        best = metrics.accuracy_at(*tested, best_accuracy_threshold(*tested))
        found.append(
            [*thresholds, *(best - metrics.accuracy_at(*tested, threshold) for threshold in thresholds), best]
        )
    table = np.array(found)
    print(f"accuracy of the best threshold: {table[:, -1].mean():.4f}")
    print("thresholds fitted on  threshold +- deviation  points of accuracy lost: mean, worst tenth, worst")
    for column, name in enumerate(("1:1 pairs", "1:10 pairs", "1:10 pairs, smoothed")):
        threshold, points = table[:, column], 100 * table[:, column + 3]
        spread = f"{threshold.mean():.3f} +- {threshold.std(ddof=1):.3f}"
        print(f"{name:21} {spread:22}  {points.mean():.3f}, {np.percentile(points, 90):.3f}, {points.max():.3f}")


if __name__ == "__main__":
    main()
