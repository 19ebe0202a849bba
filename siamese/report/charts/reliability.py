"""Reliability diagram: how often pairs with a stated probability are genuine, and how many pairs say so."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from siamese.report.charts.chart import GREY, Chart, blank, name_below, tidy
from siamese.report.charts.series import Series, each
from siamese.report.measured import Reliability, ReliabilityBin
from siamese.report.wording import count, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw_reliability(series: Sequence[Series]) -> Chart | None:
    """The share of genuine pairs over the mean probability of each bin, and below it the pairs of each bin.

    None where no model has probabilities.
    """
    drawn = [(one, one.model.reliability) for one in series if one.model.reliability is not None]
    if not drawn:
        return None
    figure = blank(5.0)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    upper.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":")
    lines = [_draw(upper, lower, one, reliability.bins) for one, reliability in drawn]
    upper.set(xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    lower.set_yscale("log")
    tidy(upper, "", "share genuine")
    tidy(lower, "P(same) as stated", "pairs")
    name_below(figure, lines, [f"{one.name} (ECE {number(found.ece)})" for one, found in drawn])
    return Chart(
        name="reliability",
        title="Reliability of the probabilities",
        reading="Above: how often pairs are genuine, over the probability stated for them, with intervals; on the "
        "dotted diagonal both agree. Below: how many pairs each bin holds, on a logarithmic axis.",
        text=f"Reliability diagram. {each([one for one, _ in drawn], [_words(found) for _, found in drawn])}",
        figure=figure,
    )


def _draw(upper: "Axes", lower: "Axes", one: Series, bins: Sequence[ReliabilityBin]) -> object:
    x, y = [part.probability for part in bins], [part.genuine for part in bins]
    # An interval of a share of 0 or 1 may miss it by rounding, and lengths below 0 are refused.
    lengths = [
        [max(0.0, part.genuine - part.low) for part in bins],
        [max(0.0, part.high - part.genuine) for part in bins],
    ]
    marker = {"marker": one.look.marker, "markersize": 5}
    upper.errorbar(x, y, yerr=lengths, fmt="none", ecolor=one.look.colour, elinewidth=1, capsize=2)
    one.line(lower, x, [part.pairs for part in bins], **marker)
    return one.line(upper, x, y, **marker)


def _words(found: Reliability) -> str:
    furthest = max(found.bins, key=lambda part: abs(part.genuine - part.probability))
    return (
        f"expected calibration error {number(found.ece)}, Brier score {number(found.brier)}; furthest from the "
        f"diagonal: of {count(furthest.pairs)} pairs with a mean probability of {number(furthest.probability)}, "
        f"a share of {number(furthest.genuine)} is genuine"
    )
