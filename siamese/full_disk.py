"""A disk without room: told from other failures to write, and said in words."""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# No room: on the disk, for this user, for one file.
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def errno_of(error: OSError) -> int | None:
    """The system's number of an error; pyarrow has it for some errors in the text alone."""
    if error.errno is not None:
        return error.errno
    found = re.search(r"\[errno (\d+)\]", str(error), re.IGNORECASE)
    return int(found[1]) if found else None


def is_full(error: OSError) -> bool:
    """Whether a write failed for want of room."""
    return errno_of(error) in FULL


def word_os_error(error: OSError) -> str:
    """One line for an error of the system: which file, why, and for a full disk what to do."""
    number = errno_of(error)
    reason = os.strerror(number) if number in FULL else error.strerror or str(error)
    where = f"{error.filename}: " if error.filename else ""
    if not is_full(error):
        return f"{where}{reason}"
    return f"{where}no room to write it ({reason}); free some or name another place, and give the same command again"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Let a disk without room be told by the name of what is written, and not of a file on the way to it.

    Raises:
        OSError: names `path`.
    """
    try:
        yield
    except OSError as error:
        if not is_full(error):
            raise
        number = errno_of(error) or errno.ENOSPC
        raise OSError(number, os.strerror(number), str(path)) from error
