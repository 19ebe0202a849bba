import numpy as np
import pytest
from numpy.typing import NDArray

from siamese.errors import DataError
from siamese.training.plans import IdentityPlan, ImagePlan, Share, TuplePlan
from siamese.training.tuples import Tuples

Ints = NDArray[np.int64]
IMAGES = 12


def pairs(count: int = 50) -> Tuples:
    rng = np.random.default_rng(0)
    return Tuples(rng.integers(0, IMAGES, (count, 2)), rng.random(count) < 0.5)


def tuples_of(width: int, count: int = 50) -> Tuples:
    return Tuples(np.random.default_rng(0).integers(0, IMAGES, (count, width)), None)


def identities(*counts: int) -> tuple[Ints, Ints]:
    """Rows 100, 101, ... in random order of identities, so that neither follows from the other."""
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    return np.arange(100, 100 + len(labels)), labels


def identity_plan(*counts: int, size: int = 12, each: int = 3, singles: bool = False) -> IdentityPlan:
    rows, labels = identities(*counts)
    return IdentityPlan(rows, labels, batch_size=size, images_per_identity=each, singles=singles)


def as_sorted(table: Ints) -> Ints:
    return table[np.lexsort(table.T)]


def shown(plan: TuplePlan, seed: int = 0, epoch: int = 0, share: Share | None = None) -> Ints:
    """The tuples of an epoch in its order, with a label as the last column where there is one."""
    found = []
    for items in plan.epoch(seed, epoch):
        chosen = plan.select(items) if share is None else plan.select(items, share)
        assert chosen.columns is not None
        table = chosen.rows[chosen.columns].T
        found.append(table if chosen.same is None else np.column_stack([table, chosen.same]))
    return np.concatenate(found)


def test_an_epoch_shows_every_pair_once_with_its_label() -> None:
    tuples = pairs()
    assert tuples.same is not None
    expected = np.column_stack([tuples.rows, tuples.same])
    np.testing.assert_array_equal(as_sorted(shown(TuplePlan(tuples, 8))), as_sorted(expected))


@pytest.mark.parametrize("width", [3, 4])
def test_an_epoch_shows_every_triplet_and_quadruplet_once_without_labels(width: int) -> None:
    tuples = tuples_of(width)
    found = shown(TuplePlan(tuples, 8))
    np.testing.assert_array_equal(as_sorted(found), as_sorted(tuples.rows))


def test_a_batch_of_tuples_holds_each_of_its_images_once_and_no_other() -> None:
    plan = TuplePlan(pairs(), 20)
    for items in plan.epoch(0, 0):
        chosen = plan.select(items)
        assert chosen.columns is not None
        assert chosen.labels is None
        assert len(np.unique(chosen.rows)) == len(chosen.rows)
        assert set(chosen.columns.ravel().tolist()) == set(range(len(chosen.rows)))


@pytest.mark.parametrize(("count", "size", "sizes"), [(50, 20, [20, 20, 10]), (40, 20, [20, 20]), (5, 32, [5])])
def test_the_last_batch_of_tuples_holds_the_rest(count: int, size: int, sizes: list[int]) -> None:
    assert [len(items) for items in TuplePlan(pairs(count), size).epoch(0, 0)] == sizes


@pytest.mark.parametrize(("seed", "epoch"), [(0, 1), (1, 0)])
def test_epochs_and_seeds_differ_in_order_but_not_in_the_tuples(seed: int, epoch: int) -> None:
    plan = TuplePlan(pairs(), 8)
    first, second = shown(plan), shown(plan, seed, epoch)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(as_sorted(first), as_sorted(second))
    np.testing.assert_array_equal(second, shown(TuplePlan(pairs(), 8), seed, epoch))


@pytest.mark.parametrize("world", [1, 2, 3, 7])
@pytest.mark.parametrize("width", [2, 3])
def test_shares_of_tuples_make_up_the_batch_exactly(world: int, width: int) -> None:
    tuples = pairs(23) if width == 2 else tuples_of(width, 23)
    plan = TuplePlan(tuples, 10)
    whole = shown(plan)
    parts = [shown(plan, share=Share(rank, world)) for rank in range(world)]
    assert sum(len(part) for part in parts) == len(whole) == 23
    np.testing.assert_array_equal(as_sorted(np.concatenate(parts)), as_sorted(whole))


