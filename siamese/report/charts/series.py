"""A model as charts draw it: its scores counted once, its look the same everywhere."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from siamese.evaluation.curves import Curve
from siamese.report.charts.chart import Look, look
from siamese.report.content import ModelContent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# More than a chart has columns of pixels to show.
POINTS = 1500


@dataclass(frozen=True, eq=False)
class Series:
    """One model: what was measured, its counts at every threshold, and its look."""

    model: ModelContent
    curve: Curve
    look: Look

    @property
    def name(self) -> str:
        """Of the model."""
        return self.model.name

    def line(self, axes: "Axes", x: Any, y: Any, **more: Any) -> Any:
        """Draw a line in the look of the model; the line, for a legend."""
        return axes.plot(x, y, color=self.look.colour, linestyle=self.look.line, linewidth=1.7, **more)[0]

    def point(self, axes: "Axes", x: float, y: float) -> None:
        """Draw a point in the look of the model."""
        axes.plot(
            *([x], [y]),
            color=self.look.colour,
            marker=self.look.marker,
            markersize=7,
            markeredgecolor="white",
            linestyle="none",
            zorder=4,
        )


def make_series(models: Sequence[ModelContent]) -> list[Series]:
    """The models in the order of the report."""
    return [Series(model, Curve.of(model.scores, model.same), look(place)) for place, model in enumerate(models)]


def each(series: Sequence[Series], said: Sequence[str]) -> str:
    """What is said of each model, with its name where there are several."""
    if len(series) == 1:
        return f"{said[0]}."
    return " ".join(f"{one.name}: {words}." for one, words in zip(series, said, strict=True))
