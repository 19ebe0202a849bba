"""A graph on several streams: every piece comes back in its place, from every thread, also after a failure."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from siamese.openvino_library import core, openvino
from siamese.openvino_streams import OpenVinoStreams, stream_settings

THREADS = 2


@pytest.fixture(scope="module")
def streams() -> OpenVinoStreams:
    """Of rows (B, 4) their sum and their largest number, as (B, 2, 1)."""
    ops = openvino().opset13
    given = ops.parameter((-1, 4), np.float32)
    axis = np.array([1])
    both: Any = ops.concat([ops.reduce_sum(given, axis, True), ops.reduce_max(given, axis, True)], 1)
    graph = openvino().Model([ops.unsqueeze(both, np.array([2]))], [given], "sums")
    return OpenVinoStreams(core().compile_model(graph, "CPU", stream_settings(THREADS)), THREADS, 2)


def expected(rows: Any) -> Any:
    return np.stack([rows.sum(axis=1), rows.max(axis=1)], axis=1)


@pytest.mark.parametrize("piece", [1, 3, 64])
@pytest.mark.parametrize("count", [1, 2, 10, 50])
def test_every_row_comes_back_in_its_place(streams: OpenVinoStreams, count: int, piece: int) -> None:
    rows = np.random.default_rng(count).standard_normal((count, 4), np.float32)
    np.testing.assert_allclose(streams.run(rows, piece), expected(rows), rtol=1e-5, atol=1e-6)


def test_nothing_gives_nothing(streams: OpenVinoStreams) -> None:
    assert streams.run(np.zeros((0, 4), np.float32), 1).shape == (0, 2)


def test_rows_need_not_lie_in_order(streams: OpenVinoStreams) -> None:
    rows = np.random.default_rng(0).standard_normal((8, 30), np.float32)[::-2, ::8]
    np.testing.assert_allclose(streams.run(rows, 3), expected(rows), rtol=1e-5, atol=1e-6)


def test_threads_do_not_mix_their_rows(streams: OpenVinoStreams) -> None:
    given = np.random.default_rng(0).standard_normal((40, 9, 4), np.float32)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda rows: streams.run(rows, 2), given))
    for rows, sums in zip(given, found, strict=True):
        np.testing.assert_allclose(sums, expected(rows), rtol=1e-5, atol=1e-6)


def test_it_goes_on_after_a_failure(streams: OpenVinoStreams) -> None:
    with pytest.raises(RuntimeError):
        streams.run(np.zeros((9, 5), np.float32), 2)
    rows = np.ones((9, 4), np.float32)
    np.testing.assert_array_equal(streams.run(rows, 2), expected(rows))
