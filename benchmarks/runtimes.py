"""How fast an export embeds, against eager float32 torch: same images, same batch, in turn.

    python benchmarks/runtimes.py [SECONDS [THREADS]] [--model NAME@FILE ...] [--pairs PAIRS [--root DIR]]
        [--calibrate DATA]

MobileFaceNet (112x96), ConvNeXt-Atto (112x112) and InceptionResnet-v1 (160x160), of random weights unless --model
gives others: the time does not depend on them. For each, the network on torch and its export on OpenVINO in float32,
in bfloat16 where the processor has it, and with --calibrate quantised to eight bits, all with THREADS (one a
processor; on a busy machine 1 compares best). They embed the same batch in turn, for SECONDS a network (30), so that
other work on the machine slows down all alike, each twice, of which the second counts; printed are images per second
of the median batch, the ratio to torch (the median of the ratios of a turn), and the largest distance of two
embeddings from torch's.

With labelled PAIRS (a pair file of any format, images below DIR) the check that `siamese export` makes says, for
networks of --model, whether a precision decides as torch does; 1,500 pairs or more can show it of bfloat16. Random
weights decide nothing, so for them that stays open. Below each network stands what was aimed at.

Then what starting costs, each in a process of its own, in turn: importing OpenVINO and importing torch, and compiling
the graph of MobileFaceNet without and with the graph that an earlier process left in the cache.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from siamese.device import usable_processors
from siamese.errors import ModelError
from siamese.inference.export import ExportJob, export_model
from siamese.inference.export_parity import Parity
from siamese.inference.runtime import Runtime
from siamese.inference.runtime_openvino import OpenVinoRuntime
from siamese.inference.verifier import Verifier
from siamese.openvino_library import cpu_capabilities

NETWORKS = {"mobilefacenet": None, "convnext_atto": (112, 112), "inception_resnet_v1": None}
# How many times as fast as torch: in float32, and in the fastest precision that decides as torch does.
AIMS = {"mobilefacenet": (2.5, 4.0), "convnext_atto": (1.2, 1.8), "inception_resnet_v1": (1.9, 3.5)}
TORCH, FLOAT32, INT8 = "torch f32", "openvino f32", "openvino int8"
BATCH = 32
STARTS = 7
PROJECT = Path(__file__).parents[1]
COMPILE = """
import sys, time
from pathlib import Path
from siamese.inference.runtime_openvino import OpenVinoRuntime
from siamese.openvino_library import openvino
openvino()
started = time.perf_counter()
OpenVinoRuntime(Path(sys.argv[1]), "f32", cache=sys.argv[2] == "cached")
print(time.perf_counter() - started)
"""
IMPORTS = {
    "numpy": "import numpy",
    "openvino, plain": "import openvino",
    "openvino, as siamese imports it": "from siamese.openvino_library import openvino; openvino()",
    "torch": "import torch",
}


@dataclass(frozen=True)
class Candidate:
    """A runtime, and whether its decisions were seen to be torch's; None where nothing showed it."""

    runtime: Runtime
    passed: bool | None
    said: str = ""


def make_candidates(
    model: str, size: tuple[int, int] | None, folder: Path, options: argparse.Namespace
) -> dict[str, Candidate]:
    job = ExportJob(model, output=folder, input_size=size, timing=False)
    if not model.endswith("@random"):
        job = replace(job, pairs=options.pairs, root=options.root)
    checked = {each.precision: each for each in export_model(job).parity}
    verifier = Verifier.load(model, device="cpu", runtime="torch", input_size=size, seed=job.seed)
    found = {TORCH: Candidate(verifier.runtime, True)}
    for precision in ("f32", *(["bf16"] if "BF16" in cpu_capabilities() else [])):
        runtime = OpenVinoRuntime(folder, precision, threads=options.threads)
        found[f"openvino {precision}"] = Candidate(runtime, *judged(checked.get(precision)))
    if options.calibrate is not None:
        found |= quantised(replace(job, output=folder.with_name(f"{folder.name}-int8")), options)
    return found


