import numpy as np
import pytest
from scipy.stats import norm

from siamese.errors import DataError, OptionError
from siamese.evaluation.gallery_search import Search, search
from siamese.evaluation.identification_rates import (
    cmc,
    fpir_at,
    measure_identification,
    threshold_at_fpir,
    tpir_at,
    tpir_at_fpir,
)


def mixed(strangers: np.ndarray, own: np.ndarray, ranks: np.ndarray) -> Search:
    """Searches of which the non-mated ones have the given best similarities."""
    mated = np.repeat([False, True], [len(strangers), len(own)])
    return Search(
        10,
        10,
        mated,
        np.concatenate((strangers, own)),
        np.concatenate((np.full(len(strangers), np.nan), own)),
        np.concatenate((np.full(len(strangers), -1), ranks)),
        np.full(len(mated), "somebody"),
    )


def test_cmc_is_the_share_of_mated_probes_within_the_rank() -> None:
    places = np.random.default_rng(6).integers(30, size=200)
    found = mixed(np.zeros(9), np.ones(200), places)
    for rank in (1, 5, 10):
        assert cmc(found, rank) == np.mean([place < rank for place in places])
    assert cmc(found, 30) == 1.0
    with pytest.raises(OptionError, match="rank 0: expected 1 or more"):
        cmc(found, 0)


