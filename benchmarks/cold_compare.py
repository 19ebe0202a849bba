"""How long a cold `siamese compare` takes, beside `python -c "import torch"`: whole commands, from start to exit.

    python benchmarks/cold_compare.py EXPORT LEFT RIGHT [ROUNDS]

EXPORT is what `siamese export MODEL -o EXPORT` writes (of MobileFaceNet, where faces are aligned), LEFT and RIGHT two
photographs of faces, such as LFW's originals. In turn run: importing torch; comparing the photographs, in which faces
are found and aligned first; comparing the two crops that `siamese align` makes of them. Each is a process of its own,
and a first round, which is not counted, reads every file once and leaves compiled graphs in the cache folder. Printed
are, of ROUNDS (15), the median seconds by the clock and of the processors, the median of their ratios to importing
torch in the same round, and the largest peak of memory.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

ROUNDS = 15
TORCH, PHOTOGRAPHS, CROPS = "import torch", "compare, photographs", "compare, aligned crops"
LIMITS = {PHOTOGRAPHS: 0.35, CROPS: 0.25}  # of the time that importing torch takes
MEGABYTES = 400


class Cost(NamedTuple):
    """Of one process: seconds by the clock and of the processors, and megabytes at its largest."""

    wall: float
    processor: float
    memory: float


def program() -> list[str]:
    """`siamese` as it is installed beside this Python; where it is not, the module."""
    script = Path(sys.executable).with_name("siamese")
    return [str(script)] if script.is_file() else [sys.executable, "-m", "siamese_cli"]


def environment() -> dict[str, str]:
    """This one, with Python free to keep modules compiled, as an installed package has them."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def spend(command: Sequence[str]) -> Cost:
    # This process stays small, as a child's peak begins at the size of its parent: nothing heavy is imported here.
    started = time.perf_counter()
    child = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    wall = time.perf_counter() - started
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit code {child.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 1e6)


@contextmanager
def aligned(photographs: Sequence[Path]) -> Iterator[list[str]]:
    """The crops that `siamese align` makes of photographs."""
    with tempfile.TemporaryDirectory() as temporary:
        given, made = Path(temporary) / "given", Path(temporary) / "made"
        given.mkdir()
        for number, path in enumerate(photographs):
            shutil.copy(path, given / f"{number}{path.suffix}")
        align = [*program(), "align", str(given), str(made), "--quiet"]
        subprocess.run(align, env=environment(), check=True, stdout=subprocess.DEVNULL)
        crops = sorted(str(path) for path in made.iterdir() if path.suffix != ".csv")
        if len(crops) != len(photographs):
            raise SystemExit(
                f"{len(crops)} crops of {len(photographs)} photographs: give others, with a face in each"
            )
        yield crops


def main() -> None:
    export, photographs = sys.argv[1], [Path(name) for name in sys.argv[2:4]]
    rounds = int(sys.argv[4]) if len(sys.argv) > 4 else ROUNDS
    with aligned(photographs) as crops:
        compare = [*program(), "compare", "--model", export, "--threshold", "0.4"]
        commands = {
            TORCH: [sys.executable, "-c", "import torch"],
            PHOTOGRAPHS: [*compare, *map(str, photographs)],
            CROPS: [*compare, *crops],
        }
        costs: dict[str, list[Cost]] = {name: [] for name in commands}
        for turn in range(rounds + 1):
            for name, command in commands.items():
                cost = spend(command)
                if turn:
                    costs[name].append(cost)
    report(costs)


def report(costs: dict[str, list[Cost]]) -> None:
    print(f"{'':24} {'clock':>8} {'processors':>11} {'ratio':>7} {'of CPU':>7} {'memory':>8}")
    for name, of in costs.items():
        wall, processor = (statistics.median(cost[column] for cost in of) for column in (0, 1))
        ratios = [
            statistics.median(own[column] / torch[column] for own, torch in zip(of, costs[TORCH], strict=True))
            for column in (0, 1)
        ]
        memory = max(cost.memory for cost in of)
        line = f"{name:24} {wall:6.3f} s {processor:9.3f} s {ratios[0]:7.3f} {ratios[1]:7.3f} {memory:5.0f} MB"
        print(line + (verdict(ratios[0], LIMITS[name], memory) if name in LIMITS else ""))


def verdict(ratio: float, limit: float, memory: float) -> str:
    kept = "kept" if ratio <= limit and memory <= MEGABYTES else "NOT kept"
    return f"  at most {limit} and {MEGABYTES} MB: {kept}"


if __name__ == "__main__":
    main()
