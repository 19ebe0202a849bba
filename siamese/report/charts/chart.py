"""A chart and the looks that all charts share: readable on a phone, in grey, and with any kind of colour vision."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from siamese.report.wording import wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# In inches: at the width of a phone a letter of 9 points is still 10 pixels high.
WIDTH = 4.2
DPI = 200
SMALL = 9
# Okabe and Ito, "Color Universal Design", 2008, without yellow, which is lost on white; dark and light take turns.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#56B4E9", "#E69F00")
BLUE, ORANGE, GREY = "#0072B2", "#E69F00", "#555555"
# Seven colours, four lines and five markers: no two of the first 140 models look the same, in grey either.
_LINES: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (1.5, 1.5)), (0, (7, 2, 1.5, 2)))
_MARKERS = ("o", "s", "^", "D", "v")
_NAME_WIDTH = 44


@dataclass(frozen=True)
class Look:
    """What a model looks like in every chart."""

    colour: str
    line: Any
    marker: str


def look(place: int) -> Look:
    """The look of the model at a place in the report."""
    return Look(PALETTE[place % len(PALETTE)], _LINES[place % len(_LINES)], _MARKERS[place % len(_MARKERS)])


@dataclass(frozen=True)
class Chart:
    """A drawn chart.

    Attributes:
        name: of its file, without suffix.
        title: a heading.
        reading: how to read it, in a sentence.
        text: what it shows, computed from the data, for those who do not see it.
        figure: of matplotlib.
    """

    name: str
    title: str
    reading: str
    text: str
    figure: "Figure"

    def png(self) -> bytes:
        """The picture; equal charts give equal bytes."""
        buffer = io.BytesIO()
        # The name of the software would tie the bytes to its version.
        self.figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
        return buffer.getvalue()


def blank(height: float) -> "Figure":
    """An empty figure, `height` inches high, with a canvas of its own: no window, and nothing kept between calls."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def tidy(axes: "Axes", x: str, y: str) -> None:
    """Name the axes, draw a faint grid, and leave out the frame's idle sides."""
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def name_below(figure: "Figure", handles: Sequence[Any], names: Sequence[str]) -> None:
    """A legend below the axes, one name to a line, long names wrapped; the figure grows by its height."""
    texts = [wrapped(name, _NAME_WIDTH) for name in names]
    lines = sum(text.count("\n") + 1 for text in texts)
    figure.set_figheight(figure.get_figheight() + 0.12 + 0.19 * lines)
    # matplotlib leaves out names that begin with an underscore, so they are put in afterwards.
    legend = figure.legend(
        *(handles, [str(place) for place in range(len(texts))]),
        loc="outside lower left",
        frameon=False,
        fontsize=SMALL,
        handlelength=3.2,
    )
    for line, text in zip(legend.get_texts(), texts, strict=True):
        line.set_text(text)
