"""Several models on the same pairs, each against the first."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from siamese.errors import DataError
from siamese.evaluation.intervals import Interval
from siamese.evaluation.mcnemar import McNemar, mcnemar
from siamese.evaluation.paired import Comparison, compare
from siamese.evaluation.weighted import Statistic
from siamese.inference.evaluation import Evaluation

STATISTICS: tuple[Statistic | str, ...] = (
    *("accuracy", "auc", "eer", "f1"),
    *(Statistic("tar_at_far", far) for far in (1e-1, 1e-2, 1e-3)),
)


@dataclass(frozen=True)
class ModelComparison:
    """Two models on the pairs that both have a score for.

    Attributes:
        first: name of one model.
        second: name of the other.
        pairs: that both scored.
        statistics: second against first, by name.
        decisions: McNemar's test on the decisions.
    """

    first: str
    second: str
    pairs: int
    statistics: dict[str, Comparison]
    decisions: McNemar

    def as_json(self) -> dict[str, Any]:
        """Plain values, intervals as their two ends."""
        return {
            "first": self.first,
            "second": self.second,
            "pairs": self.pairs,
            "differences": {
                name: {**asdict(each), "interval": _ends(each.interval)} for name, each in self.statistics.items()
            },
            "mcnemar": self.decisions._asdict(),
        }


def compare_models(evaluations: Sequence[tuple[str, Evaluation]]) -> tuple[ModelComparison, ...]:
    """Compare every model with the first one.

    Args:
        evaluations: of models by name, all of one pair file.

    Raises:
        DataError: two models have no scored pairs of either kind in common.
    """
    return tuple(_compare(evaluations[0], other) for other in evaluations[1:])


def _compare(first: tuple[str, Evaluation], second: tuple[str, Evaluation]) -> ModelComparison:
    names, both = (first[0], second[0]), (first[1], second[1])
    shared = both[0].scores.scored & both[1].scores.scored
    within = [shared[each.scores.scored] for each in both]
    same = both[0].same[within[0]]
    if same.all() or not same.any():
        raise DataError(
            f"{names[0]} and {names[1]}: they share no scored pairs of both kinds; nothing can be compared"
        )
    people = both[0].people
    left, right = people.left[within[0]], people.right[within[0]]
    scores = [each.similarities[kept] for each, kept in zip(both, within, strict=True)]
    one, other = (each.measurement.accepted[kept] for each, kept in zip(both, within, strict=True))
    found = compare(scores[0], scores[1], same, left, right, STATISTICS, accepted=(one, other), names=names)
    return ModelComparison(
        first=names[0],
        second=names[1],
        pairs=int(np.count_nonzero(shared)),
        statistics=found,
        decisions=mcnemar(one, other, same, names=names),
    )


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]
