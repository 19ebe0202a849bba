"""What training from the cache keeps of the speed of the model alone.

    python benchmarks/input_pipeline.py [IMAGES] [--encoder NAME] [--rounds N] [--steps N]

IMAGES is a folder of identity folders (LFW as published; reduced to 112 pixels, not aligned); rendered identities
without it. A store of decoded pixels is filled, then opened again as a second run would. Training steps (forward,
backward, AdamW; contrastive loss, batches of 32 pairs, augmentation `standard`) on two cores: fed from the store end
to end, and with the very same batches already in memory. The two alternate step by step. Printed are images/s of both
and the ratio, the median over rounds; also what it took to fill the cache and to open it again.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from siamese.demo.folder import write_identities
from siamese.device import keep_freed_memory
from siamese.encoders.registry import create_encoder
from siamese.images.augment import augmenter
from siamese.images.cache import PixelCache
from siamese.images.loader import ImageLoader
from siamese.images.pixel_store import open_pixel_store
from siamese.losses.loss import LossSize
from siamese.losses.registry import parse_objective
from siamese.model.network import SiameseNetwork
from siamese.training.batches import Batch, EpochBatches, batch_index
from siamese.training.plans import TuplePlan
from siamese.training.sources import PixelSource, Views
from siamese.training.tuples import Tuples

CORES, BATCH_SIZE, SIDE, MOST = 2, 32, 112, 600


def image_paths(root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in sorted(root.rglob("*.jpg"))[:MOST]]


def random_pairs(images: int, count: int) -> Tuples:
    """Which images go together does not matter to the clock."""
    rng = np.random.default_rng(0)
    return Tuples(rng.integers(0, images, (count, 2)), rng.random(count) < 0.5)


def cached(root: Path, home: Path, loader: ImageLoader) -> tuple[PixelCache, float]:
    started = time.perf_counter()
    store = open_pixel_store(home, 10.0, loader)
    cache = PixelCache(loader, root, image_paths(root), home / "pixels.bin", store=store)
    return cache, time.perf_counter() - started


def trainer(network: SiameseNetwork) -> Callable[[Batch], None]:
    objective = parse_objective("contrastive").build(LossSize(network.embedding_dim, 0))
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4)

    def step(batch: Batch) -> None:
        optimiser.zero_grad()
        objective(network(batch.inputs), batch_index(batch)).total.backward()
        optimiser.step()

    return step


def measure(
    step: Callable[[Batch], None], epochs: Iterator[EpochBatches], rounds: int
) -> tuple[list[float], list[float], list[int]]:
    """Seconds of each round end to end and model alone, and its images; the two take turns at every batch."""
    whole, alone, images = [], [], []
    for _ in range(rounds):
        spent = [0.0, 0.0]
        seen = 0
        batches = iter(DataLoader(next(epochs), batch_size=None))
        while True:
            started = time.perf_counter()
            batch = next(batches, None)
            if batch is None:
                break
            step(batch)
            middle = time.perf_counter()
            step(batch)
            spent[0] += middle - started
            spent[1] += time.perf_counter() - middle
            seen += len(batch.rows)
        whole.append(spent[0])
        alone.append(spent[1])
        images.append(seen)
    return whole, alone, images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="?", type=Path)
    parser.add_argument("--encoder", default="timm/convnext_atto@random")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(CORES)
    cv2.setNumThreads(1)
    keep_freed_memory()
    torch.manual_seed(0)
    network = SiameseNetwork(create_encoder(options.encoder, input_size=(SIDE, SIDE)), "mlp").train()
    with tempfile.TemporaryDirectory() as name:
        root = options.images or Path(name) / "faces"
        if options.images is None:
            write_identities(root, identities=75, images=4, seed=0, size=160)
        loader = ImageLoader(network.input_spec, align="no", workers=CORES)
        first, cold = cached(root, Path(name), loader)
        first.close()
        cache, warm = cached(root, Path(name), loader)
        print(
            f"{len(cache.pixels)} images: {cold:.2f} s to decode them into the cache, {warm:.2f} s to open it again"
        )
        tuples = random_pairs(len(cache.pixels), BATCH_SIZE * options.steps)
        plan = TuplePlan(tuples, BATCH_SIZE)
        source = PixelSource(cache.pixels, network.input_spec, augmenter("standard"), Views(0, None))
        epochs = (EpochBatches(plan, source, seed=0, epoch=epoch) for epoch in range(options.rounds + 1))
        step = trainer(network)
        measure(step, epochs, 1)  # warms up
        whole, alone, images = measure(step, epochs, options.rounds)
        cache.close()
    rates = [
        statistics.median(count / time for count, time in zip(images, each, strict=True)) for each in (whole, alone)
    ]
    ratio = statistics.median(model / both for both, model in zip(whole, alone, strict=True))
    print(
        f"{options.encoder}, {CORES} threads: {rates[0]:.1f} images/s end to end, {rates[1]:.1f} images/s model only"
    )
    print(f"ratio {ratio:.3f} (median of {options.rounds} rounds of {options.steps} steps)")


if __name__ == "__main__":
    main()
