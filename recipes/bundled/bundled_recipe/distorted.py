"""What damage to the images of LFW's test pairs costs the student and the encoder it is compared with.

Every image is damaged once by each kind of `siamese.images.distortion`, and once by one of them at random, with seeds
that training does not use; both models see the same damaged crops. A pair is read with one image damaged (the mean of
left and right) and with both. Intervals are 95 %, of resamples of people that serve both models alike (the bootstrap
by identity, wider than need be for lists where nearly every pair has its own people).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bundled_recipe.reading import Floats, Pairs, Reading, lfw_pairs
from bundled_recipe.records import Record
from bundled_recipe.view1 import TEST
from bundled_recipe.workplace import Workplace
from siamese.evaluation.bootstrap import resampled_statistics
from siamese.evaluation.influence import Dyads
from siamese.evaluation.metrics import auc
from siamese.evaluation.weighted import Ranked, Statistic
from siamese.images.augment import view_seeds
from siamese.images.distortion import KINDS, distort
from siamese.images.input_spec import InputSpec
from siamese.images.loader import ImageLoader

SEED = 1_000_001
RESAMPLES = 1000
MIXTURE = "any of them"
CROP = InputSpec(size=(112, 112), alignment="arcface-112")


class Costs(NamedTuple):
    """AUC lost with one image damaged and with both; shape (1 + RESAMPLES,), the first value of all pairs."""

    one: Floats
    both: Floats


def measure_distorted(place: Workplace, readings: dict[str, Reading]) -> Record:
    """AUC lost by damage, by kind and model, and how much less the first model loses than the second."""
    pairs = lfw_pairs(place, TEST)
    images = pairs.images
    pixels = ImageLoader(CROP).load([place.work / path for path in images])[0]
    clean = {name: reading.embed(images) for name, reading in readings.items()}
    found: Record = {}
    for kind in (MIXTURE, *KINDS):
        looks = _damaged(pixels, kind)
        costs = {
            name: _costs(reading, pairs, clean[name], _embed(reading, looks)) for name, reading in readings.items()
        }
        found[kind] = _described(costs)
    return found


def _damaged(pixels: NDArray[np.uint8], kind: str) -> NDArray[np.uint8]:
    rows = np.arange(len(pixels))
    kinds = None if kind == MIXTURE else [kind]
    return distort(pixels, view_seeds(SEED, rows, np.zeros_like(rows)), kinds)[0]


def _embed(reading: Reading, looks: NDArray[np.uint8]) -> NDArray[np.float32]:
    return reading.verifier.embed(list(looks)).vectors


def _costs(reading: Reading, pairs: Pairs, clean: NDArray[np.float32], damaged: NDArray[np.float32]) -> Costs:
    images = {path: row for row, path in enumerate(pairs.images)}
    left, right = ([images[path] for path in side] for side in (pairs.left, pairs.right))
    sides = ((clean, clean), (damaged, clean), (clean, damaged), (damaged, damaged))
    scores = [reading.verifier.similarity(one[left], other[right]) for one, other in sides]
    dyads = Dyads.of(pairs.same, pairs.left_person, pairs.right_person)
    ranked = [Ranked.of(each, pairs.same) for each in scores]
    drawn = resampled_statistics(dyads, ranked, [Statistic("auc")], RESAMPLES, 0)[:, :, 0]
    aucs = np.concatenate([[[auc(each, pairs.same) for each in scores]], drawn])
    return Costs(aucs[:, 0] - aucs[:, 1:3].mean(axis=1), aucs[:, 0] - aucs[:, 3])


def _described(costs: dict[str, Costs]) -> Record:
    record: Record = {name: {"one": _ends(each.one), "both": _ends(each.both)} for name, each in costs.items()}
    first, second = costs.values()
    record["saved"] = {"one": _ends(second.one - first.one), "both": _ends(second.both - first.both)}
    return record


def _ends(values: Floats) -> Record:
    low, high = np.nanpercentile(values[1:], (2.5, 97.5))
    return {"value": float(values[0]), "interval": [float(low), float(high)]}
