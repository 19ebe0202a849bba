"""What reading ahead of the network gains when a corpus is embedded, and whether the network waits for images at all.

    python benchmarks/embedding_corpus.py IMAGES --model MODEL [--images N] [--rounds N] [--threads N] [--ahead N ...]

IMAGES is a folder: aligned crops, or photographs in which faces are looked for. The same images are embedded in
batches of 16, by turns: each batch read when it is needed, as before, and with 1, 2, ... batches read ahead by a
thread. Printed are images/s of each, the share of the time that goes into reading when nothing is read ahead, and the
ratios, medians over rounds. The vectors must be the same, bit for bit. Nothing can be gained beyond the lesser of the
shares of reading and of the network.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from siamese.device import keep_freed_memory
from siamese.inference.embed_ahead import AheadEmbedder
from siamese.inference.verifier import Verifier
from siamese.progress import log

BATCH = 16


class TimedEmbedder(AheadEmbedder):
    """Reads each batch when it is needed, and notes how long that takes."""

    def __init__(self, verifier: Verifier) -> None:
        super().__init__(verifier, ahead=0, batch=BATCH)
        self.reading = 0.0
        load = self._loader.load

        def timed(sources):
            started = time.perf_counter()
            loaded = load(sources)
            self.reading += time.perf_counter() - started
            return loaded

        self._loader.load = timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ahead", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    log.setLevel("WARNING")
    verifier = Verifier.load(options.model, device="cpu", seed=0)
    files = sorted(options.folder.rglob("*.jpg"))[: options.images]
    before = TimedEmbedder(verifier)
    embedders = {0: before, **{ahead: AheadEmbedder(verifier, ahead=ahead, batch=BATCH) for ahead in options.ahead}}
    expected = before.embed(files[: 2 * BATCH])[0]  # warms up
    before.reading = 0.0
    seconds: dict[int, list[float]] = {ahead: [] for ahead in embedders}
    for turn in range(options.rounds):
        for ahead in list(embedders)[:: -1 if turn % 2 else 1]:
            started = time.perf_counter()
            vectors = embedders[ahead].embed(files)[0]
            seconds[ahead].append(time.perf_counter() - started)
            if not np.array_equal(vectors[: len(expected)], expected):
                raise SystemExit(f"{ahead} batches ahead: other vectors")
    share = before.reading / sum(seconds[0])
    print(f"{options.folder.name}: {len(files)} images, {options.threads} threads, {options.rounds} rounds")
    print(f"reading takes {share:.1%} of the time when nothing is read ahead, the network {1 - share:.1%}")
    for ahead, times in seconds.items():
        ratio = statistics.median(base / each for base, each in zip(seconds[0], times, strict=True))
        print(f"{ahead} ahead: {len(files) / statistics.median(times):6.1f} images/s, ratio {ratio:.3f}")


if __name__ == "__main__":
    main()
