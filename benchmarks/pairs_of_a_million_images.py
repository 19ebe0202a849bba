"""Ten pairs an image made from a manifest and written to Parquet, at 10^4, 10^5 and 10^6 images.

    python benchmarks/pairs_of_a_million_images.py [IMAGES ...]

Synthetic paths, 20 images an identity, half of the pairs genuine, identities split 0.8, 0.1, 0.1, through the
function that `siamese make-pairs` calls. Every size runs in a process of its own, and so does what it is compared
with: writing the very same tables, as columns of plain text that are already in memory, with pandas alone. Prints for
each size the seconds to read the manifest and to make and write the pairs, the peak of memory, the seconds of pandas
and the ratio of the two.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

SIZES, IMAGES_OF_ONE, PAIRS_OF_ONE = (10_000, 100_000, 1_000_000), 20, 10


def main() -> None:
    sizes = [int(argument) for argument in sys.argv[1:]] or SIZES
    print(f"{'images':>9} {'pairs':>10} {'read s':>7} {'make s':>7} {'peak GB':>8} {'pandas s':>9} {'ratio':>6}")
    for images in sizes:
        with tempfile.TemporaryDirectory() as folder:
            write_manifest(Path(folder) / "manifest.parquet", images)
            made = in_child("make", folder, images)
            alone = in_child("pandas", folder, images)
        ratio = made["make"] / alone["write"]
        print(
            f"{images:>9,} {made['pairs']:>10,.0f} {made['read']:>7.2f} {made['make']:>7.2f} {made['peak']:>8.2f} "
            f"{alone['write']:>9.2f} {ratio:>6.2f}"
        )


def write_manifest(path: Path, images: int) -> None:
    number = pd.Series(np.arange(images))
    identity = "id" + (number // IMAGES_OF_ONE).astype(str).str.zfill(6)
    image = (number % IMAGES_OF_ONE).astype(str).str.zfill(4)
    pd.DataFrame({"path": identity + "/" + image + ".jpg", "identity": identity}).to_parquet(path)


def in_child(what: str, folder: str, images: int) -> dict[str, float]:
    # Peak memory is that of a process: what one measurement leaves behind must not count for the next.
    command = [sys.executable, __file__, "--child", what, folder, str(images)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(answer.stdout))


def make(folder: Path, images: int) -> dict[str, float]:
    from siamese.images.catalog import read_catalog
    from siamese.pairing.make import MakePairs, make_pair_files

    started = time.perf_counter()
    catalog = read_catalog(folder / "manifest.parquet").images
    read = time.perf_counter()
    job = MakePairs(num_pairs=PAIRS_OF_ONE * images, shares=(0.8, 0.1, 0.1), format="parquet")
    files = make_pair_files(catalog, folder / "pairs", job)
    return {
        "read": read - started,
        "make": time.perf_counter() - read,
        "pairs": sum(int(counts["pairs"] or 0) for counts in files.values()),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9,
    }


def pandas_alone(folder: Path) -> dict[str, float]:
    from siamese.pairing.formats import read_pairs

    seconds = 0.0
    for path in sorted((folder / "pairs").iterdir()):
        frame = read_pairs(path)
        started = time.perf_counter()
        frame.to_parquet(folder / "alone.parquet", index=False)
        seconds += time.perf_counter() - started
    return {"write": seconds}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _, _, what, folder, images = sys.argv
        print(json.dumps(make(Path(folder), int(images)) if what == "make" else pandas_alone(Path(folder))))
    else:
        main()
