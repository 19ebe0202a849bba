"""What `siamese evaluate` says, computed once more from its scores by scikit-learn and from the definitions alone."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.spatial.distance import pdist
from scipy.stats import t as student
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    confusion_matrix,
    f1_score,
    log_loss,
    matthews_corrcoef,
    precision_recall_curve,
    precision_score,
    recall_score,
    roc_auc_score,
    roc_curve,
)

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
FARS = ("0.1", "0.01", "0.001", "0.0001", "1e-05", "1e-06")
# For an interval: people, people where genuine pairs alone count, and expected errors.
FEWEST_PEOPLE, FEWEST_PEOPLE_FOR_TAR, FEWEST_ERRORS = 60, 100, 5


class Counts(NamedTuple):
    """Pairs accepted at falling thresholds, from nothing to everything."""

    thresholds: Floats
    genuine: NDArray[np.int64]
    impostor: NDArray[np.int64]

    @property
    def far(self) -> Floats:
        return self.impostor / self.impostor[-1]

    @property
    def tar(self) -> Floats:
        return self.genuine / self.genuine[-1]


def counts(scores: Floats, same: Bools) -> Counts:
    far, tar, thresholds = roc_curve(same, scores, drop_intermediate=False)
    kinds = (int(same.sum()), int((~same).sum()))
    return Counts(
        thresholds, *(np.rint(rate * n).astype(np.int64) for rate, n in zip((tar, far), kinds, strict=True))
    )


def midway_at_best(found: Counts, merit: Floats) -> float:
    """Midway to the next lower score at the middle one of the best thresholds, the upper one of two."""
    best = np.flatnonzero(merit == merit.max())
    at = int(best[(len(best) - 1) // 2])
    if at == 0:
        return float(np.nextafter(found.thresholds[1], np.inf))
    if at == len(merit) - 1:
        return float(found.thresholds[-1])
    return float((found.thresholds[at] + found.thresholds[at + 1]) / 2)


def accuracy_threshold(scores: Floats, same: Bools) -> float:
    found = counts(scores, same)
    return midway_at_best(found, found.genuine + (~same).sum() - found.impostor)


def thresholds_of_other_folds(scores: Floats, same: Bools, folds: NDArray[Any]) -> Floats:
    """The threshold that each pair is decided at."""
    of_fold = {name: accuracy_threshold(scores[folds != name], same[folds != name]) for name in np.unique(folds)}
    return np.array([of_fold[name] for name in folds])


def equal_error_rate(found: Counts) -> float:
    """Where FAR - FRR, drawn as straight lines from point to point, is 0."""
    places = np.arange(len(found.far))

    def gap(place: float) -> float:
        return float(np.interp(place, places, found.far) - np.interp(place, places, 1 - found.tar))

    return float(np.interp(brentq(gap, 0, places[-1], xtol=1e-13), places, found.far))


def at_fars(found: Counts, rates: Floats) -> dict[str, float | None]:
    """A rate at the last threshold that keeps a FAR, None where the impostor pairs expect fewer than three errors."""
    impostors = found.impostor[-1]
    kept = {far: found.impostor <= round(float(far) * impostors, 6) for far in FARS}
    enough = {far: round(float(far) * impostors, 6) >= 3 for far in FARS}
    return {far: float(rates[kept[far]][-1]) if enough[far] else None for far in FARS}


def figures(scores: Floats, same: Bools, thresholds: Floats, folds: NDArray[Any] | None) -> dict[str, Any]:
    """Every figure of the decisions at `thresholds` (one a pair) and of the scores."""
    accepted, found = scores >= thresholds, counts(scores, same)
    (rejects, false_accepts), (misses, hits) = confusion_matrix(same, accepted, labels=[False, True])
    parts = [np.ones(len(same), bool)] if folds is None else [folds == name for name in np.unique(folds)]
    accuracies = [accuracy_score(same[part], accepted[part]) for part in parts]
    f1 = 2 * found.genuine / (found.genuine + found.impostor + same.sum())
    precision, recall, _ = precision_recall_curve(same, scores)
    highest = float((2 * precision * recall / np.maximum(precision + recall, 1e-300)).max())
    return {
        "genuine": hits + misses,
        "impostor": false_accepts + rejects,
        "accuracy": np.mean(accuracies),
        "accuracy_std": None if folds is None else pd.Series(accuracies).std(),
        "threshold": thresholds.mean(),
        "precision": precision_score(same, accepted, zero_division=0),
        "recall": recall_score(same, accepted),
        "far": false_accepts / (false_accepts + rejects),
        "f1": f1_score(same, accepted),
        "mcc": matthews_corrcoef(same, accepted),
        "auc": roc_auc_score(same, scores),
        "eer": equal_error_rate(found),
        "average_precision": average_precision_score(same, scores),
        "best_f1": {"f1": highest, "threshold": midway_at_best(found, f1)},
        "min_detection_cost": (0.01 * (1 - found.tar) + 0.99 * found.far).min() / 0.01,
        "tar_at_far": at_fars(found, found.tar),
        "frr_at_far": at_fars(found, 1 - found.tar),
    }


def calibration_figures(probabilities: Floats, same: Bools, prior: float) -> dict[str, float]:
    """Errors of probabilities where genuine pairs weigh `prior` together, in fifteen bins of equal width."""
    weights = np.where(same, prior / same.sum(), (1 - prior) / (~same).sum())
    bins = pd.cut(probabilities, np.linspace(0, 1, 16), include_lowest=True, labels=False)
    gaps = pd.Series(weights * (probabilities - same)).groupby(bins).sum()
    return {
        "ece": float(gaps.abs().sum()),
        "brier": brier_score_loss(same, probabilities, sample_weight=weights),
        "log_loss": log_loss(same, probabilities, sample_weight=weights),
    }


def diagnostics(scores: Floats, same: Bools, vectors: NDArray[Any], names: NDArray[Any]) -> dict[str, Any]:
    """How the embeddings (M, D) of images of `names` (M,) lie, and how far apart the two kinds of scores are."""
    exact = vectors.astype(np.float64)  # of unit length to seven digits
    squared = pdist(exact / np.linalg.norm(exact, axis=1, keepdims=True), "sqeuclidean")
    rows, columns = np.triu_indices(len(names), 1)
    of_kind = {"genuine": pd.Series(scores[same]), "impostor": pd.Series(scores[~same])}
    gap = {f"{name}_{what}": getattr(each, what)() for name, each in of_kind.items() for what in ("mean", "std")}
    gap["gap"] = gap["genuine_mean"] - gap["impostor_mean"]
    gap["d_prime"] = gap["gap"] / np.sqrt((gap["genuine_std"] ** 2 + gap["impostor_std"] ** 2) / 2)
    return {
        "alignment": squared[names[rows] == names[columns]].mean(),
        "uniformity": np.log(np.exp(-2 * squared).mean()),
        "gap": gap,
    }


def differences(found: Any, expected: Any, name: str) -> list[str]:
    """Where a result of nested dictionaries and lists differs from the expected one by more than 1e-9."""
    if isinstance(expected, dict):
        if not isinstance(found, dict) or set(found) != set(expected):
            return [f"{name}: {found}, expected the keys {sorted(expected)}"]
        return [each for key in expected for each in differences(found[key], expected[key], f"{name} {key}")]
    if isinstance(expected, list):
        if not isinstance(found, list) or len(found) != len(expected):
            return [f"{name}: {found}, expected {expected}"]
        pairs = zip(found, expected, strict=True)
        return [each for k, pair in enumerate(pairs) for each in differences(*pair, f"{name} {k}")]
    if expected is None or found is None:
        return [] if found is expected else [f"{name}: {found}, expected {expected}"]
    return [] if abs(found - expected) <= 1e-9 else [f"{name}: {found}, expected {expected}"]


class People:
    """Which pairs share a person, told from every two pairs (N, N); meant for thousands of pairs at the most."""

    def __init__(self, left: NDArray[Any], right: NDArray[Any]) -> None:
        names = np.unique(np.concatenate((left, right)))
        self.count = len(names)
        self.shows = (left[:, None] == names) | (right[:, None] == names)
        crossed = (left[:, None] == right) & (right[:, None] == left)
        self.one_dyad = crossed | ((left[:, None] == left) & (right[:, None] == right))
        both = self.shows.astype(np.float32)
        self.share_one = both @ both.T > 0

    def variance(self, influence: Floats) -> float:
        """The sum of e e' over every two pairs that share a person; at least .9 of that within dyads."""
        shared, alone = (float(influence @ (each @ influence)) for each in (self.share_one, self.one_dyad))
        return max(shared, 0.9 * alone)

    def interval(self, name: str, value: float, influence: Floats) -> list[float]:
        """The 95 % interval on the logit of a figure's place between its lowest value and 1."""
        low = -1.0 if name == "mcc" else 0.0
        variance = self.variance(influence) * self.count / (self.count - 1)
        place, width = (value - low) / (1 - low), 1 - low
        quantile = student.ppf(0.975, _freedom(name, influence @ self.shows))
        step = quantile * np.sqrt(variance) / width / (place * (1 - place))
        odds = place / (1 - place) * np.exp([-step, step])
        return [float(low + width * each / (1 + each)) for each in odds]


