"""Progress and messages for long work: on stderr, silent unless the `siamese` logger lets INFO through."""

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from tqdm import tqdm

T = TypeVar("T")

log = logging.getLogger("siamese")


def progress(items: Iterable[T], what: str, total: int | None = None, unit: str = "it") -> "tqdm[T]":
    """Wrap `items` in a progress bar named `what`; iterate it, or call `.update(n)` and `.close()`."""
    from tqdm import tqdm

    return tqdm(items, desc=what, total=total, unit=unit, disable=not log.isEnabledFor(logging.INFO))
