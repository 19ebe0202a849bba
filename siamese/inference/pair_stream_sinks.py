"""What becomes of scored pairs: counted, written as a table, kept in memory, or gathered for a submission."""

from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from siamese.inference.decision import DecisionRule
from siamese.inference.pair_stream_output import TableWriter
from siamese.inference.submission_form import SubmissionForm
from siamese.inference.verification import Failures, JudgedPairs, judged_table


class Sink(Protocol):
    """Takes the blocks of a pair file with what was said of them, in order."""

    def take(self, table: pa.Table, judged: JudgedPairs) -> None:
        """Take a block."""


class Tally:
    """Counts answers.

    Attributes:
        scored: pairs with a similarity.
        same: pairs that are called same.
        answered: pairs that are called anything.
    """

    def __init__(self) -> None:
        self.scored = self.same = self.answered = 0

    def take(self, table: pa.Table, judged: JudgedPairs) -> None:
        """See `Sink`."""
        self.scored += int(np.count_nonzero(judged.scored))
        self.same += int(np.count_nonzero(judged.answers.same & judged.answers.answered))
        self.answered += int(np.count_nonzero(judged.answers.answered))


class TableSink:
    """Writes the table.

    Args:
        writer: of the file.
        failures: of images.
        labelled: whether any pair has a label.
    """

    def __init__(self, writer: TableWriter, failures: Failures, *, labelled: bool) -> None:
        self._writer, self._failures, self._labelled = writer, failures, labelled

    def take(self, table: pa.Table, judged: JudgedPairs) -> None:
        """See `Sink`."""
        self._writer.write(judged_table(table, judged, self._failures, labelled=self._labelled))


class MemorySink:
    """Keeps the table, or its first rows.

    Args:
        failures: of images.
        labelled: whether any pair has a label.
        keep: how many rows; None for all.
    """

    def __init__(self, failures: Failures, *, labelled: bool, keep: int | None) -> None:
        self._failures, self._labelled, self._keep = failures, labelled, keep
        self._tables: list[pa.Table] = []
        self._rows = 0

    def take(self, table: pa.Table, judged: JudgedPairs) -> None:
        """See `Sink`."""
        if self._tables and self._keep is not None and self._rows >= self._keep:
            return
        kept = judged_table(table, judged, self._failures, labelled=self._labelled)
        self._tables.append(kept if self._keep is None else kept.slice(0, self._keep - self._rows))
        self._rows += len(self._tables[-1])

    def table(self) -> pa.Table:
        """What was kept."""
        return pa.concat_tables(self._tables)


class SubmissionSink:
    """Gathers the answers of a submission.

    A pair without a score is answered as one that is different beyond doubt: label 0, probability 0, similarity -1.

    Args:
        form: what it answers.
        rule: how similarities became answers.
    """

    def __init__(self, form: SubmissionForm, rule: DecisionRule) -> None:
        self._form, self._rule = form, rule
        self._parts: list[NDArray[Any]] = []

    def take(self, table: pa.Table, judged: JudgedPairs) -> None:
        """See `Sink`."""
        if self._form.answer == "label":
            self._parts.append(judged.answers.same)
        elif judged.probabilities is not None:
            self._parts.append(np.nan_to_num(judged.probabilities, nan=0.0))
        else:
            self._parts.append(np.nan_to_num(judged.scores, nan=-1.0))

    def answers(self) -> NDArray[Any]:
        """All answers, shape (N,)."""
        return np.concatenate(self._parts)
