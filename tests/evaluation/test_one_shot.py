import numpy as np
import pytest

from siamese.errors import DataError, OptionError
from siamese.evaluation import one_shot
from siamese.evaluation.one_shot import OneShotTrials, draw_one_shot, score_one_shot, score_similarities


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


def test_defaults_are_the_400_trials_of_omniglot(columns: tuple[np.ndarray, ...]) -> None:
    identity, group, drawer = columns
    trials = draw_one_shot(identity, groups=group, drawers=drawer)
    assert trials.support.shape == (400, 20)
    assert trials.ways == 20
    assert np.bincount(trials.group).tolist() == [40] * 10
    assert trials.groups == tuple(sorted(set(group)))


@pytest.mark.parametrize("seed", range(3))
def test_every_trial_keeps_the_protocol(columns: tuple[np.ndarray, ...], seed: int) -> None:
    identity, group, drawer = columns
    trials = draw_one_shot(identity, groups=group, drawers=drawer, ways=7, runs=3, seed=seed)
    assert len(trials.test) == 10 * 3 * 7
    for test, support, answer, code in zip(trials.test, trials.support, trials.answer, trials.group, strict=True):
        assert len(set(identity[support])) == 7
        assert set(group[support]) == {group[test]} == {trials.groups[code]}
        assert identity[support[answer]] == identity[test]
        assert len(set(drawer[support])) == 1
        assert drawer[support[0]] != drawer[test]
    # In a run each identity is asked for once, and all its tests are by one drawer.
    tests = trials.test.reshape(-1, 7)
    assert all(len(set(identity[run])) == 7 and len(set(drawer[run])) == 1 for run in tests)
    assert len(set(trials.answer.tolist())) == 7


def test_runs_of_a_group_take_other_pairs_of_drawers(columns: tuple[np.ndarray, ...]) -> None:
    identity, group, drawer = omniglot({"a": 4}, drawers=3)
    trials = draw_one_shot(identity, groups=group, drawers=drawer, ways=4, runs=6)
    pairs = {(int(drawer[test]), int(drawer[row[0]])) for test, row in zip(trials.test, trials.support, strict=True)}
    assert len(pairs) == 6  # all ordered pairs of three
    assert len(draw_one_shot(identity, groups=group, drawers=drawer, ways=4, runs=8).test) == 32


def test_without_drawers_test_and_support_are_two_images_of_an_identity() -> None:
    identity = np.repeat(np.arange(30), [1] * 10 + [2] * 10 + [5] * 10)
    trials = draw_one_shot(identity, ways=20, runs=5, seed=3)
    assert trials.groups == ("",)
    right = trials.support[np.arange(100), trials.answer]
    assert (identity[right] == identity[trials.test]).all()
    assert (right != trials.test).all()
    assert identity[trials.support].min() >= 10  # who has one image cannot be asked for


def test_the_same_seed_gives_the_same_trials_and_another_seed_others(columns: tuple[np.ndarray, ...]) -> None:
    identity, group, drawer = columns
    first, again, other = (draw_one_shot(identity, groups=group, drawers=drawer, seed=seed) for seed in (1, 1, 2))
    assert first.test.tolist() == again.test.tolist()
    assert first.support.tolist() == again.support.tolist()
    assert first.test.tolist() != other.test.tolist()


def test_drawers_who_drew_a_part_only_are_paired_where_they_overlap() -> None:
    # Drawer 0 drew a to d, drawer 1 drew c to f, drawer 2 drew e and f: only 0 and 1 share two identities, c and d.
    identity = np.array(list("abcd") + list("cdef") + list("ef"))
    drawer = np.array([0] * 4 + [1] * 4 + [2] * 2)
    trials = draw_one_shot(identity[:8], drawers=drawer[:8], ways=2, runs=4)
    assert set(identity[trials.test]) == {"c", "d"}
    with pytest.raises(DataError, match="no two drawers have more than 2 identities in common, expected at least 3"):
        draw_one_shot(identity, drawers=drawer, ways=3)


@pytest.mark.parametrize("known", [True, False])
def test_a_group_of_too_few_identities_is_named(known: bool) -> None:
    identity, group, drawer = omniglot({"Latin": 26, "Ojibwe": 14})
    found = "14 identities" if known else "14 of 14 identities have two images"
    with pytest.raises(DataError) as caught:
        draw_one_shot(identity, groups=group, drawers=drawer if known else None)
    assert str(caught.value) == (
        f"one-shot trials: group 'Ojibwe': {found}, expected at least 20 for 20-way trials; "
        "ask for fewer ways or leave it out"
    )


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ways": 1}, OptionError, "ways=1, runs=2, seed=0: expected 2 or more ways"),
        ({"runs": 0}, OptionError, "runs=0"),
        ({"seed": -1}, OptionError, "a seed from 0"),
        ({"groups": ["x"]}, DataError, "4 identities, 1 groups; expected one of each for every image"),
        ({"drawers": ["x"]}, DataError, "4 identities, 4 groups, 1 drawers; expected one of each"),
        ({"drawers": ["x", None, "y", "x"]}, DataError, "drawers: some are missing; give one for each image"),
        ({"ways": 3}, DataError, "the images: 2 of 2 identities have two images, expected at least 3"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options: dict, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        draw_one_shot(["a", "a", "b", "b"], **{"ways": 2, **options})


def test_no_images_are_refused() -> None:
    with pytest.raises(DataError, match="0 identities, 0 groups; expected one of each"):
        draw_one_shot([])


def one_run(answer: list[int]) -> OneShotTrials:
    """Trials over rows 0 to 2 (support) and 3 on (tests)."""
    count = len(answer)
    zeros = np.zeros(count, np.int64)
    return OneShotTrials(3 + np.arange(count), np.tile(np.arange(3), (count, 1)), np.array(answer), zeros, ("",))


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
    monkeypatch.setattr(one_shot, "_BLOCK", 3 * 5 * 16)
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
