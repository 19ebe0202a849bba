import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from siamese.encoders.encoder import Encoder
from siamese.errors import DataError
from siamese.evaluation.calibration_fitting import fit_calibration
from siamese.evaluation.metrics import auc, eer
from siamese.evaluation.operating_point_fitting import fit_operating_points
from siamese.evaluation.protocols import measure_cross_fitted
from siamese.heads.identity import IdentityHead
from siamese.images.input_spec import InputSpec
from siamese.model.network import SiameseNetwork
from siamese.training.tuples import Tuples
from siamese.training.validation import HeldOut, Images, Validation

SPEC = InputSpec(size=(4, 4), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


class Corner(Encoder):
    """Features are the first two channels of the first pixel; counts the images it has seen."""

    def __init__(self) -> None:
        super().__init__("corner", SPEC, 2)
        self.layer = nn.Identity()
        self.seen = 0

    def forward(self, images: Tensor) -> Tensor:
        self.seen += len(images)
        features: Tensor = self.layer(images[:, :2, 0, 0])
        return features

    def stages(self) -> list[list[nn.Module]]:
        return [[self.layer]]

    def load_checkpoint(self, state: dict[str, Tensor], origin: str) -> None:
        raise NotImplementedError


def at_angles(degrees: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Images whose features lie at given angles of the first quadrant, up to the rounding of pixels."""
    pixels = np.zeros((len(degrees), 4, 4, 3), np.uint8)
    pixels[:, 0, 0, 0] = np.rint(255 * np.cos(np.deg2rad(degrees)))
    pixels[:, 0, 0, 1] = np.rint(255 * np.sin(np.deg2rad(degrees)))
    return pixels


def random_validation(seed: int, count: int = 80) -> tuple[Validation, NDArray[np.float64]]:
    """Pairs of images of two noisy kinds, and the cosines between them."""
    rng = np.random.default_rng(seed)
    kinds = np.arange(20) % 2
    pixels = at_angles(np.clip(20 + 50 * kinds + rng.normal(0, 18, 20), 0, 90))
    rows = rng.integers(0, 20, (count, 2))
    features = pixels[:, 0, 0, :2].astype(np.float64)
    left, right = features[rows[:, 0]], features[rows[:, 1]]
    cosines = (left * right).sum(axis=1) / np.linalg.norm(left, axis=1) / np.linalg.norm(right, axis=1)
    # The identity of an image is its kind, so that codes and labels agree.
    tuples = Tuples(rows, kinds[rows[:, 0]] == kinds[rows[:, 1]], kinds[rows])
    return Validation(Images(pixels, "cpu"), tuples), cosines


def test_scores_are_the_cosines_of_the_pairs_at_given_angles() -> None:
    pixels = at_angles(np.array([0.0, 90.0, 45.0, 30.0]))
    tuples = Tuples(np.array([[0, 1], [0, 2], [3, 1], [2, 2]]), np.array([False, True, False, True]))
    scores = Validation(Images(pixels, "cpu"), tuples).scores(SiameseNetwork(Corner()))
    np.testing.assert_allclose(scores, np.cos(np.deg2rad([90, 45, 60, 0])), atol=0.004)


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_the_scores(seed: int) -> None:
    validation, cosines = random_validation(seed)
    network = SiameseNetwork(Corner())
    np.testing.assert_allclose(validation.scores(network), cosines, atol=1e-6)
    figures = validation.measure(network)
    assert figures is not None
    assert 0.5 < figures.auc < 1
    assert figures.auc == pytest.approx(auc(cosines, validation.same), abs=1e-3)
    assert figures.eer == pytest.approx(eer(cosines, validation.same), abs=1e-3)
    exact = measure_cross_fitted(validation.scores(network), validation.same, balanced=True)
    assert (figures.auc, figures.accuracy, figures.eer) == (exact.auc, exact.accuracy, exact.eer)


def test_each_image_is_embedded_once_however_many_pairs_name_it() -> None:
    validation, _ = random_validation(0, count=500)
    network = SiameseNetwork(Corner())
    validation.scores(network)
    assert isinstance(network.encoder, Corner)
    assert network.encoder.seen == 20


def test_images_that_no_validation_pair_names_are_not_embedded() -> None:
    pixels = at_angles(np.array([0.0, 10.0, 20.0, 30.0, 40.0, 90.0]))
    tuples = Tuples(np.array([[5, 2], [2, 0]]), np.array([False, True]))
    network = SiameseNetwork(Corner())
    scores = Validation(Images(pixels, "cpu"), tuples).scores(network)
    np.testing.assert_allclose(scores, np.cos(np.deg2rad([70, 20])), atol=0.004)
    assert isinstance(network.encoder, Corner)
    assert network.encoder.seen == 3


def test_measuring_leaves_the_network_training() -> None:
    validation, _ = random_validation(0)
    network = SiameseNetwork(Corner(), "mlp").train()
    state = {name: value.clone() for name, value in network.state_dict().items()}
    validation.measure(network)
    assert all(module.training for module in network.modules())
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())


def test_operating_points_and_calibration_are_fitted_on_the_scores_and_name_the_split() -> None:
    validation, _ = random_validation(1, count=120)
    network = SiameseNetwork(Corner())
    points, calibration = validation.fit_decisions(network)
    assert validation.tuples.identities is not None
    sides = validation.tuples.identities.T
    assert calibration == fit_calibration(validation.scores(network), validation.same, *sides, "validation")
    assert (calibration.split, calibration.genuine) == ("validation", int(validation.same.sum()))
    assert points == fit_operating_points(validation.scores(network), validation.same, "validation")
    assert {point.split for point in points} == {"validation"}
    genuine = int(validation.same.sum())
    assert {(point.genuine, point.impostor) for point in points} == {(genuine, 120 - genuine)}


def test_labels_are_those_of_the_pairs() -> None:
    same = np.array([True, False, False])
    assert Validation(Images(at_angles(np.zeros(2)), "cpu"), Tuples(np.zeros((3, 2), int), same)).same is same


def test_one_kind_of_pair_cannot_be_measured() -> None:
    images = Images(at_angles(np.arange(3.0)), "cpu")
    validation = Validation(images, Tuples(np.array([[0, 1], [1, 2]]), np.ones(2, bool)))
    with pytest.raises(DataError, match=r"^2 genuine and 0 impostor pairs: verification is measured on both kinds"):
        validation.measure(SiameseNetwork(Corner()))


def features_of(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return (pixels[:, 0, 0, :2] / 255).astype(np.float32)


def test_features_that_are_there_stand_in_for_the_encoder() -> None:
    pixels = at_angles(np.array([0.0, 10.0, 20.0, 30.0, 40.0, 90.0]))
    tuples = Tuples(np.array([[5, 2], [2, 0]]), np.array([False, True]))
    network = SiameseNetwork(Corner())
    rows = np.array([0, 2, 5])
    kept = Images(np.zeros_like(pixels), "cpu", features_of(pixels)[rows], rows)
    found = Validation(kept, tuples).scores(network)
    assert isinstance(network.encoder, Corner)
    assert network.encoder.seen == 0
    np.testing.assert_allclose(found, Validation(Images(pixels, "cpu"), tuples).scores(network), atol=1e-6)


def test_a_pair_head_decides_where_there_is_one() -> None:
    validation, cosines = random_validation(0)
    torch.manual_seed(0)
    network = SiameseNetwork(Corner(), pair_head="difference")
    assert network.pair_head is not None
    rows = validation.tuples.rows
    vectors = validation.images.embed(network, np.arange(20))
    np.testing.assert_allclose(
        validation.scores(network), network.pair_head.similarity(vectors[rows[:, 0]], vectors[rows[:, 1]]), atol=1e-6
    )
    assert not np.allclose(validation.scores(network), cosines, atol=1e-2)


def test_with_damaged_images_either_and_both_of_a_pair_are_looked_at() -> None:
    validation, _ = random_validation(2)
    pixels = validation.images.pixels
    turned = np.zeros_like(pixels)
    turned[..., 0], turned[..., 1] = pixels[..., 1], pixels[..., 0]
    looks = [pixels, turned]
    network = SiameseNetwork(Corner())
    damaged = Validation(validation.images, validation.tuples, damaged=Images(turned, "cpu"))
    left, right = validation.tuples.rows.T
    unit = [features_of(each) / np.linalg.norm(features_of(each), axis=1, keepdims=True) for each in looks]
    scores = np.concatenate([(one[left] * other[right]).sum(axis=1) for one in unit for other in unit])
    figures = damaged.measure(network)
    assert figures is not None
    assert figures.auc == pytest.approx(auc(scores, np.tile(validation.same, 4)), abs=1e-3)
    plain = validation.measure(network)
    assert plain is not None
    assert abs(figures.auc - plain.auc) > 0.05
    # Thresholds are fitted on the pairs as they are: what a user compares is not damaged on purpose.
    assert damaged.fit_decisions(network) == validation.fit_decisions(network)


def test_damage_is_told_which_images_it_is_given_whatever_the_chunks() -> None:
    count = 600
    pixels = np.zeros((count, 4, 4, 3), np.uint8)

    def damage(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> NDArray[np.uint8]:
        return images + at_angles(rows / count * 90)

    rows = np.arange(0, count, 2)
    found = Images(pixels, "cpu", damage=damage).embed(SiameseNetwork(Corner()), rows)
    angles = np.rad2deg(np.arctan2(found[:, 1], found[:, 0]))
    np.testing.assert_allclose(angles, rows / count * 90, atol=0.3)


def test_the_identity_head_is_judged_on_the_held_out_images() -> None:
    pixels = at_angles(np.array([0.0, 10.0, 80.0, 90.0, 45.0]))
    tuples = Tuples(np.array([[0, 1], [2, 3], [0, 3], [1, 2]]), np.array([True, True, False, False]))
    network = SiameseNetwork(Corner())
    held_out = HeldOut(np.array([0, 1, 2, 4]), np.array([0, 0, 1, 1]))
    validation = Validation(Images(pixels, "cpu"), tuples, held_out)
    without = validation.measure(network)
    assert without is not None
    assert (without.top1, without.top5) == (None, None)
    network.identity_head = IdentityHead(2, 6)
    # Identities at 0, 60, 61 ... degrees: the image at 45 is nearer to 60 than to 0, that at 80 nearest to the last.
    degrees = np.deg2rad([0, 60, 61, 62, 63, 64])
    network.identity_head.weight[:, 0] = torch.tensor(np.stack([np.cos(degrees), np.sin(degrees)], axis=1))
    figures = validation.measure(network)
    assert figures is not None
    assert (figures.top1, figures.top5) == (0.75, 1.0)


@pytest.mark.parametrize("where", ["encoder", "identity head"])
def test_weights_that_are_not_finite_give_no_figures(where: str) -> None:
    validation, _ = random_validation(0)
    network = SiameseNetwork(Corner(), "linear", 2)
    network.identity_head = IdentityHead(2, 3)
    assert validation.measure(network) is not None
    with torch.no_grad():
        (next(network.head.parameters()) if where == "encoder" else network.identity_head.weight).fill_(np.nan)
    assert validation.measure(network) is None
