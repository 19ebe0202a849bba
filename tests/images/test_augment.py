import os
import re
import subprocess
import sys

import numpy as np
import pytest

from siamese.errors import OptionError
from siamese.images.augment import PRESETS, augmenter

RNG = np.random.default_rng(0)
IMAGES = np.kron(RNG.integers(0, 256, (12, 4, 4, 3)), np.ones((1, 12, 10, 1))).astype(np.uint8)
# What would go over the network is refused and named.
OFFLINE = """
import socket
def refuse(*arguments, **options):
    raise SystemExit(f"network: {arguments}")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import numpy as np
from siamese.images.augment import augmenter
print(augmenter("standard")(np.zeros((2, 16, 16, 3), np.uint8), 0).shape)
"""


def test_none_returns_its_input() -> None:
    assert augmenter("none")(IMAGES, 3) is IMAGES


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("shape", [(3, 48, 40, 3), (1, 112, 112, 3), (2, 17, 5, 3)])
def test_shape_and_type_are_kept(preset: str, shape: tuple[int, ...]) -> None:
    images = RNG.integers(0, 256, shape, dtype=np.uint8)
    before = images.copy()
    augment = augmenter(preset)
    for seed in range(10):
        result = augment(images, seed)
        assert result.shape == shape
        assert result.dtype == np.uint8
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("preset", ["light", "standard"])
def test_a_seed_decides_the_result(preset: str) -> None:
    first, second = augmenter(preset), augmenter(preset)
    once = first(IMAGES, 7)
    first(IMAGES, 8)
    np.testing.assert_array_equal(first(IMAGES, 7), once)
    np.testing.assert_array_equal(second(IMAGES, 7), once)
    assert (first(IMAGES, 8) != once).any()


@pytest.mark.parametrize("preset", ["light", "standard"])
def test_nothing_else_than_the_seed_decides_it(preset: str) -> None:
    augment = augmenter(preset)
    once = augment(IMAGES, 7)
    np.random.seed(1)  # noqa: NPY002
    np.testing.assert_array_equal(augment(IMAGES, 7), once)


@pytest.mark.parametrize("preset", ["light", "standard"])
def test_images_of_a_batch_are_changed_differently(preset: str) -> None:
    same = np.repeat(IMAGES[:1], 12, axis=0)
    assert len({image.tobytes() for image in augmenter(preset)(same, 0)}) > 3


def test_light_is_a_mirror_and_a_little_light() -> None:
    augment = augmenter("light")
    mirrored = untouched = 0
    for seed in range(30):
        for image, result in zip(IMAGES, augment(IMAGES, seed), strict=True):
            # Brightness and contrast are a line a x + b with a and b / 255 within 0.1, then a cut to bytes.
            for candidate in (image, image[:, ::-1]):
                inner = (result > 0) & (result < 255)
                slope, offset = np.polyfit(candidate[inner].astype(float), result[inner].astype(float), 1)
                if np.abs(slope * candidate[inner] + offset - result[inner]).max() < 2:
                    assert 0.88 < slope < 1.12
                    assert abs(offset) < 30
                    mirrored += candidate is not image
                    untouched += np.array_equal(candidate, result)
                    break
            else:
                pytest.fail("neither the image nor its mirror, in another light")
    assert 0.4 < mirrored / 360 < 0.6
    assert 0.4 < untouched / 360 < 0.6


def test_standard_moves_and_recolours_too() -> None:
    augment = augmenter("standard")
    grey = np.full((12, 40, 40, 3), 128, np.uint8)
    grey[:, 10:30, 10:30] = (150, 120, 100)
    results = np.concatenate([augment(grey, seed) for seed in range(10)]).astype(int)
    corners = results[:, [0, 0, -1, -1], [0, -1, 0, -1]].max(axis=2)
    assert (corners.min(axis=1) == 0).any()  # rotated: black came in
    hues = {tuple(np.sign(np.diff(image[20, 20]))) for image in results}
    assert hues
    spread = results[:, 20, 20].max(1) - results[:, 20, 20].min(1)
    assert len(set(spread.tolist())) > 5


def test_an_unknown_preset_offers_the_nearest() -> None:
    message = "unknown augmentation 'standart': did you mean 'standard'? known: light, none, standard"
    with pytest.raises(OptionError, match=f"^{re.escape(message)}$"):
        augmenter("standart")


def test_the_library_asks_no_server() -> None:
    environment = {key: value for key, value in os.environ.items() if key != "NO_ALBUMENTATIONS_UPDATE"}
    command = [sys.executable, "-W", "ignore", "-c", OFFLINE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("(2, 16, 16, 3)", "", 0)