def test_shares_of_a_batch_differ_by_one_at_most_and_may_be_empty() -> None:
    plan = TuplePlan(pairs(3), 10)
    (items,) = plan.epoch(0, 0)
    found = [plan.select(items, Share(rank, 5)) for rank in range(5)]
    columns = [chosen.columns for chosen in found]
    assert [0 if each is None else each.shape[1] for each in columns] == [1, 1, 1, 0, 0]
    assert all(each is not None and each.shape[0] == 2 for each in columns)
    assert len(found[4].rows) == 0


def batches(plan: IdentityPlan, seed: int = 0, epoch: int = 0) -> list[tuple[Ints, Ints]]:
    """Rows and labels of each batch."""
    found = []
    for items in plan.epoch(seed, epoch):
        chosen = plan.select(items)
        assert chosen.labels is not None
        found.append((chosen.rows, chosen.labels))
    return found


def test_a_batch_holds_so_many_images_of_so_many_identities_and_none_twice() -> None:
    rows, labels = identities(5, 6, 7, 8, 9, 20)
    of_row = dict(zip(rows.tolist(), labels.tolist(), strict=True))
    plan = IdentityPlan(rows, labels, batch_size=12, images_per_identity=3)
    for epoch in range(5):
        for got, named in batches(plan, epoch=epoch):
            assert len(np.unique(got)) == len(got) == 12
            assert sorted(np.unique(named, return_counts=True)[1].tolist()) == [3, 3, 3, 3]
            assert [of_row[row] for row in got.tolist()] == named.tolist()


def test_an_epoch_has_the_batches_that_show_as_many_images_as_there_are() -> None:
    assert len(batches(identity_plan(*[6] * 10, size=12, each=3))) == 5
    assert len(batches(identity_plan(2, 2, size=32, each=4))) == 1


def test_identities_take_turns_whatever_their_number_of_images() -> None:
    plan = identity_plan(3, 4, 5, 500, 6, 7, 8, size=9, each=3)
    counts = np.zeros(7, np.int64)
    for epoch in range(60):
        for _, named in batches(plan, epoch=epoch):
            counts[np.unique(named)] += 1
    # A round of 7 identities in batches of 3 leaves one out, another one each time.
    np.testing.assert_allclose(counts / counts.mean(), 1, atol=0.03)


@pytest.mark.parametrize("counts", [(6, 6, 6, 6), (2, 3, 9, 40, 5)])
def test_images_of_an_identity_take_turns_too(counts: tuple[int, ...]) -> None:
    _, labels = identities(*counts)
    shown_in_all = np.zeros(len(labels), np.int64)
    for epoch in range(20):
        times = np.zeros(len(labels), np.int64)
        for got, _ in batches(identity_plan(*counts, size=6, each=2), epoch=epoch):
            times[got - 100] += 1
        for identity in range(len(counts)):
            assert np.ptp(times[labels == identity]) <= 1
        shown_in_all += times
    assert (shown_in_all > 0).all()


def test_a_huge_identity_shows_other_images_each_turn() -> None:
    plan = identity_plan(2, 2, 1000, size=12, each=4)
    seen = np.concatenate([got[named == 2] for got, named in batches(plan)])
    assert len(seen) == 4 * len(batches(plan))
    assert len(np.unique(seen)) == len(seen)


def test_an_identity_with_fewer_images_gives_all_it_has_once() -> None:
    for got, named in batches(identity_plan(2, 3, 9, 9, size=16, each=4)):
        assert len(np.unique(got)) == len(got)
        assert np.bincount(named).tolist() == [2, 3, 4, 4]


def test_fewer_identities_than_a_batch_wants_are_all_in_every_batch() -> None:
    for _, named in batches(identity_plan(9, 9, 9, size=64, each=4)):
        assert np.bincount(named).tolist() == [4, 4, 4]


def test_a_batch_has_two_identities_even_where_one_fills_it() -> None:
    for _, named in batches(identity_plan(9, 9, 9, size=3, each=4)):
        assert sorted(np.bincount(named, minlength=3).tolist()) == [0, 4, 4]


