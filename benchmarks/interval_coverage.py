"""How often 95 % intervals hold the true value, when pairs share people.

    python benchmarks/interval_coverage.py [--repetitions 1000] [--methods dyadic] [--resamples 500] [--designs ...]

A world of people with a known truth: each person has a centre in 24 dimensions and a scatter of their own
(log-normal: some people are harder than others); an image is the centre plus scatter, scaled to unit length, and a
score is the cosine of two images. True values are those of two million new people. Pairs are listed as in practice:
`lfw-1000` and `lfw-6000` draw genuine and impostor pairs of people at random, two new images each; `dense-60` and the
like score every image of so many people with every other, three images of each (`dense-100-six`: six). For each
design and statistic, the share of intervals that hold the true value, and of those that lie below and above it; where
the data gives no interval in more than half of the repetitions, nothing. "plain" is the percentile interval of the
bootstrap that weighs pairs by the product of how often their people are drawn, without the dyadic variance. The rows
"second - first" are of the difference of two models (`paired.compare`): the second one sees sharper images.
"""

import argparse
from collections.abc import Callable
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from siamese.evaluation.bootstrap import resampled_statistics
from siamese.evaluation.influence import Dyads
from siamese.evaluation.intervals import IntervalOptions, estimates
from siamese.evaluation.paired import compare
from siamese.evaluation.weighted import Ranked, Statistic, check_statistics

DIMENSIONS, SCATTER, SPREAD_OF_SCATTER, SHARPER = 24, 0.62, 0.35, 0.85
FARS = (0.1, 0.01, 0.001)
NAMES = ("auc", "eer", "best_accuracy", "accuracy", "f1", "mcc", "tar", "far")
STATISTICS = check_statistics([*NAMES, *(Statistic("tar_at_far", far) for far in FARS)])
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Pairs(NamedTuple):
    scores: Floats
    sharper: Floats
    left: Integers
    right: Integers

    @property
    def same(self) -> NDArray[np.bool_]:
        return self.left == self.right


class People:
    def __init__(self, generator: np.random.Generator, people: int) -> None:
        self.generator = generator
        self.centres = generator.standard_normal((people, DIMENSIONS))
        self.scatter = SCATTER * np.exp(SPREAD_OF_SCATTER * generator.standard_normal((people, 1)))

    def images(self, who: Integers) -> list[Floats]:
        """The same images as two models see them."""
        noise = self.scatter[who] * self.generator.standard_normal((len(who), DIMENSIONS))
        blurred = 0.3 * self.generator.standard_normal((len(who), DIMENSIONS))
        seen = [self.centres[who] + noise, self.centres[who] + SHARPER * (noise + blurred)]
        return [each / np.linalg.norm(each, axis=1, keepdims=True) for each in seen]


def random_pairs(generator: np.random.Generator, people: int, each_kind: int) -> Pairs:
    world = People(generator, people)
    genuine, left = generator.integers(people, size=(2, each_kind))
    right = (left + generator.integers(1, people, size=each_kind)) % people
    left, right = np.concatenate((genuine, left)), np.concatenate((genuine, right))
    scores = [np.einsum("nd,nd->n", a, b) for a, b in zip(world.images(left), world.images(right), strict=True)]
    return Pairs(*scores, left, right)


def all_pairs(generator: np.random.Generator, people: int, images: int) -> Pairs:
    who = np.repeat(np.arange(people), images)
    left, right = np.triu_indices(len(who), 1)
    scores = [(each @ each.T)[left, right] for each in People(generator, people).images(who)]
    return Pairs(*scores, who[left], who[right])


DESIGNS: dict[str, Callable[[np.random.Generator], Pairs]] = {
    "lfw-1000": lambda generator: random_pairs(generator, 600, 500),
    "lfw-6000": lambda generator: random_pairs(generator, 4000, 3000),
    "dense-60": lambda generator: all_pairs(generator, 60, 3),
    "dense-100": lambda generator: all_pairs(generator, 100, 3),
    "dense-100-six": lambda generator: all_pairs(generator, 100, 6),
}


