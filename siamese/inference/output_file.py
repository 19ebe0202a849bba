"""The file that a command writes its table to, refused before the work where it cannot or must not be written."""

from collections.abc import Sequence
from pathlib import Path

from siamese.errors import OptionError


def check_output(path: Path, *, submission: bool = False, inputs: Sequence[Path] = ()) -> None:
    """Refuse, before the work, a file that cannot be written as a table.

    Args:
        path: the file.
        submission: whether it is a competition's form.
        inputs: files that are read, and must not be replaced by what is made of them.

    Raises:
        OptionError: neither CSV nor Parquet by its suffix (a submission must be CSV), a folder, or one of `inputs`.
    """
    allowed = (".csv",) if submission else (".csv", ".parquet")
    if path.suffix.lower() not in allowed:
        kind = "a submission" if submission else "a table"
        raise OptionError(f"-o {path}: {kind} ends in {' or '.join(allowed)}; name it so")
    if path.is_dir():
        raise OptionError(f"-o {path}: is a folder, expected the name of a file to write")
    if path.exists() and any(each.exists() and path.samefile(each) for each in inputs):
        raise OptionError(f"-o {path}: is read as well, and would be replaced; name another file")
