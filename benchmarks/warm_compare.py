"""How much `Verifier.compare` of two aligned images adds to the bare network's forward pass for a batch of two.

    python benchmarks/warm_compare.py [SECONDS]

MobileFaceNet (112x96), ConvNeXt-Atto (112x112) and InceptionResnet-v1 (160x160), random weights: the time does not
depend on them. Each runs in float32 on its export and on torch, in one process, with all processors. The two images
have the size of an aligned crop (or of the input, where nothing is aligned); they are given as paths of JPEGs and as
pixels. Bare is the forward pass of the same two, prepared before. All of them take turns for SECONDS a network and
runtime (10), so that other work on the machine slows down all alike. Printed are the medians in milliseconds, the
median over turns of the ratio to bare, and how long each step takes that is not the network's.
"""

import logging
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from siamese.device import usable_processors
from siamese.images.decode import decode, read_file
from siamese.images.faces import TEMPLATE_SIZES
from siamese.images.input_spec import InputSpec
from siamese.inference.export import ExportJob, export_model
from siamese.inference.verifier import Verifier

NETWORKS = {"mobilefacenet": None, "convnext_atto": (112, 112), "inception_resnet_v1": None}
LIMIT = 1.5
THRESHOLD = 0.4
BARE, PATHS, PIXELS = "bare forward of two", "compare, paths", "compare, pixels"
Way = Callable[[], object]


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    torch.set_num_threads(usable_processors())
    logging.getLogger("siamese").setLevel(logging.WARNING)
    print(f"{usable_processors()} processors")
    with tempfile.TemporaryDirectory() as temporary:
        for name, size in NETWORKS.items():
            for kind, verifier in verifiers(name, size, Path(temporary) / name).items():
                height, width = verifier.input_spec.size
                print(f"{name}, {height}x{width}, {kind}")
                measure(verifier, Path(temporary), seconds)


def verifiers(name: str, size: tuple[int, int] | None, folder: Path) -> dict[str, Verifier]:
    given = f"{name}@random"
    export_model(ExportJob(given, output=folder, input_size=size, timing=False))
    return {
        "openvino f32": Verifier.load(folder, device="cpu"),
        "torch f32": Verifier.load(given, device="cpu", runtime="torch", input_size=size, seed=0),
    }


def measure(verifier: Verifier, folder: Path, seconds: float) -> None:
    paths = [folder / "left.jpg", folder / "right.jpg"]
    for number, path in enumerate(paths):
        cv2.imwrite(str(path), picture(verifier.input_spec, number), [cv2.IMWRITE_JPEG_QUALITY, 95])
    pixels = [decode(path) for path in paths]
    ready, _ = verifier.prepare(pixels)
    images = verifier.input_spec.normalise(ready)
    vectors = verifier.runtime.embed(images)
    ways: dict[str, Way] = {
        BARE: lambda: verifier.runtime.embed(images),
        PATHS: lambda: verifier.compare(*paths, threshold=THRESHOLD),
        PIXELS: lambda: verifier.compare(*pixels, threshold=THRESHOLD),
    }
    steps: dict[str, Way] = {
        "read two files": lambda: [read_file(path) for path in paths],
        "read and decode them": lambda: [decode(path) for path in paths],
        "cut to the input's size": lambda: verifier.prepare(pixels),
        "normalise": lambda: verifier.input_spec.normalise(ready),
        "similarity": lambda: verifier.similarity(vectors[:1], vectors[1:]),
        "rule": lambda: verifier.decision_rule(threshold=THRESHOLD),
    }
    spent = take_turns(ways | steps, seconds)
    report(spent, list(ways), list(steps))


def picture(spec: InputSpec, seed: int) -> NDArray[np.uint8]:
    """A smooth coloured picture of the size of an aligned crop."""
    side = TEMPLATE_SIZES.get(spec.alignment)
    height, width = spec.size if side is None else (side, side)
    coarse = np.random.default_rng(seed).integers(0, 256, (14, 14, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


def take_turns(ways: dict[str, Way], seconds: float) -> dict[str, list[float]]:
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():  # what is prepared at first use
        way()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for name, way in ways.items():
            started = time.perf_counter()
            way()
            spent[name].append(time.perf_counter() - started)
    return spent


def report(spent: dict[str, list[float]], ways: list[str], steps: list[str]) -> None:
    for name in ways:
        ratio = statistics.median(own / bare for own, bare in zip(spent[name], spent[BARE], strict=True))
        said = "" if name == BARE else f"  at most {LIMIT}: {'kept' if ratio <= LIMIT else 'NOT kept'}"
        print(f"  {name:24} {1000 * statistics.median(spent[name]):8.3f} ms {ratio:6.2f}x{said}")
    for name in steps:
        print(f"    {name:22} {1000 * statistics.median(spent[name]):8.3f} ms")


if __name__ == "__main__":
    main()
