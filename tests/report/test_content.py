from typing import Any

import numpy as np
import pytest

from siamese.errors import DataError
from siamese.report.content import ModelContent, ReportContent
from siamese.report.measured import Matches

SCORES, SAME = np.array([0.9, 0.1]), np.array([True, False])


def model(**values: Any) -> ModelContent:
    return ModelContent(**{"name": "a", "facts": (), "scores": SCORES, "same": SAME, "accepted": SAME} | values)


def test_decisions_must_be_as_many_as_scores() -> None:
    with pytest.raises(DataError, match=r"model 'a': decisions \(3,\) and scores \(2,\); expected one decision for"):
        model(accepted=np.ones(3, bool))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"scores": np.array([0.9, np.nan])}, "1 of 2 scores are not finite numbers"),
        ({"same": np.array([True, True])}, "2 genuine and 0 impostor pairs: verification is measured on both kinds"),
        ({"scores": np.array([0.9])}, r"scores \(1,\) and labels \(2,\): expected two vectors of one length"),
    ],
)
def test_scores_that_cannot_be_measured_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        model(**values)


def test_a_report_has_a_model() -> None:
    with pytest.raises(DataError, match="report: 0 models; expected at least one"):
        ReportContent("title", (), ())


def test_a_matrix_of_another_shape_is_refused() -> None:
    with pytest.raises(DataError, match="false matches, far: expected 2 rows of 2, one for each group"):
        Matches(("a", "b"), ((0.1,), (0.2,)), ((1, 1), (1, 1)))
    with pytest.raises(DataError, match="false matches, impostors: expected 2 rows of 2"):
        Matches(("a", "b"), ((0.1, 0.2), (0.2, None)), ((1, 1),))
