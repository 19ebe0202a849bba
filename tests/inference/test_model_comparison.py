from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from siamese.evaluation.protocols import measure_at
from siamese.inference.evaluation import Evaluation
from siamese.inference.model_comparison import ModelComparison, compare_models
from siamese.inference.scoring import PairScores
from siamese.pairing.pair_identities import PairIdentities

Floats = NDArray[np.float64]
NONE = "no significant difference"


def evaluation(scores: Floats, left: NDArray[np.int64], right: NDArray[np.int64]) -> Evaluation:
    frame = pd.DataFrame({"left": left.astype(str), "right": right.astype(str), "same": left == right})
    rows = np.zeros(len(scores), dtype=np.int64)
    return Evaluation(
        measurement=measure_at(scores, left == right, 0.5, "other pairs"),
        pairs=len(scores),
        failed=0,
        images=2 * len(scores),
        scores=PairScores(frame, scores, [], [], rows, rows, None),
        people=PairIdentities(left, right, "columns", 0),
        estimates={},
        calibration=None,
        fitted_here=0,
        root=Path(),
    )


def compared(people: int, better_by: float) -> ModelComparison:
    """Of 800 pairs: two models that share most of their noise, the second parts genuine pairs by so much more."""
    random = np.random.default_rng(0)
    genuine, left = random.integers(people, size=(2, 400))
    right = (left + random.integers(1, people, 400)) % people
    left, right = np.concatenate((genuine, left)), np.concatenate((genuine, right))
    first = 0.5 + 0.5 * ((left == right) - 0.5) + random.normal(0, 0.25, 800)
    second = first + better_by * ((left == right) - 0.5 + random.normal(0, 0.2, 800))
    (found,) = compare_models([("old", evaluation(first, left, right)), ("new", evaluation(second, left, right))])
    return found


def test_the_same_scores_show_no_difference_however_few_people_there_are() -> None:
    for people in (5, 60, 300):
        found = compared(people, 0.0)

        assert found.pairs == 800
        verdicts = {name: each.verdict for name, each in found.statistics.items()}
        assert verdicts.pop("tar_at_far=0.001").startswith(
            "insufficient data: 400 impostor pairs expect fewer than 3"
        )
        assert set(verdicts.values()) == {NONE}
        assert found.decisions == (0, 0, 1.0, 1.0, NONE)
        assert found.as_json()["differences"]["auc"]["interval"] == [0.0, 0.0]


def test_a_planted_improvement_is_found_with_its_interval() -> None:
    found = compared(300, 0.3)

    for name in ("accuracy", "auc", "eer", "f1", "tar_at_far=0.1"):
        each = found.statistics[name]
        assert each.verdict.startswith(f"new is better: {name} by ")
        assert each.interval is not None and each.difference is not None
        assert each.interval.low < each.difference < each.interval.high
        assert found.as_json()["differences"][name]["interval"] == [each.interval.low, each.interval.high]
    assert found.decisions.verdict.startswith("new is better: right on ")
