import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from siamese.images.input_spec import Fit, InputSpec

RNG = np.random.default_rng(0)
SHAPES = [(1, 1), (1, 300), (300, 1), (7, 13), (112, 112), (112, 96), (250, 250), (97, 333), (480, 640), (1080, 607)]


def noise(rows: int, columns: int) -> NDArray[np.uint8]:
    return RNG.integers(0, 256, (rows, columns, 3), dtype=np.uint8)


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("size", [(112, 112), (112, 96), (31, 77), (224, 160)])
def test_every_shape_is_brought_to_the_size(fit: Fit, size: tuple[int, int]) -> None:
    spec = InputSpec(size=size, fit=fit)
    for shape in SHAPES:
        resized = spec.resize(noise(*shape))
        assert resized.shape == (*size, 3), shape
        assert resized.dtype == np.uint8
        assert resized.flags.c_contiguous


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
def test_an_image_of_the_size_comes_back_as_it_is(fit: Fit) -> None:
    image = noise(40, 30)
    np.testing.assert_array_equal(InputSpec(size=(40, 30), fit=fit).resize(image), image)


def test_crop_cuts_the_middle_out() -> None:
    image = noise(112, 112)
    np.testing.assert_array_equal(InputSpec(size=(112, 96)).resize(image), image[:, 8:104])
    np.testing.assert_array_equal(InputSpec(size=(56, 112)).resize(image), image[28:84])


def test_crop_covers_the_size_without_black() -> None:
    for shape in SHAPES:
        assert (InputSpec(size=(64, 48)).resize(np.full((*shape, 3), 200, np.uint8)) == 200).all(), shape


def test_pad_keeps_the_whole_image_in_the_middle_of_black() -> None:
    padded = InputSpec(size=(60, 40), fit="pad").resize(np.full((20, 40, 3), 200, np.uint8))
    assert (padded[20:40] == 200).all()
    assert (padded[:20] == 0).all()
    assert (padded[40:] == 0).all()


@pytest.mark.parametrize("shape", [(30, 90), (90, 30), (33, 91)])
def test_pad_keeps_the_aspect_ratio(shape: tuple[int, int]) -> None:
    padded = InputSpec(size=(45, 45), fit="pad").resize(np.full((*shape, 3), 255, np.uint8))
    filled = padded[..., 0] == 255
    scale = 45 / max(shape)
    assert filled.any(1).sum() == round(shape[0] * scale)
    assert filled.any(0).sum() == round(shape[1] * scale)


def test_stretch_ignores_the_aspect_ratio() -> None:
    halves = np.zeros((10, 40, 3), np.uint8)
    halves[:, 20:] = 240
    stretched = InputSpec(size=(20, 20), fit="stretch").resize(halves)
    assert (stretched[:, :10] == 0).all()
    assert (stretched[:, 10:] == 240).all()


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_reduction_averages_over_areas(fit: Fit, interpolation: str) -> None:
    checkerboard = np.repeat((np.indices((64, 64)).sum(0) % 2 * 255)[..., None], 3, axis=2).astype(np.uint8)
    spec = InputSpec.model_validate({"size": (32, 32), "fit": fit, "interpolation": interpolation})
    reduced = spec.resize(checkerboard).astype(int)
    assert np.abs(reduced - 127).max() <= 1


def test_reduction_by_a_whole_factor_is_the_mean_of_each_block() -> None:
    image = noise(48, 60)
    expected = image.reshape(12, 4, 15, 4, 3).mean((1, 3))
    assert np.abs(InputSpec(size=(12, 15)).resize(image) - expected).max() <= 0.51


def test_bicubic_enlarges_sharper_than_bilinear() -> None:
    step = np.zeros((8, 8, 3), np.uint8)
    step[:, 4:] = 200
    slopes = {}
    for name in ("bilinear", "bicubic"):
        enlarged = InputSpec.model_validate({"size": (64, 64), "interpolation": name}).resize(step)
        slopes[name] = int(np.diff(enlarged[32, :, 0].astype(int)).max())
    assert slopes["bicubic"] > slopes["bilinear"] > 0


@pytest.mark.parametrize("channels", ["RGB", "BGR"])
def test_normalisation_is_the_plain_formula(channels: str) -> None:
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    spec = InputSpec.model_validate({"size": (5, 7), "channels": channels, "mean": mean, "std": std})
    images = RNG.integers(0, 256, (4, 5, 7, 3), dtype=np.uint8)
    ordered = images if channels == "RGB" else images[..., [2, 1, 0]]
    expected = np.moveaxis((ordered / 255.0 - np.array(mean)) / np.array(std), 3, 1)
    normalised = spec.normalise(images)
    assert normalised.dtype == np.float32
    assert normalised.flags.c_contiguous
    np.testing.assert_allclose(normalised, expected, atol=2e-6)


def test_the_default_maps_bytes_to_minus_one_and_one() -> None:
    images = np.array([0, 255], np.uint8).reshape(1, 1, 2, 1).repeat(3, axis=3)
    np.testing.assert_allclose(InputSpec(size=(1, 2)).normalise(images)[0, 0, 0], [-1, 1], atol=1e-6)


def test_no_images_normalise_to_none() -> None:
    assert InputSpec(size=(5, 7)).normalise(np.zeros((0, 5, 7, 3), np.uint8)).shape == (0, 3, 5, 7)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": (112, 112), "colour": "RGB"}, "Extra inputs are not permitted"),
        ({"size": (112, 112), "channels": "GBR"}, "Input should be 'RGB' or 'BGR'"),
        ({"size": (112, 112), "fit": "squash"}, "Input should be 'crop', 'pad' or 'stretch'"),
        ({"size": (112, 112), "alignment": "arcface"}, "Input should be 'arcface-112', 'mtcnn-160' or 'none'"),
        ({"size": (112, 0)}, "Input should be greater than or equal to 1"),
        ({"size": (112, 112), "std": (0.5, 0.5, 0.0)}, "Input should be greater than 0"),
        ({}, "Field required"),
    ],
)
def test_what_no_image_could_be_brought_to_is_rejected(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        InputSpec.model_validate(values)


def test_a_specification_survives_json_and_does_not_change() -> None:
    spec = InputSpec(size=(112, 96), channels="BGR", mean=(0.1, 0.2, 0.3), fit="pad", alignment="arcface-112")
    assert InputSpec.model_validate_json(spec.model_dump_json()) == spec
    with pytest.raises(ValidationError, match="frozen"):
        spec.fit = "crop"  # type: ignore[misc]
