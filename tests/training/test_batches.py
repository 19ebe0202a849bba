from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from siamese.errors import DataError, OptionError
from siamese.images.input_spec import InputSpec
from siamese.losses.batch import PairIndex, TripletIndex
from siamese.losses.registry import parse_objective
from siamese.training.batches import Batch, EpochBatches, Tuples, batch_index, index_tuples

SPEC = InputSpec(size=(8, 8), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), channels="BGR")
IMAGES = 12


def pixels() -> NDArray[np.uint8]:
    """Images that each have a colour of their own: an image in a batch names its row."""
    return np.broadcast_to(np.arange(IMAGES, dtype=np.uint8)[:, None, None, None] * 20, (IMAGES, 8, 8, 3)).copy()


def pairs(count: int = 50, seed: int = 0) -> Tuples:
    rng = np.random.default_rng(seed)
    return Tuples(rng.integers(0, IMAGES, (count, 2)), rng.random(count) < 0.5)


def triplets(count: int = 50) -> Tuples:
    return Tuples(np.random.default_rng(0).integers(0, IMAGES, (count, 3)), None)


def epoch(tuples: Tuples, **changes: Any) -> EpochBatches:
    options: dict[str, Any] = {"augment": "none", "batch_size": 8, "seed": 0, "epoch": 0}
    return EpochBatches(pixels(), tuples, SPEC, **(options | changes))


def all_batches(batches: EpochBatches) -> list[Batch]:
    return [batches[number] for number in range(len(batches))]


def rows_of(images: torch.Tensor) -> NDArray[np.int64]:
    """Which rows of `pixels` the images of a batch are, read off their blue channel."""
    blue = images[:, 0, 0, 0].numpy() * SPEC.std[0] + SPEC.mean[0]
    return np.rint(blue * 255 / 20).astype(np.int64)


def recovered(batches: EpochBatches) -> NDArray[np.int64]:
    """The tuples of an epoch in its order, a label as the last column where there is one."""
    found = []
    for images, *columns in all_batches(batches):
        rows = rows_of(images)
        found.append(
            np.stack(
                [column.numpy() if column.is_floating_point() else rows[column.numpy()] for column in columns], axis=1
            )
        )
    return np.concatenate(found).astype(np.int64)


def as_sorted(table: NDArray[np.int64]) -> NDArray[np.int64]:
    return table[np.lexsort(table.T)]


def test_an_epoch_shows_every_pair_once_with_its_label() -> None:
    tuples = pairs()
    assert tuples.same is not None
    expected = np.column_stack([tuples.rows, tuples.same])
    np.testing.assert_array_equal(as_sorted(recovered(epoch(tuples))), as_sorted(expected))


def test_an_epoch_shows_every_triplet_once() -> None:
    tuples = triplets()
    np.testing.assert_array_equal(as_sorted(recovered(epoch(tuples))), as_sorted(tuples.rows))


def test_a_batch_holds_each_of_its_images_once() -> None:
    for images, *columns in all_batches(epoch(pairs(), batch_size=20)):
        rows = rows_of(images)
        assert len(set(rows)) == len(rows)
        used = torch.cat([columns[0], columns[1]])
        assert set(used.tolist()) == set(range(len(images)))


@pytest.mark.parametrize(("count", "size", "sizes"), [(50, 20, [20, 20, 10]), (40, 20, [20, 20]), (5, 32, [5])])
def test_the_last_batch_holds_the_rest(count: int, size: int, sizes: list[int]) -> None:
    batches = epoch(pairs(count), batch_size=size)
    assert [len(batch[1]) for batch in all_batches(batches)] == sizes
    assert len(batches) == len(sizes)


def test_columns_have_the_types_that_losses_index_with() -> None:
    images, left, right, same = epoch(pairs())[0]
    assert (images.dtype, left.dtype, right.dtype, same.dtype) == (
        torch.float32,
        torch.int64,
        torch.int64,
        torch.float32,
    )
    assert images.shape[1:] == (3, 8, 8)
    assert len(epoch(triplets())[0]) == 4
    assert all(column.dtype == torch.int64 for column in epoch(triplets())[0][1:])


