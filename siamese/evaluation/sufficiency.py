"""Which statistics have a value, and which an interval, with so many pairs and people."""

import numpy as np

from siamese.evaluation.influence import Dyads
from siamese.evaluation.metrics import enough_for_far
from siamese.evaluation.weighted import Floats, Ranked, Statistic

# Errors gather in few people, and a sample of few people may hold none of the hard ones: then its rates are too good
# and their variance is too small at once, which no method sees. Nor can the sample be asked whether it is such a one:
# of 1,000 dense tables of 100 people, intervals of AUC cover 94 %, of the fifth that shows most people to err, 85 %.
# What is known beforehand is the number of people.
FEWEST_PEOPLE = 60
# Genuine pairs are few where a person has few images, and the missed ones are of a handful of people: of 60 people
# with six images each, intervals of TAR cover 92 %; of 100, 95 %.
FEWEST_PEOPLE_FOR_TAR = 100
RATES_OF_GENUINE = ("tar", "recall", "tar_at_far")
# TAR at a FAR has a value from three expected errors on. With three its interval would cover 86 %, with five 95 %.
FEWEST_ERRORS = 5.0
# Of resamples that leave a statistic undefined: with more, the others no longer stand for all.
MOST_DEGENERATE = 0.05


def fewest_people(statistic: Statistic) -> int:
    """How many people an interval of a statistic needs."""
    return FEWEST_PEOPLE_FOR_TAR if statistic.name in RATES_OF_GENUINE else FEWEST_PEOPLE


def why_no_value(statistic: Statistic, value: float, ranked: Ranked) -> str:
    """Why a statistic has no value, or nothing where it has one."""
    impostors = int(np.count_nonzero(~ranked.same))
    if statistic.far is not None and not enough_for_far(impostors, statistic.far):
        return f"insufficient data: {impostors} impostor pairs expect fewer than 3 errors at FAR {statistic.far:g}"
    return "undefined: no pair was accepted" if np.isnan(value) else ""


def why_no_interval(statistic: Statistic, ranked: Ranked, dyads: Dyads) -> str:
    """Why a statistic has a value and no interval, or nothing where there are people and errors enough."""
    if dyads.people < fewest_people(statistic):
        return f"insufficient data: {dyads.people} people, an interval needs {fewest_people(statistic)}"
    expected = np.count_nonzero(~ranked.same) * (statistic.far or 1.0)
    if statistic.far is None or expected >= FEWEST_ERRORS * (1 - 1e-9):
        return ""
    found = f"{expected:g} errors expected at FAR {statistic.far:g}"
    return f"insufficient data: {found}, an interval needs {FEWEST_ERRORS:g}"


def too_many_degenerate(drawn: Floats) -> str:
    """Why these resamples give no interval; nothing where they do. None of them is too many of none."""
    undefined = int(np.count_nonzero(np.isnan(drawn)))
    if undefined <= MOST_DEGENERATE * len(drawn):
        return ""
    return f"insufficient data: {undefined} of {len(drawn)} resamples leave it undefined"
