from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from siamese.images.augment import augmenter
from siamese.images.input_spec import InputSpec
from siamese.losses.batch import PairIndex, QuadrupletIndex, TripletIndex
from siamese.training.batches import Batch, EpochBatches, batch_index, epoch_loader
from siamese.training.plans import IdentityPlan, Plan, Share, TuplePlan
from siamese.training.sources import PixelSource, Views
from siamese.training.tuples import Tuples

SPEC = InputSpec(size=(8, 8), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4), channels="BGR")
IMAGES = 12


def pixels() -> NDArray[np.uint8]:
    """Images that each have a colour of their own: an image in a batch names its row."""
    return np.broadcast_to(np.arange(IMAGES, dtype=np.uint8)[:, None, None, None] * 20, (IMAGES, 8, 8, 3)).copy()


def pair_plan(count: int = 50, size: int = 8) -> TuplePlan:
    rng = np.random.default_rng(0)
    return TuplePlan(Tuples(rng.integers(0, IMAGES, (count, 2)), rng.random(count) < 0.5), size)


def tuple_plan(width: int) -> TuplePlan:
    return TuplePlan(Tuples(np.random.default_rng(0).integers(0, IMAGES, (50, width)), None), 8)


def identity_plan() -> IdentityPlan:
    return IdentityPlan(np.arange(IMAGES), np.arange(IMAGES) % 4, batch_size=6, images_per_identity=2)


def batches_of(plan: Plan, *, augment: str = "none", seed: int = 0, epoch: int = 0, **options: Any) -> EpochBatches:
    source = PixelSource(pixels(), SPEC, augmenter(augment), Views(seed, None))
    return EpochBatches(plan, source, seed=seed, epoch=epoch, **options)


def rows_of(images: Tensor) -> NDArray[np.int64]:
    """Which rows of `pixels` the images of a batch are, read off their blue channel."""
    blue = images[:, 0, 0, 0].numpy() * SPEC.std[0] + SPEC.mean[0]
    return np.rint(blue * 255 / 20).astype(np.int64)


def tensors(batch: Batch) -> list[Tensor]:
    known = (batch.inputs, batch.rows, *batch.columns, batch.same, batch.labels)
    return [each for each in known if each is not None]


def equal(one: Batch, other: Batch) -> bool:
    return all(torch.equal(*pair) for pair in zip(tensors(one), tensors(other), strict=True))


@pytest.mark.parametrize("plan", [pair_plan(), tuple_plan(3), tuple_plan(4), identity_plan()])
def test_inputs_are_the_images_that_the_batch_names(plan: Plan) -> None:
    batches = batches_of(plan)
    for number in range(len(batches)):
        batch = batches[number]
        np.testing.assert_array_equal(rows_of(batch.inputs), batch.rows.numpy())


def test_a_pair_reaches_the_loss_with_its_own_label() -> None:
    rng = np.random.default_rng(0)
    rows, same = rng.integers(0, IMAGES, (50, 2)), rng.random(50) < 0.5
    batches = batches_of(TuplePlan(Tuples(rows, same), 8))
    found = []
    for batch in (batches[number] for number in range(len(batches))):
        index = batch_index(batch).tuples
        assert isinstance(index, PairIndex)
        images = rows_of(batch.inputs)
        table = zip(images[index.left.numpy()], images[index.right.numpy()], index.same.tolist(), strict=True)
        found += [(int(left), int(right), bool(label)) for left, right, label in table]
    table = zip(rows, same, strict=True)
    assert sorted(found) == sorted((int(left), int(right), bool(label)) for (left, right), label in table)


def test_tensors_have_the_types_that_losses_index_with() -> None:
    batch = batches_of(pair_plan())[0]
    assert batch.same is not None
    types = (batch.inputs.dtype, batch.rows.dtype, *(each.dtype for each in batch.columns), batch.same.dtype)
    assert types == (torch.float32, torch.int64, torch.int64, torch.int64, torch.float32)
    assert batch.inputs.shape[1:] == (3, 8, 8)
    assert batch.labels is None
    labels = batches_of(identity_plan())[0].labels
    assert labels is not None
    assert labels.dtype == torch.int64


@pytest.mark.parametrize(("width", "kind"), [(3, TripletIndex), (4, QuadrupletIndex)])
def test_triplets_and_quadruplets_index_the_embeddings_in_the_order_of_the_table(width: int, kind: type) -> None:
    batch = batches_of(tuple_plan(width))[0]
    index = batch_index(batch)
    assert type(index.tuples) is kind
    assert index.labels is None
    names = ("anchor", "positive", "negative", "second_negative")[:width]
    for name, column in zip(names, batch.columns, strict=True):
        assert getattr(index.tuples, name) is column


