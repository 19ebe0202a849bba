"""Tables as Parquet, the form for large ones: ten million pairs of a million images are written in seconds."""

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import parquet

from siamese.atomic import atomic_path
from siamese.errors import PairFileError
from siamese.pairing.rows import remember_rows

if TYPE_CHECKING:
    import pandas as pd

# A dictionary larger than the limit makes the writer fall back to plain text, which is several times slower and
# larger; and each row group repeats the dictionary.
_DICTIONARY_BYTES = 2**28
_ROWS_IN_GROUP = 2**24


def parquet_names(path: Path) -> list[str]:
    """The names of the columns.

    Raises:
        PairFileError: it is no whole Parquet file.
    """
    try:
        return list(parquet.read_schema(path).names)
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from None


def read_parquet(path: Path) -> "pd.DataFrame":
    """Every column; dictionary-encoded text as plain text. Rows count from 1.

    Raises:
        PairFileError: it is no whole Parquet file.
    """
    try:
        table = parquet.ParquetFile(path).read()
        frame: pd.DataFrame = _plain_text(table).to_pandas()
    except (pa.ArrowException, OSError) as error:
        raise _broken(path, error) from None
    frame = frame.reset_index(drop=True)
    remember_rows(frame, "row", 1)
    return frame


def write_parquet(frame: "pd.DataFrame", path: Path) -> None:
    """Write a checked table; categorical text becomes dictionary-encoded, without being expanded."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    coded = any(pa.types.is_dictionary(column.type) for column in table.schema)
    # Least and greatest value of each column: comparing ten million paths takes longer than all the rest.
    options = {"dictionary_pagesize_limit": _DICTIONARY_BYTES, "row_group_size": _ROWS_IN_GROUP} if coded else {}
    with atomic_path(path) as temporary:
        parquet.write_table(table, temporary, write_statistics=False, **options)


def _plain_text(table: pa.Table) -> pa.Table:
    for position, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            plain = table.column(position).cast(field.type.value_type)
            table = table.set_column(position, field.name, plain)
    return table


def _broken(path: Path, error: Exception) -> PairFileError:
    reason = (str(error).splitlines() or [""])[0]
    return PairFileError(f"{path}: is no whole Parquet file ({reason}); write it again")
