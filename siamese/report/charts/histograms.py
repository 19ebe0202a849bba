"""Scores of genuine and impostor pairs, in the same bins, with the threshold between them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.patches import Patch

from siamese.report.charts.chart import BLUE, ORANGE, SMALL, Chart, blank, name_below, tidy
from siamese.report.charts.series import Series, each
from siamese.report.wording import number, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 50
_KINDS = (("impostor pairs", False, ORANGE, "\\\\\\"), ("genuine pairs", True, BLUE, "///"))


def draw_histograms(series: Sequence[Series]) -> Chart:
    """A panel for each model: scores of different models need not be on one scale."""
    figure = blank(0.4 + 2.1 * len(series))
    panels = figure.subplots(len(series), 1, squeeze=False).ravel()
    for one, axes in zip(series, panels, strict=True):
        _draw(axes, one)
        if len(series) > 1:
            axes.set_title(wrapped(one.name, 42), fontsize=10, loc="left")
    tidy(panels[-1], "similarity", "share of its kind")
    keys = [Patch(facecolor=f"{colour}66", edgecolor=colour, hatch=hatch) for _, _, colour, hatch in _KINDS]
    names = [name for name, *_ in _KINDS]
    if any(one.model.threshold is not None for one in series):
        keys.append(panels[0].axvline(np.nan, color="black", linestyle="--", linewidth=1.3))
        names.append("threshold")
    name_below(figure, keys, names)
    return Chart(
        name="scores",
        title="Scores",
        reading="Share of the pairs of each kind in every bin of similarity. The less the two overlap, the better; "
        "impostor pairs right of the threshold are false accepts, genuine pairs left of it false rejects.",
        text=f"Histograms of similarity. {each(series, [_words(one) for one in series])}",
        figure=figure,
    )


def _draw(axes: "Axes", one: Series) -> None:
    scores, same = np.asarray(one.model.scores, dtype=np.float64), np.asarray(one.model.same, dtype=bool)
    low, high = float(scores.min()), float(scores.max())
    edges = np.linspace(low, high, _BINS + 1) if low < high else np.array([low - 0.5, low + 0.5])
    for _, kind, colour, hatch in _KINDS:
        counts = np.histogram(scores[same == kind], edges)[0]
        axes.stairs(counts / counts.sum(), edges, fill=True, facecolor=f"{colour}66", edgecolor=colour, hatch=hatch)
        axes.stairs(counts / counts.sum(), edges, color=colour, linewidth=1.2)
    if one.model.threshold is not None and np.isfinite(one.model.threshold):
        axes.axvline(one.model.threshold, color="black", linestyle="--", linewidth=1.3)
        place = (edges[0] + edges[-1]) / 2
        left = one.model.threshold < place
        axes.annotate(
            *(f"{one.model.threshold:.4g}", (one.model.threshold, 1)),
            xycoords=("data", "axes fraction"),
            xytext=(4 if left else -4, -2),
            textcoords="offset points",
            ha="left" if left else "right",
            va="top",
            fontsize=SMALL,
            bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1},
        )
    tidy(axes, "", "share of its kind")
    axes.margins(x=0.01)


def _words(one: Series) -> str:
    same = np.asarray(one.model.same, dtype=bool)
    quartiles = [np.percentile(one.model.scores[same == kind], (25, 50, 75)) for kind in (True, False)]
    genuine, impostor = (
        f"{number(half)} (half of them {number(low)} to {number(high)})" for low, half, high in quartiles
    )
    threshold = "each fold has its own" if one.model.threshold is None else number(one.model.threshold)
    return f"genuine pairs have a median of {genuine}, impostor pairs of {impostor}; threshold: {threshold}"
