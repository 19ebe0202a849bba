"""What a table tells pandas of its columns, without pandas: truth values and whole numbers become nullable types."""

import json
from collections.abc import Sequence

import pyarrow as pa

from siamese.pairing.arrow_columns import NULLABLE


def with_pandas_types(table: pa.Table, filled: Sequence[str] = ()) -> pa.Table:
    """The table with what `to_pandas` and `pandas.read_parquet` go by; no column becomes an index.

    Without it truth values of which any is missing would become objects, and such whole numbers floats.

    Args:
        table: the table.
        filled: columns of which no value is ever missing; they become plain types.
    """
    columns = [
        {
            "name": field.name,
            "field_name": field.name,
            "pandas_type": str(field.type),
            "numpy_type": str(field.type) if field.name in filled else NULLABLE[field.type],
            "metadata": None,
        }
        for field in table.schema
        if field.type in NULLABLE
    ]
    about = {"index_columns": [], "column_indexes": [], "columns": columns}
    return table.replace_schema_metadata({"pandas": json.dumps(about)})
