"""What the program prints: messages and progress on stderr, results on stdout, one JSON object with `--json`."""

import json
import logging
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import PurePath
from typing import Any


class _BesideBars(logging.StreamHandler):  # type: ignore[type-arg]
    """Messages on lines of their own while a progress bar is open."""

    def emit(self, record: logging.LogRecord) -> None:
        """Clear the bars, print, and draw them again; without bars, print."""
        if (tqdm := sys.modules.get("tqdm")) is None:
            super().emit(record)
        else:
            tqdm.tqdm.write(self.format(record), file=self.stream)


@contextmanager
def talking(*, quiet: bool) -> Iterator[None]:
    """Send messages to stderr while a command works, and keep stdout for its result, whatever libraries print."""
    logger = logging.getLogger("siamese")
    handler = _BesideBars(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.WARNING if quiet else logging.INFO)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


def emit(data: dict[str, Any], text: str, *, as_json: bool) -> None:
    """Print a command's result: one JSON object, or the text for people."""
    sys.stdout.write((json.dumps(_plain(data), ensure_ascii=False) if as_json else text) + "\n")
    sys.stdout.flush()


def table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Columns of text, the first flush left, the others flush right."""
    widths = [max(len(row[column]) for row in [header, *rows]) for column in range(len(header))]
    lines = []
    for row in [header, *rows]:
        cells = [
            row[0].ljust(widths[0]),
            *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def folder_of(number: int, model: str) -> str:
    """Name of the folder for what belongs to one of several models."""
    return f"{number}-{PurePath(model).name.replace('@', '-')}"


def percent(value: float | None) -> str:
    """A share as a percentage with two decimals; None is insufficient data."""
    return "insufficient data" if value is None else f"{100 * value:.2f} %"


def count(number: int, singular: str, plural: str | None = None) -> str:
    """A number with its noun, thousands separated."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def _plain(value: Any) -> Any:
    """JSON has no NaN: what is not a finite number becomes null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
