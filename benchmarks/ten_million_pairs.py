"""Ten million pairs over a hundred thousand stored embeddings of 512 numbers: read, scored, and written.

    python benchmarks/ten_million_pairs.py [PAIRS [IMAGES]]

Random unit vectors in an embedding store, random pairs of them as Parquet and as CSV (written before). Each step runs
in a process of its own, with what it needs and nothing else, through the code that `siamese verify` runs. Prints the
seconds of each step, by the clock and of the processor, and the peak of its process (VmHWM, and without the mapped
files, which are the system's cache): nothing but the imports; reading the pair file and numbering its images; scoring
all pairs from the store; and reading the pair file once more, scoring, and writing the table. What reading again and
writing add is the last less the one before it.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from siamese.images.loader import Outcome
from siamese.inference.decision import DecisionRule
from siamese.inference.embedding_store import EmbeddingStore
from siamese.inference.embedding_store_marks import FileMark
from siamese.inference.pair_stream import open_pair_stream
from siamese.inference.pair_stream_images import PairImages, read_images
from siamese.inference.pair_stream_output import table_writer
from siamese.inference.pair_stream_scores import PairScorer
from siamese.inference.pair_stream_sinks import TableSink
from siamese.inference.verification import Failures, judge
from siamese.similarity import normalise, pair_similarity

PAIRS, IMAGES, DIMENSIONS = 10_000_000, 100_000, 512
STEPS = ("import", "read", "score", "write")
RULE = DecisionRule(threshold=0.1, point=None, abstain=None, calibration=None, prior=None)


def main() -> None:
    given = [int(argument) for argument in sys.argv[1:]]
    pairs, images = (*given, *(PAIRS, IMAGES)[len(given) :])
    with tempfile.TemporaryDirectory() as folder:
        run_child("make", Path(folder), "", pairs, images)
        print(f"{pairs:,} pairs of {images:,} embeddings of {DIMENSIONS} numbers")
        print(f"{'form':<9} {'step':<7} {'seconds':>8} {'CPU s':>6} {'VmHWM GB':>9} {'own GB':>7}")
        for suffix in (".parquet", ".csv"):
            for step in STEPS:
                found = run_child(step, Path(folder), suffix, pairs, images)
                seconds = f"{found['seconds']:>8.1f} {found['cpu']:>6.1f}"
                print(f"{suffix:<9} {step:<7} {seconds} {found['peak']:>9.2f} {found['own']:>7.2f}", flush=True)


def run_child(step: str, folder: Path, suffix: str, pairs: int, images: int) -> dict[str, float]:
    # Peak memory is that of a process: what one step leaves behind must not count for the next.
    command = [sys.executable, __file__, "--child", step, str(folder), suffix, str(pairs), str(images)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def make(folder: Path, pairs: int, images: int) -> None:
    rng = np.random.default_rng(0)
    names = pa.array([f"person_{row // 20:06}/{row % 20:04}.jpg" for row in range(images)], pa.large_string())
    store = EmbeddingStore(folder, DIMENSIONS)
    store.extend(names)
    for start in range(0, images, 4096):
        rows = np.arange(start, min(start + 4096, images))
        vectors = normalise(rng.standard_normal((len(rows), DIMENSIONS), np.float32))
        store.put(rows, vectors, [Outcome("ok")] * len(rows), [FileMark(bytes(16), bytes(16))] * len(rows))
    table = names.to_pandas()
    sides = {side: table.take(rng.integers(0, images, pairs)).array for side in ("left", "right")}
    frame = pd.DataFrame(sides | {"same": rng.integers(0, 2, pairs)})
    frame.to_parquet(folder / "pairs.parquet")
    frame.to_csv(folder / "pairs.csv", index=False)


def child(step: str, folder: Path, suffix: str) -> dict[str, float]:
    started = clocks()
    if step == "read":
        store = EmbeddingStore(folder, DIMENSIONS)
        started = clocks()
        read(folder, suffix, store.names)
    elif step == "score":
        scorer, codes = ready(folder)
        started = clocks()
        for begun in range(0, len(codes), 2**18):
            judge(scorer.scores(codes[begun : begun + 2**18]), RULE)
    elif step == "write":
        scorer, codes = ready(folder)
        started = clocks()
        write(folder, suffix, scorer, codes)
    seconds, cpu = (now - then for now, then in zip(clocks(), started, strict=True))
    return {"seconds": seconds, "cpu": cpu, **memory()}


def clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def read(folder: Path, suffix: str, known: pa.Array) -> PairImages:
    with open_pair_stream(folder / f"pairs{suffix}", None) as (stream, _):
        return read_images(stream, known, folder / "codes")


def ready(folder: Path) -> tuple[PairScorer, np.ndarray]:
    # As `verify` leaves it to the scoring: pairs are numbers in a file.
    store = EmbeddingStore(folder, DIMENSIONS)
    codes = np.memmap(folder / "codes", "<i4", "r").reshape(-1, 2)
    return PairScorer(pair_similarity, store.vectors, store.usable), codes


def write(folder: Path, suffix: str, scorer: PairScorer, codes: np.ndarray) -> None:
    target = folder / f"scores{suffix}"
    with (
        open_pair_stream(folder / f"pairs{suffix}", None) as (stream, base),
        table_writer(target, suffix) as writer,
    ):
        sink, begun = TableSink(writer, Failures([], base), labelled=True), 0
        for block in stream.blocks():
            sink.take(block.table, judge(scorer.scores(codes[begun : begun + len(block)]), RULE))
            begun += len(block)


def memory() -> dict[str, float]:
    """Gigabytes: the peak of the process, and of it what is no mapped file now."""
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    peak, files = (1024 * int(lines[name].split()[0]) / 1e9 for name in ("VmHWM", "RssFile"))
    return {"peak": peak, "own": peak - files}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _, _, what, where, form, many, few = sys.argv
        if what == "make":
            make(Path(where), int(many), int(few))
            print("{}")
        else:
            print(json.dumps(child(what, Path(where), form)))
    else:
        main()
