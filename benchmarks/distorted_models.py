"""What damage to images costs models, and how much of what it costs the untouched encoder each wins back.

    python benchmarks/distorted_models.py CROPS PROTOCOL ENCODER MODEL [MODEL ...]

CROPS is LFW as `siamese align` writes it, PROTOCOL the folder with LFW's official files, MODEL a folder that
`siamese train --encoder ENCODER` wrote. Read on pairsDevTest: images as they are, one image of each pair damaged (the
mean of left and right), both damaged (the mean over three seeds), by `distort`, with seeds that training never uses.
Accuracy is of the images as they are, at the model's operating point (of the encoder: at the threshold of
pairsDevTrain). Intervals are 95 %, from 1,000 bootstrap resamples of the people: a pair weighs as often as its people
are drawn.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.device import keep_freed_memory
from siamese.evaluation import metrics
from siamese.evaluation.operating_points import choose_operating_point
from siamese.evaluation.thresholds import smoothed_accuracy_threshold
from siamese.images.augment import view_seeds
from siamese.images.distortion import distort
from siamese.images.loader import ImageLoader
from siamese.inference.verifier import Verifier
from siamese.model.embedding import embed_pixels
from siamese.pairing.formats import read_pairs
from siamese.pairing.table import unique_images

SEEDS = (1_000_001, 1_000_002, 1_000_003)
RESAMPLES = 1000
CONDITIONS = ("clean", "one damaged", "both damaged")


@dataclass(frozen=True)
class Pairs:
    paths: list[str]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    same: NDArray[np.bool_]
    weights: NDArray[np.float64]  # (1 + RESAMPLES, N), the first row all ones

    @classmethod
    def read(cls, file: Path) -> "Pairs":
        table = read_pairs(file)
        paths = unique_images(table)
        left, right = (pd.Index(paths).get_indexer(pd.Index(table[side])) for side in ("left", "right"))
        people = [table[side].str.partition("/")[0] for side in ("left", "right")]
        codes, names = pd.factorize(pd.concat(people))
        first, second = codes.reshape(2, -1)
        drawn = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
        weights = np.where(first == second, drawn[:, first], drawn[:, first] * drawn[:, second])
        weights = np.concatenate((np.ones((1, len(table))), weights))
        return cls(paths, left, right, table["same"].to_numpy(dtype=bool), weights.astype(float))


class Reading:
    """Scores of a model under each condition; several columns where seeds or sides are averaged."""

    def __init__(self, verifier: Verifier, pairs: Pairs, pixels: NDArray[np.uint8]) -> None:
        rows = np.arange(len(pixels))
        looks = [pixels]
        looks += [distort(pixels, view_seeds(seed, rows, np.zeros_like(rows)))[0] for seed in SEEDS]
        clean, *damaged = [embed_pixels(verifier.network, look) for look in looks]

        def scores(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.floating]:
            return verifier.similarity(left[pairs.left], right[pairs.right])

        self.scores = {
            "clean": [scores(clean, clean)],
            "one damaged": [scores(*sides) for each in damaged for sides in ((clean, each), (each, clean))],
            "both damaged": [scores(each, each) for each in damaged],
        }

    def aucs(self, condition: str, same: NDArray[np.bool_], weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Weighted AUC for each row of `weights` (R, N), averaged over seeds and sides, shape (R,)."""
        return np.mean([weighted_aucs(each, same, weights) for each in self.scores[condition]], axis=0)


def weighted_aucs(
    scores: NDArray[np.floating], same: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weight of the impostor pairs below each genuine pair, as a share; scores do not tie."""
    order = np.argsort(scores)
    kinds, sorted_weights = same[order], weights[:, order]
    below = np.cumsum(np.where(kinds, 0.0, sorted_weights), axis=1)
    genuine = np.where(kinds, sorted_weights, 0.0)
    return (genuine * below).sum(axis=1) / (genuine.sum(axis=1) * below[:, -1])


def interval(values: NDArray[np.float64]) -> str:
    """The first value is of all pairs, the others of resamples."""
    low, high = np.percentile(values[1:], (2.5, 97.5))
    return f"{values[0]:.4f} [{low:.4f}, {high:.4f}]"


def report(name: str, model: Reading, untouched: Reading, pairs: Pairs, accuracy: float) -> None:
    print(f"{name}: accuracy {accuracy:.4f}")
    before, after = (
        {each: reading.aucs(each, pairs.same, pairs.weights) for each in CONDITIONS} for reading in (untouched, model)
    )
    for condition in CONDITIONS:
        line = f"  {condition:13} AUC {interval(after[condition])}"
        if condition != "clean" and model is not untouched:
            lost = before["clean"] - before[condition]
            line += f", wins back {interval((after[condition] - before[condition]) / lost)}"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("crops", "protocol"):
        parser.add_argument(name, type=Path)
    parser.add_argument("encoder")
    parser.add_argument("models", nargs="*", type=Path)
    options = parser.parse_args()
    keep_freed_memory()

    pairs, tuning = (Pairs.read(options.protocol / f"pairs{name}.txt") for name in ("DevTest", "DevTrain"))
    encoder = Verifier.load(options.encoder, device="cpu")
    loader = ImageLoader(encoder.network.input_spec)
    pixels, own = (loader.load([options.crops / path for path in each.paths])[0] for each in (pairs, tuning))
    vectors = embed_pixels(encoder.network, own)
    tuned = encoder.similarity(vectors[tuning.left], vectors[tuning.right])
    threshold = smoothed_accuracy_threshold(tuned, tuning.same)
    untouched = Reading(encoder, pairs, pixels)
    accuracy = metrics.accuracy_at(untouched.scores["clean"][0], pairs.same, threshold)
    report("untouched", untouched, untouched, pairs, accuracy)
    for folder in options.models:
        verifier = Verifier.load(folder, device="cpu")
        reading = Reading(verifier, pairs, pixels)
        point = choose_operating_point(verifier.operating_points)
        accuracy = metrics.accuracy_at(reading.scores["clean"][0], pairs.same, point.threshold)
        report(str(folder), reading, untouched, pairs, accuracy)


if __name__ == "__main__":
    main()
