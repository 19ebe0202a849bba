import re

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit

from siamese.errors import DataError, OptionError
from siamese.evaluation.calibration_band import decide, fit_abstain_band

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def test_decisions_at_the_edges_of_the_band() -> None:
    probabilities = [0.0, 0.19, 0.2, 0.5, 0.79, 0.8, 1.0]
    expected = ["different", "different", "unsure", "unsure", "unsure", "same", "same"]
    assert decide(probabilities, 0.2, 0.8).tolist() == expected
    assert decide([0.49, 0.5], 0.5, 0.5).tolist() == ["different", "same"]
    assert decide([0.0, 0.7, 1.0], 0.0, 1.0).tolist() == ["unsure", "unsure", "same"]
    assert decide([], 0.2, 0.8).shape == (0,)


@pytest.mark.parametrize(("low", "high"), [(0.6, 0.4), (-0.1, 0.5), (0.5, 1.1), (float("nan"), 0.5)])
def test_a_band_that_is_none_is_refused(low: float, high: float) -> None:
    message = f"unsure between {low:g} and {high:g}: expected 0 <= low <= high <= 1"
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        decide([0.5], low, high)


def test_only_probabilities_are_decided() -> None:
    with pytest.raises(DataError, match=r"^1 of 2 probabilities lie outside \[0, 1\]; first: -0\.2$"):
        decide([0.5, -0.2], 0.2, 0.8)
    with pytest.raises(DataError, match=r"^1 of 2 probabilities are not finite numbers"):
        decide([0.5, np.nan], 0.2, 0.8)


def band_by_listing(probabilities: Floats, same: Bools, error: float, prior: float) -> tuple[float, float] | None:
    """Every bound at a probability tried, the least of each side that holds."""
    weights = np.where(same, prior / same.sum(), (1 - prior) / (~same).sum())

    def holds(decided: Bools, right: Bools) -> bool:
        wrong, rightly = weights[decided & ~right].sum(), weights[decided & right].sum()
        allowed = error / (1 - error) * rightly
        return bool(wrong <= allowed + 1e-12 and allowed >= 3 * weights[~right].min() - 1e-12)

    cuts = np.unique(np.append(probabilities, 0.5))
    highs = [cut for cut in cuts if cut >= 0.5 and holds(probabilities >= cut, same)]
    lows = [cut for cut in cuts if cut < 0.5 and holds(probabilities <= cut, ~same)]
    if holds(probabilities < 0.5, ~same):
        lows = [0.5]
    return (max(lows), min(highs)) if highs and lows else None


@pytest.mark.parametrize("prior", [0.3, 0.5])
@pytest.mark.parametrize("error", [0.05, 0.1, 0.2])
@pytest.mark.parametrize("seed", range(6))
def test_the_band_is_the_narrowest_that_holds(seed: int, error: float, prior: float) -> None:
    rng = np.random.default_rng(seed)
    same = rng.random(500) < 0.4
    probabilities = expit(rng.normal(np.where(same, 1.5, -1.5), 1.2)).round(2)  # with ties
    expected = band_by_listing(probabilities, same, error, prior)
    found = fit_abstain_band(probabilities, same, error, prior=prior)
    if expected is None:
        assert found is None
        return
    assert found is not None
    assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)
    answers = decide(probabilities, found.low, found.high)
    weights = np.where(same, prior / same.sum(), (1 - prior) / (~same).sum())
    for answer, wrong, shown in (("same", ~same, found.same_error), ("different", same, found.different_error)):
        decided = answers == answer
        assert shown == pytest.approx(weights[decided & wrong].sum() / weights[decided].sum())
        assert shown <= error + 1e-12
    assert found.unsure == pytest.approx(weights[answers == "unsure"].sum())
    assert (found.wanted_error, found.prior, found.genuine) == (error, prior, same.sum())


def test_some_bands_of_the_listing_are_found_and_some_are_not() -> None:
    rng = np.random.default_rng(0)
    same = rng.random(500) < 0.4
    probabilities = expit(rng.normal(np.where(same, 1.5, -1.5), 1.2))
    assert fit_abstain_band(probabilities, same, 0.1) is not None
    assert fit_abstain_band(probabilities, same, 0.001) is None


def test_a_separated_sample_needs_no_band() -> None:
    band = fit_abstain_band(np.repeat([0.01, 0.99], 400), np.repeat([False, True], 400), 0.01)
    assert band is not None
    assert (band.low, band.high, band.same_error, band.different_error, band.unsure) == (0.5, 0.5, 0.0, 0.0, 0.0)


@pytest.mark.parametrize(("pairs", "found"), [(296, False), (297, True)])
def test_three_wrong_pairs_must_be_allowed_at_the_error(pairs: int, found: bool) -> None:
    # One in a hundred of the pairs called same: 3 impostors on 297 genuine pairs.
    probabilities, same = np.repeat([0.01, 0.99], pairs), np.repeat([False, True], pairs)
    assert (fit_abstain_band(probabilities, same, 0.01) is not None) == found


def test_probabilities_that_never_reach_the_error_have_no_band() -> None:
    same = np.arange(4000) % 2 == 0
    assert fit_abstain_band(np.full(4000, 0.5), same, 0.1) is None
    assert fit_abstain_band(np.where(same, 0.2, 0.8), same, 0.1) is None
    assert fit_abstain_band([0.1, 0.9], [False, True], 0.1) is None


def test_a_pair_of_even_chances_is_not_called_different() -> None:
    probabilities = np.concatenate([np.repeat([0.0, 1.0], 1000), [0.5]])
    same = np.concatenate([np.repeat([False, True], 1000), [True]])
    band = fit_abstain_band(probabilities, same, 0.01)
    assert band is not None
    assert (band.low, band.high, band.different_error) == (0.5, 0.5, 0.0)
    assert decide(probabilities, band.low, band.high)[-1] == "same"


@pytest.mark.parametrize("error", [0.0, 0.5, -1.0, float("nan")])
def test_an_error_that_means_nothing_is_refused(error: float) -> None:
    message = f"error {error:g} among decided pairs: expected a share above 0 and below .5"
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        fit_abstain_band([0.1, 0.9], [False, True], error)


def test_a_band_found_on_some_people_holds_on_others() -> None:
    rng = np.random.default_rng(9)
    same, others = np.arange(44_000) < 4000, np.arange(40_000) < 20_000
    fitted, tested = (expit(rng.normal(np.where(kind, 5.5, -5.5), 3.3)) for kind in (same, others))
    band = fit_abstain_band(fitted, same, 0.01)
    assert band is not None
    answers = decide(tested, band.low, band.high)
    assert np.mean(others[answers == "different"]) < 0.015
    assert np.mean(~others[answers == "same"]) < 0.015
    assert 0.02 < np.mean(answers == "unsure") < 0.3
