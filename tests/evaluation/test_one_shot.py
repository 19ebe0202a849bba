import numpy as np
import pytest

from siamese.errors import DataError, OptionError
from siamese.evaluation.one_shot import draw_one_shot


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
    assert trials.run.tolist() == np.tile(np.repeat(np.arange(3), 7), 10).tolist()
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
