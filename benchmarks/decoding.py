"""How fast images are decoded, against OpenCV's own way: `cv2.imread`, then BGR to RGB.

    python benchmarks/decoding.py [PHOTOGRAPHS]

PHOTOGRAPHS is a folder of JPEGs (LFW as published); rendered portraits without it. They are decoded as they are, as
PNG and WebP, and enlarged to twelve megapixels in each format. Every file is decoded by both in turn; printed are
the mean over files of the median time, the ratio OpenCV / siamese (above 1: siamese is faster), and the largest
difference of a pixel.
Times are of the processor, so that other work on the machine counts little.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from siamese.demo.folder import write_identities
from siamese.images.decode import decode

SMALL, LARGE, ROUNDS = 60, 3, 15
LARGE_SIZE = (4000, 3000)
Decoder = Callable[[Path], NDArray[np.uint8]]


def by_opencv(path: Path) -> NDArray[np.uint8]:
    return cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def write_kinds(photographs: list[Path], folder: Path) -> dict[str, list[Path]]:
    """Files of each kind; the large ones carry noise, as a sensor's do, or they would be all smooth."""
    kinds = {"JPEG as given": photographs}
    noise = np.random.default_rng(0).normal(0, 4, (LARGE_SIZE[1], LARGE_SIZE[0], 3))
    for suffix, options in ((".jpg", {"quality": 90}), (".png", {"compress_level": 3}), (".webp", {"quality": 85})):
        small = [folder / f"small-{number}{suffix}" for number in range(len(photographs))]
        large = [folder / f"large-{number}{suffix}" for number in range(LARGE)]
        for path, photograph in zip(small, photographs, strict=True):
            Image.open(photograph).convert("RGB").save(path, **options)
        for path, photograph in zip(large, photographs, strict=False):
            pixels = np.asarray(Image.open(photograph).convert("RGB").resize(LARGE_SIZE, Image.Resampling.BICUBIC))
            Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(path, **options)
        name = {".jpg": "JPEG", ".png": "PNG", ".webp": "WebP"}[suffix]
        kinds |= {f"{name}, small": small, f"{name}, 12 megapixels": large}
    return kinds


def seconds(decoder: Decoder, path: Path) -> float:
    started = time.process_time()
    decoder(path)
    return time.process_time() - started


def compare(paths: list[Path]) -> tuple[float, float, int]:
    """Median seconds a file by OpenCV and by siamese, and the largest difference of a pixel."""
    difference = max(int(cv2.absdiff(decode(path), by_opencv(path)).max()) for path in paths)
    spent: dict[Decoder, list[list[float]]] = {by_opencv: [[] for _ in paths], decode: [[] for _ in paths]}
    rng = np.random.default_rng(0)
    for _ in range(ROUNDS):
        for number, path in enumerate(paths):
            # In random order: whichever comes second finds the file in the processor's cache.
            for decoder in (by_opencv, decode) if rng.random() < 0.5 else (decode, by_opencv):
                spent[decoder][number].append(seconds(decoder, path))
    theirs, ours = (statistics.fmean(map(statistics.median, files)) for files in spent.values())
    return theirs, ours, difference


def main() -> None:
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = Path(sys.argv[1]) if len(sys.argv) > 1 else folder / "faces"
        if len(sys.argv) < 2:
            write_identities(source, identities=SMALL // 4, images=4, seed=0, size=250)
        photographs = sorted(source.rglob("*.jpg"))[:SMALL]
        print(f"{len(photographs)} photographs, {ROUNDS} rounds; milliseconds a file")
        print(f"{'kind':24} {'OpenCV':>8} {'siamese':>8} {'ratio':>6} {'difference':>10}")
        for kind, paths in write_kinds(photographs, folder).items():
            theirs, ours, difference = compare(paths)
            print(f"{kind:24} {theirs * 1e3:8.3f} {ours * 1e3:8.3f} {theirs / ours:6.2f} {difference:10d}")


if __name__ == "__main__":
    main()
