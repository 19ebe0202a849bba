"""pyarrow without pandas, which it loads to see whether anything that it is given is a Series."""

import sys
from importlib.abc import MetaPathFinder
from typing import Any


class _NoPandas(MetaPathFinder):
    def find_spec(self, name: str, *_: Any) -> None:
        """Pandas is not installed; whatever else there is, others find."""
        if name == "pandas":
            raise ModuleNotFoundError("left out", name=name)


def leave_pandas_out() -> None:
    """Let pyarrow look for pandas now and find none, which spares a command that needs neither its import.

    pyarrow looks once, at the first list or number that it is given, to tell a Series from them. Where pandas is
    loaded already nothing happens; whatever needs pandas later imports it as ever, and so does `to_pandas`.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow

    hidden = _NoPandas()
    sys.meta_path.insert(0, hidden)
    try:
        pyarrow.array([], pyarrow.null())
    finally:
        sys.meta_path.remove(hidden)