class Truth:
    """True values, by sorting scores of new people; independent of the code under test but for its formulas."""

    def __init__(self, people: int) -> None:
        generator = np.random.default_rng(2_718_281)
        who = np.arange(people)
        genuine: list[list[Floats]] = [[], []]
        impostor: list[list[Floats]] = [[], []]
        for _ in range(people // 100_000):
            world = People(generator, 100_000)
            who = np.arange(100_000)
            for model, (a, b) in enumerate(zip(world.images(who), world.images(who), strict=True)):
                genuine[model].append(np.einsum("nd,nd->n", a, b))
                impostor[model].append(np.einsum("nd,nd->n", a, np.roll(b, 1, axis=0)))
        self.genuine, self.impostor = (
            [np.sort(np.concatenate(each)) for each in kind] for kind in (genuine, impostor)
        )
        self.thresholds = [self.crossing(model) for model in (0, 1)]

    def rates(self, model: int, threshold: Floats | float) -> tuple[Floats, Floats]:
        """TAR and FAR."""
        kinds = (self.genuine[model], self.impostor[model])
        tar, far = (1.0 - np.searchsorted(each, threshold) / len(each) for each in kinds)
        return tar, far

    def crossing(self, model: int) -> float:
        low, high = -1.0, 1.0
        for _ in range(50):
            tar, far = self.rates(model, (low + high) / 2)
            low, high = ((low + high) / 2, high) if far > 1 - tar else (low, (low + high) / 2)
        return low

    def values(self, model: int, share: float) -> Floats:
        """Of each of `STATISTICS`, where `share` of the pairs is genuine; decisions at the EER's threshold."""
        tar, far = (float(rate) for rate in self.rates(model, self.thresholds[model]))
        tars, fars = self.rates(model, np.linspace(-1, 1, 4001))
        best = float((share * tars + (1 - share) * (1 - fars)).max())
        hits, false_accepts, misses = share * tar, (1 - share) * far, share * (1 - tar)
        rejects = 1 - hits - false_accepts - misses
        mcc = (hits * rejects - misses * false_accepts) / np.sqrt(
            share * (1 - share) * (hits + false_accepts) * (misses + rejects)
        )
        area = float(np.searchsorted(self.impostor[model], self.genuine[model]).mean() / len(self.impostor[model]))
        f1 = 2 * hits / (2 * hits + misses + false_accepts)
        at = [float(self.rates(model, np.quantile(self.impostor[model], 1 - each))[0]) for each in FARS]
        return np.array([area, far, best, hits + rejects, f1, mcc, tar, far, *at])


def ends(found: object) -> tuple[float, float]:
    interval = getattr(found, "interval", None)
    return (np.nan, np.nan) if interval is None else (interval.low, interval.high)


def repetition(
    pairs: Pairs, thresholds: list[float], methods: list[str], resamples: int, seed: int
) -> dict[str, list[tuple[float, float]]]:
    identities, found = (pairs.same, pairs.left, pairs.right), {}
    accepted = [scores >= threshold for scores, threshold in zip(pairs[:2], thresholds, strict=True)]
    for method in methods:
        if method == "plain":
            ranked = Ranked.of(pairs.scores, pairs.same, accepted[0])
            drawn = resampled_statistics(Dyads.of(*identities), [ranked], STATISTICS, resamples, seed)
            found[method] = [tuple(each) for each in np.nanquantile(drawn[:, 0], (0.025, 0.975), axis=0).T]
            continue
        options = IntervalOptions(method, resamples=max(resamples, 100), seed=seed)
        one = estimates(pairs.scores, *identities, STATISTICS, accepted=accepted[0], options=options)
        found[method] = [ends(each) for each in one.values()]
        two = compare(*pairs[:2], *identities, STATISTICS, accepted=(accepted[0], accepted[1]), options=options)
        found[f"{method}, second - first"] = [ends(each) for each in two.values()]
    return found


def report(design: str, truth: Truth, options: argparse.Namespace) -> None:
    start, generator = perf_counter(), np.random.default_rng(options.seed)
    results: dict[str, list[list[tuple[float, float]]]] = {}
    for seed in range(options.repetitions):
        pairs = DESIGNS[design](generator)
        found = repetition(pairs, truth.thresholds, options.methods, options.resamples, seed)
        for method, intervals in found.items():
            results.setdefault(method, []).append(intervals)
    share = float(pairs.same.mean())
    first, second = (truth.values(model, share) for model in (0, 1))
    seconds = perf_counter() - start
    print(f"\n{design}: {len(pairs.same)} pairs, {options.repetitions} repetitions, {seconds:.0f} s")
    print(f"{'':28}" + "".join(f"{each!s:>18}" for each in STATISTICS))
    print(f"{'true value':28}" + "".join(f"{each:18.4f}" for each in first))
    for method, intervals in results.items():
        low, high = np.moveaxis(np.array(intervals), 2, 0)
        true = second - first if "second" in method else first
        known = np.maximum((~np.isnan(low)).sum(axis=0), 1)
        held, below, above = (
            np.sum(each, axis=0) / known for each in ((low <= true) & (true <= high), high < true, low > true)
        )
        cells = [
            "-" if np.isnan(low[:, k]).mean() > 0.5 else f"{held[k]:.3f} ({below[k]:.3f} {above[k]:.3f})"
            for k in range(len(STATISTICS))
        ]
        print(f"{method:28}" + "".join(f"{cell:>21}" for cell in cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--designs", nargs="+", choices=list(DESIGNS), default=list(DESIGNS))
    parser.add_argument("--methods", nargs="+", choices=["dyadic", "percentile", "bca", "plain"], default=["dyadic"])
    options = parser.parse_args()
    truth = Truth(2_000_000)
    for design in options.designs:
        report(design, truth, options)


if __name__ == "__main__":
    main()
