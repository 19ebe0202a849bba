"""What `siamese evaluate` takes beyond decoding its images and putting them through the network.

    python benchmarks/evaluation_floor.py LFW_CROPS PAIRS --encoder mobilefacenet@WEIGHTS
        [--each N] [--rounds N] [--threads N] [--profile FILE]

LFW_CROPS is what `siamese align` made of LFW, PAIRS the official pairs.txt of View 2, of which N genuine and N
impostor pairs of each fold count (300 are all of them). Take turns in one process, on the same threads:

- floor: each image that the pairs name decoded, scaled to the input and put through the network, in the batches of
  the command; nothing is kept but the embeddings. The network is there already.
- evaluate: the whole command, `siamese evaluate ENCODER --pairs ... --protocol lfw -o DIR --no-report --json`: loads
  the encoder, reads the pairs, looks the files up, embeds, measures with intervals, writes metrics.json and
  scores.csv.
- report: the same with report.html, its charts and pictures.

Decoded pixels are kept by none of them. Printed are the median seconds of each, and medians over rounds of its time
over that of the floor in the same round, by the clock and by the processor (all threads; other work on the machine
counts little there). Last, what starting the program adds: a process of its own that evaluates one pair of each kind
a fold, less the same here. --profile writes where the time of one more evaluation goes, for `python -m pstats`.
"""

import argparse
import contextlib
import cProfile
import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

from siamese.device import keep_freed_memory
from siamese.encoders.registry import create_encoder
from siamese.images.decode import decode
from siamese.model.embeddings import CPU_BATCH
from siamese.model.network import SiameseNetwork
from siamese.pairing.formats import read_pairs
from siamese.pairing.lfw import write_lfw
from siamese_cli.main import run

Timed = dict[str, list[tuple[float, float]]]


def chosen_pairs(path: Path, each: int, target: Path) -> pd.DataFrame:
    """The first pairs of each kind of each fold, written in LFW's form."""
    pairs = read_pairs(path)
    few = pairs.groupby(["fold", "same"], sort=False).head(each)
    write_lfw(few, target)
    return few


def floor(network: SiameseNetwork, images: list[Path], threads: int) -> None:
    spec = network.input_spec
    vectors = np.empty((len(images), network.embedding_dim), np.float32)
    with ThreadPoolExecutor(threads) as pool, torch.inference_mode():
        each = pool.map if threads > 1 else map
        for start in range(0, len(images), CPU_BATCH):
            pixels = np.stack([spec.resize(image) for image in each(decode, images[start : start + CPU_BATCH])])
            vectors[start : start + len(pixels)] = network(torch.from_numpy(spec.normalise(pixels))).numpy()


def command(encoder: str, pairs: Path, root: Path, output: Path, *more: str) -> list[str]:
    options = ["--pairs", pairs, "--root", root, "--protocol", "lfw", "-o", output, "--device", "cpu", "--quiet"]
    return ["evaluate", encoder, *map(str, options), "--json", *more]


def evaluate(arguments: list[str]) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        code = run(arguments)
    if code:
        raise SystemExit(code)


def timed(job: Callable[[], None]) -> tuple[float, float]:
    """Seconds by the clock and by the processor."""
    started, busy = time.perf_counter(), time.process_time()
    job()
    return time.perf_counter() - started, time.process_time() - busy


def take_turns(jobs: dict[str, Callable[[], None]], rounds: int) -> Timed:
    spent: Timed = {name: [] for name in jobs}
    for number in range(rounds):
        for name in list(jobs)[:: -1 if number % 2 else 1]:
            spent[name].append(timed(jobs[name]))
    return spent


def describe(spent: Timed) -> None:
    print(f"{'':10} {'seconds':>8} {'over floor':>10} {'processor':>10}")
    for name, rounds in spent.items():
        seconds = statistics.median(clock for clock, _ in rounds)
        ratios = [
            statistics.median(own[kind] / base[kind] for own, base in zip(rounds, spent["floor"], strict=True))
            for kind in (0, 1)
        ]
        print(f"{name:10} {seconds:8.2f} {ratios[0]:10.3f} {ratios[1]:10.3f}")


def start_up(arguments: list[str]) -> float:
    """Seconds that a process of its own takes."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-m", "siamese_cli", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("crops", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--each", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--profile", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(1)
    keep_freed_memory()
    network = SiameseNetwork(create_encoder(options.encoder)).eval()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pairs = chosen_pairs(options.pairs, options.each, folder / "pairs.txt")
        chosen_pairs(options.pairs, 1, folder / "few.txt")
        named = [options.crops / image for image in pd.unique(pairs[["left", "right"]].to_numpy().ravel())]
        images = [image for image in named if image.is_file()]  # what showed no face has no crop
        whole = command(options.encoder, folder / "pairs.txt", options.crops, folder / "out")
        jobs: dict[str, Callable[[], None]] = {
            "floor": lambda: floor(network, images, options.threads),
            "evaluate": lambda: evaluate([*whole, "--no-report"]),
            "report": lambda: evaluate(whole),
        }
        print(f"{len(pairs)} pairs of {len(images)} images, batches of {CPU_BATCH}, {options.threads} threads")
        few = command(options.encoder, folder / "few.txt", options.crops, folder / "few")
        floor(network, images[:64], options.threads)  # warms up, as does the next
        evaluate(few)
        spent = take_turns(jobs, options.rounds)
        describe(spent)
        few.append("--no-report")
        alone = statistics.median(timed(lambda: evaluate(few))[0] for _ in range(3))
        extra = statistics.median(start_up(few) for _ in range(3)) - alone
        totals = [(own[0] + extra) / base[0] for own, base in zip(spent["evaluate"], spent["floor"], strict=True)]
        print(f"starting the program: {extra:.2f} s; evaluate with it over floor: {statistics.median(totals):.3f}")
        if options.profile:
            profile = cProfile.Profile()
            profile.runcall(evaluate, [*whole, "--no-report"])
            profile.dump_stats(options.profile)


if __name__ == "__main__":
    main()
