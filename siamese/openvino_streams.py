"""A compiled graph that keeps every processor at work: a batch goes through it in pieces, one on each processor."""

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray


def stream_settings(threads: int, precision: str = "f32") -> dict[str, str]:
    """What a graph is compiled with for `OpenVinoStreams`.

    Args:
        threads: of the processor.
        precision: of the arithmetic, as OpenVINO calls it.
    """
    return {
        "INFERENCE_PRECISION_HINT": precision,
        # A piece of the batch on each processor: all of them at one piece wait for each other at every layer.
        "NUM_STREAMS": str(threads),
        "INFERENCE_NUM_THREADS": str(threads),
    }


class OpenVinoStreams:
    """A compiled graph with one input and one output, run on several pieces of a batch at once.

    Safe to use from several threads at once.

    Args:
        compiled: by OpenVINO, with `stream_settings`; its input's first axis counts images.
        threads: that it was compiled for.
        width: numbers of its output for each image.
    """

    def __init__(self, compiled: Any, threads: int, width: int) -> None:
        self._compiled, self._threads, self._width = compiled, threads, width
        self._own = threading.local()

    def run(self, images: NDArray[np.float32], piece: int) -> NDArray[np.float32]:
        """The graph's output for a batch.

        Args:
            images: shape (B, ...), float32; B may be 0.
            piece: images in a piece; all but the last have as many.

        Returns:
            Shape (B, width).
        """
        vectors = np.empty((len(images), self._width), np.float32)
        requests = self._requests()
        running: list[tuple[int, Any]] = []
        try:
            for number, place in enumerate(range(0, len(images), piece)):
                if len(running) == len(requests):
                    _collect(*running.pop(0), vectors, piece)
                request = requests[number % len(requests)]
                # It keeps its images until it is done.
                request.start_async({0: np.ascontiguousarray(images[place : place + piece])}, share_inputs=True)
                running.append((place, request))
            for place, request in running:
                _collect(place, request, vectors, piece)
        finally:
            for _, request in running:  # after an error as well: nobody may start one that still runs
                request.wait()
        return vectors

    def _requests(self) -> list[Any]:
        """This thread's own: two threads in one request would overwrite each other's images."""
        requests: list[Any] | None = getattr(self._own, "requests", None)
        if requests is None:
            # Two for each processor: none waits for its next piece.
            requests = [self._compiled.create_infer_request() for _ in range(2 * self._threads)]
            self._own.requests = requests
        return requests


def _collect(place: int, request: Any, vectors: NDArray[np.float32], piece: int) -> None:
    """Wait for a request, and copy its output: it lies in memory that the request's next run overwrites."""
    request.wait()
    rows = vectors[place : place + piece]
    rows[...] = request.get_output_tensor(0).data.reshape(rows.shape)
