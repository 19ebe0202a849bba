"""How true probabilities are that were calibrated on a tenth of the people, held out in sixty ways, and LFW's own.

    python benchmarks/calibration_of_held_out_people.py CROPS ENCODER [PROTOCOL]

CROPS is LFW as `siamese align` writes it. For each way to hold out a tenth of its people, calibrations are fitted on
the validation pairs that training makes, each form and the chosen one, and read on 20,000 pairs of all other people.
With PROTOCOL, the folder of LFW's pair files, one is fitted on View 1 (pairsDevTrain.txt) and read on View 2
(pairs.txt), with its reliability diagram.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.device import keep_freed_memory
from siamese.evaluation.calibration import Calibration
from siamese.evaluation.calibration_fitting import fit_calibration
from siamese.evaluation.calibrator_fitting import CALIBRATORS
from siamese.evaluation.reliability import expected_calibration_error, log_loss, reliability_bins
from siamese.images.catalog import read_catalog
from siamese.inference.verifier import Verifier
from siamese.pairing.formats import read_pairs
from siamese.pairing.sampling import sample_pairs
from siamese.pairing.splits import split_identities
from siamese.training.pairs import sample_validation_pairs

WAYS = 60
TESTED = 20_000


class Scored(NamedTuple):
    """Pairs as calibration takes them."""

    scores: NDArray[np.float64]
    same: NDArray[np.bool_]
    left: NDArray[np.int64]
    right: NDArray[np.int64]


class Features:
    """Unit features by path; the identity is the folder."""

    def __init__(self, crops: Path, encoder: str, images: list[str]) -> None:
        self.lookup = pd.Index(images)
        self.people = pd.factorize(pd.Series(images).str.rpartition("/")[0])[0]
        self.vectors = Verifier.load(encoder, device="cpu").embed([crops / image for image in images]).vectors

    def scored(self, table: pd.DataFrame) -> Scored:
        rows = [self.lookup.get_indexer(pd.Index(table[side])) for side in ("left", "right")]
        there = (rows[0] >= 0) & (rows[1] >= 0)  # a few images of LFW show no face that is found
        left, right = (side[there] for side in rows)
        scores = (self.vectors[left] * self.vectors[right]).sum(axis=1).astype(np.float64)
        same = table["same"].to_numpy(dtype=bool)[there]
        return Scored(scores, same, self.people[left], self.people[right])


def errors(calibration: Calibration, tested: Scored) -> tuple[float, float, float]:
    found = calibration.probability(tested.scores)
    return (
        expected_calibration_error(found, tested.same, prior=0.5),
        expected_calibration_error(found, tested.same, binning="mass", prior=0.5),
        log_loss(found, tested.same, prior=0.5),
    )


def of_held_out_people(features: Features, people: pd.DataFrame) -> None:
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in (*CALIBRATORS, "chosen")}
    chosen: Counter[str] = Counter()
    for seed in range(WAYS):
        held_out, others = split_identities(people, (0.1, 0.9), seed)
        fitted = features.scored(sample_validation_pairs(held_out, seed))
        tested = features.scored(sample_pairs(others, num_pairs=TESTED, seed=seed))
        for name in CALIBRATORS:
            found[name].append(errors(fit_calibration(*fitted, "held out", method=name), tested))
        best = fit_calibration(*fitted, "held out")
        chosen[best.method] += 1
        found["chosen"].append(errors(best, tested))
    print("form      ECE: mean, worst   equal mass: mean, worst   log loss: mean, worst")
    for name, rows in found.items():
        table = np.array(rows)
        cells = "   ".join(f"{column.mean():.4f} {column.max():.4f}" for column in table.T)
        print(f"{name:9} {cells}")
    print("chosen:", ", ".join(f"{name} {count}" for name, count in chosen.most_common()))


def of_lfw(features: Features, protocol: Path) -> None:
    fitted, tested = (features.scored(read_pairs(protocol / name)) for name in ("pairsDevTrain.txt", "pairs.txt"))
    calibration = fit_calibration(*fitted, "pairsDevTrain.txt")
    widths, masses, loss = errors(calibration, tested)
    print(f"\nView 1 to View 2, {calibration.method}: ECE {widths:.4f}, equal mass {masses:.4f}, log loss {loss:.4f}")
    print("probability  pairs   mean  genuine  95 % interval")
    bins = reliability_bins(calibration.probability(tested.scores), tested.same, bins=10)
    for row in zip(*bins, strict=True):
        low, high, pairs, _, mean, genuine, least, most = row
        print(f"{low:.1f} to {high:.1f}   {pairs:6}  {mean:.3f}    {genuine:.3f}  {least:.3f} to {most:.3f}")


def main() -> None:
    crops, encoder = Path(sys.argv[1]), sys.argv[2]
    keep_freed_memory()
    people = read_catalog(crops).images
    features = Features(crops, encoder, list(people["path"]))
    of_held_out_people(features, people)
    if len(sys.argv) > 3:
        of_lfw(features, Path(sys.argv[3]))


if __name__ == "__main__":
    main()
