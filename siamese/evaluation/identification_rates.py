"""Identification measured: how often a search names the right person, and how often it names anybody wrongly.

CMC, FPIR and TPIR in the terms of ISO/IEC 19795-1 and of Grother and Ngan, "Face Recognition Vendor Test (FRVT),
Part 2: Identification" (NISTIR 8271).

Intervals suppose that the gallery is given and that the identities of the probes are drawn
(`siamese.evaluation.clustered_rates`). A TPIR at a FPIR also strays with its threshold, which the non-mated probes
set: an identity that raises the FPIR lowers the TPIR by the slope of the characteristic there, taken as the secant
over a standard error of the FPIR to each side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from siamese.errors import DataError, OptionError
from siamese.evaluation.clustered_rates import clustered_estimate, clustered_variance, shares
from siamese.evaluation.gallery_search import Bools, Floats, Ints, Search
from siamese.evaluation.intervals import Estimate
from siamese.evaluation.metrics import enough_for_far

RANKS = (1, 5, 10)
FPIRS = (1e-1, 1e-2, 1e-3)
# Of mated probes, and of non-mated ones for what depends on those.
FEWEST_IDENTITIES = 20
# Expected at a FPIR whose TPIR has an interval: with fewer, its threshold is too uncertain for one to cover.
FEWEST_FALSE_POSITIVES = 10.0


@dataclass(frozen=True)
class Identification:
    """Identification measured in a gallery, or averaged over several draws of one.

    Attributes:
        gallery: images in the gallery.
        identities: identities in the gallery.
        mated: probes whose identity is in the gallery.
        non_mated: probes whose identity is not.
        runs: galleries that were searched.
        cmc: share of the mated probes whose identity is among the first k, by k ("1", "5", "10").
        tpir_at_fpir: TPIR by FPIR ("0.1", "0.01", "0.001"); a value of None is insufficient data.
        threshold_at_fpir: the similarity from which anybody is named, by FPIR; mean of the runs.
        deviations: standard deviation (n - 1) over the runs, by the names of `as_json`; None for a single run.
    """

    gallery: int
    identities: int
    mated: int
    non_mated: int
    runs: int
    cmc: Mapping[str, Estimate]
    tpir_at_fpir: Mapping[str, Estimate]
    threshold_at_fpir: Mapping[str, float | None]
    deviations: Mapping[str, float | None]

    def as_json(self) -> dict[str, Any]:
        """The figures as plain values; intervals and deviations are named `cmc=1`, `tpir_at_fpir=0.1`."""
        estimates = {f"cmc={rank}": each for rank, each in self.cmc.items()}
        estimates |= {f"tpir_at_fpir={fpir}": each for fpir, each in self.tpir_at_fpir.items()}
        return {
            "gallery_images": self.gallery,
            "gallery_identities": self.identities,
            "mated": self.mated,
            "non_mated": self.non_mated,
            "runs": self.runs,
            "cmc": {rank: each.value for rank, each in self.cmc.items()},
            "tpir_at_fpir": {fpir: each.value for fpir, each in self.tpir_at_fpir.items()},
            "threshold_at_fpir": dict(self.threshold_at_fpir),
            "intervals": {
                name: None if each.interval is None else [each.interval.low, each.interval.high]
                for name, each in estimates.items()
            },
            "deviations": dict(self.deviations),
        }


def cmc(found: Search, rank: int = 1) -> float | None:
    """Cumulative match characteristic: share of the mated probes whose identity is among the first `rank`.

    Closed set: no threshold, non-mated probes do not count; None without mated probes. It is 1 where the gallery has
    no more than `rank` identities.

    Raises:
        OptionError: a rank below 1.
    """
    if rank < 1:
        raise OptionError(f"rank {rank}: expected 1 or more")
    return float((found.ranks[found.mated] < rank).mean()) if found.mated.any() else None


def fpir_at(found: Search, threshold: float) -> float | None:
    """False-positive identification rate: share of the non-mated probes for which anybody reaches the threshold."""
    strangers = found.best[~found.mated]
    return float((strangers >= threshold).mean()) if len(strangers) else None


def tpir_at(found: Search, threshold: float, rank: int = 1) -> float | None:
    """True-positive identification rate, 1 - FNIR: mated probes whose identity reaches threshold and rank.

    None without mated probes.
    """
    hits = (found.own >= threshold) & (found.ranks < rank)
    return float(hits[found.mated].mean()) if found.mated.any() else None


def threshold_at_fpir(found: Search, fpir: float) -> float | None:
    """The lowest threshold whose FPIR does not exceed `fpir`.

    None where the non-mated probes do not support it: fewer than three false positives are expected.

    Args:
        found: the searches.
        fpir: in (0, 1).

    Raises:
        OptionError: a rate out of its range.
    """
    if not 0 < fpir < 1:
        raise OptionError(f"FPIR {fpir:g}: expected above 0 and below 1")
    strangers = np.sort(found.best[~found.mated])[::-1]
    if not enough_for_far(len(strangers), fpir):
        return None
    allowed = min(int(np.floor(fpir * len(strangers) * (1 + 1e-12))), len(strangers) - 1)
    return float(np.nextafter(strangers[allowed], np.inf))


def tpir_at_fpir(found: Search, fpir: float, rank: int = 1) -> float | None:
    """TPIR at the lowest threshold whose FPIR does not exceed `fpir`; None is *insufficient data*."""
    threshold = threshold_at_fpir(found, fpir)
    return None if threshold is None else tpir_at(found, threshold, rank)


def measure_identification(
    searches: Sequence[Search],
    identities: Sequence[Ints],
    ranks: Sequence[int] = RANKS,
    fpirs: Sequence[float] = FPIRS,
) -> Identification:
    """Measure searches of one or more galleries: CMC at each rank, TPIR of the first identity at each FPIR.

    Rates are the means of those of the runs; counts are those of the first.

    Args:
        searches: of each run.
        identities: of the probes of each run, as codes from 0 that mean the same in every run.
        ranks: 1 or more each.
        fpirs: in (0, 1).

    Raises:
        DataError: no runs, or another number of identities than of probes.
        OptionError: a rank or a rate out of its range.
    """
    probes, codes = [len(each.mated) for each in searches], [len(each) for each in identities]
    if not probes or probes != codes:
        raise DataError(f"searches of {probes} probes and {codes} identities: expected an identity for each probe")
    people = 1 + max(int(each.max()) for each in identities)
    by_rank = {str(rank): _mean_cmc(searches, identities, people, rank) for rank in ranks}
    by_fpir = {f"{fpir:g}": _mean_tpir(searches, identities, people, fpir) for fpir in fpirs}
    deviations = {f"cmc={rank}": _deviation([cmc(each, int(rank)) for each in searches]) for rank in by_rank}
    for fpir in fpirs:
        of_runs = [tpir_at_fpir(each, fpir) for each in searches]
        deviations[f"tpir_at_fpir={fpir:g}"] = _deviation(of_runs)
    first = searches[0]
    return Identification(
        gallery=first.gallery,
        identities=first.identities,
        mated=int(np.count_nonzero(first.mated)),
        non_mated=int(np.count_nonzero(~first.mated)),
        runs=len(searches),
        cmc=by_rank,
        tpir_at_fpir=by_fpir,
        threshold_at_fpir={
            f"{fpir:g}": _mean([threshold_at_fpir(each, fpir) for each in searches]) for fpir in fpirs
        },
        deviations=deviations,
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def _deviation(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.std(known, ddof=1)) if len(known) == len(values) > 1 else None


def _mean_cmc(searches: Sequence[Search], identities: Sequence[Ints], people: int, rank: int) -> Estimate:
    value = _mean([cmc(each, rank) for each in searches])
    if value is None:
        return Estimate(None, None, "undefined: no mated probes")
    parts = [
        shares(each.ranks[each.mated] < rank, codes[each.mated], people)
        for each, codes in zip(searches, identities, strict=True)
    ]
    enrolled = _present(searches, identities, people, mated=True)
    return clustered_estimate(value, np.mean(parts, axis=0)[enrolled], fewest=FEWEST_IDENTITIES)


def _mean_tpir(searches: Sequence[Search], identities: Sequence[Ints], people: int, fpir: float) -> Estimate:
    value = _mean([tpir_at_fpir(each, fpir) for each in searches])
    strangers = min(int(np.count_nonzero(~each.mated)) for each in searches)
    if value is None:
        reason = f"insufficient data: {strangers} non-mated probes expect fewer than 3 false positives"
        enough = enough_for_far(strangers, fpir)
        return Estimate(None, None, "undefined: no mated probes" if enough else f"{reason} at FPIR {fpir:g}")
    enrolled, unknown = (_present(searches, identities, people, mated=kind) for kind in (True, False))
    for kind, there in (("mated", enrolled), ("non-mated", unknown)):
        found = int(np.count_nonzero(there))
        if found < FEWEST_IDENTITIES:
            needs = f"an interval needs {FEWEST_IDENTITIES} identities of {kind} probes"
            return Estimate(value, None, f"insufficient data: {needs}, found {found}")
    if strangers * fpir < FEWEST_FALSE_POSITIVES * (1 - 1e-9):
        reason = f"{strangers * fpir:g} false positives expected at FPIR {fpir:g}"
        return Estimate(value, None, f"insufficient data: {reason}, an interval needs {FEWEST_FALSE_POSITIVES:g}")
    parts = [
        _tpir_shares(each, codes, people, fpir, unknown) for each, codes in zip(searches, identities, strict=True)
    ]
    return clustered_estimate(value, np.mean(parts, axis=0)[enrolled | unknown], fewest=FEWEST_IDENTITIES)


def _present(searches: Sequence[Search], identities: Sequence[Ints], people: int, *, mated: bool) -> Bools:
    """Which identities have probes of one kind in any run, shape (people,)."""
    kept = [codes[each.mated == mated] for each, codes in zip(searches, identities, strict=True)]
    return np.asarray(np.bincount(np.concatenate(kept), minlength=people) > 0)


def _tpir_shares(found: Search, codes: Ints, people: int, fpir: float, unknown: Bools) -> Floats:
    """What each identity contributes to the TPIR of one run, shape (people,)."""
    threshold, strangers = threshold_at_fpir(found, fpir), ~found.mated
    assert threshold is not None  # noqa: S101 - there is a TPIR
    hits = (found.own >= threshold) & (found.ranks < 1)
    rises = shares(found.best[strangers] >= threshold, codes[strangers], people)
    slope = _slope(found, float(np.mean(found.best[strangers] >= threshold)), clustered_variance(rises[unknown]))
    return shares(hits[found.mated], codes[found.mated], people) - slope * rises


def _slope(found: Search, fpir: float, variance: float) -> float:
    """How fast the TPIR rises with the FPIR."""
    ordered = np.sort(found.best[~found.mated])[::-1]
    around = np.rint(len(ordered) * (fpir + np.sqrt(variance) * np.array([-1.0, 1.0]))).astype(np.int64)
    few, many = np.clip(around, 1, len(ordered))
    if few == many:
        return 0.0
    high, low = (tpir_at(found, float(ordered[number - 1])) or 0.0 for number in (many, few))
    return float((high - low) / ((many - few) / len(ordered)))
