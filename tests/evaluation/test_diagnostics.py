import math
import re
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from siamese.errors import DataError
from siamese.evaluation import diagnostics
from siamese.evaluation.diagnostics import alignment, score_gap, uniformity


def on_the_sphere(count: int, dimensions: int, seed: int = 0) -> np.ndarray:
    vectors = np.random.default_rng(seed).normal(size=(count, dimensions))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def at_angles(*degrees: float) -> np.ndarray:
    radians = np.deg2rad(degrees)
    return np.column_stack([np.cos(radians), np.sin(radians)])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("dimensions", [2, 32, 70])
def test_alignment_is_the_mean_squared_distance_of_all_genuine_pairs(seed: int, dimensions: int) -> None:
    embeddings = on_the_sphere(60, dimensions, seed)
    identities = np.random.default_rng(seed).integers(0, 25, 60)
    listed = [
        np.sum((embeddings[a] - embeddings[b]) ** 2)
        for a, b in combinations(range(60), 2)
        if identities[a] == identities[b]
    ]
    assert alignment(embeddings, identities) == pytest.approx(np.mean(listed), abs=1e-12)
    names = np.array([f"person {code}" for code in identities])
    assert alignment(embeddings, names) == pytest.approx(np.mean(listed), abs=1e-12)


def test_alignment_of_closed_forms() -> None:
    # 2 - 2 cos of the angle: 60 degrees gives 1, and copies give 0.
    assert alignment(at_angles(0, 60, 200), ["a", "a", "b"]) == pytest.approx(1.0)
    assert alignment(at_angles(0, 180), [7, 7]) == pytest.approx(4.0)
    same = np.repeat(on_the_sphere(4, 16), 50, axis=0)
    assert alignment(same, np.repeat(np.arange(4), 50)) == pytest.approx(0.0, abs=1e-12)


def test_alignment_needs_an_identity_with_two_images() -> None:
    assert alignment(at_angles(0, 60), ["a", "b"]) is None
    assert alignment(np.empty((0, 8)), []) is None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rows", [2, 3, 7, 60, 200])
