"""`steps.csv`: a row for every step of a run, whole also after a kill and a resumption."""

import csv
import io
import os
import sys
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from siamese.errors import DataError
from siamese.progress import log

STEPS = "steps.csv"
# What is known of a step beside the terms of the loss; a cell is empty where it was not measured.
FIGURES = ("lr", "grad_norm", "images_per_second", "active", "spread", "gap")


class StepLog:
    """Appends rows to a CSV file, in order of their steps, which rise.

    A file that is there is replaced, at the first row or flush, unless `resume_at` says that its run goes on.

    Args:
        path: the file.
        terms: names of the terms of the loss; each has a column `loss/NAME`.
    """

    def __init__(self, path: Path, terms: Sequence[str] = ()) -> None:
        self.columns = ("step", "epoch", "loss", *(f"loss/{term}" for term in terms), *FIGURES)
        self._path = path
        self._last = 0
        self._goes_on = False

    def resume_at(self, step: int) -> None:
        """Go on behind a step: what an interrupted run wrote beyond it is cut off, so no step is there twice.

        Args:
            step: the last step that the resumed run does not do again; steps count from 1.

        Raises:
            DataError: the file has other columns than this run.
        """
        self._last = step
        if not self._path.is_file() or self._path.stat().st_size == 0:
            self._warn_of_gap(0, step)
            return
        self._goes_on = True
        with self._path.open("rb") as stream:
            header = stream.readline().decode("utf-8", "replace").strip()
        if header != ",".join(self.columns):
            raise DataError(
                f"{self._path}: has the columns {header[:200]}, expected {','.join(self.columns)}; "
                "it is of another run: remove it, or resume with the same --loss"
            )
        size, last = _size_up_to(self._path, step)
        os.truncate(self._path, size)
        self._warn_of_gap(last, step)

    def append(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Write rows to the file; they survive if the process is killed right after.

        Args:
            rows: `step`, `epoch` and any of `columns`; the cell of what is left out is empty.

        Raises:
            ValueError: a step that does not rise, or a name that is no column.
        """
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, lineterminator="\n")  # refuses names that are no columns
        if not self._goes_on:
            writer.writeheader()
        for row in rows:
            if row["step"] <= self._last:
                raise ValueError(f"step {row['step']} after step {self._last}: steps must rise")
            self._last = int(row["step"])
            writer.writerow({name: _cell(value) for name, value in row.items()})
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # One write for all: a process that is killed leaves at most one row in half, which `resume_at` cuts off.
        with self._path.open("ab" if self._goes_on else "wb") as stream:
            stream.write(text.getvalue().encode())
        self._goes_on = True

    def _warn_of_gap(self, last: int, step: int) -> None:
        if last < step:
            log.warning("%s: the rows of steps %d to %d are lost", self._path, last + 1, step)


def _cell(value: float) -> str:
    # Nine digits tell any two float32 apart.
    return str(value) if isinstance(value, int) else f"{value:.9g}"


def _size_up_to(path: Path, step: int) -> tuple[int, int]:
    """Bytes of the header and of the whole rows up to a step, and the last step among them."""
    content = np.memmap(path, np.uint8, "r")
    ends = np.flatnonzero(content == ord("\n")) + 1  # of every whole line, the header's first

    def step_of(line: int) -> int:
        row = content[ends[line - 1] : ends[line]].tobytes()
        first = row.split(b",", 1)[0]
        # Blocks of a file that power loss left empty hold no number: they lie beyond any step.
        return int(first) if first.isdigit() and row.count(b",") else sys.maxsize

    if not len(ends):
        return 0, 0
    kept = bisect_right(range(1, len(ends)), step, key=step_of)
    return int(ends[kept]), step_of(kept) if kept else 0
