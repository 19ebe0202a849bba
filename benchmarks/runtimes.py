"""How fast an export embeds, against eager float32 torch: same images, same batch, in turn.

    python benchmarks/runtimes.py [SECONDS [THREADS]]

MobileFaceNet (112x96), ConvNeXt-Atto (112x112) and InceptionResnet-v1 (160x160), random weights: the time does not
depend on them. For each, the network on torch, its export on OpenVINO in float32 and, where the processor has it, in
bfloat16, all with THREADS (one a processor; on a busy machine 1 compares best). They embed the same batch in turn,
for SECONDS a network (30), so that other work on the machine slows down all alike; printed are images per second of
the median batch, the ratio to torch (the median of the ratios of a turn), and the largest difference of two
embeddings from torch's.

Then what starting costs, each in a process of its own, in turn: importing OpenVINO and importing torch, and compiling
the graph of MobileFaceNet without and with the graph that an earlier process left in the cache.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from siamese.encoders import create_encoder
from siamese.inference.export import ExportJob, export_model
from siamese.inference.runtime import OpenVinoRuntime, Runtime, TorchRuntime, usable_processors
from siamese.model.network import SiameseNetwork
from siamese.openvino_library import cpu_capabilities

NETWORKS = {"mobilefacenet": None, "convnext_atto": (112, 112), "inception_resnet_v1": None}
BATCH = 32
STARTS = 7
PROJECT = Path(__file__).parents[1]
COMPILE = """
import sys, time
from pathlib import Path
from siamese.inference.runtime import OpenVinoRuntime
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


def make_runtimes(name: str, size: tuple[int, int] | None, folder: Path, threads: int) -> dict[str, Runtime]:
    torch.manual_seed(0)
    network = SiameseNetwork(create_encoder(f"{name}@random", input_size=size))
    export_model(ExportJob(f"{name}@random", output=folder, input_size=size))
    runtimes: dict[str, Runtime] = {"torch f32": TorchRuntime(network)}
    precisions = ["f32", *(["bf16"] if "BF16" in cpu_capabilities() else [])]
    made = {f"openvino {each}": OpenVinoRuntime(folder, each, threads=threads) for each in precisions}
    return runtimes | made


def compare(runtimes: dict[str, Runtime], size: tuple[int, int], seconds: float) -> None:
    images = np.random.default_rng(0).normal(size=(BATCH, 3, *size)).astype(np.float32)
    vectors = {name: runtime.embed(images) for name, runtime in runtimes.items()}
    spent: dict[str, list[float]] = {name: [] for name in runtimes}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(spent["torch f32"]) < 5:
        for name, runtime in runtimes.items():
            started = time.perf_counter()
            runtime.embed(images)
            spent[name].append(time.perf_counter() - started)
    for name, times in spent.items():
        ratio = statistics.median(eager / own for eager, own in zip(spent["torch f32"], times, strict=True))
        apart = np.linalg.norm(vectors[name] - vectors["torch f32"], axis=1).max()
        print(f"  {name:14} {BATCH / statistics.median(times):7.0f} images/s {ratio:6.2f}x {apart:10.1e}")


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
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    threads = int(sys.argv[2]) if len(sys.argv) > 2 else usable_processors()
    torch.set_num_threads(threads)
    print(f"{threads} threads on {usable_processors()} processors, batches of {BATCH}")
    with tempfile.TemporaryDirectory() as temporary:
        for name, size in NETWORKS.items():
            folder = Path(temporary) / name
            runtimes = make_runtimes(name, size, folder, threads)
            height, width = size or create_encoder(f"{name}@random").input_spec.size
            print(f"{name}, {height}x{width}")
            compare(runtimes, (height, width), seconds)
        print("starting")
        starts(Path(temporary) / "mobilefacenet", Path(temporary) / "cache")


if __name__ == "__main__":
    main()
