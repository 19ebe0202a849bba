import numpy as np
import pytest

from siamese.errors import DataError, OptionError
from siamese.evaluation import metrics, score_normalisation
from siamese.evaluation.score_normalisation import CohortStatistics, cohort_statistics, normalise_scores


def problem(seed: int, images: int = 30, members: int = 25) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings of images and cohort, neither of unit length, and the identities of both."""
    random = np.random.default_rng(seed)
    vectors, cohort = random.normal(size=(images, 6)), random.normal(size=(members, 6))
    return vectors, cohort, random.integers(8, size=images), random.integers(8, size=members)


def by_loops(
    vectors: np.ndarray, cohort: np.ndarray, own: np.ndarray | None, others: np.ndarray | None, top: int | None
) -> tuple[list[float], list[float]]:
    means, deviations = [], []
    for row, vector in enumerate(vectors):
        cosines = [
            float(vector @ member / np.linalg.norm(vector) / np.linalg.norm(member))
            for column, member in enumerate(cohort)
            if own is None or others is None or own[row] != others[column]
        ]
        used = sorted(cosines, reverse=True)[:top]
        mean = sum(used) / len(used)
        means.append(mean)
        deviations.append((sum((value - mean) ** 2 for value in used) / len(used)) ** 0.5)
    return means, deviations


@pytest.mark.parametrize("labelled", [False, True])
@pytest.mark.parametrize("top", [None, 2, 10, 25])
@pytest.mark.parametrize("seed", range(2))
def test_statistics_agree_with_loops(seed: int, top: int | None, labelled: bool) -> None:
    vectors, cohort, own, others = problem(seed)
    names = {"identities": own, "cohort_identities": others} if labelled else {}
    found = cohort_statistics(vectors, cohort, top=top, **names)
    mean, std = by_loops(vectors, cohort, own if labelled else None, others if labelled else None, top)
    np.testing.assert_allclose(found.mean, mean, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found.std, std, rtol=0, atol=1e-12)


def test_float32_embeddings_lose_no_more_than_their_rounding() -> None:
    vectors, cohort, own, others = problem(3)
    exact = cohort_statistics(vectors, cohort, identities=own, cohort_identities=others, top=5)
    rounded = cohort_statistics(
        vectors.astype(np.float32), cohort.astype(np.float32), identities=own, cohort_identities=others, top=5
    )
    np.testing.assert_allclose(rounded.mean, exact.mean, atol=1e-6)
    np.testing.assert_allclose(rounded.std, exact.std, atol=1e-6)
    assert rounded.mean.dtype == np.float64


@pytest.mark.parametrize("rows", [1, 7])
def test_blocks_change_nothing(rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, cohort, own, others = problem(4)
    whole = cohort_statistics(vectors, cohort, identities=own, cohort_identities=others)
    monkeypatch.setattr(score_normalisation, "_BLOCK", rows * len(cohort))
    parts = cohort_statistics(vectors, cohort, identities=own, cohort_identities=others)
    np.testing.assert_allclose(parts.mean, whole.mean, atol=1e-14)
    np.testing.assert_allclose(parts.std, whole.std, atol=1e-14)


def test_each_method_agrees_with_its_formula() -> None:
    random = np.random.default_rng(5)
    scores = random.uniform(-1, 1, 50)
    left, right = (CohortStatistics(random.normal(size=50), random.uniform(0.1, 1, 50)) for _ in range(2))
    z = [(score - m) / s for score, m, s in zip(scores, left.mean, left.std, strict=True)]
    t = [(score - m) / s for score, m, s in zip(scores, right.mean, right.std, strict=True)]
    np.testing.assert_allclose(normalise_scores(scores, left, right, "z"), z, rtol=1e-12)
    np.testing.assert_allclose(normalise_scores(scores, left, right, "t"), t, rtol=1e-12)
    np.testing.assert_allclose(normalise_scores(scores, left, right), (np.array(z) + t) / 2, rtol=1e-12)


def test_s_norm_is_symmetric_and_z_norm_mirrors_t_norm() -> None:
    random = np.random.default_rng(6)
    scores = random.uniform(-1, 1, 20)
    left, right = (CohortStatistics(random.normal(size=20), random.uniform(0.1, 1, 20)) for _ in range(2))
    assert (normalise_scores(scores, left, right, "s") == normalise_scores(scores, right, left, "s")).all()
    assert (normalise_scores(scores, left, right, "z") == normalise_scores(scores, right, left, "t")).all()


def test_statistics_of_pairs_are_those_of_their_images() -> None:
    statistics = CohortStatistics(np.array([1.0, 2.0, 3.0]), np.array([4.0, 5.0, 6.0]))
    assert statistics.of([2, 0, 2]).mean.tolist() == [3, 1, 3]
    assert statistics.of([2, 0, 2]).std.tolist() == [6, 4, 6]


def test_images_that_are_similar_to_everybody_are_put_right() -> None:
    """Half of the images share a component: two of them are alike whoever they show."""
    random = np.random.default_rng(7)
    people = random.normal(size=(60, 32))
    images = np.repeat(people, 4, axis=0) + 0.6 * random.normal(size=(240, 32))
    images[::2, 0] += 8.0
    identity = np.repeat(np.arange(60), 4)
    cohort = random.normal(size=(300, 32))
    cohort[::2, 0] += 8.0
    left, right = np.triu_indices(240, 1)
    unit = images / np.linalg.norm(images, axis=1, keepdims=True)
    raw = np.einsum("nd,nd->n", unit[left], unit[right])
    statistics = cohort_statistics(images, cohort)
    same = identity[left] == identity[right]
    normalised = normalise_scores(raw, statistics.of(left), statistics.of(right))
    assert metrics.auc(normalised, same) > metrics.auc(raw, same)


def test_a_constant_cohort_meets_the_floor() -> None:
    cohort = np.tile([[3.0, 4.0]], (5, 1))
    found = cohort_statistics(np.array([[1.0, 0.0]]), cohort, floor=0.01)
    assert found.mean == pytest.approx([0.6])
    assert found.std.tolist() == [0.01]
    assert np.isfinite(normalise_scores([0.7], found, found)).all()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"top": 1}, OptionError, "top 1 of the cohort: expected 2 to 25, its size"),
        ({"top": 26}, OptionError, "top 26 of the cohort: expected 2 to 25"),
        ({"floor": 0.0}, OptionError, "floor of the deviation 0: expected above 0"),
        ({"identities": np.zeros(30)}, OptionError, "give both or neither"),
        (
            {"identities": np.zeros(3), "cohort_identities": np.zeros(25)},
            DataError,
            r"identities \(3,\) and \(25,\): expected \(30,\) for the images and \(25,\) for the cohort",
        ),
        (
            {"identities": np.zeros(30), "cohort_identities": np.repeat([0, 1], [24, 1])},
            DataError,
            "image 0: 1 of the cohort show another identity, expected at least two; enlarge the cohort",
        ),
        (
            {"identities": np.array(["a", None] * 15, dtype=object), "cohort_identities": np.array(["a"] * 25)},
            DataError,
            "identities of images and cohort: some are missing",
        ),
    ],
)
def test_what_cannot_be_normalised_is_refused(arguments: dict, error: type, message: str) -> None:
    vectors, cohort, _, _ = problem(0)
    with pytest.raises(error, match=message):
        cohort_statistics(vectors, cohort, **arguments)


def test_the_image_named_is_counted_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, cohort, _, _ = problem(0)
    monkeypatch.setattr(score_normalisation, "_BLOCK", 4 * len(cohort))
    own = np.arange(30) + 1
    own[22] = 0
    with pytest.raises(DataError, match="image 22: 0 of the cohort show another identity"):
        cohort_statistics(vectors, cohort, identities=own, cohort_identities=np.zeros(25, int))


def test_embeddings_that_do_not_fit_are_refused() -> None:
    vectors, cohort, _, _ = problem(0)
    with pytest.raises(DataError, match="cohort of 1 images: expected at least two"):
        cohort_statistics(vectors, cohort[:1])
    with pytest.raises(DataError, match=r"embeddings \(30, 6\) and cohort \(25, 5\): expected \(M, D\) and \(C, D\)"):
        cohort_statistics(vectors, cohort[:, :5])
    cohort[3, 2] = np.nan
    with pytest.raises(DataError, match="1 of 25 embeddings of the cohort are not finite; leave those images out"):
        cohort_statistics(vectors, cohort)


def test_scores_that_do_not_fit_are_refused() -> None:
    one = CohortStatistics(np.zeros(2), np.ones(2))
    with pytest.raises(OptionError, match="unknown score normalisation 'x': known: s, t, z"):
        normalise_scores([0.1, 0.2], one, one, "x")  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"scores \(1,\), statistics \(2,\) and \(2,\): expected one of each side"):
        normalise_scores([0.1], one, one)
    with pytest.raises(DataError, match="1 of 2 scores are not finite numbers"):
        normalise_scores([0.1, np.nan], one, one)
