"""Several real processes over gloo against one with the whole batch."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from siamese.training.gather import gather_batch
from siamese.training.plans import Share

from .gathering import CASES, figures, module

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=[2, 3])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each process came to."""
    world, folder = request.param, tmp_path_factory.mktemp("gather")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    script = Path(__file__).with_name("gathering.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder), str(world), str(port)],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(world)]


@pytest.mark.parametrize("text", CASES)
def test_several_processes_have_the_gradients_of_one_with_the_whole_batch(
    found: list[dict[str, Any]], text: str
) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        whole = figures(text, Share())
    finally:
        torch.set_num_threads(threads)
    assert any(gradient.abs().max() > 1e-4 for gradient in whole["gradients"].values())
    for process in found:
        case = process["cases"][text]
        torch.testing.assert_close(case["loss"], whole["loss"], rtol=1e-5, atol=1e-6)
        assert case["gradients"].keys() == whole["gradients"].keys()
        for name, gradient in whole["gradients"].items():
            torch.testing.assert_close(case["gradients"][name], gradient, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("text", CASES)
def test_every_process_sees_all_embeddings_of_the_batch_and_encodes_its_own(
    found: list[dict[str, Any]], text: str
) -> None:
    whole = figures(text, Share())
    cases = [process["cases"][text] for process in found]
    assert all(torch.equal(case["rows"], cases[0]["rows"]) for case in cases)
    assert set(cases[0]["rows"].tolist()) == set(whole["rows"].tolist())
    encoded = sum(int(case["own"]) for case in cases)
    if text == "contrastive+distill+cosine=0":  # an image of pairs in two shares is one image to its teacher
        assert encoded > len(cases[0]["rows"]) == len(whole["rows"])
    else:
        assert encoded == len(cases[0]["rows"])
    place = {int(row): number for number, row in enumerate(whole["rows"])}
    expected = whole["embeddings"][[place[int(row)] for row in cases[0]["rows"]]]
    torch.testing.assert_close(cases[0]["embeddings"], expected, rtol=0, atol=1e-6)


def test_shares_are_unequal_and_one_may_be_empty(found: list[dict[str, Any]]) -> None:
    own = [[int(process["cases"][text]["own"]) for process in found] for text in CASES]
    assert any(len(set(each)) > 1 for each in own)
    assert any(0 in each for each in own)


def test_the_first_goes_ahead_answers_for_all_and_one_wish_is_everybodys(found: list[dict[str, Any]]) -> None:
    said = [process["said"] for process in found]
    assert [each["rank"] for each in said] == list(range(len(found)))
    assert all(each["world"] == len(found) for each in said)
    assert [each["saw"] for each in said] == [False] + [True] * (len(found) - 1)
    assert all(each["told"] == "of 0" for each in said)
    assert all(each["wish"] and not each["none"] for each in said)


def test_one_process_alone_gathers_nothing() -> None:
    made = module("triplet", Share())
    batch = made._batches(0)[0]
    embeddings = torch.randn(len(batch.rows), 8)
    same, unchanged = gather_batch(embeddings, batch)
    assert same is embeddings
    assert unchanged is batch