def test_without_augmentation_images_are_normalised_and_nothing_else() -> None:
    source = np.random.default_rng(0).integers(0, 256, (IMAGES, 8, 8, 3), dtype=np.uint8)
    everything = Tuples(np.arange(IMAGES).reshape(-1, 2), np.ones(IMAGES // 2, bool))
    batches = EpochBatches(source, everything, SPEC, augment="none", batch_size=99, seed=3, epoch=2)
    np.testing.assert_array_equal(batches[0][0].numpy(), SPEC.normalise(source))


@pytest.mark.parametrize("augment", ["none", "light", "standard"])
def test_seed_epoch_and_number_decide_a_batch_whatever_was_made_before(augment: str) -> None:
    one, other = epoch(pairs(), augment=augment, epoch=4), epoch(pairs(), augment=augment, epoch=4)
    for number in (3, 0, 5, 3):
        for ours, theirs in zip(one[number], other[number], strict=True):
            assert torch.equal(ours, theirs)


def test_workers_make_the_same_batches_as_the_main_process() -> None:
    batches = epoch(pairs(30), augment="light")
    loader = DataLoader(batches, batch_size=None, num_workers=2)
    for ours, theirs in zip(all_batches(batches), loader, strict=True):
        assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("change", [{"epoch": 1}, {"seed": 1}])
def test_epochs_and_seeds_differ_in_order_but_not_in_what_they_show(change: dict[str, int]) -> None:
    first, second = recovered(epoch(pairs())), recovered(epoch(pairs(), **change))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(as_sorted(first), as_sorted(second))
    assert not np.array_equal(first[:, :2], pairs().rows)


def test_epochs_and_batches_are_augmented_differently() -> None:
    source = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    # The same pair over and over, so that only the augmentation can differ.
    tuples = Tuples(np.tile([0, 1], (12, 1)), np.ones(12, bool))

    def seen(number: int, of_epoch: int) -> bytes:
        batches = EpochBatches(source, tuples, SPEC, augment="light", batch_size=1, seed=0, epoch=of_epoch)
        return batches[number][0].numpy().tobytes()

    assert len({seen(number, 0) for number in range(12)}) > 6
    assert [seen(number, 0) for number in range(12)] != [seen(number, 1) for number in range(12)]


def test_augmentation_changes_the_images_but_not_which_belong_together() -> None:
    augmented, plain = epoch(pairs(), augment="standard")[0], epoch(pairs())[0]
    assert augmented[0].shape == plain[0].shape
    assert not torch.equal(augmented[0], plain[0])
    for ours, theirs in zip(augmented[1:], plain[1:], strict=True):
        assert torch.equal(ours, theirs)


def test_unknown_augmentation_is_refused_before_the_first_batch() -> None:
    with pytest.raises(OptionError, match=r"^unknown augmentation 'lite': did you mean 'light'\?"):
        epoch(pairs(), augment="lite")


def test_pairs_become_rows_of_the_images() -> None:
    frame = pd.DataFrame({"left": ["b", "a", "c"], "right": ["a", "c", "b"], "same": [True, False, True]})
    tuples = index_tuples(frame.astype({"same": "boolean"}), ["a", "b", "c"], np.ones(3, bool))
    np.testing.assert_array_equal(tuples.rows, [[1, 0], [0, 2], [2, 1]])
    assert tuples.rows.dtype == np.int64
    assert tuples.same is not None
    assert (tuples.same.dtype, tuples.same.tolist()) == (np.dtype(bool), [True, False, True])
    assert len(tuples) == 3


def test_triplets_become_rows_of_the_images_and_have_no_labels() -> None:
    frame = pd.DataFrame({"anchor": ["c"], "positive": ["b"], "negative": ["a"], "anchor_identity": ["x"]})
    tuples = index_tuples(frame, ["a", "b", "c"], np.ones(3, bool))
    np.testing.assert_array_equal(tuples.rows, [[2, 1, 0]])
    assert tuples.same is None


def test_rows_that_name_an_unusable_or_unknown_image_are_left_out() -> None:
    frame = pd.DataFrame(
        {
            "left": ["a", "b", "a", "d", "z", "a"],
            "right": ["b", "c", "d", "a", "a", "z"],
            "same": [True, False, False, True, True, True],
        }
    )
    tuples = index_tuples(frame, ["a", "b", "c", "d"], np.array([True, True, False, True]))
    np.testing.assert_array_equal(tuples.rows, [[0, 1], [0, 3], [3, 0]])
    assert tuples.same is not None
    assert tuples.same.tolist() == [True, False, True]


def test_a_table_of_which_nothing_is_left_is_refused() -> None:
    frame = pd.DataFrame({"left": ["a", "a"], "right": ["b", "b"], "same": [True, False]})
    message = r"^none of 2 rows is left: every one names an image that cannot be used$"
    with pytest.raises(DataError, match=message):
        index_tuples(frame, ["a", "b"], np.array([True, False]))


def test_pairs_index_the_embeddings_as_they_are() -> None:
    columns = (torch.tensor([0, 1]), torch.tensor([2, 0]), torch.tensor([1.0, 0.0]))
    index = batch_index(PairIndex, columns)
    assert isinstance(index, PairIndex)
    assert (index.left, index.right, index.same) == columns


def test_triplets_index_the_embeddings_as_they_are_for_a_loss_on_triplets() -> None:
    columns = (torch.tensor([0, 1]), torch.tensor([2, 0]), torch.tensor([3, 3]))
    index = batch_index(TripletIndex, columns)
    assert isinstance(index, TripletIndex)
    assert (index.anchor, index.positive, index.negative) == columns


def test_a_triplet_serves_a_loss_on_pairs_as_a_genuine_and_an_impostor_pair() -> None:
    columns = (torch.tensor([0, 1]), torch.tensor([2, 0]), torch.tensor([3, 3]))
    index = batch_index(PairIndex, columns)
    assert isinstance(index, PairIndex)
    together = list(zip(index.left.tolist(), index.right.tolist(), index.same.tolist(), strict=True))
    assert together == [(0, 2, 1.0), (1, 0, 1.0), (0, 3, 0.0), (1, 3, 0.0)]
    embeddings = torch.nn.functional.normalize(torch.randn(4, 3), dim=1)
    squared = [(embeddings[left] - embeddings[right]).square().sum() for left, right, _ in together]
    expected = (squared[0] + squared[1] + sum((2 - each.sqrt()) ** 2 for each in squared[2:])) / 4
    torch.testing.assert_close(parse_objective("contrastive+margin=2")(embeddings, index), expected)
