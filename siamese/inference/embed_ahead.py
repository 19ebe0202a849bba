"""Embedding files, where that helps while the next ones are read: decoding and alignment ahead of the network."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from siamese.images.loader import Outcome
from siamese.model.embeddings import default_batch

if TYPE_CHECKING:
    from siamese.inference.verifier import Verifier

Given = TypeVar("Given")
Made = TypeVar("Made")

# Batches that are read, or being read, beside the one that a GPU embeds. On a CPU reading and the network want
# the same cores, and nothing was gained by doing both at once (benchmarks/embedding_corpus.py).
AHEAD = 2


def make_ahead(make: Callable[[Given], Made], given: Iterable[Given], ahead: int = AHEAD) -> Iterator[Made]:
    """Yield `make(item)` for each item, in order, made by one thread while the caller is busy with earlier ones.

    Args:
        make: called for one item at a time.
        given: taken as room is made for it.
        ahead: results that wait or are being made, at most; 0 makes each when it is asked for.

    Raises:
        Exception: what `make` raised, at the item it raised it for; nothing more is made then.
    """
    items = iter(given)
    if ahead < 1:
        yield from map(make, items)
        return
    waiting: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="read-ahead") as pool:
        try:
            waiting.extend(pool.submit(make, item) for item in islice(items, ahead))
            while waiting:
                made = waiting.popleft().result()
                waiting.extend(pool.submit(make, item) for item in islice(items, 1))
                yield made
        finally:
            for future in waiting:  # left by the caller, or interrupted: only what is being made is waited for
                future.cancel()


class AheadEmbedder:
    """Embeds files, and may read the next meanwhile; the same vectors, bit for bit, as `Verifier.embed` gives.

    Memory: `ahead` + 1 batches of pixels as the network takes them, the photographs of one batch at full size, and
    the vectors of one call.

    Args:
        verifier: the model.
        ahead: batches read before they are needed; 0 reads each when it is; None for 0 on a CPU, else `AHEAD`.
        batch: images at a time; None for what suits the device.
    """

    def __init__(self, verifier: "Verifier", *, ahead: int | None = None, batch: int | None = None) -> None:
        self._verifier = verifier
        self._ahead = (0 if verifier.device == "cpu" else AHEAD) if ahead is None else ahead
        self._batch = batch or default_batch(verifier.device)
        self._loader = verifier.loader

    def embed(
        self, files: Sequence[Path], advance: Callable[[int], object] = int
    ) -> tuple[NDArray[np.float32], list[Outcome]]:
        """Embed files.

        Args:
            files: each is embedded, also when it comes twice.
            advance: called with the number of images after each batch.

        Returns:
            Vectors (N, D) float32 of unit length, zero where the outcome is not `ok`; and the N outcomes.
        """
        verifier, batch = self._verifier, self._batch
        vectors = np.zeros((len(files), verifier.embedding_dim), np.float32)
        outcomes: list[Outcome] = []
        batches = (files[start : start + batch] for start in range(0, len(files), batch))
        for pixels, done in make_ahead(self._loader.load, batches, self._ahead):
            usable = np.array([outcome.status == "ok" for outcome in done], dtype=bool)
            if usable.any():
                rows = len(outcomes) + np.flatnonzero(usable)
                vectors[rows] = verifier.embed_pixels(pixels[usable], batch=batch)
            outcomes.extend(done)
            advance(len(done))
        return vectors, outcomes