def quantised(job: ExportJob, options: argparse.Namespace) -> dict[str, Candidate]:
    try:
        made = export_model(replace(job, int8=True, calibrate=options.calibrate))
    except ModelError as error:
        print(f"  {INT8}: {error}")
        return {}
    return {INT8: Candidate(OpenVinoRuntime(made.folder, "f32", threads=options.threads), *judged(made.parity[0]))}


def judged(parity: Parity | None) -> tuple[bool | None, str]:
    if parity is None or parity.flipped is None:
        return None, ""
    return parity.passed, f"{parity.flipped} of {parity.pairs:,} decisions differ, {parity.allowed} may"


def compare(candidates: dict[str, Candidate], size: tuple[int, int], seconds: float) -> dict[str, float]:
    """Let them embed in turn, and print and return how many times as fast as torch each is."""
    images = np.random.default_rng(0).normal(size=(BATCH, 3, *size)).astype(np.float32)
    vectors = {name: each.runtime.embed(images) for name, each in candidates.items()}
    spent: dict[str, list[float]] = {name: [] for name in candidates}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(spent[TORCH]) < 5:
        for name, each in candidates.items():
            each.runtime.embed(images)  # does not count: the threads of the one before spin on for a while
            started = time.perf_counter()
            each.runtime.embed(images)
            spent[name].append(time.perf_counter() - started)
    ratios = {}
    for name, times in spent.items():
        ratios[name] = statistics.median(eager / own for eager, own in zip(spent[TORCH], times, strict=True))
        apart = np.linalg.norm(vectors[name] - vectors[TORCH], axis=1).max()
        speed = f"{BATCH / statistics.median(times):7.0f} images/s {ratios[name]:6.2f}x {apart:10.1e}"
        print(f"  {name:14} {speed}  {candidates[name].said}".rstrip())
    return ratios


def report(name: str, candidates: dict[str, Candidate], ratios: dict[str, float]) -> None:
    single, fastest = AIMS[name]
    print(f"  aimed at in float32: {single}x: {'reached' if ratios[FLOAT32] >= single else 'NOT reached'}")
    allowed = [each for each, candidate in candidates.items() if each != TORCH and candidate.passed is not False]
    best = max(allowed, key=lambda each: ratios[each])
    reached = "reached" if ratios[best] >= fastest else "NOT reached"
    unsure = ", if it decides as torch does (--pairs shows it)" if candidates[best].passed is None else ""
    print(f"  aimed at in the fastest precision, {best}: {fastest}x: {reached}{unsure}")


def starts(folder: Path, cache: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "SIAMESE_CACHE": str(cache)}
    commands = {f"import {name}": ["-c", code] for name, code in IMPORTS.items()}
    compiled = {
        f"compile MobileFaceNet, {kind}": ["-c", COMPILE, str(folder), kind] for kind in ("uncached", "cached")
    }
    spent: dict[str, list[float]] = {name: [] for name in [*commands, *compiled]}
    for _ in range(STARTS):
        for name, command in (commands | compiled).items():
            started = time.perf_counter()
            done = subprocess.run([sys.executable, *command], env=environment, check=True, stdout=subprocess.PIPE)
            spent[name].append(float(done.stdout) if name in compiled else time.perf_counter() - started)
    for name, times in spent.items():
        print(f"  {name:42} {statistics.median(times):6.2f} s, at best {min(times):.2f}")


def main() -> None:
    options = read_options()
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads on {usable_processors()} processors, batches of {BATCH}")
    given = {each.partition("@")[0]: each for each in options.model}
    with tempfile.TemporaryDirectory() as temporary:
        for name, size in NETWORKS.items():
            folder = Path(temporary) / name
            candidates = make_candidates(given.get(name, f"{name}@random"), size, folder, options)
            height, width = candidates[FLOAT32].runtime.manifest.size
            print(f"{name}, {height}x{width}")
            report(name, candidates, compare(candidates, (height, width), options.seconds))
        print("starting")
        starts(Path(temporary) / "mobilefacenet", Path(temporary) / "cache")


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("seconds", type=float, nargs="?", default=30.0)
    parser.add_argument("threads", type=int, nargs="?", default=usable_processors())
    parser.add_argument("--model", action="append", default=[])
    parser.add_argument("--pairs", type=Path)
    parser.add_argument("--root", type=Path)
    parser.add_argument("--calibrate", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
