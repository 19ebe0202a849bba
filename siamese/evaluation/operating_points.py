"""Thresholds, each with the FAR it was fitted for and the split it was fitted on."""

from pydantic import BaseModel, ConfigDict

from siamese.errors import OptionError, unknown_name

NAMES = ("accuracy", "f1", "eer")
"""The points that are chosen by name; all others are chosen by their FAR."""


class OperatingPoint(BaseModel):
    """A threshold on similarity.

    Attributes:
        name: `accuracy` (best accuracy on equally many pairs of either kind), `f1` (best F1 on the pairs of the
            split, in the ratio they have there), `eer`, or `far=0.001`.
        threshold: accept at this similarity and above.
        far: share of the impostor pairs of the split that it accepts.
        tar: share of the genuine pairs of the split that it accepts.
        split: the pairs it was fitted on.
        genuine: how many genuine pairs those are.
        impostor: how many impostor pairs those are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    threshold: float
    far: float
    tar: float
    split: str
    genuine: int
    impostor: int


def choose_operating_point(
    points: tuple[OperatingPoint, ...], far: float | None = None, at: str | None = None
) -> OperatingPoint:
    """The point for a FAR or of a name, or that of best accuracy when neither is given.

    Args:
        points: of a model.
        far: the FAR that the point was fitted for.
        at: `accuracy`, `f1` or `eer`, as `OperatingPoint.name` explains them.

    Raises:
        OptionError: both are given, the name is unknown, or the model has no such point.

    Example:
        >>> points = fit_operating_points([0.1, 0.4, 0.6, 0.9], [False, False, True, True], "validation")
        >>> choose_operating_point(points, at="eer").threshold
        0.6
    """
    if far is not None and at is not None:
        raise OptionError("--far and --at: give one of them")
    if at is not None and at not in NAMES:
        raise unknown_name("value of --at", at, NAMES)
    name = (at or "accuracy") if far is None else f"far={far:g}"
    for point in points:
        if point.name == name:
            return point
    raise _no_point(points, far, at)


def _no_point(points: tuple[OperatingPoint, ...], far: float | None, at: str | None) -> OptionError:
    """The error for a point that a model does not have: it lists those that it has."""
    if far is not None:
        known = ", ".join(point.name.removeprefix("far=") for point in points if point.name.startswith("far="))
        impostors = points[0].impostor if points else 0
        return OptionError(
            f"--far {far:g}: this model has no operating point for it ({impostors} impostor validation pairs support "
            f"{known or 'none'}); choose one of those, or train with more validation pairs"
        )
    if at is None and not points:
        return OptionError(
            "this model was not fitted on labelled pairs and has no operating point; give --threshold, or train with "
            "--val-pairs"
        )
    if at is None:
        return OptionError("this model has no operating point of best accuracy; give --far or --threshold")
    named = ", ".join(point.name for point in points if point.name in NAMES)
    return OptionError(
        f"--at {at}: this model has no operating point of that name (it has {named or 'none'}); choose one of those, "
        "or train it again"
    )