def test_identities_with_one_image_are_left_out_or_kept() -> None:
    plan = identity_plan(1, 5, 5, 1, 5, size=6, each=2)
    assert {label for epoch in range(9) for _, named in batches(plan, epoch=epoch) for label in named} == {1, 2, 4}
    plan = identity_plan(1, 5, 5, 1, 5, size=6, each=2, singles=True)
    assert {label for epoch in range(9) for _, named in batches(plan, epoch=epoch) for label in named} == set(
        range(5)
    )


def test_singles_alone_serve_a_classifier() -> None:
    seen = np.concatenate([named for _, named in batches(identity_plan(*[1] * 8, size=8, each=4, singles=True))])
    assert sorted(seen.tolist()) == list(range(8))


@pytest.mark.parametrize(("counts", "singles", "found"), [((1, 1, 4), False, "1 of 3"), ((4,), True, "1 of 1")])
def test_fewer_than_two_identities_are_refused(counts: tuple[int, ...], singles: bool, found: str) -> None:
    message = (
        f"^{found} identities have two images or more, and batches of identities need two such; "
        "add images, or train on pairs$"
    )
    with pytest.raises(DataError, match=message):
        identity_plan(*counts, singles=singles)


def test_seed_and_epoch_decide_the_batches_of_identities() -> None:
    def lists(seed: int, epoch: int) -> list[list[int]]:
        return [got.tolist() for got, _ in batches(identity_plan(5, 6, 7, 8), seed, epoch)]

    assert lists(3, 4) == lists(3, 4)
    assert lists(3, 4) != lists(3, 5)
    assert lists(3, 4) != lists(4, 4)


@pytest.mark.parametrize("world", [2, 3, 5])
def test_shares_of_identities_make_up_the_batch_exactly(world: int) -> None:
    plan = identity_plan(5, 6, 2, 8, size=13, each=3)
    for items in plan.epoch(0, 0):
        whole = plan.select(items)
        parts = [plan.select(items, Share(rank, world)) for rank in range(world)]
        rows = np.concatenate([part.rows for part in parts])
        labels = np.concatenate([part.labels for part in parts if part.labels is not None])
        assert whole.labels is not None
        order, expected = np.argsort(rows), np.argsort(whole.rows)
        np.testing.assert_array_equal(rows[order], whole.rows[expected])
        np.testing.assert_array_equal(labels[order], whole.labels[expected])
        assert max(len(part.rows) for part in parts) - min(len(part.rows) for part in parts) <= 1


def image_plan(count: int, size: int) -> ImagePlan:
    return ImagePlan(np.arange(100, 100 + count), np.arange(count) % 4 - 1, size)


@pytest.mark.parametrize(
    ("count", "size", "sizes"), [(12, 5, [5, 5, 2]), (11, 5, [5, 6]), (12, 12, [12]), (3, 1, [1, 1, 1])]
)
def test_any_images_are_shown_once_an_epoch_and_none_is_left_alone(count: int, size: int, sizes: list[int]) -> None:
    plan = image_plan(count, size)
    parts = plan.epoch(3, 1)
    assert [len(part) for part in parts] == sizes
    chosen = [plan.select(part, Share()) for part in parts]
    rows = np.concatenate([each.rows for each in chosen])
    assert sorted(rows) == list(range(100, 100 + count))
    labels = np.concatenate([each.labels for each in chosen if each.labels is not None])
    np.testing.assert_array_equal(labels, (rows - 100) % 4 - 1)
    again = plan.epoch(3, 1)
    assert all(np.array_equal(one, other) for one, other in zip(parts, again, strict=True))
    assert count == size or not all(
        np.array_equal(one, other) for one, other in zip(parts, plan.epoch(3, 2), strict=True)
    )


def test_shares_of_any_images_make_up_the_batch() -> None:
    plan = image_plan(11, 5)
    items = plan.epoch(0, 0)[0]
    shares = [plan.select(items, Share(rank, 3)).rows for rank in range(3)]
    assert sorted(np.concatenate(shares)) == sorted(plan.select(items, Share()).rows)


def test_one_image_is_too_few() -> None:
    with pytest.raises(DataError, match="1 images to train on: expected at least two; add some"):
        image_plan(1, 4)