def test_uniformity_is_the_log_mean_potential_of_all_pairs(
    seed: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(diagnostics, "_ROWS", 7)
    embeddings = on_the_sphere(rows, 12, seed)
    expected = np.log(np.mean(np.exp(-2 * pdist(embeddings, "sqeuclidean"))))
    assert uniformity(embeddings) == pytest.approx(expected, abs=1e-9)
    order = np.random.default_rng(seed).permutation(rows)
    assert uniformity(embeddings[order]) == pytest.approx(expected, abs=1e-9)


def test_uniformity_of_closed_forms() -> None:
    assert uniformity(at_angles(0, 180)) == pytest.approx(-8.0)
    assert uniformity(at_angles(10, 10, 10)) == pytest.approx(0.0, abs=1e-9)
    assert uniformity(np.eye(500)) == pytest.approx(-4.0)
    assert uniformity(np.eye(1)) is None
    assert uniformity(np.empty((0, 4))) is None


def test_uniformity_of_many_embeddings_is_drawn_and_close_to_the_exact_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # Two clusters, so that pairs differ much: nearly half of them are near 0, the rest at 2.
    centres = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    vectors = centres[np.arange(3000) % 2] + np.random.default_rng(0).normal(0, 0.1, (3000, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    exact = uniformity(vectors)
    monkeypatch.setattr(diagnostics, "EXACT_EMBEDDINGS", 2999)
    monkeypatch.setattr(diagnostics, "DRAWN_PAIRS", 2**17)
    drawn = uniformity(vectors, seed=0)
    assert drawn == uniformity(vectors, seed=0)
    assert drawn != uniformity(vectors, seed=1)
    # Potentials lie in [0, 1]: five standard errors of their mean are at most 5 * 0.5 / sqrt(2^17).
    assert math.exp(drawn or 0) == pytest.approx(math.exp(exact or 0), abs=2.5 / math.sqrt(2**17))


def test_a_drawn_pair_is_never_an_embedding_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diagnostics, "EXACT_EMBEDDINGS", 1)
    assert uniformity(at_angles(0, 180)) == pytest.approx(-8.0)


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_rounded_embeddings_are_unit_embeddings(kind: Any) -> None:
    embeddings, identities = on_the_sphere(40, 64), np.arange(40) // 4
    rounded = embeddings.astype(kind)
    assert alignment(rounded, identities) == pytest.approx(alignment(embeddings, identities), abs=2e-3)
    assert uniformity(rounded) == pytest.approx(uniformity(embeddings), abs=2e-3)


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (
            np.ones(3),
            "embeddings: found float64 of shape (3,), expected floating-point numbers of shape (images, dimensions)",
        ),
        (
            np.eye(2, dtype=int),
            "embeddings: found int64 of shape (2, 2), expected floating-point numbers of shape (images, dimensions)",
        ),
        (
            np.array([[1.0, 0.0], [math.nan, 0.0]]),
            "embedding of row 1: holds numbers that are not finite; leave such rows out",
        ),
        (
            np.array([[1.0, 0.0], [0.0, 1.5]]),
            "embedding of row 1: length 1.5, expected 1; normalise embeddings before diagnosing them",
        ),
        (
            np.array([[0.0, 0.0], [0.0, 1.0]]),
            "embedding of row 0: length 0, expected 1; normalise embeddings before diagnosing them",
        ),
    ],
)
def test_what_are_no_unit_embeddings_is_refused(embeddings: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        uniformity(embeddings)
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        alignment(embeddings, np.arange(len(embeddings)))


def test_another_number_of_identities_is_refused() -> None:
    message = "embeddings (2, 2) and identities (3,): expected a label for each row"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        alignment(np.eye(2), [0, 0, 1])


def test_the_gap_is_that_of_the_two_means_and_d_prime_counts_it_in_deviations() -> None:
    rng = np.random.default_rng(0)
    genuine, impostor = rng.normal(0.7, 0.1, 40), rng.normal(0.1, 0.2, 90)
    gap = score_gap(np.concatenate([genuine, impostor]), np.arange(130) < 40)
    assert gap.genuine_mean == pytest.approx(genuine.mean())
    assert gap.impostor_mean == pytest.approx(impostor.mean())
    assert gap.genuine_std == pytest.approx(genuine.std(ddof=1))
    assert gap.impostor_std == pytest.approx(impostor.std(ddof=1))
    assert gap.gap == pytest.approx(genuine.mean() - impostor.mean())
    pooled = math.sqrt((genuine.var(ddof=1) + impostor.var(ddof=1)) / 2)
    assert gap.d_prime == pytest.approx((genuine.mean() - impostor.mean()) / pooled)


def test_d_prime_of_two_normals_is_their_distance_in_deviations() -> None:
    same = np.arange(200_000) < 100_000
    scores = np.random.default_rng(0).normal(3.0 * same, 1.0)
    assert score_gap(scores, same).d_prime == pytest.approx(3.0, abs=0.03)
    assert score_gap(-scores, same).d_prime == pytest.approx(-3.0, abs=0.03)


def test_what_two_pairs_or_constant_scores_do_not_say_is_none() -> None:
    gap = score_gap([0.25, 0.75], [False, True])
    assert (gap.genuine_mean, gap.impostor_mean, gap.gap) == (0.75, 0.25, 0.5)
    assert (gap.genuine_std, gap.impostor_std, gap.d_prime) == (None, None, None)
    constant = score_gap([0.1] * 6, [False, True] * 3)
    assert (constant.genuine_mean, constant.genuine_std, constant.gap, constant.d_prime) == (0.1, 0.0, 0.0, None)
    with pytest.raises(DataError, match=r"^0 genuine and 2 impostor pairs: verification is measured on both kinds"):
        score_gap([0.1, 0.2], [False, False])