def _freedom(name: str, persons: Floats) -> float:
    """Of the variance that people contribute: 2 over its relative variance, by how the figure depends on it.

    Half of that for AUC and EER, but three at least. For rates, of what a straight line from people's
    contributions to the value leaves.
    """
    shares = np.square(persons) / np.square(persons).sum()
    line = np.ones((len(persons), 1)) if name in ("auc", "eer") else np.column_stack((np.ones(len(persons)), persons))
    left = float(np.square(shares - line @ np.linalg.lstsq(line, shares)[0]).sum())
    half, least = (2, 3.0) if name in ("auc", "eer") else (1, 1.0)
    return max(least, 2 / left / half) if left > 1e-12 else np.inf


def intervals(scores: Floats, same: Bools, accepted: Bools, people: People) -> dict[str, list[float] | None]:
    """Every interval of the figures; None where the people or the expected errors are too few."""
    named = [*_DECIDED, "auc", "eer", *(f"tar_at_far={far}" for far in FARS)]
    if people.count < FEWEST_PEOPLE:
        return dict.fromkeys(named)
    found = {name: _of_decisions(name, same, accepted, people) for name in _DECIDED}
    curve = counts(scores, same)
    placed = _placements(scores, same)
    found["auc"] = people.interval("auc", roc_auc_score(same, scores), placed)
    found["eer"] = people.interval("eer", equal_error_rate(curve), _of_threshold(scores, same, people, curve, None))
    for far, rate in at_fars(curve, curve.tar).items():
        name, expected = f"tar_at_far={far}", round(float(far) * (~same).sum(), 6)
        found[name] = None
        if rate not in (None, 0.0, 1.0) and expected >= FEWEST_ERRORS and people.count >= FEWEST_PEOPLE_FOR_TAR:
            found[name] = people.interval(name, rate, _of_threshold(scores, same, people, curve, float(far)))
    return found


