"""One-shot trials: which of N images shows the identity of a test image, after one look at each.

Lake et al., "Human-level concept learning through probabilistic program induction" (Science, 2015); Koch et al.,
"Siamese Neural Networks for One-shot Image Recognition" (2015): on Omniglot a *run* takes N characters of one
alphabet, drawn once by one drawer (the support) and once by another (the tests), and asks for each test which of the
N it is. Two runs in each of the ten alphabets kept for evaluation, of N = 20, make their 400 trials.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array  # type: ignore[import-untyped]

from siamese.errors import DataError, OptionError
from siamese.evaluation.gallery_search import numbered

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class OneShotTrials:
    """N-way trials over the rows of a table of images.

    Attributes:
        test: row of each test image, shape (T,).
        support: rows of the N images to choose from, each of another identity, shape (T, N).
        answer: which of the N shows the identity of the test, shape (T,).
        group: of each trial, as a place in `groups`, shape (T,).
        groups: names of the groups; one empty name without groups.
        run: of each trial, counted from 0 in each group, shape (T,).
    """

    test: Ints
    support: Ints
    answer: Ints
    group: Ints
    groups: tuple[str, ...]
    run: Ints

    @property
    def ways(self) -> int:
        """How many images there are to choose from."""
        return int(self.support.shape[1])


def draw_one_shot(
    identities: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    drawers: ArrayLike | None = None,
    ways: int = 20,
    runs: int = 2,
    seed: int = 0,
) -> OneShotTrials:
    """Draw one-shot trials from the columns of a table of images, the same for the same seed.

    In a run all support images are by one drawer and all tests by another; runs of a group use different pairs of
    drawers as long as there are any. Without drawers, support and test are different images of an identity. The order
    of the support is random.

    Args:
        identities: of each image, shape (N,). An identity is one of its group: `0` in two groups is two identities.
        groups: of each image (alphabet), shape (N,); None puts all into one.
        drawers: who made each image, shape (N,); a name in two groups need not be one person. None: not known.
        ways: identities to choose from, 2 or more.
        runs: in each group, 1 or more; each gives `ways` trials.
        seed: 0 or more.

    Raises:
        OptionError: an option out of its range.
        DataError: columns of different lengths or with missing values; a group with fewer than `ways` identities
            that have two images, or without two drawers that both drew as many.

    Example:
        >>> trials = draw_one_shot(["a", "a", "b", "b"], ways=2, runs=1)
        >>> trials.support.shape
        (2, 2)
    """
    if ways < 2 or runs < 1 or seed < 0:
        raise OptionError(
            f"one-shot ways={ways}, runs={runs}, seed={seed}: expected 2 or more ways, 1 or more runs, a seed from 0"
        )
    identity = numbered(identities)[1]
    length = len(identity)
    names, group = (np.array([""]), np.zeros(length, np.int64)) if groups is None else numbered(groups, "groups")
    drawer = None if drawers is None else numbered(drawers, "drawers")[1]
    if len(group) != length or (drawer is not None and len(drawer) != length) or not length:
        found = f"{length} identities, {len(group)} groups" + ("" if drawer is None else f", {len(drawer)} drawers")
        raise DataError(f"one-shot trials: {found}; expected one of each for every image")
    random = np.random.default_rng(seed)
    by_group = np.argsort(group, kind="stable")
    tests, supports, of_group, of_run = [], [], [], []
    for number, rows in enumerate(np.split(by_group, np.cumsum(np.bincount(group))[:-1])):
        where = f"group {str(names[number])!r}" if groups is not None else "the images"
        halves = _halves(rows, identity, drawer, ways, runs, where, random)
        for run, (test, support) in enumerate(halves):
            tests.append(test)
            supports.append(np.broadcast_to(support[random.permutation(ways)], (ways, ways)))
            of_group.append(np.full(ways, number))
            of_run.append(np.full(ways, run))
    test, support = np.concatenate(tests), np.concatenate(supports)
    answer = (identity[support] == identity[test][:, None]).argmax(axis=1)
    code, run_of = np.concatenate(of_group), np.concatenate(of_run)
    return OneShotTrials(test, support, answer, code, tuple(map(str, names)), run_of)


def _halves(
    rows: Ints,
    identity: Ints,
    drawer: Ints | None,
    ways: int,
    runs: int,
    where: str,
    random: np.random.Generator,
) -> list[tuple[Ints, Ints]]:
    """Tests and support of each run in one group: rows of the table, both (ways,), in one order of identities."""
    if drawer is None:
        return [_by_anyone(random.permutation(rows), identity, ways, where, random) for _ in range(runs)]
    pairs = _drawer_pairs(identity[rows], drawer[rows], ways, where)
    # Every pair of drawers once before one comes again.
    rounds = [random.permutation(len(pairs)) for _ in range(-(-runs // len(pairs)))]
    halves = []
    for support_drawer, test_drawer in pairs[np.concatenate(rounds)[:runs]]:
        shuffled = random.permutation(rows)
        support, test = (
            _one_each(shuffled[drawer[shuffled] == who], identity) for who in (support_drawer, test_drawer)
        )
        common = np.intersect1d(identity[support], identity[test], assume_unique=True)
        chosen = random.choice(common, ways, replace=False)
        both = (half[np.searchsorted(identity[half], chosen)] for half in (test, support))
        halves.append((next(both), next(both)))
    return halves


def _by_anyone(
    shuffled: Ints, identity: Ints, ways: int, where: str, random: np.random.Generator
) -> tuple[Ints, Ints]:
    ordered = shuffled[np.argsort(identity[shuffled], kind="stable")]
    names, starts, counts = np.unique(identity[ordered], return_index=True, return_counts=True)
    able = starts[counts >= 2]
    if len(able) < ways:
        raise DataError(
            f"one-shot trials: {where}: {len(able)} of {len(names)} identities have two images, expected at least "
            f"{ways} for {ways}-way trials; ask for fewer ways or leave it out"
        )
    chosen = random.choice(able, ways, replace=False)
    return ordered[chosen], ordered[chosen + 1]


def _drawer_pairs(identity: Ints, drawer: Ints, ways: int, where: str) -> Ints:
    """Ordered pairs of drawers of a group who both drew at least `ways` of its identities, shape (K, 2)."""
    names, column = np.unique(identity, return_inverse=True)
    people, row = np.unique(drawer, return_inverse=True)
    drew = csr_array((np.ones(len(row), np.int64), (row, column)), shape=(len(people), len(names)))
    drew.sum_duplicates()
    drew.data[:] = 1
    common = (drew @ drew.T).tocoo()
    enough = (common.data >= ways) & (common.row != common.col)
    if not enough.any():
        if len(names) < ways:
            found = f"{len(names)} identities, expected at least {ways} for {ways}-way trials"
        else:
            most = int(common.data[common.row != common.col].max(initial=0))
            found = f"no two drawers have more than {most} identities in common, expected at least {ways}"
        raise DataError(f"one-shot trials: {where}: {found}; ask for fewer ways or leave it out")
    pairs = np.stack([people[common.row[enough]], people[common.col[enough]]], axis=1)
    return np.asarray(pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))], dtype=np.int64)


def _one_each(shuffled: Ints, identity: Ints) -> Ints:
    """One row of each identity, in order of identity: the first of those shuffled."""
    return np.asarray(shuffled[np.unique(identity[shuffled], return_index=True)[1]], dtype=np.int64)
