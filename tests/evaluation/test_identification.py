import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from siamese.evaluation.identification import ranks, top_k_accuracy


def problem(seed: int, images: int = 60, identities: int = 9) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.normal(size=(images, identities)), random.integers(identities, size=images)


@pytest.mark.parametrize("k", [1, 2, 5, 8])
@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_scikit_learn(seed: int, k: int) -> None:
    logits, labels = problem(seed)
    expected = top_k_accuracy_score(labels, logits, k=k, labels=np.arange(9))
    assert top_k_accuracy(logits, labels, k) == pytest.approx(expected)


def test_top_one_is_the_accuracy_of_the_highest() -> None:
    logits, labels = problem(4)
    assert top_k_accuracy(logits, labels) == (logits.argmax(axis=1) == labels).mean()


def test_more_places_than_identities_hold_everybody() -> None:
    logits, labels = problem(5)
    assert top_k_accuracy(logits, labels, 9) == 1.0
    assert top_k_accuracy(logits, labels, 100) == 1.0


def test_of_equal_logits_the_first_identity_goes_first() -> None:
    logits = np.zeros((3, 3), np.float32)
    assert ranks(logits, np.array([0, 1, 2])).tolist() == [0, 1, 2]
    assert top_k_accuracy(logits, np.array([0, 1, 2])) == pytest.approx(1 / 3)


def test_scaling_logits_changes_nothing() -> None:
    logits, labels = problem(6)
    assert top_k_accuracy(3 * logits - 1, labels, 3) == top_k_accuracy(logits, labels, 3)


@pytest.mark.parametrize(
    ("logits", "labels", "k", "message"),
    [
        (np.zeros((2, 3)), np.array([0, 3]), 1, "labels from 0 to 3, expected 0 to 2"),
        (np.zeros((2, 3)), np.array([-1, 2]), 1, "labels from -1 to 2, expected 0 to 2"),
        (np.zeros((2, 3)), np.array([0, 1]), 0, "k=0: expected 1 or more"),
        (np.zeros((2, 3)), np.array([0]), 1, r"logits of shape \(2, 3\) and labels of shape \(1,\)"),
        (np.zeros((0, 3)), np.array([], np.int64), 1, "N above 0"),
        (np.full((1, 2), np.nan), np.array([0]), 1, "not numbers"),
    ],
)
def test_what_cannot_be_measured_is_refused(logits: np.ndarray, labels: np.ndarray, k: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        top_k_accuracy(logits, labels, k)