_DECIDED = ("accuracy", "f1", "precision", "recall", "far", "mcc")


def _of_decisions(name: str, same: Bools, accepted: Bools, people: People) -> list[float] | None:
    if name == "recall" and people.count < FEWEST_PEOPLE_FOR_TAR:
        return None
    (rejects, false_accepts), (misses, hits) = confusion_matrix(same, accepted, labels=[False, True]).astype(float)
    value, slopes = _slopes(name, hits, misses, false_accepts, rejects)
    if value in (0.0, 1.0):
        return _exact(name, value, same, people)
    influence = np.array(slopes)[np.where(same, 0, 2) + np.where(same == accepted, 0, 1)]
    return people.interval(name, value, _centred(influence, same))


def _slopes(name: str, hits: float, misses: float, false_accepts: float, rejects: float) -> tuple[float, list[float]]:
    """A figure and its slope over the number of hits, misses, rejects and false accepts, by hand."""
    h, m, f, r = hits, misses, false_accepts, rejects
    if name == "mcc":
        root = np.sqrt((h + m) * (f + r) * (h + f) * (m + r))
        value = (h * r - m * f) / root
        margins = ((h + m, h + f), (h + m, m + r), (f + r, m + r), (f + r, h + f))
        return value, [
            part / root - value / 2 * (1 / one + 1 / other)
            for part, (one, other) in zip((r, -f, h, -m), margins, strict=True)
        ]
    # A ratio of sums: what each of the four counts adds to the part and to the whole.
    part, whole = {
        "accuracy": ((1, 0, 1, 0), (1, 1, 1, 1)),
        "f1": ((2, 0, 0, 0), (2, 1, 0, 1)),
        "precision": ((1, 0, 0, 0), (1, 0, 0, 1)),
        "recall": ((1, 0, 0, 0), (1, 1, 0, 0)),
        "far": ((0, 0, 0, 1), (0, 0, 1, 1)),
    }[name]
    total = float(np.dot(whole, (h, m, r, f)))
    value = float(np.dot(part, (h, m, r, f)) / total)
    return value, [(one - value * all_) / total for one, all_ in zip(part, whole, strict=True)]


