"""Reading ahead of the network: order, bounds, failures, and the same vectors bit for bit."""

import threading
from pathlib import Path

import numpy as np
import pytest

from siamese.demo.folder import write_identities
from siamese.inference.embed_ahead import AheadEmbedder, make_ahead
from siamese.inference.verifier import Verifier


@pytest.mark.parametrize("ahead", [0, 1, 2, 7, 100])
def test_everything_is_made_once_and_in_order(ahead: int) -> None:
    made: list[int] = []

    def make(item: int) -> int:
        made.append(item)
        return item * item

    assert list(make_ahead(make, range(20), ahead)) == [item * item for item in range(20)]
    assert made == list(range(20))


@pytest.mark.parametrize("ahead", [1, 2, 5])
def test_no_more_is_made_ahead_than_was_allowed(ahead: int) -> None:
    made = threading.Semaphore(0)
    begun = 0

    def make(item: int) -> int:
        nonlocal begun
        begun += 1
        made.release()
        return item

    for position, item in enumerate(make_ahead(make, range(12), ahead)):
        for _ in range(ahead + 1 if position == 0 else 1):
            if begun < 12:
                assert made.acquire(timeout=30)
        assert item == position
        assert begun <= position + 1 + ahead


def test_the_next_is_made_while_the_caller_is_busy() -> None:
    second = threading.Event()

    def make(item: int) -> int:
        if item == 1:
            second.set()
        return item

    results = make_ahead(make, range(3), 1)
    assert next(results) == 0
    assert second.wait(timeout=30), "nothing was made while the caller held the first"


def test_a_failure_comes_at_its_place_and_nothing_is_made_after_it() -> None:
    def make(item: int) -> int:
        if item == 3:
            raise ValueError("the third")
        return item

    got = []
    with pytest.raises(ValueError, match="the third"):
        for item in make_ahead(make, range(100), 2):
            got.append(item)  # noqa: PERF402 - what came before the failure
    assert got == [0, 1, 2]


def test_a_caller_that_leaves_takes_the_thread_along() -> None:
    results = make_ahead(lambda item: item, range(1000), 3)
    assert next(results) == 0
    results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("faces")
    write_identities(folder, identities=5, images=4, seed=3, size=48)
    (folder / "bad.jpg").write_bytes(b"\xff\xd8 no image")
    found = sorted(folder.rglob("*.jpg"))
    return [*found[:7], folder / "missing.jpg", *found[7:], found[-1]]


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("ahead", [None, 0, 2])
def test_vectors_are_those_of_the_verifier_bit_for_bit(files: list[Path], ahead: int | None, flip: bool) -> None:
    verifier = Verifier.load("timm/test_resnet@random", device="cpu", input_size=(32, 32), flip=flip, seed=1)
    expected = verifier.embed(files, batch=4)
    counted: list[int] = []
    vectors, outcomes = AheadEmbedder(verifier, ahead=ahead, batch=4).embed(files, counted.append)
    np.testing.assert_array_equal(vectors, expected.vectors)
    assert outcomes == expected.outcomes
    assert [outcome.status for outcome in outcomes].count("unreadable") == 2
    assert counted == [4, 4, 4, 4, 4, 3]
