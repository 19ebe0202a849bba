"""Faces that were found and the one that was taken, in words."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from siamese_cli.output import count

if TYPE_CHECKING:
    from siamese.images.loader import Outcome

_TAKEN = {"auto": "the large and central one", "largest": "the largest", "center": "the one nearest the middle"}


def word_faces(paths: Sequence[Path], outcomes: Sequence["Outcome"], how: str) -> list[str]:
    """A line an image: how many faces were found, and which of several was taken; none where none was looked for.

    Args:
        paths: of the images.
        outcomes: of the same images.
        how: the value of --face.
    """
    if all(outcome.faces is None for outcome in outcomes):
        return []
    return [f"{path}: {_word_face(outcome, how)}" for path, outcome in zip(paths, outcomes, strict=True)]


def _word_face(outcome: "Outcome", how: str) -> str:
    if outcome.face is None or outcome.faces is None:
        return "taken as an aligned crop, no face looked for"
    left, top, right, bottom = (round(float(value)) for value in outcome.face.box)
    box = f"box ({left}, {top}) to ({right}, {bottom})"
    if outcome.faces == 1:
        return f"one face, {box}"
    others = " or ".join(name for name in _TAKEN if name != how)
    return f"{count(outcome.faces, 'face')}, {_TAKEN[how]} taken, {box}; --face {others} may take another"