@pytest.mark.parametrize("fpir", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_the_threshold_is_the_lowest_one_that_keeps_the_fpir(seed: int, fpir: float) -> None:
    random = np.random.default_rng(seed)
    strangers = random.normal(size=100).round(1)  # with ties
    found = mixed(strangers, random.normal(1, 1, 80), random.integers(0, 2, 80))
    threshold = threshold_at_fpir(found, fpir)
    assert threshold is not None
    assert np.mean(strangers >= threshold) <= fpir
    # Every lower threshold that decides differently exceeds it.
    assert np.mean(strangers >= strangers[strangers < threshold].max()) > fpir
    assert fpir_at(found, threshold) == np.mean(strangers >= threshold)
    own, places = found.own[found.mated], found.ranks[found.mated]
    expected = [score >= threshold and place < 1 for score, place in zip(own, places, strict=True)]
    assert tpir_at_fpir(found, fpir) == np.mean(expected)
    assert tpir_at(found, threshold, rank=2) == np.mean(own >= threshold)


def test_too_few_non_mated_probes_are_insufficient_data() -> None:
    own, places = np.ones(5), np.zeros(5, np.int64)
    assert threshold_at_fpir(mixed(np.linspace(0, 0.5, 29), own, places), 0.1) is None
    assert threshold_at_fpir(mixed(np.linspace(0, 0.5, 30), own, places), 0.1) is not None


def test_what_there_is_none_of_is_no_number() -> None:
    closed = search(np.eye(2), ["a", "b"], np.eye(2), ["a", "b"])
    assert fpir_at(closed, 0.5) is None
    assert tpir_at_fpir(closed, 0.1) is None
    strangers = search(np.eye(2), ["x", "y"], np.eye(2), ["a", "b"])
    assert cmc(strangers) is None
    assert tpir_at(strangers, 0.5) is None
    assert strangers.ranks.tolist() == [-1, -1]


@pytest.mark.parametrize("fpir", [0.0, 1.0, -0.1])
def test_rates_out_of_range_are_refused(fpir: float) -> None:
    with pytest.raises(OptionError, match=r"FPIR .*: expected above 0 and below 1"):
        threshold_at_fpir(mixed(np.zeros(9), np.ones(1), np.zeros(1, np.int64)), fpir)


def drawn(
    random: np.random.Generator, people: int, probes: int, strangers: int, shift: float
) -> tuple[Search, np.ndarray]:
    """One search: half of the spread of a similarity is its identity's, and `shift` sets genuine ones apart."""
    codes = np.concatenate((np.repeat(np.arange(people), probes), people + np.arange(strangers)))
    easy = random.normal(size=people + strangers)[codes]
    scores = (easy + random.normal(size=len(codes))) / np.sqrt(2)
    own, best = shift + scores[: people * probes], scores[people * probes :]
    return mixed(best, own, (own < 0).astype(int)), np.concatenate(
        (codes[people * probes :], codes[: people * probes])
    )


def test_figures_of_several_galleries_are_the_means_of_each() -> None:
    random = np.random.default_rng(1)
    pairs = [drawn(random, 30, 4, 100, 1.5) for _ in range(3)]
    searches, codes = [list(column) for column in zip(*pairs, strict=True)]
    found = measure_identification(searches, codes)
    assert (found.runs, found.mated, found.non_mated, found.gallery) == (3, 120, 100, 10)
    for rank in (1, 5, 10):
        each = [cmc(one, rank) for one in searches]
        assert found.cmc[str(rank)].value == pytest.approx(np.mean(each), rel=1e-15)
        assert found.deviations[f"cmc={rank}"] == pytest.approx(np.std(each, ddof=1), rel=1e-12)
    each = [tpir_at_fpir(one, 0.1) for one in searches]
    assert found.tpir_at_fpir["0.1"].value == pytest.approx(np.mean(each), rel=1e-15)
    assert found.threshold_at_fpir["0.1"] == pytest.approx(np.mean([threshold_at_fpir(one, 0.1) for one in searches]))
    assert found.deviations["tpir_at_fpir=0.1"] == pytest.approx(np.std(each, ddof=1), rel=1e-12)
    assert found.tpir_at_fpir["0.01"].value is None
    assert found.deviations["tpir_at_fpir=0.01"] is None
    one = measure_identification(searches[:1], codes[:1])
    assert set(one.deviations.values()) == {None}


def test_the_interval_of_a_rate_is_that_of_a_mean_over_identities_by_loops() -> None:
    searched, codes = drawn(np.random.default_rng(2), 40, 5, 60, 1.0)
    interval = measure_identification([searched], [codes], ranks=(1,)).cmc["1"].interval
    assert interval is not None
    hits = searched.ranks[searched.mated] < 1
    parts = []
    for identity in range(40):
        own = hits[codes[searched.mated] == identity]
        parts.append((own.sum() - len(own) * hits.mean()) / len(hits))
    variance = 40 / 39 * sum(part**2 for part in parts)
    # On the logit the interval is symmetric, and t is wider than the normal distribution.
    low, value, high = (np.log(x / (1 - x)) for x in (interval.low, hits.mean(), interval.high))
    assert high - value == pytest.approx(value - low)
    wider = (high - value) * hits.mean() * (1 - hits.mean()) / (np.sqrt(variance) * norm.ppf(0.975))
    assert 1.0 < wider < 1.1


def test_intervals_hold_the_true_rates() -> None:
    random, held = np.random.default_rng(3), {"cmc": [], "tpir": []}
    true = {"cmc": norm.cdf(1.5), "tpir": norm.sf(norm.ppf(0.9) - 1.5)}
    for _ in range(300):
        searched, codes = drawn(random, 60, 4, 200, 1.5)
        found = measure_identification([searched], [codes], ranks=(1,), fpirs=(0.1,))
        for name, estimate in (("cmc", found.cmc["1"]), ("tpir", found.tpir_at_fpir["0.1"])):
            assert estimate.interval is not None
            held[name].append(estimate.interval.low <= true[name] <= estimate.interval.high)
    assert 0.91 <= np.mean(held["cmc"]) <= 0.99
    assert 0.91 <= np.mean(held["tpir"]) <= 0.99


def test_too_little_data_says_so_and_gives_no_interval() -> None:
    searched, codes = drawn(np.random.default_rng(4), 19, 5, 60, 1.0)
    found = measure_identification([searched], [codes], fpirs=(0.1, 0.01))
    assert found.cmc["1"].value is not None
    assert found.cmc["1"].interval is None
    assert found.cmc["1"].reason == "insufficient data: an interval needs 20 identities, found 19"
    few = found.tpir_at_fpir["0.1"]
    assert (few.value is None, few.interval) == (False, None)
    assert few.reason == "insufficient data: an interval needs 20 identities of mated probes, found 19"
    none = found.tpir_at_fpir["0.01"]
    assert (none.value, none.interval) == (None, None)
    assert none.reason == "insufficient data: 60 non-mated probes expect fewer than 3 false positives at FPIR 0.01"
    searched, codes = drawn(np.random.default_rng(5), 30, 5, 60, 1.0)
    found = measure_identification([searched], [codes], fpirs=(0.1,))
    reason = "insufficient data: 6 false positives expected at FPIR 0.1, an interval needs 10"
    assert (found.tpir_at_fpir["0.1"].reason, found.tpir_at_fpir["0.1"].interval) == (reason, None)


def test_strangers_of_few_identities_give_no_interval() -> None:
    searched, codes = drawn(np.random.default_rng(6), 30, 5, 300, 1.0)
    codes[: np.count_nonzero(~searched.mated)] = 30 + np.arange(300) % 3
    found = measure_identification([searched], [codes], fpirs=(0.1,)).tpir_at_fpir["0.1"]
    assert found.value is not None
    assert found.reason == "insufficient data: an interval needs 20 identities of non-mated probes, found 3"


def test_a_perfect_encoder_has_the_exact_limits_of_as_many_trials_as_people() -> None:
    own = np.ones(90)
    found = measure_identification([mixed(np.zeros(0), own, np.zeros(90, int))], [np.repeat(np.arange(30), 3)])
    best = found.cmc["1"]
    assert best.value == 1.0
    assert best.interval is not None
    assert (best.interval.low, best.interval.high) == (pytest.approx(0.025 ** (1 / 30)), 1.0)
    assert best.interval.method == "exact"


def test_without_mated_probes_nothing_is_known() -> None:
    strangers = mixed(np.linspace(0, 1, 50), np.zeros(0), np.zeros(0, int))
    found = measure_identification([strangers], [np.arange(50)])
    assert {each.reason for each in found.cmc.values()} == {"undefined: no mated probes"}
    assert found.tpir_at_fpir["0.1"].reason == "undefined: no mated probes"


def test_heavy_ties_among_strangers_have_a_defined_interval() -> None:
    # All strangers are alike: no threshold below 1 keeps the rate, so none is accepted and none sets the threshold.
    codes = np.concatenate((np.arange(200), 200 + np.repeat(np.arange(40), 2)))
    own = np.tile([0.9, 0.4], 40)
    found = measure_identification([mixed(np.full(200, 0.5), own, np.zeros(80, int))], [codes], fpirs=(0.1,))
    tpir = found.tpir_at_fpir["0.1"]
    assert tpir.value == 0.5
    assert tpir.reason == "insufficient data: all 240 identities do alike"


def test_json_holds_plain_values_by_name() -> None:
    searched, codes = drawn(np.random.default_rng(7), 40, 4, 150, 1.5)
    found = measure_identification([searched, searched], [codes, codes])
    figures = found.as_json()
    assert figures["cmc"]["1"] == found.cmc["1"].value
    assert figures["intervals"]["cmc=1"][0] < figures["cmc"]["1"] < figures["intervals"]["cmc=1"][1]
    assert figures["intervals"]["tpir_at_fpir=0.01"] is None
    assert figures["deviations"]["cmc=1"] == 0.0
    assert (figures["gallery_images"], figures["gallery_identities"], figures["runs"]) == (10, 10, 2)


def test_searches_and_identities_must_belong_together() -> None:
    searched, codes = drawn(np.random.default_rng(8), 3, 2, 4, 1.0)
    with pytest.raises(DataError, match=r"^searches of \[10\] probes and \[9\] identities: expected an identity for"):
        measure_identification([searched], [codes[:-1]])
    with pytest.raises(DataError, match=r"^searches of \[\] probes and \[\] identities"):
        measure_identification([], [])
