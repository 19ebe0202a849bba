import re

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from siamese.errors import DataError, OptionError
from siamese.evaluation.calibration_band import decide, measure_abstaining

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def drawn(seed: int, genuine: int, impostor: int, prior: float) -> tuple[Floats, Bools]:
    """Probabilities that are right at `prior`: log-odds whose likelihood ratio is known, normal of equal variance."""
    rng = np.random.default_rng(seed)
    same = np.arange(genuine + impostor) < genuine
    # N(m, 2m) against N(-m, 2m): the log-likelihood ratio of x is x.
    evidence = rng.normal(np.where(same, 2.0, -2.0), 2.0)
    return expit(evidence + np.log(prior / (1 - prior))), same


def test_answers_are_given_where_the_wrong_one_is_improbable_enough() -> None:
    probabilities = [0.0, 0.1, np.nextafter(0.1, 1), 0.5, np.nextafter(0.9, 0), 0.9, 1.0]
    answers = decide(probabilities, 0.1)
    assert answers.answered.tolist() == [True, True, False, False, False, True, True]
    assert answers.same[answers.answered].tolist() == [False, False, True, True]


@pytest.mark.parametrize("error", [1e-9, 0.01, 0.2, 0.499])
def test_swapping_the_kinds_swaps_the_answers(error: float) -> None:
    # Sixteenths and their complements are exact.
    probabilities = np.arange(17) / 16
    answers, turned = decide(probabilities, error), decide(1 - probabilities, error)
    np.testing.assert_array_equal(answers.answered, turned.answered)
    np.testing.assert_array_equal(answers.same[answers.answered], ~turned.same[turned.answered])


def test_nothing_to_decide_gives_no_answers() -> None:
    assert [part.shape for part in decide([], 0.1)] == [(0,), (0,)]


@pytest.mark.parametrize("error", [0.0, 0.5, 1.0, -0.1, float("nan"), float("inf")])
def test_an_error_that_leaves_nothing_to_weigh_is_refused(error: float) -> None:
    message = (
        f"--abstain {error:g}: expected the probability of a wrong answer that is allowed, above 0 and below 0.5"
    )
    for call in (lambda: decide([0.5], error), lambda: measure_abstaining([0.1, 0.9], [False, True], error, 0.5)):
        with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
            call()


def test_only_probabilities_are_decided() -> None:
    with pytest.raises(DataError, match=r"^1 of 2 probabilities lie outside \[0, 1\]; first: -0\.2$"):
        decide([0.5, -0.2], 0.2)
    with pytest.raises(DataError, match=r"^1 of 2 probabilities are not finite numbers"):
        decide([0.5, np.nan], 0.2)


@pytest.mark.parametrize("prior", [0.1, 0.5, 0.8])
@pytest.mark.parametrize("error", [0.01, 0.1, 0.3])
def test_abstaining_is_measured_as_pair_by_pair(error: float, prior: float) -> None:
    probabilities, same = drawn(3, 300, 500, prior)
    probabilities = probabilities.round(2)  # with ties, at the bound too
    found = measure_abstaining(probabilities, same, error, prior)
    answered = wrong = everything = 0.0
    counts = {"unsure": 0, "false_accepts": 0, "false_rejects": 0}
    for probability, label in zip(probabilities.tolist(), same.tolist(), strict=True):
        weight = prior / 300 if label else (1 - prior) / 500
        mistaken = (probability >= 0.5) != label
        everything += weight * mistaken
        if min(probability, 1 - probability) > error:
            counts["unsure"] += 1
            continue
        answered += weight
        wrong += weight * mistaken
        counts["false_rejects" if label else "false_accepts"] += mistaken
    assert found.answered == pytest.approx(answered)
    assert found.error == pytest.approx(wrong / answered)
    assert found.error_of_all == pytest.approx(everything)
    assert {name: getattr(found, name) for name in counts} == counts
    assert (found.pairs, found.allowed, found.prior) == (800, error, prior)
    assert found.as_json() == vars(found)


@pytest.mark.parametrize("prior", [0.1, 0.5])
def test_no_other_rule_that_answers_as_often_errs_less(prior: float) -> None:
    probabilities, same = drawn(1, 40_000, 40_000, prior)
    weights = np.where(same, prior, 1 - prior) / 40_000
    found = measure_abstaining(probabilities, same, 0.05, prior)
    assert found.error is not None
    assert found.error < 0.05
    assert found.error < found.error_of_all
    # Others that answer at two thresholds, with the same share answered on the whole.
    order = np.argsort(probabilities)
    summed = np.cumsum(weights[order])
    for low in np.linspace(0.02, 0.98, 25) * found.answered:
        different = np.zeros(len(same), bool)
        different[order[summed <= low]] = True
        called_same = np.zeros(len(same), bool)
        called_same[order[summed > 1 - (found.answered - low)]] = True
        wrong = weights[(different & same) | (called_same & ~same)].sum() / found.answered
        assert wrong >= found.error - 0.001


def test_the_wrong_answers_are_as_rare_as_their_probabilities_say() -> None:
    probabilities, same = drawn(2, 100_000, 100_000, 0.5)
    for error in (0.01, 0.05, 0.2):
        found = measure_abstaining(probabilities, same, error, 0.5)
        told = np.minimum(probabilities, 1 - probabilities)
        assert found.error == pytest.approx(told[told <= error].mean(), abs=0.002)


def test_where_nothing_is_answered_there_is_no_error() -> None:
    found = measure_abstaining([0.4, 0.6, 0.5], [False, True, True], 0.1, 0.5)
    assert (found.answered, found.error, found.unsure) == (0.0, None, 3)
    assert found.error_of_all == 0.0


def test_where_all_is_answered_abstaining_changes_nothing() -> None:
    found = measure_abstaining([0.0, 1.0, 1.0, 0.0], [False, True, False, True], 0.1, 0.5)
    assert (found.answered, found.unsure) == (1.0, 0)
    assert found.error == found.error_of_all == 0.5
    assert (found.false_accepts, found.false_rejects) == (1, 1)


def test_one_kind_of_pair_cannot_be_weighed() -> None:
    with pytest.raises(DataError, match="2 genuine and 0 impostor pairs"):
        measure_abstaining([0.9, 0.8], [True, True], 0.1, 0.5)
