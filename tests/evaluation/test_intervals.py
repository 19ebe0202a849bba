import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import beta, norm

from siamese.errors import DataError, OptionError
from siamese.evaluation import intervals
from siamese.evaluation.influence import Dyads, dyadic_variance, influence, product_variance
from siamese.evaluation.intervals import Estimate, Interval, IntervalOptions, estimates
from siamese.evaluation.sufficiency import FEWEST_PEOPLE, FEWEST_PEOPLE_FOR_TAR
from siamese.evaluation.weighted import Ranked, Statistic, check_statistics, weighted_statistics

NAMES = [
    "auc",
    "eer",
    "best_accuracy",
    "accuracy",
    "balanced_accuracy",
    "f1",
    "precision",
    "recall",
    "tar",
    "far",
    "mcc",
]
ALL = check_statistics([*NAMES, Statistic("tar_at_far", 0.1)])
METHODS = ("dyadic", "percentile", "bca")
Pairs = tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]


def sparse_pairs(pairs: int = 200, people: int = 150, seed: int = 0, harder: float = 1.0) -> Pairs:
    """Half genuine, half impostor pairs of people who differ in how well they are known."""
    generator = np.random.default_rng(seed)
    ease = generator.normal(0.0, 0.5, people)
    genuine, left = generator.integers(people, size=(2, pairs // 2))
    right = (left + generator.integers(1, people, pairs // 2)) % people
    left, right = np.concatenate((genuine, left)), np.concatenate((genuine, right))
    same = left == right
    scores = np.where(same, 1.5 + ease[left], 0.5 * (ease[left] + ease[right])) + generator.normal(0, 0.5, pairs)
    return scores * harder, same, left, right


def measured(pairs: Pairs, method: str = "dyadic", **options: float) -> dict[str, Estimate]:
    made = IntervalOptions(method, **{"resamples": 300, **options})  # type: ignore[arg-type]
    return estimates(*pairs, ALL, accepted=pairs[0] > 0.75, options=made)


def interval_of(found: Estimate) -> Interval:
    assert found.interval is not None, found.reason
    return found.interval


@pytest.mark.parametrize("method", METHODS)
def test_every_statistic_lies_inside_its_interval(method: str) -> None:
    for name, found in measured(sparse_pairs(), method).items():
        interval = interval_of(found)
        assert interval.low < (found.value or 0.0) < interval.high, name
        assert (interval.level, interval.method) == (0.95, method)
        assert interval.resamples == (0 if method == "dyadic" else 300)


def test_the_influence_of_pairs_is_the_derivative_of_the_statistic() -> None:
    scores, same, left, right = sparse_pairs(300)
    ranked, dyads = Ranked.of(np.round(scores, 1), same, scores > 0.75), Dyads.of(same, left, right)
    smooth = check_statistics(["auc", "accuracy", "balanced_accuracy", "f1", "precision", "tar", "far", "mcc"])
    generator, step = np.random.default_rng(1), 1e-6
    moves = generator.normal(size=300)
    for kind in (same, ~same):
        moves[kind] -= moves[kind].mean()

    up, down = (
        weighted_statistics(ranked, (1 + side * step * moves)[None, ranked.order], smooth)[0] for side in (1, -1)
    )

    expected = [influence(ranked, dyads, each) @ moves for each in smooth]
    np.testing.assert_allclose((up - down) / (2 * step), expected, rtol=1e-5, atol=1e-9)


def test_the_dyadic_variance_is_the_sum_over_pairs_that_share_a_person() -> None:
    _, same, left, right = sparse_pairs(120, 25)
    e = np.random.default_rng(2).normal(size=120) + np.where(same, 0.3, np.sin(left) + np.sin(right))
    sharing = (
        (left[:, None] == left) | (left[:, None] == right) | (right[:, None] == left) | (right[:, None] == right)
    )

    expected = e @ sharing @ e

    assert dyadic_variance(Dyads.of(same, left, right), e) == pytest.approx(expected, rel=1e-12)


def test_the_dyadic_variance_is_not_far_below_that_of_independent_dyads() -> None:
    people, images = 8, 2
    who = np.repeat(np.arange(people), images)
    first, second = np.triu_indices(people * images, 1)
    left, right = who[first], who[second]
    same = left == right
    dyads = Dyads.of(same, left, right)
    # Of four people in a ring, what each shares with its neighbours cancels: sums over people are 0.
    ring = {(0, 1): 1.0, (1, 2): -1.0, (2, 3): 1.0, (0, 3): -1.0}
    e = np.array([ring.get((int(a), int(b)), 0.0) / images**2 for a, b in zip(left, right, strict=True)])

    assert np.allclose(dyads.sums(e)[1], 0.0)
    assert dyadic_variance(dyads, e) == pytest.approx(0.9 * 4.0)


def test_the_product_variance_is_that_of_the_bootstrap_by_identity() -> None:
    _, same, left, right = sparse_pairs(120, 25)
    e = np.random.default_rng(2).normal(size=120) / 120
    dyads = Dyads.of(same, left, right)
    drawn = np.random.default_rng(3).poisson(1.0, (100_000, dyads.people))
    moved = np.where(same, drawn[:, dyads.left], drawn[:, dyads.left] * drawn[:, dyads.right]) @ e

    assert product_variance(dyads, e) == pytest.approx(moved.var(), rel=0.03)


def test_pairs_that_share_no_one_give_the_binomial_standard_error() -> None:
    people = np.arange(400)
    same = people < 200
    right = np.where(same, people, people + 1000)
    accepted = people % 10 != 0
    scores = accepted + 0.001 * people

    found = estimates(scores, same, people, right, ["tar"], accepted=accepted)["tar"]

    assert found.value == 0.9
    logit, error = np.log(9), 1 / np.sqrt(200 * 0.09)
    low, high = 1 / (1 + np.exp(-(logit + norm.ppf((0.025, 0.975)) * error)))
    # A little wider, for the mean was estimated; no t, for a rate of 0 and 1 tells its variance.
    interval = interval_of(found)
    assert low - 0.01 < interval.low < low
    assert high < interval.high < high + 0.01


@pytest.mark.parametrize("scale", [7, 10**15])
@pytest.mark.parametrize("method", METHODS)
def test_intervals_do_not_depend_on_the_order_of_pairs_or_on_the_codes_of_people(method: str, scale: int) -> None:
    pairs = sparse_pairs()
    order = np.random.default_rng(1).permutation(200)
    moved = tuple(each[order] for each in pairs)
    expected = {name: interval_of(found) for name, found in measured(pairs, method).items()}

    other = measured((moved[0], moved[1], scale * moved[2] - 3, scale * moved[3] - 3), method)

    for name, found in other.items():
        ends = interval_of(found).low, interval_of(found).high
        assert ends == pytest.approx((expected[name].low, expected[name].high), rel=1e-9), name


def test_scores_in_another_unit_give_the_same_intervals() -> None:
    assert measured(sparse_pairs(harder=2.0**10))["auc"] == measured(sparse_pairs())["auc"]


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_one_seed_gives_one_interval_and_another_seed_another(method: str) -> None:
    pairs = sparse_pairs()

    assert measured(pairs, method, seed=4) == measured(pairs, method, seed=4)
    assert measured(pairs, method, seed=4) != measured(pairs, method, seed=5)


@pytest.mark.parametrize("method", METHODS)
def test_a_higher_level_and_fewer_pairs_widen_intervals(method: str) -> None:
    def width(found: dict[str, Estimate]) -> float:
        interval = interval_of(found["auc"])
        return interval.high - interval.low

    assert width(measured(sparse_pairs(), method, level=0.99)) > width(measured(sparse_pairs(), method))
    assert width(measured(sparse_pairs(), method)) > 1.5 * width(measured(sparse_pairs(2000, 1500), method))


def test_repeated_pairs_are_no_news() -> None:
    pairs = sparse_pairs()
    tripled: Pairs = tuple(np.tile(each, 3) for each in pairs)  # type: ignore[assignment]

    once, thrice = (interval_of(measured(each)["auc"]) for each in (pairs, tripled))

    assert (thrice.low, thrice.high) == pytest.approx((once.low, once.high), abs=0.01)


def test_a_far_with_fewer_than_three_expected_errors_is_insufficient_data() -> None:
    asked = [Statistic("tar_at_far", 1e-4), Statistic("tar_at_far", 3e-3), Statistic("tar_at_far", 5e-3)]
    pairs = sparse_pairs(2000, 1000)

    found = estimates(*pairs, asked)

    assert found["tar_at_far=0.0001"] == Estimate(
        None, None, "insufficient data: 1000 impostor pairs expect fewer than 3 errors at FAR 0.0001"
    )
    three = found["tar_at_far=0.003"]
    assert three.value is not None
    assert three.interval is None
    assert three.reason == "insufficient data: 3 errors expected at FAR 0.003, an interval needs 5"
    assert found["tar_at_far=0.005"].interval is not None


@pytest.mark.parametrize("method", METHODS)
def test_too_few_people_have_values_and_no_intervals(method: str) -> None:
    for name, found in measured(sparse_pairs(200, FEWEST_PEOPLE - 1), method).items():
        needed = FEWEST_PEOPLE_FOR_TAR if name in ("tar", "recall", "tar_at_far=0.1") else FEWEST_PEOPLE
        assert found.value is not None
        assert found.interval is None
        assert found.reason == f"insufficient data: {FEWEST_PEOPLE - 1} people, an interval needs {needed}"


def test_rates_of_genuine_pairs_need_more_people_than_others() -> None:
    found = measured(sparse_pairs(800, FEWEST_PEOPLE_FOR_TAR - 1))

    without = {name for name, each in found.items() if each.interval is None}

    assert without == {"tar", "recall", "tar_at_far=0.1"}
    assert found["tar"].reason == "insufficient data: 99 people, an interval needs 100"


def test_no_error_gives_exact_limits_of_proportions_and_no_interval_else() -> None:
    people = np.arange(160)
    same = people < 60
    found = estimates(1.0 * same, same, people, np.where(same, people, people + 500), [*NAMES], accepted=same)

    tar, far, accuracy = (interval_of(found[name]) for name in ("tar", "far", "accuracy"))
    assert (tar.low, tar.high) == (pytest.approx(beta.ppf(0.025, 60, 1)), 1.0)
    assert (far.low, far.high) == (0.0, pytest.approx(beta.ppf(0.975, 1, 100)))
    assert (accuracy.low, accuracy.method) == (pytest.approx(beta.ppf(0.025, 160, 1)), "exact")
    for name in ("auc", "eer", "f1", "mcc", "best_accuracy"):
        assert found[name].interval is None
        assert found[name].reason == "insufficient data: no pair is out of order, so nothing shows the spread"


def test_precision_of_nothing_accepted_is_undefined() -> None:
    scores, same, left, right = sparse_pairs()

    found = estimates(scores, same, left, right, ["precision"], accepted=np.zeros(200, dtype=bool))["precision"]

    assert found == Estimate(None, None, "undefined: no pair was accepted")


def test_resamples_that_leave_a_statistic_undefined_are_counted_and_left_out() -> None:
    people = np.arange(400)
    left, right = np.append(people, [0, 1, 2, 3]), np.append(people + 1000, [0, 1, 2, 3])
    same = left == right
    scores = np.random.default_rng(0).normal(same, 1.0)

    found = estimates(scores, same, left, right, ["auc"], options=IntervalOptions("percentile", resamples=1000))[
        "auc"
    ]

    # Four people with genuine pairs are all missing from a share of e^-4 = .018 of the resamples.
    assert 5 <= found.degenerate <= 40
    assert interval_of(found).resamples == 1000 - found.degenerate


def test_too_many_undefined_resamples_give_no_interval() -> None:
    people = np.arange(100)
    left, right = np.append(people, [0, 1]), np.append(people + 1000, [0, 1])
    scores = np.random.default_rng(0).normal(size=102)

    found = estimates(scores, left == right, left, right, ["auc"], options=IntervalOptions("bca", resamples=400))[
        "auc"
    ]

    assert found.interval is None
    assert found.reason == f"insufficient data: {found.degenerate} of 400 resamples leave it undefined"


def test_constant_scores_have_values_and_no_interval() -> None:
    _, same, left, right = sparse_pairs()

    found = estimates(np.zeros(200), same, left, right, ["auc"])["auc"]

    assert found == Estimate(0.5, None, "insufficient data: no person's pairs differ from another's")


def test_two_pairs_have_a_value_and_no_interval() -> None:
    found = estimates([1.0, 0.0], [True, False], [0, 1], [0, 2], ["auc"])["auc"]

    assert found == Estimate(1.0, None, f"insufficient data: 3 people, an interval needs {FEWEST_PEOPLE}")


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Sparse pairs of people with effects of their own; 400 repetitions have a standard deviation of .011."""
    true = {"auc": [], "tar": [], "far": []}  # type: dict[str, list[float]]
    for seed in range(20):
        scores, same, left, right = sparse_pairs(20_000, 10_000, 9000 + seed)
        for name, found in estimates(scores, same, left, right, list(true), accepted=scores > 0.75).items():
            true[name].append(found.value or 0.0)
    hits = dict.fromkeys(true, 0)
    for seed in range(400):
        pairs = sparse_pairs(seed=seed)
        for name, found in estimates(*pairs, list(true), accepted=pairs[0] > 0.75).items():
            interval = interval_of(found)
            hits[name] += interval.low <= np.mean(true[name]) <= interval.high
    assert all(0.91 <= count / 400 <= 0.985 for count in hits.values()), hits


def test_intervals_cover_the_truth_where_every_image_is_compared_with_every_other() -> None:
    """60 people with means of their own, three images each; 150 repetitions have a standard deviation of .018."""
    who = np.repeat(np.arange(60), 3)
    first, second = np.triu_indices(180, 1)
    left, right = who[first], who[second]
    same = left == right

    def scores(generator: np.random.Generator) -> NDArray[np.float64]:
        harder = np.exp(0.5 * generator.normal(size=60))
        noise = generator.normal(size=len(left)) * np.where(same, harder[left], 1.0)
        return np.where(same, 3.0, 0.0) + noise

    names = ["auc", "eer", "far", "accuracy"]
    draws = [scores(np.random.default_rng(seed)) for seed in range(150)]
    found = [estimates(each, same, left, right, names, accepted=each > 1.7) for each in draws]
    for name in names:
        true = np.mean([each[name].value for each in found])
        held = np.mean([interval_of(each[name]).low <= true <= interval_of(each[name]).high for each in found])
        assert 0.91 <= held <= 0.99, name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "bcaa"}, "unknown interval method 'bcaa': did you mean 'bca'"),
        ({"level": 95}, "level 95: expected a share between 0 and 1, such as 0.95"),
        ({"resamples": 10}, "resamples 10: expected at least 100"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        IntervalOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        (
            [0, 1],
            [0, 1],
            "1 of 2 pairs contradict their identities; first: row 1 is impostor, with the codes 1 and 1",
        ),
        (
            [0, 1],
            [2, 3],
            "row 0 is genuine, with the codes 0 and 2; genuine pairs have one identity, impostor pairs two",
        ),
        ([0, 1, 2], [0, 2], r"identity codes, left: int64 of shape \(3,\); expected one whole number for each of 2"),
        (
            [0, 1],
            [0.0, 2.0],
            r"identity codes, right: float64 of shape \(2,\); expected one whole number for each of",
        ),
    ],
)
def test_identities_that_contradict_the_labels_are_refused(left: list[int], right: list[int], message: str) -> None:
    with pytest.raises(DataError, match=message):
        estimates([0.9, 0.1], [True, False], left, right, ["auc"])


def test_scores_of_one_kind_or_not_finite_are_refused() -> None:
    with pytest.raises(DataError, match="2 genuine and 0 impostor pairs: verification is measured on both kinds"):
        estimates([0.9, 0.1], [True, True], [0, 1], [0, 1], ["auc"])
    with pytest.raises(DataError, match="1 of 2 scores are not finite numbers"):
        estimates([np.nan, 0.1], [True, False], [0, 1], [0, 2], ["auc"])


def test_methods_are_listed() -> None:
    assert intervals.METHODS == METHODS