def _exact(name: str, value: float, same: Bools, people: People) -> list[float] | None:
    """Clopper and Pearson's limit where all of n decisions are alike; people count once."""
    of = {"accuracy": np.ones(len(same), bool), "recall": same, "far": ~same}.get(name)
    if of is None:
        return None
    trials = min(int(of.sum()), int(people.shows[of].any(axis=0).sum()))
    limit = 0.025 ** (1 / trials)
    return [limit, 1.0] if value == 1 else [0.0, 1 - limit]


def _placements(scores: Floats, same: Bools) -> Floats:
    """What each pair adds to the share of (genuine, impostor) in the right order; ties are half in order."""
    above = np.sign(scores[same][:, None] - scores[~same]) / 2 + 0.5
    influence = np.zeros(len(same))
    influence[same], influence[~same] = above.mean(axis=1) / same.sum(), above.mean(axis=0) / (~same).sum()
    return _centred(influence, same)


def _of_threshold(scores: Floats, same: Bools, people: People, curve: Counts, far: float | None) -> Floats:
    """Decisions at the threshold, moved along the characteristic by its secant over a standard error to each side."""
    if far is None:
        at = int(np.argmax(curve.far >= 1 - curve.tar))
    else:
        at = int(np.flatnonzero(curve.impostor <= round(far * (~same).sum(), 6))[-1])
    accepted = _centred((scores >= curve.thresholds[at]).astype(float), same)
    hits, false_accepts = np.where(same, accepted / same.sum(), 0), np.where(same, 0, accepted / (~same).sum())
    error = np.sqrt(people.variance(false_accepts) + (people.variance(hits) if far is None else 0))
    around = np.clip(curve.far[at] + error * np.array([-1, 1]), 0, 1)
    slope = np.diff(np.interp(around, curve.far, curve.tar))[0] / np.diff(around)[0]
    return hits - slope * false_accepts if far is not None else (slope * false_accepts - hits) / (1 + slope)


def _centred(influence: Floats, same: Bools) -> Floats:
    return influence - np.where(same, influence[same].mean(), influence[~same].mean())
