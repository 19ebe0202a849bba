"""The label column of a pair file that is read in blocks, where an option names the value that means same."""

import pandas as pd

from siamese.pairing.columns import same_column


class LabelColumn:
    """Reads the labels of each block; a value that means same need not stand in every block, but in one of them.

    Args:
        where: the file that messages name.
        same_label: the value that means same; None leaves the column to `check_pairs`.
    """

    def __init__(self, where: str, same_label: str | None) -> None:
        self._where, self._same_label = where, same_label
        self._values: pd.Series | None = None
        self._found = False

    def read(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The block with its column `same` as nullable booleans, if a value is to be told from others.

        Raises:
            PairFileError: there is no such column.
        """
        if self._same_label is None:
            return frame
        if "same" not in frame.columns:
            frame = frame.assign(same=pd.array([pd.NA] * len(frame), dtype="boolean"))
        cells = frame["same"].astype(object)
        if self._values is None:
            self._values = pd.Series(cells.unique())
        # One row more that has the value: whether any row of the file has it is known at the end.
        more = pd.concat([cells, pd.Series([self._same_label])]).to_frame("same")
        labels = same_column(more, "same", self._where, self._same_label).iloc[:-1]
        self._found = self._found or bool(labels.any())
        read = frame.assign(same=labels.array)
        read.attrs = frame.attrs
        return read

    def check_found(self) -> None:
        """At the end: refuse a value that no row has.

        Raises:
            PairFileError: names the value, and some that rows do have.
        """
        if self._same_label is not None and not self._found and self._values is not None:
            same_column(self._values.to_frame("same"), "same", self._where, self._same_label)
