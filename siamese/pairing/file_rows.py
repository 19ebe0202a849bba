"""Rows of a file as an Arrow table, which know what they are called there."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from siamese.pairing.arrow_columns import NULLABLE
from siamese.pairing.rows import RowNames, remember_rows

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class FileRows:
    """Some consecutive rows of a file.

    Attributes:
        table: the rows.
        begun: how many rows of data come before them.
        names: what rows are called; None for a table that came from no file.
    """

    table: pa.Table
    begun: int = 0
    names: RowNames | None = None

    def __len__(self) -> int:
        """How many rows."""
        return int(self.table.num_rows)

    def row_name(self, position: int) -> str:
        """Name the row at `position` ("line 7"); without names, counted from 1."""
        return f"row {position + 1}" if self.names is None else self.names.name(self.begun + position)

    def frame(self) -> "pd.DataFrame":
        """The rows as `read_pairs` has them: `row_name` of the frame is that of these rows."""
        import pandas as pd

        frame: pd.DataFrame = as_frame(self.table)
        frame.index = pd.RangeIndex(self.begun, self.begun + len(frame))
        if (names := self.names) is not None:
            remember_rows(frame, names.word, names.first, names.skipped, names.each)
        return frame


def as_frame(table: pa.Table) -> Any:
    """A table as a pandas frame, whole numbers and truth values as nullable types: gaps change no column's type."""
    import pandas as pd

    nullable = {kind: pd.api.types.pandas_dtype(name) for kind, name in NULLABLE.items()}
    return table.to_pandas(types_mapper=nullable.get)
