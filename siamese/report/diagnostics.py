"""Embedding diagnostics in words: a row for each figure, with a sentence on how to read it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from siamese.report.measured import Diagnostics
from siamese.report.wording import number


@dataclass(frozen=True)
class DiagnosticsRow:
    """One figure of all models.

    Attributes:
        name: of the figure.
        values: of each model, in words.
        reading: how to read it, in a sentence.
    """

    name: str
    values: tuple[str, ...]
    reading: str


def diagnostics_rows(found: Sequence[Diagnostics]) -> list[DiagnosticsRow]:
    """The rows of a table of some models; none without models."""
    return [DiagnosticsRow(name, tuple(map(word, found)), reading) for name, word, reading in _ROWS] if found else []


def _known(value: float | None) -> str:
    return "not known" if value is None else number(value)


def _spread(mean: float, deviation: float | None) -> str:
    return number(mean) if deviation is None else f"{number(mean)} \N{PLUS-MINUS SIGN} {number(deviation)}"


_ROWS: tuple[tuple[str, Callable[[Diagnostics], str], str], ...] = (
    (
        "genuine scores",
        lambda found: _spread(found.genuine_mean, found.genuine_std),
        "Mean score of the genuine pairs and its standard deviation: higher and narrower is better.",
    ),
    (
        "impostor scores",
        lambda found: _spread(found.impostor_mean, found.impostor_std),
        "Mean score of the impostor pairs and its standard deviation: lower and narrower is better.",
    ),
    (
        "separation d\N{PRIME}",
        lambda found: _known(found.d_prime),
        "The distance of the two means in standard deviations: higher is better, at 0 nothing tells the kinds apart.",
    ),
    (
        "alignment",
        lambda found: _known(found.alignment),
        "Mean squared distance of two embeddings of one identity, from 0 to 4: lower means that its images lie "
        "closer together.",
    ),
    (
        "uniformity",
        lambda found: _known(found.uniformity),
        "How evenly the embeddings fill the sphere, from \N{MINUS SIGN}8 to 0: lower is more even, about "
        "\N{MINUS SIGN}4 is the most that many dimensions give, and near 0 they have fallen together.",
    ),
)
