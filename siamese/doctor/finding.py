"""One line of a diagnosis."""

from dataclasses import dataclass
from typing import Literal

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """What was looked at, and how it is.

    Attributes:
        name: what was looked at.
        status: `ok`; `warn` where something is missing that is not needed for everything; `fail`.
        detail: in words; where something is missing, what it is for and how to get it.
    """

    name: str
    status: Status
    detail: str
