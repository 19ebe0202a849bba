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
