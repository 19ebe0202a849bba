import numpy as np
import pytest

from siamese.errors import DataError
from siamese.evaluation import one_shot_scoring
from siamese.evaluation.one_shot import OneShotTrials, draw_one_shot
from siamese.evaluation.one_shot_scoring import estimate_accuracy, score_one_shot, score_similarities


def omniglot(alphabets: dict[str, int], drawers: int = 20) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Identity, alphabet and drawer of each image of a set in which everybody drew everything once, shuffled."""
    rows = [
        (f"character{character:02}", alphabet, drawer)
        for alphabet, characters in alphabets.items()
        for character in range(characters)
        for drawer in range(drawers)
    ]
    order = np.random.default_rng(9).permutation(len(rows))
    identity, group, drawer = (np.array(column)[order] for column in zip(*rows, strict=True))
    return identity, group, drawer


@pytest.fixture(scope="module")
def columns() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return omniglot({f"alphabet{n}": 20 + n for n in range(10)})


def one_run(answer: list[int]) -> OneShotTrials:
    """Trials over rows 0 to 2 (support) and 3 on (tests)."""
    count = len(answer)
    zeros = np.zeros(count, np.int64)
    return OneShotTrials(
        3 + np.arange(count), np.tile(np.arange(3), (count, 1)), np.array(answer), zeros, ("",), zeros
    )


def test_the_most_similar_support_image_is_the_guess() -> None:
    angles = np.radians([0, 40, 80, 10, 50, 90, 30])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    result = score_one_shot(one_run([0, 1, 2, 0]), embeddings)
    assert result.credit.tolist() == [1, 1, 1, 0]  # 30 degrees lies nearer to 40
    assert (result.accuracy, result.trials, result.ways) == (0.75, 4, 3)


def test_ties_share_the_credit() -> None:
    similarity = np.array([[0.5, 0.5, 0.5], [0.5, 0.5, 0.1], [0.5, 0.5, 0.1], [0.1, 0.5, 0.3]])
    result = score_similarities(one_run([0, 1, 2, 1]), similarity)
    assert result.credit.tolist() == pytest.approx([1 / 3, 1 / 2, 0, 1])
    constant = score_one_shot(one_run([0, 1, 2]), np.ones((6, 4)) / 2)
    assert constant.accuracy == pytest.approx(1 / 3)


def test_scores_agree_with_loops_whatever_the_block(
    columns: tuple[np.ndarray, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    identity, group, drawer = columns
    trials = draw_one_shot(identity, groups=group, drawers=drawer, ways=5, runs=1)
    random = np.random.default_rng(0)
    characters = np.unique(np.char.add(identity, group), return_inverse=True)[1]
    embeddings = random.normal(size=(characters.max() + 1, 16))[characters] + random.normal(size=(len(identity), 16))
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    hits = [
        int(np.argmax([embeddings[test] @ embeddings[row] for row in support])) == answer
        for test, support, answer in zip(trials.test, trials.support, trials.answer, strict=True)
    ]
    result = score_one_shot(trials, embeddings)
    assert 0.3 < result.accuracy < 1.0
    assert result.accuracy == pytest.approx(np.mean(hits))
    by_group = {name: np.mean(np.array(hits)[trials.group == n]) for n, name in enumerate(trials.groups)}
    assert result.by_group == pytest.approx(by_group)
    monkeypatch.setattr(one_shot_scoring, "_BLOCK", 3 * 5 * 16)
    assert score_one_shot(trials, embeddings).credit.tolist() == result.credit.tolist()


def test_a_random_encoder_guesses_one_in_twenty(columns: tuple[np.ndarray, ...]) -> None:
    identity, group, drawer = columns
    trials = draw_one_shot(identity, groups=group, drawers=drawer, runs=20)
    embeddings = np.random.default_rng(1).normal(size=(len(identity), 64))
    assert score_one_shot(trials, embeddings).accuracy == pytest.approx(0.05, abs=0.015)


def test_embeddings_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match=r"embeddings \(4, 2\): expected \(N, D\) with at least 5 rows"):
        score_one_shot(one_run([0, 1]), np.ones((4, 2)))
    bad = np.ones((5, 2))
    bad[4] = np.nan
    with pytest.raises(DataError, match="1 of 2 one-shot trials have similarities that are not finite numbers"):
        score_one_shot(one_run([0, 1]), bad)
    with pytest.raises(DataError, match=r"similarities \(2, 2\): expected \(2, 3\), trials by ways"):
        score_similarities(one_run([0, 1]), np.ones((2, 2)))


def graded(accuracies: list[float]) -> tuple[OneShotTrials, np.ndarray]:
    """Ten two-way trials in each of two runs of a group, the given share of them right in each group."""
    groups, rows = len(accuracies), np.arange(20 * len(accuracies))
    right = np.concatenate([np.arange(20) < round(20 * share) for share in accuracies])
    similarity = np.where(right[:, None], [0.9, 0.1], [0.1, 0.9])
    support = np.tile([0, 1], (len(rows), 1))
    group, run = np.repeat(np.arange(groups), 20), np.tile(np.repeat([0, 1], 10), groups)
    names = tuple(f"alphabet{n}" for n in range(groups))
    return OneShotTrials(rows, support, np.zeros(len(rows), np.int64), group, names, run), similarity


def test_accuracy_of_runs_and_groups() -> None:
    trials, similarity = graded([0.5, 0.75, 1.0])
    result = score_similarities(trials, similarity)
    assert result.by_group == {"alphabet0": 0.5, "alphabet1": 0.75, "alphabet2": 1.0}
    # Of ten trials in each group, the first run has 10, 10 and 10 right, the second 0, 5 and 10.
    assert result.by_run.tolist() == [1.0, 0.5]


def test_the_interval_is_over_groups() -> None:
    accuracies = [0.5, 0.6, 0.7, 0.8, 0.9, 0.5, 0.6, 0.7, 0.8, 0.9]
    trials, similarity = graded(accuracies)
    result = score_similarities(trials, similarity)
    found = estimate_accuracy(trials, result)
    assert found.value == pytest.approx(0.7)
    assert found.interval is not None
    # Groups of equal size: the standard error of the mean of ten accuracies.
    error = np.std(accuracies, ddof=1) / np.sqrt(10)
    low, high = (np.log(x / (1 - x)) - np.log(0.7 / 0.3) for x in (found.interval.low, found.interval.high))
    assert high == pytest.approx(-low)
    assert 2.262 <= high / (error / (0.7 * 0.3)) < 2.5  # t of at most nine degrees of freedom


def test_few_groups_have_no_interval() -> None:
    trials, similarity = graded([0.5] * 4 + [0.9] * 5)
    found = estimate_accuracy(trials, score_similarities(trials, similarity))
    assert found.interval is None
    assert found.reason == "insufficient data: an interval needs 10 groups, found 9"
