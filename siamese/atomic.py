"""Files appear whole or not at all: written beside their place, then moved into it."""

import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from siamese.full_disk import is_full


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on any exception it is removed.

    The suffix is kept, so writers that choose a format by suffix work. Parent folders are created. An `OSError` that
    names the temporary file, or of a disk without room none, names `path` instead.

    Example:
        >>> with atomic_path(Path("scores.csv")) as temporary:  # doctest: +SKIP
        ...     temporary.write_text("left,right,same\\n")
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Named first and made under guard: an interrupt between the two would leave a file of unknown name behind.
    temporary = path.with_name(f".{path.stem[:40]}-{secrets.token_hex(6)}{path.suffix}")
    try:
        temporary.touch(exist_ok=False)
        ordinary = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        temporary.chmod(ordinary)  # some writers (safetensors) make their files private
        temporary.replace(path)
    except OSError as error:
        if error.filename == str(temporary) or (error.filename is None and is_full(error)):
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8, newlines as given) to `path`, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
