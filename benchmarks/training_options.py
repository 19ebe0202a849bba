"""What bfloat16, channels-last memory and torch.compile do to the speed of training steps, against none of them.

    python benchmarks/training_options.py ENCODER [--freeze N] [--device cuda] [--compile]

Steps of the supervised contrastive loss on a batch in memory: forward, backward, AdamW. The ways take turns; images a
second are the median over rounds, and the ratio is to float32 in the usual layout. What a way costs before its first
step (compilation) is not in its rate, and printed beside it.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from siamese.device import keep_freed_memory, resolve_device
from siamese.encoders.registry import create_encoder
from siamese.losses.batch import BatchIndex
from siamese.losses.loss import LossSize
from siamese.losses.registry import parse_objective
from siamese.model.network import SiameseNetwork

IMAGES_PER_IDENTITY = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", help="NAME, NAME@TAG or NAME@FILE; @random will do")
    parser.add_argument("--input-size", type=int, nargs=2)
    parser.add_argument("--freeze", default="none")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", action="store_true", help="the compiled ways too: minutes on a CPU")
    options = parser.parse_args()
    keep_freed_memory()

    ways: dict[str, Callable[[], float]] = {}
    for compiled in (False, True) if options.compile else (False,):
        for half in (False, True):
            for last in (False, True):
                words = ["bf16" if half else "float32", *["channels-last"] * last, *["compiled"] * compiled]
                started = time.perf_counter()
                step = make_step(options, half=half, last=last, compiled=compiled)
                step()
                print(f"{' '.join(words)}: {time.perf_counter() - started:.1f} s to the first step", flush=True)
                ways[" ".join(words)] = step
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, step in ways.items():
            rates[name].append(options.batch / step())
    medians = {name: statistics.median(values) for name, values in rates.items()}
    for name, rate in medians.items():
        print(f"{name:32} {rate:8.1f} images/s  {rate / medians['float32']:5.2f}")


def make_step(options: argparse.Namespace, *, half: bool, last: bool, compiled: bool) -> Callable[[], float]:
    """A training step that gives the seconds it took."""
    device = resolve_device(options.device)
    kind = device.partition(":")[0]
    size = tuple(options.input_size) if options.input_size else None
    network = SiameseNetwork(create_encoder(options.encoder, input_size=size), "mlp").to(device)
    network.freeze(options.freeze)
    network.train()
    objective = parse_objective("sup_con").build(LossSize(network.embedding_dim, 0))
    optimiser = torch.optim.AdamW([each for each in network.parameters() if each.requires_grad], lr=1e-5)
    images = torch.randn(options.batch, 3, *network.input_spec.size, device=device)
    labels = torch.arange(options.batch, device=device) // IMAGES_PER_IDENTITY
    if last:
        network.encoder.to(memory_format=torch.channels_last)
        images = images.contiguous(memory_format=torch.channels_last)
    embed = torch.compile(network, dynamic=True) if compiled else network

    def step() -> float:
        started = time.perf_counter()
        optimiser.zero_grad()
        with torch.autocast(kind, torch.bfloat16, enabled=half):
            embeddings = embed(images)
        objective(embeddings, BatchIndex(labels=labels)).total.backward()
        optimiser.step()
        if kind == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started

    return step


if __name__ == "__main__":
    main()