def test_batches_of_identities_hold_labels_and_no_tuples() -> None:
    batch = batches_of(identity_plan())[0]
    index = batch_index(batch)
    assert index.tuples is None
    assert index.labels is not None
    np.testing.assert_array_equal(index.labels.numpy(), batch.rows.numpy() % 4)
    assert (batch.columns, batch.same) == ((), None)


def test_without_augmentation_images_are_normalised_and_nothing_else() -> None:
    source = np.random.default_rng(0).integers(0, 256, (IMAGES, 8, 8, 3), dtype=np.uint8)
    plan = TuplePlan(Tuples(np.arange(IMAGES).reshape(-1, 2), np.ones(IMAGES // 2, bool)), 99)
    batches = EpochBatches(plan, PixelSource(source, SPEC, augmenter("none"), Views(3, None)), seed=3, epoch=2)
    np.testing.assert_array_equal(batches[0].inputs.numpy(), SPEC.normalise(source))


@pytest.mark.parametrize("augment", ["none", "light", "standard"])
@pytest.mark.parametrize("plan", [pair_plan(), identity_plan()])
def test_seed_epoch_and_number_decide_a_batch_whatever_was_made_before(plan: Plan, augment: str) -> None:
    one, other = (batches_of(plan, augment=augment, epoch=4) for _ in range(2))
    last = len(one) - 1
    other[last]
    for number in (last, 0, 1):
        assert equal(one[number], other[number])


def test_epochs_differ_in_their_views() -> None:
    # The same pair over and over, so that only the augmentation can differ.
    source = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    plan = TuplePlan(Tuples(np.tile([0, 1], (12, 1)), np.ones(12, bool)), 1)

    def seen(epoch: int) -> list[bytes]:
        batches = EpochBatches(
            plan, PixelSource(source, SPEC, augmenter("light"), Views(0, None)), seed=0, epoch=epoch
        )
        return [batches[number].inputs.numpy().tobytes() for number in range(12)]

    assert len(set(seen(0))) > 6
    assert seen(0) != seen(1)


def test_augmentation_changes_the_images_but_not_which_belong_together() -> None:
    augmented, plain = batches_of(pair_plan(), augment="standard")[0], batches_of(pair_plan())[0]
    assert augmented.inputs.shape == plain.inputs.shape
    assert not torch.equal(augmented.inputs, plain.inputs)
    assert all(torch.equal(*pair) for pair in zip(tensors(augmented)[1:], tensors(plain)[1:], strict=True))


def test_the_shares_of_two_processes_show_the_pixels_of_the_whole_batch() -> None:
    whole = batches_of(pair_plan(), augment="standard")[2]
    parts = [batches_of(pair_plan(), augment="standard", share=Share(rank, 2))[2] for rank in range(2)]
    of_row = {int(row): image for part in parts for row, image in zip(part.rows, part.inputs, strict=True)}
    assert set(of_row) == set(whole.rows.tolist())
    for row, image in zip(whole.rows.tolist(), whole.inputs, strict=True):
        assert torch.equal(of_row[row], image)


def test_an_empty_share_of_a_batch_encodes_one_image_that_does_not_count() -> None:
    plan = pair_plan(count=9, size=8)  # the last batch is a single pair
    batch = batches_of(plan, share=Share(1, 2))[1]
    assert batch.inputs.shape == (1, 3, 8, 8)
    assert len(batch.rows) == 0
    assert [len(column) for column in batch.columns] == [0, 0]
    assert batch.same is not None
    assert len(batch.same) == 0


def test_workers_make_the_same_batches_as_the_main_process() -> None:
    batches = batches_of(pair_plan(30), augment="light")
    found = list(epoch_loader(batches, workers=2))
    assert len(found) == len(batches) == 4
    assert all(equal(batches[number], batch) for number, batch in enumerate(found))


def test_an_epoch_goes_on_at_any_batch_and_stays_as_long() -> None:
    batches = batches_of(pair_plan(), augment="light")
    loader = epoch_loader(batches, start=3)
    assert len(loader) == len(batches) == 7
    found = list(loader)
    assert len(found) == 4
    assert all(equal(batches[number], batch) for number, batch in enumerate(found, start=3))
