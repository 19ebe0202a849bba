"""Records of finished steps: JSON that says what was made, and holds while the files it names are as they were."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from siamese.atomic import atomic_path, write_text
from siamese.encoders.checksum import sha256_of

Record = dict[str, Any]


def read_record(path: Path) -> Record | None:
    """The record, or None where there is none that can be read."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def write_record(path: Path, record: Record) -> None:
    """Write a record, whole or not at all."""
    write_text(path, json.dumps(record, indent=2, allow_nan=False) + "\n")


def write_csv(path: Path, frame: pd.DataFrame) -> None:
    """Write a table, whole or not at all."""
    with atomic_path(path) as temporary:
        frame.to_csv(temporary, index=False, lineterminator="\n")


def read_csv(path: Path) -> pd.DataFrame:
    """A table that `write_csv` wrote, every cell as text."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def digests(root: Path, *paths: Path) -> dict[str, str]:
    """SHA-256 of files by their path relative to `root`."""
    return {path.relative_to(root).as_posix(): sha256_of(path) for path in paths}


def unchanged(root: Path, found: dict[str, str]) -> bool:
    """Whether the files that `digests` named are there and as they were."""
    return all((root / name).is_file() and sha256_of(root / name) == digest for name, digest in found.items())
