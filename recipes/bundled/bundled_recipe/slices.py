"""False accepts within groups of people, and faces of another kind: grey photographs of forty people.

Within a group (a gender, an origin, a band of ages, as the names of the files say) every two held-out images are an
impostor pair. Nobody knows whom they show, so a few pairs are of one person: the FAR is an upper bound. Beside it
stands the FAR without the pairs that the teacher, whose errors are much rarer, takes for one person; where the
student repeats errors of its teacher that is a lower bound.
"""

import numpy as np
import pandas as pd
from scipy.special import expit, logit  # type: ignore[import-untyped]

from bundled_recipe.groups import AGES, COLUMNS, GENDERS, ORIGINS
from bundled_recipe.reading import Bools, Floats, Ints, Pairs, Reading, described
from bundled_recipe.records import Record, read_csv
from bundled_recipe.view1 import Decisions
from bundled_recipe.workplace import Workplace
from siamese.evaluation.influence import Dyads
from siamese.evaluation.intervals import estimates
from siamese.evaluation.operating_points import OperatingPoint, choose_operating_point
from siamese.evaluation.spread import beyond_value, spread
from siamese.images.walk import walk_images

POINTS = ("accuracy", "far=0.01", "far=0.001")
FEWEST_IMAGES = 60
ORDER = {"gender": tuple(GENDERS.values()), "origin": tuple(ORIGINS.values()), "age": AGES}


def measure_groups(
    place: Workplace, student: Reading, teacher: Reading, decisions: Decisions, marks: Decisions
) -> Record:
    """FAR of the student's operating points within each group, with intervals.

    Args:
        place: prepared.
        student: what is measured.
        teacher: marks pairs that are likely of one person.
        decisions: the student's.
        marks: the teacher's.
    """
    table = read_csv(place.groups)
    points = [point for point in decisions[0] if point.name in POINTS]
    strictest = strictest_point(marks[0])
    own, known = student.embed(table["path"]), teacher.embed(table["path"])
    limit = strictest.threshold
    found: Record = {"everybody": _of_group(own, known, points, limit)}
    for column in COLUMNS:
        groups: Record = {}
        members = table.groupby(column).indices
        for name in filter(members.__contains__, ORDER[column]):
            groups[name] = _of_group(own[members[name]], known[members[name]], points, limit)
        found[column] = groups
    return found


def strictest_point(points: tuple[OperatingPoint, ...]) -> OperatingPoint:
    """The point of the lowest FAR that the validation pairs support."""
    return min((point for point in points if point.name.startswith("far=")), key=lambda point: float(point.name[4:]))


def measure_orl(place: Workplace, reading: Reading, decisions: Decisions) -> Record:
    """AUC and balanced accuracy on every pair of the ORL faces, at the model's own operating point."""
    root = place.images / "orl"
    paths = sorted(f"images/orl/{path}" for path in walk_images(root))
    people = pd.factorize(pd.Series(paths).str.split("/").str[2])[0].astype(np.int64)
    first, second = np.triu_indices(len(paths), 1)
    same = people[first] == people[second]
    index = pd.Index(paths)
    pairs = Pairs(index[first], index[second], same, people[first], people[second])
    vectors = reading.embed(paths)
    scores = reading.verifier.similarity(vectors[first], vectors[second])
    point = choose_operating_point(decisions[0])
    found = estimates(
        *(scores, same, pairs.left_person, pairs.right_person),
        ["auc", "eer", "balanced_accuracy", "far", "tar"],
        accepted=scores >= point.threshold,
    )
    return {"images": len(paths), "people": int(people.max()) + 1, "genuine": int(same.sum())} | {
        name: described(each) for name, each in found.items()
    }


def _of_group(
    own: "np.ndarray[tuple[int, int], np.dtype[np.float32]]",
    known: "np.ndarray[tuple[int, int], np.dtype[np.float32]]",
    points: list[OperatingPoint],
    limit: float,
) -> Record:
    first, second = np.triu_indices(len(own), 1)
    scores, marks = (own @ own.T)[first, second], (known @ known.T)[first, second]
    alike = marks >= limit
    found: Record = {"images": len(own), "pairs": len(scores), "taken_for_one_person": int(alike.sum())}
    for point in points:
        accepted = scores >= point.threshold
        found[point.name] = {
            "all": false_accepts(accepted, first, second),
            "without_likely_same": false_accepts(accepted[~alike], first[~alike], second[~alike]),
        }
    return found


def false_accepts(accepted: Bools, left: Ints, right: Ints) -> Record:
    """The share of impostor pairs accepted, with its 95 % interval for pairs that share images.

    As `siamese.evaluation.intervals` makes it, for pairs among which none is genuine: logit(FAR) +- t s, with the
    dyadic variance. Where none is accepted the limit is the exact one of as many trials as there are images.

    Args:
        accepted: decisions, shape (N,).
        left, right: which two images, as codes, shape (N,).
    """
    if not len(accepted):
        return {"value": None, "interval": None, "reason": "no pairs"}
    share = float(accepted.mean())
    dyads = Dyads.of(np.zeros(len(accepted), bool), left, right)
    if dyads.people < FEWEST_IMAGES:
        return {
            "value": share,
            "interval": None,
            "reason": f"{dyads.people} images, an interval needs {FEWEST_IMAGES}",
        }
    if share in (0.0, 1.0):
        limit = float(0.025 ** (1 / dyads.people))
        return {"value": share, "interval": [limit, 1.0] if share else [0.0, 1.0 - limit]}
    contributions: Floats = (accepted - share) / len(accepted)
    found = spread(dyads, contributions, 0.95, beyond_value)
    if found is None:
        return {"value": share, "interval": None, "reason": "all images do alike"}
    reach = found.quantile * found.error / (share * (1 - share))
    low, high = expit(logit(share) + reach * np.array([-1.0, 1.0]))
    return {"value": share, "interval": [float(low), float(high)]}
