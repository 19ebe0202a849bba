"""Real faces and weights for the tests that need them."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REAL_DATA = Path(os.environ.get("SIAMESE_REAL_DATA") or Path(__file__).parents[2] / "shared")
REASON = f"no real faces and weights in {REAL_DATA}: set SIAMESE_REAL_DATA to a folder with data/ and weights/"


def real_data_is_there() -> bool:
    return (REAL_DATA / "data").is_dir() and (REAL_DATA / "weights").is_dir()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if real_data_is_there():
        return
    for item in items:
        if item.get_closest_marker("real_data"):
            item.add_marker(pytest.mark.skip(reason=REASON))


@pytest.fixture(scope="session", autouse=True)
def ctrl_c_is_heard() -> None:
    """A shell starts background jobs deaf to Ctrl-C, and the programs that tests start would inherit it."""
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded images and weights that tests keep stay out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIAMESE_CACHE", str(tmp_path_factory.mktemp("cache")))
        # Each fresh model of a test would be exported at first use, which takes seconds: tests that are about it say
        # so, as a user's environment does.
        patch.setenv("SIAMESE_RUNTIME", "torch")
        yield


@pytest.fixture(autouse=True)
def threads_are_left_as_they_were() -> Iterator[None]:
    """Torch rounds by how many threads share the work: a test that sets their number leaves it to no other."""
    torch = sys.modules.get("torch")
    before = None if torch is None else torch.get_num_threads()
    yield
    if before is not None and sys.modules["torch"].get_num_threads() != before:
        sys.modules["torch"].set_num_threads(before)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with data/ and weights/; the test is skipped where it is absent."""
    if not real_data_is_there():
        pytest.skip(REASON)
    return REAL_DATA


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder like the one that ships but for random weights: small, in 16 bits, with thresholds."""
    import numpy as np
    import torch

    from siamese.encoders import create_untrained
    from siamese.evaluation.calibration_fitting import fit_calibration
    from siamese.evaluation.operating_point_fitting import fit_operating_points
    from siamese.images.input_spec import InputSpec
    from siamese.model.card import ModelCard
    from siamese.model.folder import describe_encoder, save_model
    from siamese.model.network import SiameseNetwork

    folder = tmp_path_factory.mktemp("standin") / "model"
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        encoder = create_untrained("timm/regnetx_002", InputSpec(size=(112, 112), alignment="arcface-112"))
        network = SiameseNetwork(encoder, "linear", 256).eval()
    drawn = np.random.default_rng(0)
    same = np.arange(400) % 2 == 0
    scores = np.clip(drawn.normal(np.where(same, 0.6, 0.1), 0.2), -1, 1)
    people = drawn.integers(0, 40, (2, 400))
    card = ModelCard(
        encoder=describe_encoder(network),
        head="linear",
        embedding_dim=256,
        operating_points=fit_operating_points(scores, same, "validation"),
        calibration=fit_calibration(scores, same, people[0], np.where(same, people[0], people[1] + 40), "validation"),
        licence="for tests",
    )
    save_model(folder, network, card, half=True)
    return folder


@pytest.fixture
def bundled(standin: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as if it came with the stand-in."""
    monkeypatch.setattr("siamese.encoders.bundled._FOLDER", standin)
    return standin


@pytest.fixture
def nothing_bundled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as if it came without a model."""
    monkeypatch.setattr("siamese.encoders.bundled._FOLDER", tmp_path / "no-bundle")
    return tmp_path / "no-bundle"
